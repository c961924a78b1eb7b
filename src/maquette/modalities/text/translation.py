"""From one text to another: translation, summaries, or whatever else the pairs of the training data are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Streams
from maquette.core.progress import track
from maquette.core.spec import EOS, PAD, ColumnSpec, TokenSpec
from maquette.modalities import text as modality
from maquette.modalities.text.writing import texts
from maquette.sampling.beam import search

BATCH = 128  # sources translated at once
SORTED = 4096  # sources among which those of like length are translated together


def best(generator: Generator, given: dict[str, Tensor], beam: int = 4, length_penalty: float = 1.0) -> Tensor:
    """The likeliest target of each source by beam search, i64[n, W]; sources of like length go together."""
    spec, model = generator.spec, generator.model
    source = _source_name(generator)
    assert isinstance(model, Streams)
    order = (given[source] != PAD).sum(1).argsort(stable=True).cpu()
    # As long as any target of the data: a short title may stand above a long poem.
    n, width = len(order), spec.only().shape[0]
    made = torch.full((n, width), PAD)
    for rows in track(order.split(BATCH), "translating"):
        part = {name: value[rows].to(generator.device) for name, value in given.items()}
        part[source] = part[source][:, : int((part[source] != PAD).sum(1).max())]
        found = search(model, len(rows), part, start=spec.only().start, length=width, beam=beam, alpha=length_penalty)
        made[rows] = found.tokens.cpu()
    return made


def translate(
    generator: Generator, sources: Iterable[str] | Iterable[list[str]], beam: int = 4, length_penalty: float = 1.0,
    notify: Callable[[str], None] = lambda text: None, given: Mapping[str, Any] | None = None, **asked: Any,
) -> Iterator[str]:  # fmt: skip
    """The target of each source text, in order; an empty text stays empty. Sources are refused by their line.

    sources: a list is sorted by length in large blocks. Of what comes one by one, each item, a text or a list of
             texts, is answered before the next one is asked for.
    notify:  is told of targets that were cut off
    asked:   of further given columns, one value for all, e.g. label="short"; a label that is not said is drawn
    given:   the same by column, for columns whose names are no keywords, e.g. {"year of print": 1890}
    """
    asked |= given or {}
    source = _source_name(generator)
    if source in asked:
        raise UserError(f"'{source}' is what is translated: each source is given one by one.", "Leave it out.")
    _others(generator, [0], asked)
    for name, value, fits, expected in (
        ("beam", beam, beam >= 1, "1 or more"),
        ("length_penalty", length_penalty, 0 <= length_penalty <= 10, "from 0 to 10"),
    ):
        if not fits:
            raise UserError(f"{name} = {value!r} is not possible.", f"It must be {expected}.")
    if isinstance(sources, str):
        sources = [sources]
    blocks: Iterable[list[str]] = ([s] if isinstance(s, str) else s for s in sources)
    if isinstance(sources, list) and all(isinstance(s, str) for s in sources):
        blocks = [cast(list[str], sources)]

    def written(given: dict[str, Tensor]) -> Tensor:
        return best(generator, given, beam, length_penalty)

    return _in_blocks(generator, blocks, written, asked, notify)


def _source_name(generator: Generator) -> str:
    """The column that a model translates from; refuses a model that has none."""
    spec = generator.spec
    source = next(iter(spec.givens(TokenSpec)), None)
    if source is None or not isinstance(generator.model, Streams):
        raise UserError(
            f"This run makes {', '.join(spec.target)} from nothing; it was not trained on pairs.",
            "Train one with: maquette train text/seq2seq --data pairs.tsv --given COLUMN --target COLUMN",
        )
    return source


def _others(generator: Generator, items: Sequence[int], asked: Mapping[str, Any]) -> dict[str, Tensor]:
    """What is given beside the source: as asked, or drawn for each of these items."""
    return generator.given_for(items, asked, but=(_source_name(generator),))


def _in_blocks(
    generator: Generator, blocks: Iterable[list[str]], written: Callable[[dict[str, Tensor]], Tensor],
    asked: Mapping[str, Any], notify: Callable[[str], None],
) -> Iterator[str]:  # fmt: skip
    column = generator.spec.columns[_source_name(generator)]
    first = 1
    for block in blocks:
        lines = list(enumerate(block, first))
        for line, text in lines:  # before an hour's work: every line that is too long
            _tokens_of_source(line, text, column)
        for start in range(0, len(lines), SORTED):
            yield from _translated(generator, lines[start : start + SORTED], written, asked, notify)
        first += len(block)


def _tokens_of_source(line: int, text: str, column: ColumnSpec) -> np.ndarray:
    """The tokens of a source; one that is longer than any of the training data is refused, never cut."""
    tokens = modality.tokenize(text, column)
    if len(tokens) > column.shape[0]:
        raise UserError(
            f"Line {line:,} has {len(tokens):,} tokens; this model was trained on texts of up to {column.shape[0]:,}.",
            "Split it into sentences, or train with a larger data.text.longest.",
        )
    return tokens


def _translated(
    generator: Generator, lines: list[tuple[int, str]], written: Callable[[dict[str, Tensor]], Tensor],
    asked: Mapping[str, Any], notify: Callable[[str], None],
) -> Iterator[str]:  # fmt: skip
    spec, source = generator.spec, _source_name(generator)
    said = [(line, text) for line, text in lines if text.strip()]
    made: list[str] = []
    if said:
        encoded = [_tokens_of_source(line, text, spec.columns[source]) for line, text in said]
        given = _others(generator, [line - 1 for line, _ in said], asked)
        given[source] = torch.full((len(said), max(map(len, encoded))), PAD)
        for row, tokens in zip(given[source], encoded, strict=True):
            row[: len(tokens)] = torch.from_numpy(tokens)
        found = written(given)
        made = texts(found, spec.only())
        endless = [line for (line, _), row in zip(said, found, strict=True) if not bool((row == EOS).any())]
        if endless:
            notify(_cut_off(endless, spec.only()))
        silent = [line for (line, _), text in zip(said, made, strict=True) if not text.strip() and line not in endless]
        if silent:
            notify(f"{_numbered(silent)}: the model ended before it wrote anything, so nothing stands there.")
    each = iter(made)
    for _, text in lines:
        yield next(each) if text.strip() else ""


def _cut_off(lines: list[int], spec: ColumnSpec) -> str:
    return (
        f"{_numbered(lines)}: no end came within {spec.shape[0]:,} tokens, the longest "
        "that the training data has, so the text is cut there."
    )


def _numbered(lines: list[int]) -> str:
    """Lines by their numbers, the first few of them."""
    shown = ", ".join(f"{line:,}" for line in lines[:5]) + (f" and {len(lines) - 5:,} more" if len(lines) > 5 else "")
    return f"{'Line' if len(lines) == 1 else 'Lines'} {shown}"
