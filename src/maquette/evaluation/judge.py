"""Judges a generator on held-out pictures: every number with its interval, beside what real data scores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maquette.core.errors import UserError, nearest
from maquette.core.generator import Generator
from maquette.core.model import Encodes, FlowMap, Scores, UsesCodec
from maquette.core.rng import derive
from maquette.core.table import Dataset
from maquette.evaluation import classes as by_class
from maquette.evaluation import copies as copying
from maquette.evaluation.bootstrap import Array, Estimate, TooFew, mean
from maquette.evaluation.columns import image_column, label_column
from maquette.evaluation.features import FeatureNetwork, chunks
from maquette.evaluation.frechet import frechet
from maquette.evaluation.held_out import other_data, split_name
from maquette.evaluation.inception import inception_features
from maquette.evaluation.kernel import kernel_distance
from maquette.evaluation.likelihood import Effort, coding, effort_for, likelihood, log_likelihood, psnr
from maquette.evaluation.manifold import Manifold, manifold
from maquette.evaluation.own_features import RESERVE, OwnFeatures, order, own_features
from maquette.evaluation.readings import reading
from maquette.evaluation.results import Better, ClassRow, Copy, Evaluation, Metric, Settings
from maquette.evaluation.sizes import size_warnings
from maquette.evaluation.two_sample import two_sample
from maquette.modalities.text.measures.read import Write

FEATURES = ("own", "inception")
MOST_REAL = 10_000
MOST_CONTROL = 5_000
LISTED_COPIES = 24
RESAMPLES = 200
POOR = 0.8  # accuracy of the classifier under which class numbers say little

Labels = NDArray[np.int64]
Say = Callable[[str], None]


def evaluate(
    generator: Generator,
    dataset: Dataset,
    *,
    features: str = "own",
    samples: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    say: Say | None = None,
    effort: Effort | None = None,
    own_data: bool = True,
    write: Write | None = None,
) -> Evaluation:
    """Measures a generator of pictures or of text against the held-out split of its data.

    features: "own" (a network trained on the user's data) or "inception" (the standard FID's)
    samples:  how many pictures to generate; None: as many as the floor can be measured with, 500 to 5,000
    seed:     of the sample and of every resample: the same seed gives the same numbers
    cache:    folder of feature networks; None: $MAQUETTE_CACHE or the user's cache
    say:      called with one line of progress at a time
    effort:   for models that know likelihoods, how exactly to measure them
    own_data: whether the model was trained on this very data; if not, copies cannot be looked for in it
    write:    of text with a source: given tensors i64[B, S] -> the best target i64[B, T] by a search for it;
              None: the most likely token at each step. features, cache and effort are of pictures.

    A measure that the data is too small for is left out, and a warning names it.
    """
    if {generator.spec.columns[name].kind for name in generator.spec.target} == {"text"}:
        from maquette.modalities.text.measures.judge import evaluate_texts

        return evaluate_texts(generator, dataset, samples=samples, seed=seed, say=say, own_data=own_data, write=write)
    return _Judge(generator, dataset, features, samples, seed, cache, say, effort, own_data).run()


@dataclass(frozen=True)
class _View:
    """n pictures as the judge sees them: features f64[n, D], classes i64[n] or None, small f32[n, d] or None."""

    features: Array
    classes: Labels | None
    small: Tensor | None


class _Judge:
    """One evaluation under way: what has been found so far, and what it was found with."""

    def __init__(
        self,
        generator: Generator,
        dataset: Dataset,
        features: str,
        samples: int | None,
        seed: int,
        cache: Path | None,
        say: Say | None,
        effort: Effort | None,
        own_data: bool,
    ) -> None:
        self.started = time.monotonic()
        self.generator, self.dataset, self.seed = generator, dataset, seed
        self.say: Say = say or (lambda line: None)
        self.effort, self.own_data = effort or effort_for(generator.spec), own_data
        self.metrics: list[Metric] = []
        self.warnings: list[str] = []
        self.target = image_column(generator.spec, dataset)
        self.n_train, self.n_test = len(dataset.train), len(dataset.test)
        if min(self.n_train, self.n_test) < 2:
            raise UserError(
                f"There are {self.n_train} training and {self.n_test} held-out pictures: too few to judge by.",
                "Evaluation needs at least 2 of each; add pictures.",
            )
        if samples is not None and samples < 2:
            raise UserError(f"samples = {samples}: it takes at least 2 to compare.", "Leave it out, or ask for 500.")
        if seed < 0:
            raise UserError(f"seed = {seed}: a seed is 0 or more.", "Use --seed 0, 1, 2, ...")
        reserve = min(RESERVE, self.n_train // 3)
        self.n_fake = max(reserve, 500) if samples is None else samples
        self.label = label_column(generator.spec, dataset)
        self.network, self.classifier = self._networks(features, cache)

    def _networks(self, features: str, cache: Path | None) -> tuple[FeatureNetwork, OwnFeatures | None]:
        device = self.generator.device
        if features not in FEATURES:
            raise UserError(f"There are no features called {features!r}.", nearest(features, FEATURES))
        inception = inception_features(cache, device) if features == "inception" else None
        if inception is not None and self.label is None:
            return inception, None
        own = own_features(self.dataset, self.target, self.label, device, cache, self.say)
        return inception or own, own if self.label else None

    # -- looking -----------------------------------------------------------------------------------

    def _look(self, images: Iterable[Tensor], small: bool = True) -> _View:
        features, classes, shrunk = [], [], []
        for chunk in images:
            seen = self.network.see(iter([chunk]))
            features.append(seen.features)
            if self.classifier is not None:
                named = seen if self.classifier is self.network else self.classifier.see(iter([chunk]))
                assert named.classes is not None
                classes.append(named.classes)
            if small:
                shrunk.append(copying.shrink(chunk))
        return _View(
            np.concatenate(features),
            np.concatenate(classes) if classes else None,
            torch.cat(shrunk) if shrunk else None,
        )

    def run(self) -> Evaluation:
        data, n = self.dataset, self.n_fake
        self.say(f"Generating {n:,} pictures.")
        given = self.generator.labels(n, seed=self.seed)
        fake = self._look(part[self.target] for part in self.generator.stream(n, given, self.seed))
        if not np.isfinite(fake.features).all():
            raise UserError(
                "The generator makes pictures with numbers that are not finite.",
                "Its training failed; resume from an earlier checkpoint or train again.",
            )
        self.say("Looking at the held-out pictures.")
        rows = np.random.default_rng(derive(self.seed, "test")).permutation(self.n_test)[:MOST_REAL]
        real = self._look(chunks(data.test.columns[self.target], rows))
        # The reserve comes first: training pictures that the feature network has not seen.
        shuffled, reserved = order(self.n_train)
        floor = self._look(chunks(data.train.columns[self.target], shuffled[:n]), small=False)
        sizes = (n, len(real.features), len(floor.features), reserved)
        self.warnings += size_warnings(*sizes, self.network.dim, self.network.name == "own")

        self.say("Measuring.")
        self._distances(fake.features, real.features, floor.features)
        by_item = self._manifold(fake.features, real.features, floor.features)
        asked = self._asked(given)
        table = self._classes(fake, real, floor, rows, asked, by_item)
        copies = self._copies(fake, real, asked)
        self._likelihood()
        self._coding()
        accuracy = None
        if real.classes is not None and self.label:
            accuracy = float((real.classes == self._labels(rows)).mean())
        settings = Settings(
            samples=n,
            seed=self.seed,
            features=self.network.name,
            network=self.network.identity,
            feature_dim=self.network.dim,
            classifier=self.classifier.identity if self.classifier else None,
            classifier_accuracy=accuracy,
            source=data.source,
            split=split_name(data),
            own_data=self.own_data,
            fingerprint=data.fingerprint,
            n_train=self.n_train,
            n_test=self.n_test,
            conditional=self.generator.spec.label is not None,
            resamples=RESAMPLES,
            seconds=round(time.monotonic() - self.started, 1),
        )
        return Evaluation(
            metrics=tuple(self.metrics),
            per_class=table,
            copies=copies,
            warnings=tuple(self.warnings),
            settings=settings,
        )

    # -- measuring ---------------------------------------------------------------------------------

    def _rng(self, *words: str) -> np.random.Generator:
        return np.random.default_rng(derive(self.seed, "evaluate", *words))

    def _add(
        self,
        name: str,
        title: str,
        value: Estimate,
        floor: Estimate | None = None,
        better: Better = "lower",
        *,
        n_real: int,
        n_fake: int = 0,
        unit: str = "",
        features: str | None = None,
    ) -> None:
        if features:
            title = f"{title}, {features} features"
        metric = Metric(
            name=name,
            title=title,
            value=value.value,
            low=value.low,
            high=value.high,
            floor=floor.value if floor else None,
            floor_low=floor.low if floor else None,
            floor_high=floor.high if floor else None,
            better=better,
            p_value=value.p_value,
            n_real=n_real,
            n_fake=n_fake,
            unit=unit,
            features=features,
        )
        self.metrics.append(metric.model_copy(update={"reading": reading(metric)}))

    def _left_out(self, title: str, reason: TooFew) -> None:
        self.warnings.append(f"Left out: {title}: {reason}.")

    def _distances(self, fake: Array, real: Array, floor: Array) -> None:
        measures: list[tuple[str, str, Better, str, Callable[[Array, Array, np.random.Generator], Estimate]]] = [
            ("frechet", "Fréchet distance", "lower", "", frechet),
            ("kernel", "Kernel distance", "lower", "", kernel_distance),
            ("two_sample", "Classifier two-sample test", "floor", "share", two_sample),
        ]
        for name, title, better, unit, measure in measures:
            try:
                value = measure(fake, real, self._rng(name))
                base = measure(floor, real, self._rng(name, "floor"))
            except TooFew as reason:
                self._left_out(title, reason)
                continue
            n_real, n_fake = len(real), len(fake)
            self._add(
                name, title, value, base, better, unit=unit, features=self.network.name, n_real=n_real, n_fake=n_fake
            )

    def _manifold(self, fake: Array, real: Array, floor: Array) -> Manifold | None:
        try:
            found, base = manifold(fake, real), manifold(floor, real)
        except TooFew as reason:
            self._left_out("precision, recall, density and coverage", reason)
            return None
        values, floors = found.estimates(self._rng("manifold")), base.estimates(self._rng("manifold", "floor"))
        n_real, n_fake = len(found.recall), len(found.precision)
        for name in ("precision", "recall", "density", "coverage"):
            unit = "" if name == "density" else "share"
            self._add(
                name, name.capitalize(), values[name], floors[name], "higher",
                unit=unit, features=self.network.name, n_real=n_real, n_fake=n_fake,
            )  # fmt: skip
        return found

    def _labels(self, rows: Labels) -> Labels:
        assert self.label is not None
        return self.dataset.test.columns[self.label].take(rows).numpy()

    def _asked(self, given: dict[str, Tensor]) -> Labels | None:
        """The class asked of each generated picture, in the data's numbering."""
        spec = self.generator.spec
        if not self.label or spec.label != self.label:
            return None
        ours, theirs = spec.columns[self.label].classes, self.dataset.train.columns[self.label].spec.classes
        if ours != theirs:
            self.warnings.append("Left out: class accuracy: the model was trained on other classes than the data has.")
            return None
        return given[self.label].cpu().numpy()

    def _classes(
        self, fake: _View, real: _View, floor: _View, rows: Labels, asked: Labels | None, items: Manifold | None
    ) -> tuple[ClassRow, ...]:
        if self.label is None or fake.classes is None or real.classes is None or floor.classes is None:
            return ()
        names = self.dataset.train.columns[self.label].spec.classes
        truth = self._labels(rows)
        limit = by_class.agreement(truth, real.classes, self._rng("classes", "floor"))
        if limit.value < POOR:
            self.warnings.append(
                f"The classifier is right about only {limit.value:.0%} of held-out pictures, "
                "so the class numbers say little, and features learned with it are weak."
            )
        n_real, n_fake = len(truth), self.n_fake
        if asked is not None:
            value = by_class.agreement(asked, fake.classes, self._rng("classes"))
            title = "Class accuracy, own classifier"
            self._add("class_accuracy", title, value, limit, "higher", unit="share", n_real=n_real, n_fake=n_fake)
        for name, title, unit, measure in (
            ("class_shares", "Class shares off by, own classifier", "share", by_class.share_distance),
            ("missing_classes", "Missing classes, own classifier", "classes", by_class.missing),
        ):
            try:
                value = measure(fake.classes, real.classes, len(names), self._rng(name))
                base = measure(floor.classes, real.classes, len(names), self._rng(name, "floor"))
            except TooFew as reason:
                self._left_out(title, reason)
                continue
            self._add(name, title, value, base, "lower", unit=unit, n_real=n_real, n_fake=n_fake)
        smallest = int(np.bincount(truth, minlength=len(names)).min())
        if smallest < 50:
            self.warnings.append(
                f"The smallest class has {smallest} held-out pictures: its row in the table by class is uncertain."
            )
        return by_class.class_rows(
            names, truth, real.classes, fake.classes, asked,
            items.precision if items else None, items.coverage if items else None,
        )  # fmt: skip

    def _copies(self, fake: _View, real: _View, asked: Labels | None) -> tuple[Copy, ...]:
        if not self.own_data:
            self.warnings.insert(0, other_data(True, "pictures"))
            return ()
        assert fake.small is not None and real.small is not None
        self.say("Looking for copies of training pictures.")
        control = real.small[:MOST_CONTROL]
        column = self.dataset.train.columns[self.target]
        near = copying.nearest(torch.cat([fake.small, control]), chunks(column, size=4000))
        n = len(fake.small)
        mine, usual = near.distance[:n], near.distance[n:]
        try:
            value = copying.copies(mine, usual, self._rng("copies"))
            floor = copying.copies(usual, usual, self._rng("copies", "floor"))
        except TooFew as reason:
            self._left_out("copies of training pictures", reason)
        else:
            title = "Nearer to a training picture than 99% of real ones"
            self._add("copies", title, value, floor, "no more", unit="share", n_real=len(usual), n_fake=n)
        shares = copying.control_share(mine, usual)
        named = asked if asked is not None else fake.classes
        classes = self.dataset.train.columns[self.label].spec.classes if self.label else ()
        return tuple(
            Copy(
                sample=int(i),
                label=classes[named[i]] if named is not None else None,
                train_row=int(near.row[i]),
                train_name=str(self.dataset.train.names[int(near.row[i])]),
                distance=float(mine[i]),
                quantile=float(shares[i]),
            )
            for i in np.argsort(mine, kind="stable")[:LISTED_COPIES]
        )

    def _likelihood(self) -> None:
        model = self.generator.model
        if not isinstance(model, Scores):
            return
        self.say("Scoring held-out pictures.")
        if model.exact:
            self._log_likelihood(model)
            return
        try:
            found = likelihood(
                model, self.dataset.test, self.generator.spec, self.seed, self.effort, self.generator.device
            )
        except TooFew as reason:
            self._left_out("likelihood", reason)
            return
        n = len(found.elbo)
        self._add("elbo", "ELBO", mean(found.elbo, self._rng("elbo")), better="higher", unit="nats", n_real=n)
        best, samples = mean(found.bound, self._rng("iwae")), found.k
        self._add("iwae", f"Log-likelihood bound, {found.k} samples", best, better="higher", unit="nats", n_real=n)
        if found.large is not None:
            best, samples = found.large, found.large_k
            title = f"Log-likelihood bound, {samples:,} samples (on {found.large_items} pictures)"
            self._add("iwae_large", title, best, better="higher", unit="nats", n_real=n)
        if model.density == "none":
            self.warnings.append(
                "Grey pixels under a Bernoulli likelihood: the ELBO and the bounds are cross-entropies in nats, to "
                "compare with models trained in the same way, and no log-likelihoods (model.binarize=dynamic is one)."
            )
            return
        self._bits(f"Bits per dimension, {samples:,} samples", best, model, found.dims, n)

    def _log_likelihood(self, model: Scores) -> None:
        spec = self.generator.spec
        try:
            nats = log_likelihood(model, self.dataset.test, spec, self.seed, self.effort, self.generator.device)
        except TooFew as reason:
            self._left_out("likelihood", reason)
            return
        best, n = mean(nats, self._rng("log_likelihood")), len(nats)
        self._add("log_likelihood", "Log-likelihood", best, better="higher", unit="nats", n_real=n)
        dims = sum(math.prod(spec.columns[name].shape) for name in spec.target)
        self._bits("Bits per dimension", best, model, dims, n)

    def _bits(self, title: str, nats: Estimate, model: Scores, dims: int, n: int) -> None:
        if model.density == "continuous":  # of values in [-1, 1]; a step of an 8-bit pixel is 1 / 127.5 of that
            nats = nats.shifted(-dims * np.log(127.5))
        scale = -1 / (dims * np.log(2))
        value, low, high = (None if x is None else x * scale for x in (nats.value, nats.high, nats.low))
        assert value is not None
        self._add("bits_per_dim", title, Estimate(value, low, high), unit="bits/dim", n_real=n)

    def _coding(self) -> None:
        model = self.generator.model
        if not isinstance(model, Encodes) or isinstance(model, FlowMap):
            return  # a picture that is carried back to noise is all there: nothing was squeezed
        coder: Encodes = model.codec if isinstance(model, UsesCodec) else model
        spec, device = self.generator.spec, self.generator.device
        try:
            found = coding(coder, self.dataset.test, spec, self._rng("coding"), self.seed, device=device)
        except TooFew as reason:
            self._left_out("reconstruction", reason)
            return
        n = len(found.squared_error)
        title = f"Active units, of {found.latent_dim}"
        self._add("active_units", title, found.active, better="higher", unit="units", n_real=n)
        error = mean(found.squared_error, self._rng("reconstruction"))
        self._add("reconstruction", "Reconstruction error per pixel, squared", error, n_real=n)
        noise = psnr(found.squared_error, self._rng("reconstruction"))
        self._add("psnr", "Reconstruction, peak signal to noise", noise, better="higher", unit="dB", n_real=n)
