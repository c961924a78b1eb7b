"""Judges a generator on held-out data: every number with its interval, beside what real items score."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.measure import Found, Measure, TooFew, unique
from maquette.core.modality import part
from maquette.core.progress import stage, track
from maquette.core.spec import ColumnSpec, TokenSpec
from maquette.core.table import Dataset
from maquette.evaluation.bootstrap import difference
from maquette.evaluation.damage import missed, tried
from maquette.evaluation.evidence import Best, Evidence, Sample
from maquette.evaluation.features import Notify, order
from maquette.evaluation.held_out import other_data, split_name
from maquette.evaluation.measures import measures_in
from maquette.evaluation.measures.likelihood import Effort
from maquette.evaluation.results import Evaluation, Metric, Settings
from maquette.evaluation.sizes import size_warnings

RESAMPLES = 1000  # of a mean, see bootstrap.py; measures that take long have fewer


def evaluate(
    generator: Generator,
    dataset: Dataset,
    *,
    features: str | None = None,
    samples: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
    notify: Notify | None = None,
    effort: Effort | None = None,
    own_data: bool = True,
    best: Best | None = None,
) -> Evaluation:
    """Measures a generator against the held-out split of its data, by all measures that apply to what it makes.

    features: the network that distances are measured in, one of `feature_names`; None: the first of them
    samples:  how many items to generate; None: by the size of the data and of an item
    seed:     of the sample and of every resample: the same seed gives the same numbers
    cache:    folder of feature networks; None: $MAQUETTE_CACHE or the user's cache
    notify:   called with one line of progress at a time
    effort:   for models that know likelihoods, how exactly to measure them
    own_data: whether the model was trained on this very data; if not, copies cannot be looked for in it
    best:     of sequences made from a source: given tensors -> the best target i64[B, T] by a search for it;
              None: the most likely token at each step

    A measure that the data is too small for is left out, and a warning names it. UserError where nothing can be judged.
    """
    started = time.monotonic()
    if samples is not None and samples < 2:
        raise UserError(f"samples = {samples}: it takes at least 2 to compare.", "Leave it out, or ask for 200.")
    if seed < 0:
        raise UserError(f"seed = {seed}: a seed is 0 or more.", "Use 0, 1, 2, ...")
    sample = Sample(generator, dataset, samples, seed, best, notify or (lambda line: None))
    targets = generator.spec.target
    evidence = [Evidence(sample, name, features, cache, effort, own_data) for name in targets]
    sample.notify(f"Making {sample.n:,} {' and '.join(dict.fromkeys(part.nouns[1] for part in evidence))}.")
    metrics = [metric for part in evidence for metric in _measured(part, first=part is evidence[0])]
    warnings = [line for part in evidence for line in _warnings(part)]
    names = [f"{part.column}: " if len(targets) > 1 else "" for part in evidence]
    return Evaluation(
        metrics=tuple(metrics),
        details={
            f"{name}{table}": [row.model_dump(mode="json") for row in rows]
            for name, part in zip(names, evidence, strict=True)
            for table, rows in part.details.items()
        },
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(dict.fromkeys(note for part in evidence for note in part.notes)),
        settings=_settings(evidence, time.monotonic() - started),
    )


def measures_of(kind: str) -> tuple[Measure, ...]:
    """What is measured of items of a kind: the general measures and the modality's own, which may replace them."""
    own = tuple(part(kind, "MEASURES", "measures") or ())
    names = {measure.name for measure in own}
    general = (measure for measure in measures_in("maquette.evaluation.measures") if measure.name not in names)
    return tuple(sorted(unique((*general, *own)), key=lambda measure: measure.place))


def feature_names(kind: str) -> tuple[str, ...]:
    """The networks that distances between items of a kind can be measured in; () where there are none."""
    return tuple(part(kind, "FEATURES", "features") or ())


def _measured(evidence: Evidence, first: bool) -> list[Metric]:
    """The metrics of one column; of the model as a whole, with the first of them."""
    found = []
    for measure in track(measures_of(evidence.spec.kind), f"measuring {evidence.nouns[1]}", even=False):
        if measure.whole and not first:
            continue
        try:
            with stage(_worded(measure.title, evidence)):
                value = measure.of(evidence)
        except TooFew as reason:
            evidence.left_out(measure.title, reason)
            continue
        if value is not None:
            found.append((measure, value))
    rows = tried(evidence, [measure for measure, _ in found])
    if rows:
        evidence.details["damage"] = list(rows)
    return [_metric(measure, value, evidence, missed(rows, measure.name)) for measure, value in found]


def _worded(phrase: str, evidence: Evidence) -> str:
    one, many = evidence.nouns
    return phrase.replace("{items}", many).replace("{item}", one)


def _metric(measure: Measure, found: Found, evidence: Evidence, missed: tuple[str, ...]) -> Metric:
    title, features, prefix = found.title or measure.title, None, ""
    if measure.rests_on == "tokens":
        features = "tokens"
    elif measure.rests_on == "features" and evidence.network is not None:
        features = evidence.network.name
        title += f", {features} features"
    if len(evidence.generator.spec.target) > 1 and not measure.whole:
        prefix = f"{evidence.column}: "
    value, floor = found.value, found.floor
    gap = difference(value, floor) if floor else None
    metric = Metric(
        name=prefix + measure.name,
        title=prefix + _worded(title, evidence),
        value=value.value,
        low=value.low,
        high=value.high,
        floor=floor.value if floor else None,
        floor_low=floor.low if floor else None,
        floor_high=floor.high if floor else None,
        gap_low=gap.low if gap else None,
        gap_high=gap.high if gap else None,
        matters=measure.least(floor.value) if floor else None,
        missed=missed,
        better=measure.better,
        features=features,
        unit=measure.unit,
        p_value=value.p_value,
        n_real=found.n_real,
        n_fake=found.n_fake,
        asks=_worded(measure.asks, evidence),
    )
    says = f"{_worded(measure.says(metric), evidence)} {found.says}".strip()
    return metric.model_copy(update={"reading": says})


# -- what is said of the evaluation ------------------------------------------------------------------


def _warnings(evidence: Evidence) -> list[str]:
    """What makes the numbers of a column less sure first, what was left out last."""
    data, sample, items = evidence.dataset, evidence.sample, evidence.nouns[1]
    found = []
    if not evidence.own_data:
        found.append(other_data(not sample.paired, items))
    if evidence.network is not None:
        sizes = (sample.n, len(evidence.real), len(evidence.reserve), order(len(data.train))[1])
        found += size_warnings(evidence.nouns, *sizes, evidence.network.dim, evidence.network.learned)
    elif len(data.test) < 100:
        n = len(data.test)
        end = ", or missing." if n < 2 else "."
        found.append(f"Only {n} held-out {evidence.called(n)}: intervals are wide{end}")
    reasons: dict[str, list[str]] = {}
    for title, reason in evidence.missing:
        reasons.setdefault(reason, []).append(title)
    left = [_worded(f"Left out: {_listed(titles)}: {reason}.", evidence) for reason, titles in reasons.items()]
    return [*found, *evidence.warnings, *left]


def _listed(titles: Sequence[str]) -> str:
    """a and b, or a; b and c: the titles have commas of their own."""
    return titles[0] if len(titles) == 1 else f"{'; '.join(titles[:-1])} and {titles[-1]}"


def _settings(evidence: Sequence[Evidence], seconds: float) -> Settings:
    first = evidence[0]
    data, sample, spec = first.dataset, first.sample, first.generator.spec
    network = next((part.network for part in evidence if part.network is not None), None)
    classified = next((part for part in evidence if part.classifier is not None), None)
    tokens = next((part for part in evidence if isinstance(part.spec, TokenSpec)), None)
    accuracy = None
    if classified is not None and classified.truth is not None and classified.real.classes is not None:
        accuracy = float(np.equal(classified.real.classes, classified.truth).mean())
    nouns = {part.nouns for part in evidence}
    settings = Settings(
        nouns=nouns.pop() if len(nouns) == 1 else ("item", "items"),
        column=", ".join(spec.target),
        samples=sample.n,
        seed=sample.seed,
        classifier=classified.classifier.identity if classified is not None and classified.classifier else None,
        classifier_accuracy=accuracy,
        source=data.source,
        split=split_name(data),
        own_data=first.own_data,
        fingerprint=data.fingerprint,
        n_train=data.train.items,
        n_test=len(data.test),
        conditional=bool(spec.given),
        resamples=RESAMPLES,
        seconds=round(seconds, 1),
    )
    more: dict[str, object] = {}
    if tokens is not None:
        digest = part(tokens.spec.kind, "digest", "measures")
        more = {
            "features": "tokens",
            "network": token_identity(tokens.spec),
            "unit": getattr(tokens.spec, "unit", ""),
            "sampled": _sampled(sample),
            "held_out": digest(data.test, tokens.column) if digest else "",
        }
    if network is not None:
        more |= {"features": network.name, "network": network.identity, "feature_dim": network.dim}
    return settings.model_copy(update=more)


def token_identity(spec: ColumnSpec) -> str:
    """Names the tokens that numbers per token rest on, e.g. "char-72-5b1c...": the assets of the column tell them."""
    assets = "".join(getattr(spec, name) for name in spec.assets)
    return f"{getattr(spec, 'unit', '') or 'tokens'}-{spec.vocab}-{_digest(assets)}"


def _digest(assets: str) -> str:
    return hashlib.blake2b(assets.encode(), digest_size=4).hexdigest()


def _sampled(sample: Sample) -> str:
    """How sequences were made."""
    if not sample.paired:
        return "sampled at temperature 1"
    return "beam search" if sample.best else "the most likely token at each step"
