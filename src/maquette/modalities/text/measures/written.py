"""Samples of a model of text beside real text of the same lengths: variety, form, copies, and whether they are told
apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maquette.core.spec import DataSpec
from maquette.core.table import Dataset, Table
from maquette.evaluation.bootstrap import Estimate, mean
from maquette.evaluation.results import Better, CopiedPassage, FormRow
from maquette.modalities.text.measures import beside, copies, variety
from maquette.modalities.text.measures.fold import fold
from maquette.modalities.text.measures.form import find_forms, form_text
from maquette.modalities.text.measures.ledger import Ledger
from maquette.modalities.text.measures.read import passages, texts_of, where
from maquette.modalities.text.measures.script import Script, one_line
from maquette.modalities.text.measures.two_sample import two_sample

MOST_TRAINING = 20_000_000  # characters searched for copies
LISTED = 12  # passages
FORMS_FROM = 20_000  # texts of a split
SHOWN = 300  # characters of a passage


class Written:
    """The measures of one sample.

    made:  the texts; real, train: as many held-out and training texts, of the same lengths where text is cut anywhere,
           and fewer where there are no more
    known: all of the training text
    """

    def __init__(self, made: Sequence[str], dataset: Dataset, spec: DataSpec, script: Script, ledger: Ledger) -> None:
        (self.target,) = spec.target
        self.made, self.dataset, self.spec, self.script, self.ledger = list(made), dataset, spec, script, ledger
        self.known = list(passages(dataset.train, self.target, MOST_TRAINING))
        known, held = [part.text for part in self.known], self._held_out()
        if known == held:  # other data that names no splits is all on both sides: a floor takes two parts of it
            both = self._beside(held, "real", 2 * len(self.made))
            self.real, self.train = both[::2], both[1::2]
        else:
            self.real = self._beside(held, "real", len(self.made))
            self.train = self._beside(known, "train", len(self.made))
        self.of = (len(self.real), len(self.made))
        if len(self.real) < len(self.made):
            pieces = "texts" if spec.x.framed else "pieces that do not overlap"
            ledger.warnings.append(
                f"Held-out text has {len(self.real):,} {pieces} to set beside the {len(self.made):,} samples: floors "
                "rest on fewer, and the floor of the longest passage is low for it."
            )

    def _held_out(self) -> list[str]:
        return [part.text for part in passages(self.dataset.test, self.target, MOST_TRAINING)]

    def _beside(self, known: Sequence[str], word: str, n: int) -> list[str]:
        """Up to n real texts: whole ones, or pieces of the samples' lengths."""
        rng = self.ledger.rng("beside", word)
        if self.spec.x.framed:
            return beside.whole(known, n, rng)
        return beside.pieces(known, [len(text) for text in self.made], n, rng)

    # -- variety -----------------------------------------------------------------------------------

    def variety(self) -> None:
        """Distinct n-grams, self-BLEU and repetition."""
        ledger, word, of = self.ledger, self.script.word, self.of
        ours, theirs = ([self.script.words(text) for text in side] for side in (self.made, self.real))
        fewer, as_many = variety.equal_amounts(ours, theirs)
        for n, what in ((1, "Different"), (2, "Different pairs of"), (3, "Different threes of")):
            self._both(
                f"distinct_{n}", f"{what} {word}s (distinct-{n})", "share", variety.distinct,
                (fewer, n), (as_many, n),
            )  # fmt: skip
        value = ledger.attempt("self-BLEU", lambda: variety.self_bleu(ours, ledger.rng("self")))
        if value is not None:
            floor = ledger.attempt("floor of self-BLEU", lambda: variety.self_bleu(theirs, ledger.rng("self", "floor")))
            ledger.add("self_bleu", "Likeness of samples (self-BLEU)", value, floor, "floor", unit="points", of=of)
        title = f"Repetition inside a text, runs of 4 {word}s"
        self._both("repetition", title, "share", variety.repetition, (ours, 4), (theirs, 4))
        if self.script.spaced:
            mine, real = ([list(one_line(text)) for text in side] for side in (self.made, self.real))
            title = "Repetition inside a text, runs of 8 characters"
            self._both("repetition_8", title, "share", variety.repetition, (mine, 8), (real, 8))

    def _both(self, name: str, title: str, unit: str, measure, ours, theirs, better: Better = "floor") -> None:
        """A measure of the samples, and of real text as its floor."""
        value = self.ledger.attempt(title, lambda: measure(*ours, self.ledger.rng(name)))
        if value is None:
            return
        floor = self.ledger.attempt(f"{title}, of real text", lambda: measure(*theirs, self.ledger.rng(name, "floor")))
        self.ledger.add(name, title, value, floor, better, unit=unit, of=self.of)

    # -- likeness ----------------------------------------------------------------------------------

    def lengths(self) -> None:
        """Mean number of characters."""
        ours, theirs = (np.array([len(text) for text in side], dtype=np.float64) for side in (self.made, self.real))
        self._both("length", "Characters of a text", "characters", mean, (ours,), (theirs,))

    def told_apart(self) -> None:
        """Whether a classifier tells samples from held-out text; the floor: training from held-out text."""
        n = min(len(self.made), len(self.real), len(self.train))
        made, real, train = (side[:n] for side in (self.made, self.real, self.train))
        title = "Classifier two-sample test, by letters"
        value = self.ledger.attempt(title, lambda: two_sample(made, real, self.ledger.rng("c2st")))
        if value is not None:
            floor = self.ledger.attempt(
                f"floor of the {title.lower()}", lambda: two_sample(train, real, self.ledger.rng("c2st", "floor"))
            )
            self.ledger.add("two_sample", title, value, floor, "floor", unit="share", of=(n, n))

    # -- form --------------------------------------------------------------------------------------

    def forms(self, given: dict[str, Tensor]) -> tuple[FormRow, ...]:
        """Share of the samples that keep the layout of their class, where the data has such layouts."""
        label = self.spec.label
        if not self.spec.x.framed:
            return ()
        forms = find_forms(*self._labelled(self.dataset.train, label))
        if forms is None:
            return ()
        classes = self.spec.columns[label].classes if label else ("",)
        asked = given[label].numpy() if label else np.zeros(len(self.made), dtype=np.int64)
        kept, of = forms.kept(self.made, asked)
        real, real_of = forms.kept(*self._labelled(self.dataset.test, label))
        if not len(kept):
            return ()
        value = mean(kept.astype(np.float64), self.ledger.rng("form"))
        floor = self.ledger.attempt(
            "form of real text", lambda: mean(real.astype(np.float64), self.ledger.rng("form", "floor"))
        )
        title = "Keeps the form of its class" if label else "Keeps the form of the data"
        self.ledger.add("form", title, value, floor, "higher", unit="share", of=(len(real), len(kept)))
        return tuple(
            FormRow(
                label=classes[c],
                form=form_text(form),
                n_fake=int((of == c).sum()),
                kept=float(kept[of == c].mean()),
                real=float(real[real_of == c].mean()) if (real_of == c).any() else None,
            )
            for c, form in sorted(forms.by_class.items())
            if (of == c).any()
        )

    def _labelled(self, table: Table, label: str | None) -> tuple[list[str], NDArray[np.int64]]:
        """Texts of a split and the class of each."""
        rows = np.sort(self.ledger.rng("forms").permutation(len(table))[:FORMS_FROM])
        texts = texts_of(table, self.target, rows)
        return texts, (np.zeros(len(rows), np.int64) if label is None else table.columns[label].take(rows).numpy())

    # -- copies ------------------------------------------------------------------------------------

    def copies(self) -> tuple[CopiedPassage, ...]:
        """Shares of runs of characters and words that stand in the training text; the longest passages."""
        script = self.script
        training = copies.Training.of(self.known, script)
        if sum(len(passage.text) for passage in self.known) >= MOST_TRAINING:
            self.ledger.warnings.append(
                f"Copies were looked for in the first {MOST_TRAINING // 10**6} million characters of training text."
            )
        n = len(self.made)
        folded = [fold(text, script) for text in (*self.made, *self.real)]
        lines = [part.text for part in folded]
        letters, source = [copies.codes(line) for line in lines], copies.codes(training.text)
        for size in script.copied:
            self._copied(f"copied_{size}", f"Runs of {size} characters", copies.found_in(letters, source, size))
        if script.copied_words:
            words = [copies.word_codes(script.words(line)) for line in lines]
            text = copies.word_codes(script.words(training.text))
            for size in script.copied_words:
                self._copied(f"copied_words_{size}", f"Runs of {size} words", copies.found_in(words, text, size))
        if not script.spaced:
            self.ledger.notes.append("Copied characters are letters and digits; punctuation is passed over.")
        level = script.copied[0] // 2
        best, usual = (
            copies.longest(lines[side], training, letters[side], source, level) for side in (slice(n), slice(n, None))
        )
        if best or usual:
            sizes = [max((stretch.size for stretch in side.values()), default=0) for side in (best, usual)]
            value, floor = (Estimate(float(size)) for size in sizes)
            title = "Longest passage in training text"
            self.ledger.add("longest_copied", title, value, floor, "no more", unit="characters", of=self.of)
        ranked = sorted(best.items(), key=lambda pair: -pair[1].size)[:LISTED]
        return tuple(
            CopiedPassage(
                sample=i,
                text=folded[i].cut(stretch.start, min(stretch.end, stretch.start + SHOWN))
                + (" …" if stretch.size > SHOWN else ""),
                characters=stretch.size,
                train_row=(row := training.row(stretch.position)),
                train_name=where(self.dataset.train, row, *training.place(stretch.position)),
            )
            for i, stretch in ranked
        )

    def _copied(self, name: str, what: str, found: Sequence[NDArray[np.bool_]]) -> None:
        """Share of the runs that were found in the training text; those of the samples come first."""
        n = len(self.made)
        title = f"{what} in training text"
        self._both(name, title, "share", copies.copied, (found[:n],), (found[n:],), better="no more")
