"""Looks at every picture before anything is prepared: what is unusable is named, with the reason, and left out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.core.modality import Unreadable
from maquette.core.recipe import DataConfig
from maquette.core.spec import ColumnSpec
from maquette.data.arrays import to_bytes
from maquette.data.parallel import in_order
from maquette.data.sources import Arrays, Encoded, Payload, Say, content
from maquette.data.survey import Chunk, Survey
from maquette.data.text import shown

CHUNK = 256  # pictures handed to a worker at once
MANY = 400  # pictures for which starting workers pays
HANDFUL = 5  # fewer pictures than this teach nothing
FEW = 1000  # fewer pictures than this are soon known by heart
FAR_BELOW = 4  # a picture whose side is less than a quarter of the target's would be a blur
NATIVE_SIDE = 256  # pictures of one common size are kept at it up to this many pixels
MIXED_SIDE = 64  # and pictures of many sizes become squares of at most this


def examine(source: Encoded | Arrays, config: DataConfig, say: Say) -> Survey:
    """Reads every header; what cannot be used is left out, or stops the run if `config.strict`."""
    if isinstance(source, Arrays):
        return _examine_arrays(source)
    return _examine_files(source, config.strict, say)


def policy(survey: Survey, config: DataConfig) -> ColumnSpec:
    """The shape in which all pictures are prepared; says in the survey's notes how it was chosen."""
    colours = Counter(fact.colour for fact in survey.facts)
    channels = config.of("image").channels
    if channels == "auto":
        channels = "rgba" if colours["rgba"] else "rgb" if colours["rgb"] else "grey"
        if len(colours) > 1:
            counts = ", ".join(f"{n:,} {name}" for name, n in colours.most_common())
            survey.notes.append(f"Colours are mixed ({counts}): all become {channels}.")
    if channels != "rgba" and colours["rgba"]:
        survey.notes.append(f"Transparent parts of {colours['rgba']:,} pictures are shown on white.")
    sizes = Counter((fact.height, fact.width) for fact in survey.facts)
    height, width = config.of("image").size or _size(sizes, config.of("image").fit, survey.notes)
    number = find_modality("image").CHANNELS[channels]
    return find_modality("image").Spec(shape=(number, height, width))


def leave_out_small(survey: Survey, spec: ColumnSpec, config: DataConfig) -> None:
    """Leaves out pictures that would have to be enlarged more than fourfold."""
    _, height, width = spec.shape
    small = [fact.height * FAR_BELOW < height or fact.width * FAR_BELOW < width for fact in survey.facts]
    if not any(small):
        return
    reason = "too small: {}x{} px for a target of " + f"{height}x{width}"
    survey.left_out += [
        (name, reason.format(fact.height, fact.width))
        for name, fact, out in zip(survey.names, survey.facts, small, strict=True)
        if out
    ]
    refuse_if_strict(survey.left_out, config)
    survey.keep([i for i, out in enumerate(small) if not out])


def enough(survey: Survey, used: int, source: str | None) -> None:
    """Refuses to go on with next to nothing."""
    if used >= HANDFUL:
        return
    reasons = Counter(reason.partition(":")[0] for _, reason in survey.left_out)
    why = "; ".join(f"{n:,} left out: {reason}" for reason, n in reasons.most_common(4))
    number = ("No picture is usable", "There is one usable picture", f"There are {used} usable pictures")[min(used, 2)]
    raise UserError(
        f"{number} in '{shown(source or '')}'{f' ({why})' if why else ''}.",
        f"A generator needs at least {HANDFUL}, and some hundreds to learn from; see `maquette data inspect`.",
    )


def refuse_if_strict(left_out: Sequence[tuple[str, str]], config: DataConfig) -> None:
    if config.strict and left_out:
        name, reason = left_out[0]
        raise UserError(
            f"'{shown(name)}' cannot be used: {reason} ({len(left_out):,} so far; --strict stops here).",
            "Mend or remove it, or leave --strict away to go on without it.",
        )


def number(train: int) -> list[str]:
    """Warnings about the number of training pictures."""
    if train >= FEW:
        return []
    return [
        f"{train:,} pictures to learn from are few: what is made of them will stay near to them, and some of it can be "
        "copies, which the report looks for. More pictures help most; of the recipes, image/gan copies least."
    ]


def balance(counts: dict[str, int], column: str) -> list[str]:
    """Warnings about the classes of a column: {class: training pictures}."""
    present = {name: n for name, n in counts.items() if n}
    if len(present) == 1:
        return [f"'{column}' has one class only ('{next(iter(present))}'): it tells the pictures apart in nothing."]
    warnings = []
    absent = [name for name, n in counts.items() if not n]
    if absent:
        warnings.append(f"Classes of '{column}' without a training picture: {', '.join(absent[:5])}.")
    most, least = max(present, key=lambda c: present[c]), min(present, key=lambda c: present[c])
    if present[most] >= 10 * present[least]:
        warnings.append(
            f"Classes of '{column}' are unbalanced: {present[most]:,} of '{most}', {present[least]:,} of '{least}'."
        )
    return warnings


# -- files -------------------------------------------------------------------------------------------


def _examine_files(source: Encoded, strict: bool, say: Say) -> Survey:
    image, files = find_modality("image"), source.files
    smallest = image.MIN_SIDE
    row_of = {number: row for row, number in enumerate(source.rows)}
    order = [row_of[number] for number in files.reading_order() if number in row_of]
    left_out = list(source.left_out)
    refuse_if_strict(left_out, DataConfig(strict=strict))

    def look(task: tuple[list[Payload], list[str]]) -> list[tuple[bytes, object] | str]:
        made: list[tuple[bytes, object] | str] = []
        for payload, name in zip(*task, strict=True):
            try:
                data = content(payload)
                facts = image.probe(data, name)
                if min(facts.height, facts.width) < smallest:
                    raise Unreadable(f"too small: {facts.height}x{facts.width} px, the least is {smallest}")
                made.append((hashlib.blake2b(data, digest_size=16).digest(), facts))
            except Unreadable as error:
                made.append(str(error))
        return made

    def tasks() -> Iterator[tuple[list[Payload], list[str]]]:
        for start in range(0, len(order), CHUNK):
            numbers = [source.rows[row] for row in order[start : start + CHUNK]]
            yield files.payloads(numbers), [files.names[i] for i in numbers]

    say(f"Looking at {len(order):,} pictures")
    good, facts, digests, notes = [], [], [], []
    results = (result for chunk in in_order(look, tasks(), len(order) >= MANY) for result in chunk)
    for row, result in zip(order, results, strict=True):
        name = files.names[source.rows[row]]
        if isinstance(result, str):
            left_out.append((name, result))
            refuse_if_strict(left_out[-1:], DataConfig(strict=strict))
            continue
        good.append(row)
        digests.append(result[0])
        facts.append(result[1])
        if result[1].note:  # type: ignore[attr-defined]
            notes.append(f"'{shown(name)}' is {result[1].note}; it is used.")  # type: ignore[attr-defined]
    warnings = notes[:20]
    if len(notes) > 20:
        warnings.append(f"{len(notes) - 20:,} more pictures have a wrong suffix; they are used.")
    numbers = [source.rows[row] for row in good]

    def chunks(spec: ColumnSpec, fit: str, rows: list[int]) -> Iterator[Chunk]:
        def decode(task: tuple[list[int], list[Payload]]) -> Chunk:
            made = Chunk(task[0], np.zeros((len(task[0]), *spec.shape), np.uint8))
            for k, payload in enumerate(task[1]):
                try:
                    made.pixels[k] = image.read(content(payload), spec, fit=fit)
                except Unreadable as error:
                    made.failed.append((task[0][k], str(error)))
            return made

        # About 16 MiB of prepared pixels at most go through a worker's pipe at once.
        size = max(1, min(CHUNK, 2**24 // max(1, int(np.prod(spec.shape)))))
        parts = (rows[start : start + size] for start in range(0, len(rows), size))
        batches = ((part, files.payloads([numbers[i] for i in part])) for part in parts)
        return in_order(decode, batches, len(rows) >= MANY)

    return Survey(
        source.kind,
        [files.names[i] for i in numbers],
        [source.splits[row] for row in good],
        {name: [column[row] for row in good] for name, column in source.values.items()},
        facts, digests, chunks, len(source.rows) + len(source.left_out),
        left_out, source.ignored, source.notes, warnings,
    )  # fmt: skip


def _size(sizes: Counter[tuple[int, int]], fit: str, notes: list[str]) -> tuple[int, int]:
    """Height and width for pictures of these sizes, when nobody asked for one."""
    (common, count), total = sizes.most_common(1)[0], sum(sizes.values())
    if count >= 0.9 * total and max(common) <= NATIVE_SIDE:
        if count < total:
            notes.append(f"{total - count:,} pictures are not {common[0]}x{common[1]} like the rest: resized ({fit}).")
        return common
    sides = np.repeat([min(size) for size in sizes], list(sizes.values()))
    side = min(MIXED_SIDE, int(np.median(sides)))
    side = side if side < 16 else (side + 4) // 8 * 8  # networks halve and double: multiples of 8 suit them
    lows, highs = np.min(list(sizes), 0), np.max(list(sizes), 0)
    what = f"from {lows[0]}x{lows[1]} to {highs[0]}x{highs[1]}" if len(sizes) > 1 else f"{common[0]}x{common[1]}"
    notes.append(f"Sizes are {what}: all become {side}x{side} ({fit}); choose another with --size.")
    return side, side


# -- arrays ------------------------------------------------------------------------------------------


def _examine_arrays(source: Arrays) -> Survey:
    image = find_modality("image")
    parts = [images for _, images, _ in source.parts]
    if not sum(map(len, parts)):
        raise UserError("The arrays hold no picture.", "Save at least some hundreds.")
    notes = list(source.notes)
    convert = to_bytes(parts, source.scale_max, notes)
    names: list[str] = []
    splits: list[str | None] = []
    columns = list(dict.fromkeys(name for _, _, values in source.parts for name in values))
    values: dict[str, list[str | None]] = {name: [] for name in columns}
    for split, images, own in source.parts:
        names += [f"{split}/{i:06d}" if split else f"{i:06d}" for i in range(len(images))]
        splits += [split] * len(images)
        for name in columns:
            given = own.get(name, [None] * len(images))
            if len(given) != len(images):
                raise UserError(
                    f"{len(images):,} pictures but {len(given):,} values of '{name}'.", "Give each picture one label."
                )
            values[name] += given
    starts = np.cumsum([0, *map(len, parts)])
    sample, _ = convert(next(part for part in parts if len(part))[:1])
    _, c, height, width = sample.shape
    facts = image.Facts("array", {1: "grey", 3: "rgb", 4: "rgba"}[c], height, width)
    if min(height, width) < image.MIN_SIDE:
        raise UserError(
            f"The pictures are {height}x{width} px.",
            f"They need at least {image.MIN_SIDE} a side.",
        )
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(f"{part.dtype.str}{part.shape}".encode())
        for start in range(0, len(part), 4096):
            state.update(np.ascontiguousarray(part[start : start + 4096]).data)

    def chunks(spec: ColumnSpec, fit: str, rows: list[int]) -> Iterator[Chunk]:
        size = max(1, min(4096, 2**24 // max(1, int(np.prod(spec.shape)))))
        for start in range(0, len(rows), size):
            wanted = np.asarray(rows[start : start + size])
            taken = np.concatenate(
                [
                    part[wanted[(wanted >= first) & (wanted < first + len(part))] - first]
                    for first, part in zip(starts, parts, strict=False)
                ]
            )
            pixels, finite = convert(taken)
            failed = [(int(i), "some of its pixels are not numbers") for i in wanted[~finite]]
            yield Chunk(wanted.tolist(), image.refit(pixels, spec, fit), failed)

    return Survey(
        source.kind, names, splits, values, [facts] * len(names), [state.digest()], chunks, len(names), notes=notes
    )
