"""Opens a data set: prepares it the first time, finds it in the cache ever after."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache as once
from pathlib import Path

import numpy as np

from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
from maquette.core.files import expanded
from maquette.core.find import find_modality, modality_names
from maquette.core.modality import part
from maquette.core.progress import stage
from maquette.core.spec import ColumnSpec, DataSpec, plain
from maquette.core.table import Column, Dataset, Table
from maquette.data.cache import Cache
from maquette.data.choose import choose, suggest
from maquette.data.columns import Endless, Fixed, Ragged
from maquette.data.fields import take_fields
from maquette.data.names import digest
from maquette.data.prepare import how, prepare
from maquette.data.raw import Cell, Notify, RawTable
from maquette.data.readers import Source, find_source
from maquette.data.sides import take_sides
from maquette.data.store import Prepared, Some
from maquette.data.summary import summary
from maquette.data.survey import refuse_if_strict
from maquette.data.typing import column_kinds
from maquette.data.windows import WindowNames, windows


@stage("reading the data")
def open_dataset(
    source: str | Path,
    config: DataConfig | None = None,
    *,
    target: Sequence[str] = (),
    given: Sequence[str] = (),
    like: DataSpec | None = None,
    own: str | None = None,
    may_miss: tuple[type[ColumnSpec], ...] = (),
    cache: Path | None = None,
    notify: Notify | None = None,
    fetch: bool = True,
) -> Dataset:
    """The prepared, split data set behind a path or a name.

    source: a folder, an archive, arrays, a table, parallel files, a `datasets` data set, or the name of a known set;
    see data/readers. target, given: columns that are used, beside all columns of classes; (), (): to look at all of
    them. like: the specification of a trained run, whose tokens, classes and shapes are used; own: the fingerprint of
    that run's data, where the run is to be judged: other data that names no splits is then all held out. Without it,
    the data is to be learned from, and is split.
    may_miss: forms of given columns whose values rows may lack: such a row is kept, with NaN or no tokens there. Rows
    that lack any other used column but a class are left out.
    cache: where prepared data is kept. notify: is told what happens.
    fetch: whether a named source may be fetched from the network; False takes only what is at hand.
    Raises UserError when there is nothing to use, or with config.strict when an item is unusable.
    """
    started = time.perf_counter()
    target, given = tuple(map(plain, target)), tuple(map(plain, given))
    config = (config or DataConfig()).model_copy(update={"source": str(source)})
    notify = notify or (lambda message: None)
    store = Cache(cache)
    found = find_source(source, store.downloads, config.splits)
    if found.place.path is None and Path(source).exists():
        notify(f"Note: '{source}' is the known set of that name; what lies here under it is ./{source}.")
    ways = how(config, modality_names(), like, own)
    gaps = ["may miss", *sorted(form.__name__ for form in may_miss)] if may_miss and given else []
    key = digest([found.key(), *ways, "target", *target, "given", *given, *gaps])
    prepared = store.lookup(key)
    from_cache = prepared is not None
    if prepared is None and not fetch and found.remote:
        raise UserError(
            f"'{source}' is not on this machine, and nothing was fetched.",
            f"Fetch it, once: --fetch (fetch=True), or maquette data inspect {shlex.quote(str(source))}",
        )
    if prepared is None:
        with store.lock(key, notify):
            prepared = store.lookup(key)  # another process may have prepared it meanwhile
            from_cache = prepared is not None
            if prepared is None:
                prepared, from_cache = _read(found, config, target, given, like, own, may_miss, ways, store, notify)
                store.remember(key, prepared)
    facts = summary(prepared, _name(str(source)))
    refuse_if_strict([(entry["name"], entry["reason"]) for entry in facts["left_out"]], config.strict)
    facts["from_cache"] = from_cache
    facts["seconds"] = {**facts["seconds"], "open": round(time.perf_counter() - started, 3)}
    made = replace(tables(prepared, facts["source"]), summary=facts)
    return replace(made, train=_endless(made.train, found, config)) if _is_endless(prepared) else made


def tables(prepared: Prepared, source: str) -> Dataset:
    """What was prepared as tables, without its summary. source: its name"""
    train, test = _table(prepared, prepared.train, learned=True), _table(prepared, prepared.test)
    splits = {name: _table(prepared, rows) for name, rows in prepared.splits.items()}
    return Dataset(source, prepared.fingerprint, train, test, splits=splits)


def _is_endless(prepared: Prepared) -> bool:
    """Whether what is learned from is made anew for each pass: not where rows to learn from are chosen of all."""
    return bool(prepared.source.get("endless")) and bool(prepared.summary.get("own_split"))


def _endless(train: Table, found: Source, config: DataConfig) -> Table:
    """The same table, whose later passes are made where one is asked for: no run of one pass needs what they are made
    of."""

    @once
    def again() -> Mapping[str, Callable[[int, int], Cell]]:
        return _table_of(found, config, lambda message: None, ()).again

    def endless(name: str, column: Fixed) -> Endless:
        spec = column.spec
        modality = find_modality(spec.kind)

        def make(row: int, number: int) -> np.ndarray:
            (item,) = modality.encode([again()[name](row, number)], spec, config.of(spec.kind))
            return np.asarray(item)

        return Endless(spec, column.array, column.rows, make)

    columns = {name: endless(name, column) for name, column in train.columns.items() if isinstance(column, Fixed)}
    return replace(train, columns={**columns}, endless=True)


def suggestion(
    source: str | Path, config: DataConfig, target: Sequence[str] = (), given: Sequence[str] = (),
    cache: Path | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:  # fmt: skip
    """What could be made of the data, what it would be given beside its label, and the modality of each column.

    target, given: what was chosen of these
    """
    found = find_source(source, Cache(cache).downloads, config.splits)
    table = _table_of(found, config, lambda message: None, (*target, *given))
    kinds = column_kinds(table, config, target, given)
    made, sources = (target, ()) if target else suggest(table, kinds, given)
    return tuple(made), tuple(given or sources), kinds


def _read(
    found: Source, config: DataConfig, target: Sequence[str], given: Sequence[str], like: DataSpec | None,
    own: str | None, may_miss: tuple[type[ColumnSpec], ...], ways: Sequence[object], store: Cache, notify: Notify,
) -> tuple[Prepared, bool]:  # fmt: skip
    """What a source holds, prepared; and whether the same columns of it were prepared before for another purpose."""
    table = _table_of(found, config, notify, (*target, *given), needed=own is None)
    kinds = column_kinds(table, config, target, given, like)
    use = choose(table, kinds, target, given, like, config.source or "", may_miss)
    gaps = ["may miss", *sorted(use.may_miss)] if use.may_miss else []
    key = digest([found.key(), *ways, use.look, "columns", *sorted(use.kinds.items()), *gaps])
    known = store.lookup(key)
    if known is not None:
        return known, True
    prepared = prepare(table, use, config, like, own, store, notify)
    store.remember(key, prepared)
    return prepared, False


def _table_of(
    found: Source, config: DataConfig, notify: Notify, columns: Sequence[str], needed: bool = True
) -> RawTable:  # fmt: skip
    """Everything in a source, and what the user says of it. needed: whether that must be true of this data"""
    table = found.load(notify, columns)
    if config.label_pattern:
        take_fields(table, config.label_pattern, needed)
    take_sides(table, config, columns, needed)
    return table


def _name(source: str) -> str:
    """What people call a source: of a path the last part, which tells nothing of the machine."""
    path = expanded(source)
    return source if source.startswith("hf:") or not path.exists() else path.resolve().name or source


def _table(prepared: Prepared, rows: np.ndarray, learned: bool = False) -> Table:
    """These rows; where a column of long sequences stands alone, each row becomes the windows on it."""
    seen = None
    for name, spec in prepared.specs.items():
        window = part(spec.kind, "window", "data")
        known = window(spec) if window else None
        ends = prepared.items[name].ends
        if known is not None and ends is not None:
            stride = known.train_stride if learned else known.held_out_stride
            seen = (name, known, ends, windows(ends, rows, known.size, stride, whole=learned))
    alone = sum(stored.ends is not None for stored in prepared.items.values()) == 1
    if seen is None or not alone:
        columns = {name: _column(prepared, name, rows) for name in prepared.specs}
        return Table(columns, Some(prepared.names, rows))
    name, known, ends, found = seen
    columns = {other: _column(prepared, other, found.item) for other in prepared.specs}
    columns[name] = Ragged(prepared.specs[name], prepared.items[name].values, found.first, found.sizes, found.equal)
    return Table(
        columns,
        WindowNames(prepared.names, found.item, found.first - ends[found.item]),
        max(1, known.held_out_stride // known.train_stride) if learned else 1,
        np.stack([found.first, found.first + found.sizes], 1),
    )


def _column(prepared: Prepared, name: str, rows: np.ndarray) -> Column:
    spec, stored = prepared.specs[name], prepared.items[name]
    if stored.ends is None:
        return Fixed(spec, stored.values, rows)
    first = stored.ends[rows]
    return Ragged(spec, stored.values, first, stored.ends[rows + 1] - first)
