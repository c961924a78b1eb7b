"""From a source to a prepared data set: doctor, policy, decoding, duplicates, split, summary."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from maquette.core.recipe import DataConfig
from maquette.core.spec import ColumnSpec
from maquette.data import doctor
from maquette.data.cache import Cache, FileSink, MemorySink, Prepared, Sink, is_full_or_locked
from maquette.data.duplicates import Groups, Hasher, examples, sizes
from maquette.data.labels import Classes, classes
from maquette.data.sources import Say, Source
from maquette.data.split import Split, split
from maquette.data.survey import Survey
from maquette.data.text import digest, shown

VERSION = 1  # of what is written below and of how it is computed: raise it, and old caches are left alone
KEPT = 1000  # entries of a list in the summary; the counts are always whole


def way(config: DataConfig) -> tuple[object, ...]:
    """What decides how a source is prepared; `strict` only decides whether."""
    return (
        VERSION,
        config.of("image").size,
        config.of("image").fit,
        config.of("image").channels,
        config.test_share,
        config.split_seed,
    )


def prepare(source: Source, config: DataConfig, cache: Cache, say: Say) -> Prepared:
    """Prepares a source, or finds that its content was prepared before under another name or time."""
    started = time.perf_counter()
    survey = doctor.examine(source.load(say), config, say)
    doctor.enough(survey, len(survey.names), config.source)
    spec = doctor.policy(survey, config)
    doctor.leave_out_small(survey, spec, config)
    doctor.enough(survey, len(survey.names), config.source)
    content = _content(survey, config)
    known = cache.find(content)
    if known is not None:
        say("The same pictures were prepared before")
        known.summary |= _files_of(survey, known.summary) | {"kind": survey.kind}
        return known
    for note in survey.notes:
        say(note)
    try:
        with cache.staging() as folder:
            sink = FileSink(folder / "pixels.npy", (len(survey.names), *spec.shape))
            with contextlib.closing(sink):
                prepared = _assemble(survey, spec, config, content, sink, started, say)
                return cache.keep(folder, prepared)
    except OSError as error:
        if not is_full_or_locked(error):
            raise
        warning = (
            f"The cache '{cache.root}' cannot be written ({error.strerror}): the pictures stay in memory this time "
            "and are prepared again next time. Name another folder with MAQUETTE_CACHE."
        )
        say(warning)
        memory = MemorySink((len(survey.names), *spec.shape))
        prepared = _assemble(survey, spec, config, content, memory, started, say)
        prepared.summary["warnings"].append(warning)
        return prepared


def _content(survey: Survey, config: DataConfig) -> str:
    """Digest of the pictures, of what is known of each, and of how they are prepared."""
    columns = (
        (name, "\0".join("" if v is None else f"={v}" for v in values)) for name, values in survey.values.items()
    )
    names, splits = "\0".join(survey.names), "\0".join(side or "" for side in survey.splits)
    return digest([way(config), names, splits, *columns, *survey.content])


def _assemble(
    survey: Survey, spec: ColumnSpec, config: DataConfig, content: str, sink: Sink, started: float, say: Say
) -> Prepared:
    hasher, failed = Hasher(), dict[int, str]()
    total, done, last = len(survey.names), 0, time.perf_counter()
    say(f"Preparing {total:,} pictures as {' x '.join(map(str, spec.shape))}")
    for chunk in survey.chunks(spec, config.of("image").fit, list(range(total))):
        failed.update(chunk.failed)
        sink.add(chunk.pixels)
        hasher.add(chunk.pixels)
        done += len(chunk.rows)
        if time.perf_counter() - last > 2:
            last = time.perf_counter()
            say(f"Prepared {done:,} of {total:,} pictures")
        if failed:
            doctor.refuse_if_strict([(survey.names[i], reason) for i, reason in failed.items()], config)
    rows = np.array([i for i in range(total) if i not in failed], np.int64)
    # The zeros of failed pictures stay in the file, but no row points there. The survey itself is left as
    # it is: when the cache turns out to be full, all of this runs again.
    left_out = survey.left_out + [(survey.names[i], reason) for i, reason in failed.items()]
    survey = replace(survey, left_out=left_out, notes=list(survey.notes))
    doctor.enough(survey, len(rows), config.source)
    say(f"Looking for duplicates among {len(rows):,} pictures")
    pixels = sink.array()
    groups = hasher.groups(pixels, rows)
    own = [survey.splits[i] for i in rows]
    parts = split(hasher.digests[rows], groups, own, config.test_share, config.split_seed)
    columns = classes({n: [v[i] for i in rows] for n, v in survey.values.items()}, survey.notes)
    codes = np.zeros((len(columns), total), np.int32)
    for k, column in enumerate(columns.values()):
        codes[k, rows] = column.codes
    seconds = round(time.perf_counter() - started, 3)
    return Prepared(
        content, pixels, codes, rows[parts.train], rows[parts.test], [shown(name) for name in survey.names],
        {name: list(column.names) for name, column in columns.items()},
        _summary(survey, spec, config, columns, groups, parts, [shown(survey.names[i]) for i in rows], seconds),
    )  # fmt: skip


def _summary(
    survey: Survey, spec: ColumnSpec, config: DataConfig, columns: dict[str, Classes], groups: Groups, parts: Split,
    names: list[str], seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Facts for people and for the report; JSON-able, every name safe to print."""
    counted = {
        side: {name: _counts(column, rows) for name, column in columns.items()}
        for side, rows in (("train", parts.train), ("test", parts.test))
    }
    warnings = doctor.number(len(parts.train)) + survey.warnings
    for name in columns:
        warnings += doctor.balance(counted["train"][name], name)
    exact_groups, exact_extra = sizes(groups.exact)
    near_groups, near_extra = sizes(groups.near)
    shapes = Counter((fact.height, fact.width) for fact in survey.facts)
    channels, height, width = spec.shape
    return {
        "kind": survey.kind,
        "train": len(parts.train),
        "test": len(parts.test),
        **_files_of(survey, {}),
        "sizes": [{"height": h, "width": w, "pictures": n} for (h, w), n in shapes.most_common(10)],
        "different_sizes": len(shapes),
        "channels": dict(Counter(fact.colour for fact in survey.facts).most_common()),
        "formats": dict(Counter(fact.format for fact in survey.facts).most_common()),
        "prepared": {
            "channels": channels, "height": height, "width": width, "fit": config.of("image").fit,
            "bytes": int(np.prod(spec.shape)) * len(survey.names),
        },
        "classes": counted["train"],
        "test_classes": counted["test"],
        "duplicates": {
            "exact_groups": exact_groups, "exact_copies": exact_extra,
            "near_groups": near_groups - _only_exact(groups), "near_copies": near_extra - exact_extra,
            "dropped_from_train": len(parts.dropped),
            "examples": examples(groups.near, names),
        },
        "own_split": any(survey.splits),
        "warnings": warnings,
        "notes": survey.notes + parts.notes,
        "seconds": {"prepare": seconds},
    }  # fmt: skip


def _files_of(survey: Survey, old: dict[str, Any]) -> dict[str, Any]:
    """What depends on the files as they were found, and not on the pictures that are used.

    old: the summary of an earlier preparation of the same pictures, whose decoder may have left out some.
    """
    left_out = [{"name": shown(name), "reason": reason} for name, reason in survey.left_out]
    candidates = {shown(name) for name in survey.names} if old.get("left_out") else set()
    left_out += [entry for entry in old.get("left_out", []) if entry["name"] in candidates]
    return {
        "found": survey.found,
        "used": survey.found - len(left_out),
        "left_out_count": len(left_out),
        "left_out": left_out[:KEPT],
        "ignored_count": len(survey.ignored),
        "ignored": [shown(name) for name in survey.ignored[:20]],
    }


def _only_exact(groups: Groups) -> int:
    """Near groups of two and more that consist of one exact group, and so tell nothing new."""
    pairs = np.unique(np.stack([groups.near, groups.exact], 1), axis=0)
    kinds = np.bincount(pairs[:, 0])
    return int(((np.bincount(groups.near) > 1) & (kinds == 1)).sum())


def _counts(column: Classes, rows: np.ndarray) -> dict[str, int]:
    counts = np.bincount(column.codes[rows], minlength=len(column.names))
    return dict(zip(column.names, counts.tolist(), strict=True))


def shares(counts: Iterable[int]) -> tuple[float, ...]:
    """Counts as shares that sum to 1."""
    values = np.asarray(list(counts), np.float64)
    return tuple((values / max(values.sum(), 1)).tolist())
