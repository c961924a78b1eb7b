"""Judges a generator of text on the held-out split: loss, translation, and what samples are like beside real text."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Streams
from maquette.core.rng import derive
from maquette.core.table import Dataset
from maquette.evaluation.bootstrap import TooFew, mean
from maquette.evaluation.columns import text_column
from maquette.evaluation.held_out import other_data, split_name
from maquette.evaluation.results import CopiedPassage, Evaluation, FormRow, Settings
from maquette.modalities.text.measures import translation
from maquette.modalities.text.measures.ledger import Ledger
from maquette.modalities.text.measures.loss import HeldOut, held_out, held_out_sliding
from maquette.modalities.text.measures.read import Write, decoded, text_digest, texts_of, tokenizer_identity
from maquette.modalities.text.measures.script import Script, script_of
from maquette.modalities.text.measures.written import Written

Say = Callable[[str], None]

SAMPLED_TOKENS = 60_000  # written for an evaluation, about
FEWEST, MOST = 100, 1000  # texts
TRANSLATED = 2000
SLIDING = 6e11  # tokens times parameters up to which the text is read a second and third time
RESAMPLES = 1000


def evaluate_texts(
    generator: Generator,
    dataset: Dataset,
    *,
    samples: int | None = None,
    seed: int = 0,
    say: Say | None = None,
    own_data: bool = True,
    write: Write | None = None,
) -> Evaluation:
    """Measures a generator of text; arguments as of `evaluation.evaluate`.

    samples: texts to write; None: 100 to 1,000 by the length of a text, no more than are held out, and 20 at least
    """
    return _TextJudge(generator, dataset, samples, seed, say, own_data, write).run()


class _TextJudge:
    """One evaluation under way: what has been found so far, and what it was found with."""

    def __init__(
        self,
        generator: Generator,
        dataset: Dataset,
        samples: int | None,
        seed: int,
        say: Say | None,
        own_data: bool,
        write: Write | None,
    ) -> None:
        self.started = time.monotonic()
        self.generator, self.dataset, self.seed = generator, dataset, seed
        self.say: Say = say or (lambda line: None)
        self.own_data, self.write = own_data, write
        self.ledger = Ledger(seed)
        self.target = text_column(generator.spec, dataset)
        self.spec = generator.spec.columns[self.target]
        self.n_train, self.n_test = len(dataset.train), len(dataset.test)
        if min(self.n_train, self.n_test) < 1:
            raise UserError(
                f"There are {self.n_train} training and {self.n_test} held-out texts: nothing to judge by.",
                "Evaluation needs at least one of each; add text.",
            )
        if samples is not None and samples < 2:
            raise UserError(f"samples = {samples}: it takes at least 2 to compare.", "Leave it out, or ask for 200.")
        if seed < 0:
            raise UserError(f"seed = {seed}: a seed is 0 or more.", "Use --seed 0, 1, 2, ...")
        self.asked = samples
        some = np.random.default_rng(derive(seed, "script")).permutation(self.n_train)[:500]
        self.script: Script = script_of(texts_of(dataset.train, self.target, np.sort(some)))

    def run(self) -> Evaluation:
        self._loss()
        forms: tuple[FormRow, ...] = ()
        found: tuple[CopiedPassage, ...] = ()
        if self.generator.spec.source is not None:
            n, sampled = self._translate()
        else:
            n, sampled, forms, found = self._sampled()
        if not self.own_data:
            self.ledger.warnings.insert(0, other_data(self.generator.spec.source is None, "texts"))
        if self.n_test < 100:
            things = "text" if self.spec.framed else "window"
            self.ledger.warnings.append(
                f"Only {self.n_test} held-out {things}{'' if self.n_test == 1 else 's'}: intervals are wide"
                + (", or missing." if self.n_test < 2 else ".")
            )
        spec, data = self.generator.spec, self.dataset
        settings = Settings(
            kind="text", samples=n, seed=self.seed, unit=self.spec.unit, sampled=sampled, source=data.source,
            split=split_name(data), own_data=self.own_data,
            features="tokens", network=tokenizer_identity(self.spec),
            held_out=text_digest(data.test, self.target), fingerprint=data.fingerprint,
            n_train=data.train.items, n_test=self.n_test,
            conditional=spec.label is not None, resamples=RESAMPLES,
            seconds=round(time.monotonic() - self.started, 1),
        )  # fmt: skip
        return Evaluation(
            metrics=tuple(self.ledger.metrics),
            forms=forms,
            passages=found,
            warnings=tuple(self.ledger.warnings),
            notes=tuple(self.ledger.notes),
            settings=settings,
        )

    # -- likelihood --------------------------------------------------------------------------------

    def _loss(self) -> None:
        model, device = self.generator.model, self.generator.device
        if not isinstance(model, Streams):
            self.ledger.left_out("held-out loss", "this model does not say how likely a token is")
            return
        self.say(f"Scoring {self.n_test:,} held-out {'texts' if self.spec.framed else 'windows'}.")
        try:
            found = held_out(model, self.dataset.test, self.generator.spec, device, self.say)
        except TooFew as reason:
            self.ledger.left_out("held-out loss", reason)
            return
        if not np.isfinite(found.nats).all():
            raise UserError(
                "The model gives held-out text probabilities that are not finite.",
                "Its training failed; resume from an earlier checkpoint or train again.",
            )
        context, of = self.spec.shape[0] - 1, (self.n_test, 0)
        how = "" if self.spec.framed else f", windows of {context}, no overlap"
        value = found.per_token(self.ledger.rng("nats"))
        self.ledger.add("nats_per_token", f"Nats per token{how}", value, of=of, unit="nats/token", features="tokens")
        value = found.perplexity(self.ledger.rng("nats"))
        self.ledger.add("perplexity", f"Perplexity per token{how}", value, of=of, features="tokens")
        self._characters(found, how, "")
        tokens, characters = found.tokens.sum(), found.characters.sum()
        self.ledger.notes.append(
            f"The loss is over all {self.n_test:,} held-out {'texts' if self.spec.framed else 'windows'}: "
            f"{tokens:,.0f} tokens ({self.spec.unit or 'tokens'}, vocabulary {self.spec.vocab:,}), "
            f"{characters:,.0f} characters; each token is predicted once, from what stands before it in its "
            + ("text. The end of a text is a token to predict, and no character." if self.spec.framed else
               f"window of {context} tokens. Windows do not overlap, so the first tokens of each have little before "
               "them.")
        )  # fmt: skip
        if self.spec.framed or self.generator.spec.given:
            return
        size = sum(p.numel() for net in self.generator.model.kept.values() for p in net.parameters())
        if tokens * size > SLIDING:
            self.ledger.notes.append(
                "The loss with sliding windows was left out: this model would take minutes for it."
            )
            return
        self.say("Again with sliding windows.")
        stride = max(1, min(model.context, context) // 2)
        how = f", sliding by {stride}"
        self._characters(held_out_sliding(model, self.dataset.test, self.generator.spec, device), how, "_sliding")
        self.ledger.notes.append(
            f"Sliding windows move by {stride} tokens, and each scores its newer half: at least {stride} tokens stand "
            "before each scored one. Compare only numbers of one protocol."
        )

    def _characters(self, found: HeldOut, how: str, suffix: str) -> None:
        for bits, name, unit in ((True, "bits_per_char", "bits/character"), (False, "nats_per_char", "nats/character")):
            value = found.per_character(self.ledger.rng("characters"), bits)
            self.ledger.add(
                f"{name}{suffix}",
                f"{unit.split('/')[0].capitalize()} per character{how}",
                value,
                of=(self.n_test, 0),
                unit=unit,
            )

    # -- with a source -----------------------------------------------------------------------------

    @torch.no_grad()
    def _translate(self) -> tuple[int, str]:
        data, spec, script = self.dataset.test, self.generator.spec, self.script
        n = min(self.n_test, self.asked or TRANSLATED)
        rows = np.arange(self.n_test)
        if n < self.n_test:
            rows = np.sort(self.ledger.rng("translated").permutation(self.n_test)[:n])
            self.ledger.notes.append(f"{n:,} of the {self.n_test:,} held-out texts were translated, drawn at random.")
        lengths = data.lengths(spec)
        order = rows if lengths is None else rows[np.argsort(np.asarray(lengths)[rows], kind="stable")]
        self.say(f"Writing {n:,} texts from their sources.")
        made: dict[int, str] = {}
        real: dict[int, str] = {}
        for start in range(0, n, 50):
            part = order[start : start + 50]
            batch = data.batch(part, spec)
            made |= zip(part.tolist(), decoded(self._written(batch.given), self.spec), strict=True)
            real |= zip(part.tolist(), decoded(batch.x, self.spec), strict=True)
        ours, theirs = [made[i] for i in rows.tolist()], [real[i] for i in rows.tolist()]
        of = (n, n)
        cased = translation.bleu(ours, theirs, script, self.ledger.rng("bleu"))
        lower = translation.bleu(ours, theirs, script, self.ledger.rng("bleu"), lower=True)
        letters = translation.chrf(ours, theirs, self.ledger.rng("chrf"))
        for name, title, scored in (("bleu", "BLEU", cased), ("bleu_lc", "BLEU, lower-cased", lower),
                                    ("chrf", "chrF", letters)):  # fmt: skip
            self.ledger.add(name, title, scored.estimate, better="higher", unit="points", of=of,
                            signature=scored.signature)  # fmt: skip
        for name, value in translation.rouge(ours, theirs, script, self.ledger.rng("rouge")).items():
            title = f"ROUGE-{name.removeprefix('rouge_').upper()}"
            self.ledger.add(name, title, value, better="higher", unit="points", of=of)
        exact = translation.exact(ours, theirs, self.ledger.rng("exact"))
        self.ledger.add("exact", "Same as the reference", exact, better="higher", unit="share", of=of)
        value, floor = (
            mean(np.array([len(text) for text in side]), self.ledger.rng("length", word))
            for side, word in ((ours, "ours"), (theirs, "theirs"))
        )
        self.ledger.add("length", "Characters of a text", value, floor, "floor", unit="characters", of=of)
        self.ledger.notes += [
            f"BLEU: {cased.signature}",
            f"BLEU, lower-cased: {lower.signature}",
            f"chrF: {letters.signature}",
            f"ROUGE: F-scores by {script.word}s, lower-cased, no stemming",
        ]
        return n, "beam search" if self.write else "the most likely token at each step"

    def _written(self, given: dict[str, Tensor]) -> Tensor:
        if self.write is not None:
            return self.write(given).cpu()
        n = len(next(iter(given.values())))
        return self.generator.sample(n, given, self.seed, temperature=0.0)[self.target]

    # -- without a source --------------------------------------------------------------------------

    def _count(self) -> int:
        if self.asked is not None:
            return self.asked
        mean_length = self.spec.mean_length or self.spec.shape[0]
        affordable = int(SAMPLED_TOKENS / max(mean_length, 1))
        return int(min(np.clip(affordable, FEWEST, MOST), max(self.n_test, 20)))

    def _sampled(self) -> tuple[int, str, tuple[FormRow, ...], tuple[CopiedPassage, ...]]:
        n = self._count()
        self.say(f"Writing {n:,} texts.")
        given = self.generator.given_for(n, seed=self.seed)
        made = decoded(self.generator.sample(n, given, self.seed, chunk=200)[self.target], self.spec)
        empty = sum(not text.strip() for text in made)
        if empty:
            self.ledger.warnings.append(f"{empty:,} of the {n:,} samples are empty.")
        self.say("Measuring.")
        written = Written(made, self.dataset, self.generator.spec, self.script, self.ledger)
        if self.spec.framed:
            written.lengths()
        written.variety()
        written.told_apart()
        forms = written.forms(given)
        found: tuple[CopiedPassage, ...] = ()
        if self.own_data:
            self.say("Looking for passages of the training text.")
            found = written.copies()
        return n, "sampled at temperature 1", forms, found
