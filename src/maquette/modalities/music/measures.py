"""What is measured of tunes beyond what is general: whether they can be read, whether their bars add up, how near their
pitches and rhythms are to real ones, where they end, and how long the runs of notes are that they repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from maquette.core.measure import Estimate, Found, Matters, Measure, TooFew
from maquette.core.spec import PAD
from maquette.evaluation.bootstrap import Array, centred, counts, mean, ratio
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.features import chunks
from maquette.evaluation.results import Metric
from maquette.modalities.music.grammar import follows
from maquette.modalities.music.melody import intervals
from maquette.modalities.music.tokens import Score, read

ONSETS = 24  # parts of a bar in which notes begin
MOST_TRAINING = 500_000  # notes in which copies are looked for


@dataclass(frozen=True)
class Traits:
    """Of n tunes, f64[n, ...].

    valid:    1 where it keeps to the grammar, ends, and holds a note      bars, sums: how many; those that add up
    pitches:  [n, 12] shares of each step above the tonic, by duration; of the melody, as all that follows
    rhythm:   [n, D + ONSETS] shares of durations and of places in the bar where notes begin, half each
    ends:     1 where its last note is the tonic
    steps:    of each, intervals and durations (melody.py)
    """

    valid: Array
    bars: Array
    sums: Array
    pitches: Array
    rhythm: Array
    ends: Array
    steps: list[list[tuple[int, int]]]


def traits(parts: Iterable[Tensor], grid: int, relative: bool) -> Traits:
    """Those of tunes, of which each part is some, i64[n, L]."""
    scores, steps, valid = list[Score](), list[list[tuple[int, int]]](), list[Array]()
    for chunk in parts:
        valid.append(follows(chunk, grid).double().numpy())
        for item in chunk.numpy():
            tokens = item[item != PAD]
            scores.append(read(tokens.tolist(), grid, relative))
            steps.append(intervals(tokens))
    found = [_summed(score) for score in scores]
    return Traits(
        np.concatenate(valid), np.array([len(score.bars) for score in scores], np.float64),
        np.array([float(sum(bars)) for bars in found]), np.stack([_pitches(score) for score in scores]),
        np.stack([_rhythm(score) for score in scores]), np.array([_ends(score) for score in scores]), steps,
    )  # fmt: skip


def _summed(score: Score) -> list[bool]:
    """Whether in each bar notes and rests of the melody follow one another from its beginning to its end."""
    made, held = [], 0  # held: what the last note of the bar before is still to sound
    for bar in score.bars:
        at, good = held, True
        for event in bar.events:
            if event.lead:
                good &= event.position == at
                at = event.position + event.length
        made.append(good and at >= bar.length)
        held = max(at - bar.length, 0)
    return made


def _pitches(score: Score) -> Array:
    made = np.zeros(12)
    for bar in score.bars:
        for event in bar.events:
            if event.lead and event.pitch is not None:
                made[(event.pitch - score.key.tonic) % 12] += event.length
    return made / max(made.sum(), 1)


def _rhythm(score: Score) -> Array:
    longest = 2 * 4 * score.grid
    durations, onsets = np.zeros(longest + 1), np.zeros(ONSETS)
    for bar in score.bars:
        for event in bar.events:
            if event.lead and event.pitch is not None:
                durations[event.length] += 1
                onsets[event.position * ONSETS // bar.length] += 1
    return np.concatenate([durations, onsets]) / max(2 * durations.sum(), 1)


def _ends(score: Score) -> float:
    last = [event.pitch for bar in score.bars for event in bar.events if event.lead and event.pitch is not None][-1:]
    return float(bool(last) and (last[0] - score.key.tonic) % 12 == 0)


def distance(ours: Array, theirs: Array, rng: np.random.Generator, resamples: int = 1000) -> Estimate:
    """Total variation between the mean shares of two sets of tunes, f64[n, K] and f64[m, K]: 0 alike, 1 nothing in
    common."""

    def apart(a: Array, b: Array) -> Array:
        made: Array = np.abs(a - b).sum(-1) / 2
        return made

    value = float(apart(ours.mean(0), theirs.mean(0)))
    means = (counts(rng, len(side), resamples) @ side / len(side) for side in (ours, theirs))
    draws = apart(*means)
    return Estimate(value, *centred(draws, value, least=0.0), draws=draws)


def longest(steps: list[tuple[int, int]], known: np.ndarray) -> int:
    """Notes of the longest run of a melody that stands in `known` i64[N, 2], training melodies one after the other."""
    best, run = 0, np.zeros(len(known) + 1, np.int32)
    for step, duration in steps:
        run[1:] = np.where((known[:, 0] == step) & (known[:, 1] == duration), run[:-1] + 1, 0)
        best = max(best, int(run.max(initial=0)))
    return best + 1 if best else 0


# -- the measures --------------------------------------------------------------------------------------


def _all(evidence: Evidence) -> tuple[Traits, Traits, Traits]:
    """Of samples, of held-out tunes, and of training tunes."""
    spec = evidence.spec
    look = partial(traits, grid=spec.grid, relative=spec.relative)
    return (
        evidence.once("traits", lambda: look(evidence.made.chunks())),
        evidence.of_real("traits of held-out tunes", lambda: look(evidence.real.chunks())),
        evidence.of_real("traits of training tunes", lambda: look(evidence.reserve.chunks())),
    )


def _share(of: Callable[[Traits], Array], below: Callable[[Traits], Array] | None = None) -> Callable[..., Found]:
    """A share of tunes, or of what they hold (`below`), beside that of held-out tunes."""

    def found(evidence: Evidence) -> Found:
        made, real, _ = _all(evidence)

        def estimate(side: Traits, word: str) -> Estimate:
            rng = evidence.rng("tunes", word)
            return mean(of(side), rng) if below is None else ratio(of(side), below(side), rng)

        return Found(estimate(made, "made"), estimate(real, "real"), len(real.valid), len(made.valid))

    return found


def _apart(of: Callable[[Traits], Array]) -> Callable[..., Found]:
    """A distance to held-out tunes; the floor: of training tunes, as many."""

    def found(evidence: Evidence) -> Found:
        made, real, known = (of(side) for side in _all(evidence))
        rng = evidence.rng("tunes apart")
        return Found(
            distance(made, real, rng), distance(known[: len(made)], real, rng), len(real), len(made)
        )  # fmt: skip

    return found


def _copied(evidence: Evidence) -> Found | None:
    if not evidence.own_data:
        return None
    evidence.notify("Looking for runs of notes of the training tunes.")
    made, real, _ = _all(evidence)

    def training() -> np.ndarray:
        apart, found, size = [(999, -1)], [(999, -1)], 0  # between tunes, what no melody has
        for chunk in chunks(evidence.dataset.train.columns[evidence.column]):
            for item in chunk.numpy():
                found += [*intervals(item), *apart]
            if (size := len(found)) > MOST_TRAINING:
                evidence.warnings.append(f"Copies were looked for in the first {size:,} notes of training tunes.")
                break
        return np.array(found)

    known = evidence.of_real("training melodies", training)
    usual = evidence.of_real("copied by held-out tunes", lambda: [longest(steps, known) for steps in real.steps])
    ours = [longest(steps, known) for steps in made.steps]
    if not ours or not usual:
        raise TooFew("there is no melody to look for")
    value, floor = (mean(np.array(side, np.float64), evidence.rng("copied", word))
                    for side, word in ((ours, "made"), (usual, "real")))  # fmt: skip
    says = f"The longest of all: {max(ours)}; of held-out {{items}}, {max(usual)}."
    return Found(value, floor, len(usual), len(ours), says=says)


def _beside(ours: str, real: str) -> Callable[[Metric], str]:
    """A sentence of a value and its floor."""
    return lambda m: f"{ours.format(m.show(m.value))}; {real.format(m.show(m.floor))}."


_APART = "two sets of real ones are {} from one another"

MEASURES = (
    Measure(
        name="valid", title="Readable {items}", better="floor", unit="share", of=_share(lambda t: t.valid), place=41,
        sees=("broken",),
        asks="Share of samples whose tokens stand in an order that means something, hold a note, and come to an end. "
        "What does not can still be written: what makes no sense is passed over.",
        says=_beside("{} of generated {{items}} can be read from beginning to end", "of real ones, {}"),
    ),
    Measure(
        name="bars", title="Bars that add up", better="floor", unit="share", place=42, sees=("rhythm",),
        of=_share(lambda t: t.sums, lambda t: t.bars),
        asks="Share of bars in which the notes and rests of the melody follow one another without a hole or an "
        "overlap, from the beginning of the bar to its end, as the metre wants it.",
        says=_beside("In {} of the bars of generated {{items}} notes add up to the metre", "of real ones, {}"),
    ),
    Measure(
        name="pitches", title="Distance of pitches", better="floor", unit="share", place=43, sees=("item",),
        of=_apart(lambda t: t.pitches), matters=Matters(0.05),
        asks="How far the steps of the scale, each as long as it sounds, differ from those of real {items}: the share "
        "of the time that would have to go to other steps.",
        says=_beside("The pitches of generated {{items}} are {} from real ones", _APART),
    ),
    Measure(
        name="rhythm", title="Distance of rhythms", better="floor", unit="share", place=44, sees=("rhythm",),
        of=_apart(lambda t: t.rhythm), matters=Matters(0.05),
        asks="How far the lengths of notes, and the places in the bar where they begin, differ from those of real "
        "{items}: the share that would have to be others.",
        says=_beside("The rhythms of generated {{items}} are {} from real ones", _APART),
    ),
    Measure(
        name="cadence", title="Endings on the tonic", better="floor", unit="share", of=_share(lambda t: t.ends),
        place=45, asks="Share of {items} whose melody ends on the tonic of its key.",
        says=_beside("{} of generated {{items}} end on their tonic", "of real ones, {}"),
    ),
    Measure(
        name="copied_notes", title="Longest copied run of a {item}", better="no more", unit="notes", of=_copied,
        place=60, sees=("copies",), matters=Matters(1.0, times=0.15),
        asks="The longest run of notes of each sample that stands in a training {item}, in any key, note for note and "
        "duration for duration; on average. Real {items} that were never trained on share runs, too: scales, stock "
        "phrases, cadences. Clearly longer runs mean reciting.",
        says=_beside("A sample repeats {} notes of a training {{item}} in a row", "a held-out one, {}"),
    ),
)  # fmt: skip
