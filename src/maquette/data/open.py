"""Opens a data set: prepares it the first time, finds it in the cache ever after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.core.recipe import DataConfig
from maquette.core.spec import ColumnSpec, DataSpec
from maquette.core.table import Column, Dataset, Table
from maquette.data.archive import Archive
from maquette.data.cache import Cache, Prepared
from maquette.data.columns import Stored
from maquette.data.doctor import refuse_if_strict
from maquette.data.hub import Hub, OnDisk
from maquette.data.prepare import prepare, shares, way
from maquette.data.sources import Say, find_source, may_fetch
from maquette.data.text import digest, shown
from maquette.data.texts import prepare as texts
from maquette.data.texts.gather import TextArchive, TextFile, TextFolder, Texts
from maquette.data.texts.hub import HubTexts
from maquette.data.texts.store import TextStore


def open_dataset(
    source: str | Path,
    config: DataConfig | None = None,
    *,
    target: Sequence[str] = (),
    given: Sequence[str] = (),
    like: DataSpec | None = None,
    own: str | None = None,
    cache: Path | None = None,
    say: Say | None = None,
    fetch: bool = True,
) -> Dataset:
    """The prepared, split data set behind a path or a name.

    source: a folder, an archive, IDX, .npz or .npy files, a text, a table of texts, parallel files, a `datasets`
    data set on disk, hf:NAME, or digits, mnist, fashion-mnist. target, given: columns that are used; (): to look at
    all of them. like: the specification of a trained run, whose tokenizers and classes are used for texts; own: the
    fingerprint of that run's data, where the run is to be judged: other data that names no splits is then all
    held out. Without it, the data is to be learned from, and is split.
    cache: where prepared data is kept. say: is told what happens.
    fetch: whether a named source may be fetched from the network; False takes only what is at hand.
    Raises UserError when there is nothing to use, or with config.strict when a file is unusable.
    """
    started = time.perf_counter()
    config = (config or DataConfig()).model_copy(update={"source": str(source)})
    say = say or (lambda _: None)
    store = Cache(cache)
    found = find_source(source, store.downloads)
    if isinstance(found, TextFile | TextFolder):
        return _open_texts(found, config, target, given, like, own, store, say, started)
    key = digest([found.key(), way(config)])
    prepared = store.lookup(key)
    from_cache = prepared is not None
    if prepared is None and isinstance(found, Hub | OnDisk | Archive):
        held = TextArchive(found.path) if isinstance(found, Archive) else HubTexts(found, fetch)
        known = TextStore(store).lookup(digest([held.key(), texts.way(config, target, given, like, own)]))
        if known is not None or held.is_text(target, say):
            return _open_texts(held, config, target, given, like, own, store, say, started)
    if prepared is None and not fetch and may_fetch(found):
        raise UserError(f"'{source}' is not on this machine.", f"Fetch it with: maquette data inspect {source}")
    if prepared is None:
        with store.lock(key, say):
            prepared = store.lookup(key)  # another process may have prepared it meanwhile
            from_cache = prepared is not None
            if prepared is None:
                prepared = prepare(found, config, store, say)
                store.remember(key, prepared)
    refuse_if_strict([(e["name"], e["reason"]) for e in prepared.summary["left_out"]], config)
    return _dataset(str(source), prepared, time.perf_counter() - started, from_cache)


def _open_texts(
    found: Texts, config: DataConfig, target: Sequence[str], given: Sequence[str], like: DataSpec | None,
    own: str | None, cache: Cache, say: Say, started: float,
) -> Dataset:  # fmt: skip
    source, store = config.source or "", TextStore(cache)
    key = digest([found.key(), texts.way(config, target, given, like, own)])
    prepared = store.lookup(key)
    from_cache = prepared is not None
    if prepared is None:
        with cache.lock(key, say):
            prepared = store.lookup(key)
            from_cache = prepared is not None
            if prepared is None:
                made = texts.prepare(found, config, target, given, like, own, store, say)
                if isinstance(made, Dataset):
                    return made
                prepared = made
                store.remember(key, prepared)
    refuse_if_strict([(e["name"], e["reason"]) for e in prepared.summary["left_out"]], config)
    return texts.dataset(source, prepared, time.perf_counter() - started, from_cache)


def _dataset(source: str, prepared: Prepared, seconds: float, from_cache: bool) -> Dataset:
    summary = {"source": shown(source), **prepared.summary, "from_cache": from_cache}
    summary["seconds"] = {**summary["seconds"], "open": round(seconds, 3)}
    pixels = find_modality("image").Spec(shape=prepared.pixels.shape[1:])
    specs: dict[str, ColumnSpec] = {"image": pixels}
    arrays: dict[str, np.ndarray] = {"image": prepared.pixels}
    for k, (name, names) in enumerate(prepared.classes.items()):
        counts = np.bincount(prepared.codes[k][prepared.train], minlength=len(names))
        specs[name] = find_modality("label").Spec(classes=tuple(names), shares=shares(counts))
        arrays[name] = prepared.codes[k]

    def table(rows: np.ndarray) -> Table:
        columns: dict[str, Column] = {name: Stored(specs[name], arrays[name], rows) for name in specs}
        return Table(columns, [prepared.names[i] for i in rows])

    return Dataset(shown(source), prepared.fingerprint, table(prepared.train), table(prepared.test), summary)
