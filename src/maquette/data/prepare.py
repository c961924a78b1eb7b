"""From a table as it was found to a prepared data set: every cell looked at, split, fitted on training rows, encoded.

survey   each cell is examined; rows that cannot be used are left out by name and reason
split    which rows are learned from: as the data says, else by content
fit      a specification of each column, from training rows alone
encode   every item once, into one store
copies   equal rows and near ones end on one side
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from maquette.core.counts import counted
from maquette.core.data_config import DataConfig
from maquette.core.errors import UserError
from maquette.core.modality import Notes, Unreadable, noun
from maquette.core.parse import brief
from maquette.core.progress import stage
from maquette.core.spec import ColumnSpec, DataSpec, TokenSpec
from maquette.data import duplicates
from maquette.data.cache import Cache, is_full_or_locked
from maquette.data.choose import Use
from maquette.data.chunks import chunks
from maquette.data.duplicates import Groups
from maquette.data.names import digest, shown
from maquette.data.parallel import in_order
from maquette.data.parts import take_apart
from maquette.data.plan import Plan, itemise, plan, refuse_equal
from maquette.data.raw import Cell, Cells, Files, Notify, RawTable
from maquette.data.split import Split, settle, smallest, without_duplicates
from maquette.data.store import FileSink, MemorySink, Packed, Prepared, Stored, Writer, pack
from maquette.data.summary import describe, source_facts
from maquette.data.survey import (
    CHUNK,
    HANDFUL,
    MANY,
    SPARSE,
    Looked,
    Survey,
    enough,
    refuse_if_strict,
    survey,
)
from maquette.data.windows import windows

VERSION = 2  # of what is stored and of how it is computed: raise it, and old caches are left alone
AT_ONCE = 4096  # values and rows of arrays that are encoded together
PIPE_BYTES = 2**24  # of encoded items that go through a worker's pipe at once, about


@dataclass
class Encoded:
    """Columns as they are stored, and what came out on the way. used: i64, rows that are used; content: u64[M]."""

    specs: dict[str, ColumnSpec]
    items: dict[str, Stored]
    content: np.ndarray
    near: np.ndarray
    used: np.ndarray
    left_out: list[tuple[str, str]] = field(default_factory=list)
    reasons: dict[str, list[str]] = field(default_factory=dict)


def how(config: DataConfig, kinds: Sequence[str], like: DataSpec | None, own: str | None) -> list[object]:
    """What decides how a table is prepared; `strict` only decides whether."""
    known = [] if like is None else [
        *((name, spec.model_dump_json()) for name, spec in sorted(like.columns.items())),
        f"judged {own}" if own else "",
    ]  # fmt: skip
    sections = [(kind, config.of(kind).model_dump_json()) for kind in sorted(set(kinds))]
    told = [rule or "" for rule in (config.label_pattern, config.test_where, config.split_by)]
    return [
        VERSION, config.splits, config.test_share, config.split_seed, sorted(config.kinds.items()), sections, known,
        *(told if any(told) else ()),
    ]  # fmt: skip


def prepare(
    table: RawTable, use: Use, config: DataConfig, like: DataSpec | None, own: str | None, cache: Cache, notify: Notify
) -> Prepared:
    """Prepares a table, or finds that its content was prepared before under another name or time.

    like: the specification of a run, in whose tokens, classes and shapes it is prepared
    own:  the fingerprint of that run's data, where it is to be judged: other data without splits of its own is then
          all held out. None: the data is to be learned from, and is split
    """
    started = time.perf_counter()
    found, source = survey(table, use, config), config.source or ""
    take_apart(found, config)
    itemise(found, like, config.strict)
    first = plan(found, config, like, source)
    content = digest([
        *how(config, list(use.kinds.values()), like, own), use.look, "\0".join(found.names),
        "\0".join(side or "" for side in found.splits),
        *(part for name, column in sorted(found.columns.items())
          for part in (name, column.kind, _form(column.cells), column.digests.tobytes())),
    ])  # fmt: skip
    facts = source_facts(table, found, first.halves)
    known = cache.find(content)
    if known is not None:
        notify(f"The same {noun(use.thing)} were prepared before")
        known.source = facts
        return known

    def made(folder: Path | None) -> Prepared:
        work = _Work(found, first, config, like, content, folder, notify)
        prepared = work.judged(own) if own is not None and not first.own else work.prepared(first)
        prepared.source = facts
        prepared.summary["seconds"] = {"prepare": round(time.perf_counter() - started, 3)}
        return prepared

    try:
        with cache.staging() as folder:
            return cache.keep(folder, made(folder))
    except OSError as error:
        if not is_full_or_locked(error):
            raise
        warning = (
            f"The cache '{cache.root}' cannot be written ({error.strerror}): the {noun(use.thing)} stay in memory this "
            "time and are prepared again next time. Name another folder with MAQUETTE_CACHE."
        )
        notify(warning)
        prepared = made(None)
        prepared.summary["warnings"].append(warning)
        return prepared


class _Work:
    """One preparation, into a folder or into memory."""

    def __init__(
        self, found: Survey, plan: Plan, config: DataConfig, like: DataSpec | None, content: str, folder: Path | None,
        notify: Notify,
    ) -> None:  # fmt: skip
        self.found, self.plan, self.config, self.like = found, plan, config, like
        self.content, self.folder, self.notify = content, folder, notify

    def judged(self, own: str) -> Prepared:
        """As the run's own data, split, if it is that; else all of it held out."""
        notes, rows = Notes(), np.arange(len(self.found))
        made = self._encoded(self.plan, notes)
        # Other data may be too little to be split, or all of its held-out rows too long: to be held out it is enough.
        with contextlib.suppress(UserError):
            if (split := self._assembled(self.plan, made, copy.deepcopy(notes))).fingerprint == own:
                return split
        everything = Plan(Split(rows, rows), long=self.plan.long, everything=True)
        if self.like is not None and set(made.specs) <= set(self.like.columns):
            return self._assembled(everything, made, notes)  # nothing was fitted: the items are the same
        return self.prepared(everything)

    def prepared(self, plan: Plan) -> Prepared:
        """Fitted, encoded and split."""
        notes = Notes()
        return self._assembled(plan, self._encoded(plan, notes), notes)

    def _assembled(self, plan: Plan, made: Encoded, notes: Notes) -> Prepared:
        """Encoded items and their split, once copies are known."""
        found = self.found
        enough(self._with(made), len(made.used), self._source, 1 if plan.long else HANDFUL)
        groups = duplicates.groups(made.content[made.used], _within(made.near, made.used, len(found)))
        split = self._settled(plan, made, groups, notes)
        if split is None:  # the content of single rows holds nothing out that has no near copy to be learned from
            held = np.zeros(len(found), bool)
            held[made.used] = smallest(made.content[made.used], self._bound(made, groups), self.config.split_seed)
            return self.prepared(Plan(Split(np.flatnonzero(~held), np.flatnonzero(held))))
        if plan.everything:
            notes.append("All of it is held out: the run was trained on other data.")
        enough(self._with(made), min(len(split.train), len(split.test)), self._source, 1)
        self._complete(made, split)
        self._check_windows(made, split)
        summary = describe(found, made, split, plan, groups, notes)
        return Prepared(
            self.content, _fingerprint(made, split), made.specs, made.items, [shown(name) for name in found.names],
            split.train, split.test, split.named, summary,
        )  # fmt: skip

    @property
    def _source(self) -> str:
        return self.config.source or ""

    def _with(self, made: Encoded) -> Survey:
        """The survey with what encoding left out; itself stays as it is, in case all of this runs again."""
        found = self.found
        return Survey(found.use, {}, (), {}, [], found.found, found.left_out + made.left_out)

    # -- fit and encode ------------------------------------------------------------------------------

    def _encoded(self, plan: Plan, notes: Notes) -> Encoded:
        found = self.found
        specs = self._fitted(plan.split.train, notes)
        made = Encoded(specs, {}, np.zeros(0, np.uint64), np.zeros((0, 2), np.int64), np.zeros(0, np.int64))
        out: dict[int, tuple[str, str]] = {}
        digests: dict[str, np.ndarray] = {}
        near = [np.zeros((0, 2), np.int64)]
        for k, name in enumerate(specs):
            likeness = found.columns[name].optional("Likeness") if name in found.use.content else None
            likeness = likeness() if likeness else None
            failed, digests[name], made.items[name] = self._column(k, name, specs[name], likeness)
            if found.use.look and len(failed) > SPARSE * len(found):
                failed = {}  # looked at alone: such a column may have gaps
            made.reasons[name] = list(failed.values())
            for row, reason in failed.items():
                out.setdefault(row, (found.place(row, name), found.reason(name, reason)))
            if likeness is not None:
                there = np.array([i for i in range(len(found)) if i not in out], np.int64)
                near.append(_alike(likeness, made.items[name].values, digests[name], there))
        made.left_out = [out[row] for row in sorted(out)]
        refuse_if_strict(made.left_out, self.config.strict)
        made.used = np.array([row for row in range(len(found)) if row not in out], np.int64)
        made.content, made.near = duplicates.joined([digests[name] for name in found.use.content]), np.concatenate(near)
        return made

    def _fitted(self, train: np.ndarray, notes: Notes) -> dict[str, ColumnSpec]:
        """Specifications, from these rows alone."""
        found, made = self.found, dict[str, ColumnSpec]()
        known = {} if self.like is None else {n: s for n, s in self.like.columns.items() if n in found.columns}
        together: dict[str, dict[str, tuple[Sequence[Cell], list[Any]]]] = {}
        for name, column in found.columns.items():
            widen = column.optional("widen")
            rows = [i for i in train.tolist() if widen or column.facts[i] is not None]
            if not rows and name not in known:
                raise UserError(f"No row to learn from has a value of '{shown(name)}'.", "Use another column.")
            if name in found.use.may_miss and (missing := column.facts.count(None)):
                notes.append(f"{counted(missing, 'row has', 'rows have')} no '{shown(name)}': kept without it.")
            sample = (_Cells(column.cells, rows), [column.facts[i] for i in rows])
            if column.optional("fit_together") and not found.use.look:
                together.setdefault(column.kind, {})[name] = sample
                continue
            try:
                made[name] = column.optional("fit")(*sample, column.config, known.get(name), notes)
            except ValidationError as error:
                raise UserError(f"'{shown(name)}' cannot be learned: {brief(error)}.", "Leave it out.") from None
            if widen and name not in known:
                made[name] = widen(made[name], column.facts)
                if missing := column.facts.count(None):
                    notes.append(f"{counted(missing, 'row has', 'rows have')} no '{shown(name)}': a class of its own.")
        for kind, columns in together.items():
            config = self.config.of(kind)
            fit = found.columns[next(iter(columns))].optional("fit_together")
            with stage(f"fitting {', '.join(map(shown, columns))}"):
                made |= fit(columns, config, {n: s for n, s in known.items() if n in columns}, notes)
        return {name: made[name] for name in found.columns}

    def _column(self, k: int, name: str, spec: ColumnSpec, likeness: Any) -> tuple[dict[int, str], np.ndarray, Stored]:
        """Encodes a column: which rows failed and why, digests u64[M] of its items, and the items."""
        column, ragged = self.found.columns[name], isinstance(spec, TokenSpec)
        total, done = len(self.found), 0
        failed, digests = dict[int, str](), list[np.ndarray]([np.zeros(0, np.uint64)])
        sink = MemorySink() if self.folder is None else FileSink(self.folder / f"{k}.bin")
        with contextlib.closing(sink), stage(f"preparing {noun(column.kind)}", total) as prepared:
            writer = Writer(sink, ragged)
            for packed in _packed(column, spec, ragged, total):
                writer.add(packed)
                if likeness is not None:
                    likeness.add(_compared(packed, spec))
                digests.append(packed.digests)
                failed |= {done + i: reason for i, reason in packed.failed.items()}
                refuse_if_strict([(self.found.place(i, name), reason) for i, reason in failed.items()],
                                 self.config.strict)  # fmt: skip
                done += len(packed.digests)
                prepared.done = done
            return failed, np.concatenate(digests), writer.stored()

    # -- split ---------------------------------------------------------------------------------------

    def _settled(self, plan: Plan, made: Encoded, groups: Groups, notes: Notes) -> Split | None:
        """The split of the rows that are used: no copy straddles, and no row that was fitted on is held out."""
        used, things = made.used, noun(self.found.use.thing)
        if plan.everything or plan.halves:
            return _only(plan.split, used)
        if not plan.own:
            refuse_equal(self.found, len(np.unique(groups.exact)), len(used))
            held = np.isin(used, plan.split.test)
            whole = settle(held, self._bound(made, groups), things, notes) if held.any() else None
            return None if whole is None else Split(used[~whole], used[whole])
        split = without_duplicates(_only(plan.split, used), made.content, noun(self.found.use.thing, 1))
        group = np.full(len(self.found), -1, np.int64)
        group[used] = groups.near
        near = int(np.isin(group[split.train], group[split.held_out]).sum())
        if len(split.dropped):
            notes.append(
                f"{len(split.dropped):,} training {things} also stand in a held-out split: left out of training."
            )
        if near:
            notes.append(
                f"{near:,} training {things} nearly equal one of a held-out split; the data's own split is kept."
            )
        return split

    def _bound(self, made: Encoded, groups: Groups) -> Groups:
        """Groups that also hold the items of one file together."""
        content = [self.found.columns[name].digests[made.used] for name in self.found.use.content]
        _, first, same = np.unique(duplicates.joined(content), return_index=True, return_inverse=True)
        file = first[same.reshape(-1)]
        if len(first) == len(file) or np.array_equal(groups.exact[file], groups.exact):
            return groups
        pairs = np.stack([np.arange(len(file)), file], 1)
        exact, near = (duplicates.groups(group, pairs).near for group in (groups.exact, groups.near))
        return Groups(exact if exact.any() else groups.exact, near)  # unless each file shares something with the next

    def _complete(self, made: Encoded, split: Split) -> None:
        """Specifications with what is only known of encoded items."""
        for name, column in self.found.columns.items():
            if complete := column.optional("complete"):
                known = self.like.columns.get(name) if self.like else None
                widen = column.optional("widen")
                rows = [i for i in split.train.tolist() if widen or column.facts[i] is not None]
                lengths = made.items[name].lengths
                facts = [column.facts[i] for i in rows]
                made.specs[name] = complete(made.specs[name], None if lengths is None else lengths[rows], facts, known)

    def _check_windows(self, made: Encoded, split: Split) -> None:
        """Long sequences stand alone, and both sides have some."""
        for name, column in self.found.columns.items():
            window = _window(column, made.specs[name])
            if window is None or self.found.use.look:
                continue
            others = [other for other in self.found.use.content if other != name]
            if others:
                raise UserError(
                    f"'{shown(name)}' holds long {noun(column.kind)}, which are read in windows: it cannot be used "
                    f"together with '{shown(others[0])}'.",
                    "Use it alone.",
                )
            ends = made.items[name].ends
            assert ends is not None
            for rows in (split.train, split.test):
                if not len(windows(ends, rows, window.size, window.held_out_stride, whole=False).first):
                    raise UserError(
                        f"There is too little in '{shown(self._source)}' to learn from and to hold some out.",
                        "A model needs some 100,000 tokens to learn from.",
                    )


class _Cells(Sequence[Cell]):
    """Some cells of a column, taken when they are asked for."""

    def __init__(self, cells: Cells, rows: list[int]) -> None:
        self._cells, self._rows = cells, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        return self._cells.take([self._rows[i]])[0] if isinstance(i, int) else self._cells.take(self._rows[i])

    def __iter__(self) -> Iterator[Cell]:
        for start in range(0, len(self), CHUNK):
            yield from self[start : start + CHUNK]


def _packed(column: Looked, spec: ColumnSpec, ragged: bool, total: int) -> Iterator[Packed]:
    """All items of a column, encoded, chunk by chunk in the order of the rows."""
    encode, config, facts = column.optional("encode"), column.config, column.facts
    optional = column.optional("widen") is not None
    files = isinstance(getattr(column.cells, "cells", column.cells), Files)
    item = 1 if ragged else max(1, int(np.prod(spec.shape)))
    size = max(1, min(CHUNK if files else AT_ONCE, PIPE_BYTES // item))

    def tasks() -> Iterator[tuple[list[Cell], list[bool]]]:
        for rows, cells in chunks(column.cells, range(total), size, files):
            yield cells, [optional or facts[row] is not None for row in rows]

    def job(task: tuple[list[Cell], list[bool]]) -> Packed:
        cells, there = task
        good = [cell for cell, known in zip(cells, there, strict=True) if known and not isinstance(cell, Unreadable)]
        found = iter(encode(good, spec, config))
        return pack(
            [(cell if isinstance(cell, Unreadable) else next(found)) if known else None
             for cell, known in zip(cells, there, strict=True)],
            ragged,
        )  # fmt: skip

    return in_order(job, tasks(), files and total >= MANY)


def _form(cells: Cells) -> str:
    """Shape and type of cells that are rows of arrays, which their bytes alone do not tell."""
    own = getattr(cells, "cells", cells)
    cell = None if isinstance(own, Files) or not len(cells) else cells.take([0])[0]
    return f"{cell.shape} {cell.dtype.str}" if isinstance(cell, np.ndarray) else ""


def _window(column: Looked, spec: ColumnSpec) -> Any:
    window = column.optional("window")
    return window(spec) if window else None


def _compared(packed: Packed, spec: ColumnSpec) -> Any:
    """Items of a chunk for a likeness: [n, ...], or n sequences; zeros, or none, in the place of one that failed."""
    if packed.values is None:
        return np.zeros((len(packed.digests), *spec.shape), np.uint8)
    return packed.values if packed.lengths is None else np.split(packed.values, np.cumsum(packed.lengths)[:-1])


def _alike(likeness: Any, stored: np.ndarray, digests: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Pairs i64[P, 2] among these rows of equal items, and of items that nearly equal one another."""
    _, first, same = np.unique(digests[rows], return_index=True, return_inverse=True)
    same = same.reshape(-1)
    equal = np.flatnonzero(first[same] != np.arange(len(rows)))
    pairs = rows[first][likeness.pairs(stored, rows[first])]
    return np.concatenate([np.stack([rows[equal], rows[first[same[equal]]]], 1), pairs.reshape(-1, 2)])


def _within(pairs: np.ndarray, used: np.ndarray, total: int) -> np.ndarray:
    """Pairs of rows as pairs of places among the used ones."""
    place = np.full(total, -1, np.int64)
    place[used] = np.arange(len(used))
    made: np.ndarray = place[pairs]
    return made[(made >= 0).all(1)]


def _only(split: Split, used: np.ndarray) -> Split:
    train, test, dropped = (np.intersect1d(rows, used) for rows in (split.train, split.test, split.dropped))
    return Split(train, test, {name: np.intersect1d(rows, used) for name, rows in split.named.items()}, dropped)


def _fingerprint(made: Encoded, split: Split) -> str:
    """What two preparations share if and only if they are the same data to learn from."""
    named: Mapping[str, np.ndarray] = {"train": split.train, "test": split.test, **split.named}
    columns = sorted(made.specs)
    return digest([
        VERSION, *(part for name in columns for part in (name, made.specs[name].model_dump_json())),
        *(made.items[name].values.dtype.str for name in columns), made.content.tobytes(),
        *(made.items[name].values.tobytes() for name in columns if not made.specs[name].shape),
        *(part for name, rows in named.items() for part in (name, rows.tobytes())),
    ])  # fmt: skip
