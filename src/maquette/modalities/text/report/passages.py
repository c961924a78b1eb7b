"""The training passage nearest to each sample, with what both share marked: does the model write, or recite?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maquette.core.rng import derive
from maquette.core.section import Markup, Missing
from maquette.core.spec import TokenSpec
from maquette.core.table import Dataset
from maquette.modalities.text.measures.copies import Hashes, Training, codes, places, rolling
from maquette.modalities.text.measures.fold import Folded, fold
from maquette.modalities.text.measures.read import passages, texts_of, where
from maquette.modalities.text.measures.script import script_of
from maquette.modalities.text.report.tiles import first_words
from maquette.report.page import fragment
from maquette.report.show import amounts
from maquette.report.view import RunView

SEARCHED = 20_000_000  # characters
CONTROL = 50  # held-out texts set against the training text

TEMPLATE = """
{% from "macros.html.j2" import why %}
{% macro marked(parts) %}<p class="written" dir="auto" lang="{{ parts|join('', attribute='text')|language }}">{% for part in parts %}{% if part.shared %}<mark>{{ part.text }}</mark>{% else %}{{ part.text }}{% endif %}{% endfor %}</p>{% endmacro %}
<p class="intro">Beside each sample, the training passage that shares most with it. <mark>Marked</mark> is what both have, in runs of {{ near.n }} characters or more. Some is always shared: names, set phrases, common words.{% if near.typical == near.typical %} Held-out text shares {{ near.typical|percent(0) }} of its characters with its nearest passage.{% endif %}</p>
{% for row in near.rows %}
<figure class="beside"><div>{{ marked(row.sample) }}</div><div>{% if row.passage %}{{ marked(row.passage) }}{% else %}<p class="small">nothing of it stands in the training text</p>{% endif %}</div>
<figcaption>{{ row.share|percent(0) }} shared, {{ row.longest }} {{ "character" if row.longest == 1 else "characters" }} at a stretch{% if row.where %} · training: <code>{{ row.where }}</code>{% endif %}</figcaption></figure>
{% endfor %}
{% if found %}
<h3>The longest that the evaluation found</h3>
<table><thead><tr><th scope="col" class="r">Characters</th><th scope="col">Passage</th><th scope="col">In the training text</th><th scope="col" class="r">Sample</th></tr></thead><tbody>
{% for part in found %}<tr><td class="r">{{ part.characters|count }}</td><td class="kept" lang="{{ part.text|language }}">{{ part.text.splitlines()|select|join("\n") }}</td><td><code>{{ part.train_name }}</code></td><td class="r">{{ part.sample }}</td></tr>
{% endfor %}
</tbody></table>
{% endif %}
{{ why("How far can this be trusted?", "Copies are found letter for letter, white space aside (and punctuation, where words have no spaces between them); a passage with other words put in is shown only as far as it is the same. Searched: " ~ "{:,}".format(near.searched) ~ " characters of training text.") }}
"""  # noqa: E501


@dataclass(frozen=True)
class Passages:
    """The section of samples that stand in the training texts."""

    id: str = "neighbours"
    title: str = "New, or copied?"
    after: str = "alignment"

    def make(self, run: RunView) -> Markup | Missing | None:
        if run.spec.givens(TokenSpec):
            return None  # what is written from a source is no free text
        if run.dataset is None:
            return run.no_data
        found = run.sampled
        if isinstance(found, Missing):
            return found
        texts = first_words(found.target[run.column][: amounts(run.target.kind).samples], run.target)
        rows = np.random.default_rng(derive(run.seed, "control")).permutation(len(run.dataset.test))[:CONTROL]
        control = texts_of(run.dataset.test, run.column, np.sort(rows))
        if not run.dataset.test.columns[run.column].spec.framed:  # windows of the samples' own length
            control = [text[: max(map(len, texts))] for text in control]
        near = nearest_passages(texts, run.dataset, run.column, control)
        html = fragment(TEMPLATE, near=near, found=run.details("passages"))
        return Markup(html, training_items=True)


@dataclass(frozen=True)
class Stretch:
    """A part of a text, and whether the other side has it too."""

    text: str
    shared: bool


@dataclass(frozen=True)
class Nearest:
    """A sample and the passage that shares most with it.

    share: of the sample's characters that stand in the passage too, in runs of n or more; longest: such run
    where: the file, and the place in it, at which the passage begins
    """

    sample: list[Stretch]
    passage: list[Stretch]
    share: float
    longest: int
    where: str


@dataclass(frozen=True)
class NearestTable:
    """rows: the samples that share most come first; n: characters of the shortest run that counts as shared."""

    rows: list[Nearest]
    n: int
    searched: int
    typical: float


def nearest_passages(texts: Sequence[str], dataset: Dataset, column: str, held_out: Sequence[str] = ()) -> NearestTable:
    """For each text, the training passage of its length with the most different runs of n characters in common.

    typical: the mean share that `held_out` texts have in common with their nearest passage
    """
    known = list(passages(dataset.train, column, SEARCHED))
    script = script_of(part.text for part in known)
    training = Training.of(known, script)
    n = 8 if script.spaced else 3
    folded = [fold(text, script) for text in (*texts, *held_out)]
    found_at = _per_query([rolling(codes(part.text), n) for part in folded], training, n)
    found = [_nearest(part, place, training, dataset, n) for part, place in zip(folded, found_at, strict=True)]
    control = [row.share for row in found[len(texts) :]]
    rows = sorted(found[: len(texts)], key=lambda row: -row.share)
    return NearestTable(rows, n, len(training.text), float(np.mean(control)) if control else float("nan"))


def _per_query(queries: Sequence[Hashes], training: Training, n: int) -> list[tuple[np.ndarray, Hashes]]:
    """Where in the training text runs of each query stand, i64[K], and which they are, u64[K]."""
    wanted = np.unique(np.concatenate([*queries, np.zeros(0, np.uint64)]))
    at, runs = places(wanted, codes(training.text), n)
    out = []
    for query in queries:
        own = np.isin(runs, query)
        out.append((at[own], runs[own]))
    return out


def _nearest(sample: Folded, place: tuple[np.ndarray, Hashes], training: Training, dataset: Dataset, n: int) -> Nearest:
    at, runs = place
    if not len(at):
        return Nearest([Stretch(sample.whole, False)], [], 0.0, 0, "")
    line = sample.text
    # Stretches of the text's own length, each half a length on from the last, so that one of them holds most;
    # they end where a passage does.
    size = max(len(line), 2 * n)
    starts = np.asarray(training.starts)
    of = np.searchsorted(starts, at, side="right") - 1
    inside, most = at[:0], 0
    for shift in (0, size // 2):
        stretch = np.unique(np.stack([of, (at - starts[of] + shift) // size]), axis=1, return_inverse=True)[1].ravel()
        known = np.unique(np.stack([stretch.astype(np.uint64), runs]), axis=1)[0]  # each run counts once
        counts = np.bincount(known.astype(np.int64))
        if counts.max() > most:
            inside, most = at[stretch == counts.argmax()], int(counts.max())
    begin, end = training.passage(int(inside[0]))
    middle = (int(inside[0]) + int(inside[-1]) + n) // 2
    begin, end = max(begin, middle - size * 3 // 4), min(end, middle + size * 3 // 4)
    passage = fold(training.cut(begin, end), training.script)
    ours, theirs = _covered(line, passage.text, n), _covered(passage.text, line, n)
    longest = max((int(b - a) for a, b in _runs(ours) if ours[a]), default=0)
    start = where(dataset.train, training.row(begin), *training.place(begin))
    return Nearest(_marked(sample, ours), _marked(passage, theirs), float(ours.mean()), longest, start)


def _covered(text: str, other: str, n: int) -> NDArray[np.bool_]:
    """Which characters stand in runs of n that the other text has too."""
    known = {other[i : i + n] for i in range(len(other) - n + 1)}
    covered = np.zeros(len(text), dtype=bool)
    for i in range(len(text) - n + 1):
        if text[i : i + n] in known:
            covered[i : i + n] = True
    return covered


def _marked(folded: Folded, covered: NDArray[np.bool_]) -> list[Stretch]:
    """The text itself, line breaks and all, in stretches that are covered and others."""
    whole = np.zeros(len(folded.whole), dtype=bool)
    for a, b in _runs(covered):
        if covered[a]:  # with the punctuation and the line breaks between its characters
            whole[folded.at[a] : folded.at[b - 1] + 1] = True
    return [Stretch(folded.whole[a:b], bool(whole[a])) for a, b in _runs(whole)]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Beginning and end of each stretch of equal flags."""
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
