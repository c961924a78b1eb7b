"""From texts as they were read to tokens: columns, split, tokenizers trained on the training split, summary."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maquette.core.errors import UserError
from maquette.core.find import find_modality
from maquette.core.recipe import DataConfig
from maquette.core.spec import BOS, EOS, UNK, ColumnSpec, DataSpec
from maquette.core.table import Column, Dataset, Table
from maquette.data.columns import Stored
from maquette.data.prepare import shares
from maquette.data.sources import Say
from maquette.data.text import digest, shown
from maquette.data.texts import choose, split, vocabulary
from maquette.data.texts.gather import Texts
from maquette.data.texts.items import Items, arrange, content_of, digests_of
from maquette.data.texts.look import facts_alone
from maquette.data.texts.material import TEST, TRAIN, Fault, refuse_if
from maquette.data.texts.split import Sides
from maquette.data.texts.store import PreparedTexts, TextStore
from maquette.data.texts.summary import summarise, survey
from maquette.data.texts.vocabulary import Tokenizer
from maquette.data.texts.windows import Places, Tokens, overlap_of, stride_of, windows

VERSION = 1  # of what is kept and of how it is computed: raise it, and old caches and runs fit no more
READING = 2  # of how texts are read and described: raise it, and they are read again, to the same fingerprint


def way(
    config: DataConfig, target: Sequence[str], given: Sequence[str], like: DataSpec | None, own: str | None
) -> tuple[object, ...]:
    """What decides how texts are prepared; `strict` only decides whether."""
    known: list[object] = [""] if like is None else [
        *((name, spec.tokenizer, spec.classes, spec.framed, spec.shape) for name, spec in sorted(like.columns.items())),
        "split" if own is None else ("judged", own),
    ]  # fmt: skip
    return (
        "texts", VERSION, READING, config.of("text").model_dump_json(), config.test_share,
        config.split_seed, *target, "given", *given, *known,
    )  # fmt: skip


def prepare(
    source: Texts, config: DataConfig, target: Sequence[str], given: Sequence[str], like: DataSpec | None,
    own: str | None, store: TextStore, say: Say,
) -> PreparedTexts | Dataset:  # fmt: skip
    """Prepares texts, or finds that the same ones were prepared before under another name or time.

    like: the specification of a run, whose tokenizers and classes are used
    own:  the fingerprint of that run's data, where it is to be judged: other data without splits of its own is then
          all held out. None: the data is to be learned from, and is split
    Without a target and with several columns to choose from, a Dataset of facts alone comes back.
    """
    started, name = time.perf_counter(), config.source or ""
    say("Reading the texts")
    material = source.load([*target, *given], config.strict, say)
    refuse_if(config.strict, material.left_out)
    choose.check(material, target, given, name)
    target = tuple(target) or choose.default_target(material)
    if not target:
        return facts_alone(material, config, name)
    items = arrange(material, target, given, like, config, name)
    content = content_of(items, way(config, target, tuple(items.columns.texts)[1:], like, own))
    known = store.find(content)
    if known is not None:
        say("The same texts were prepared before")
        return known
    tokenizers = _trained(items, config, say) if like is None else _known(items, like)
    prepared = None
    # Other data may be too little to be split, or all of its held-out rows too long: to be held out it is enough.
    with contextlib.nullcontext() if own is None or items.sides.own else contextlib.suppress(UserError):
        prepared = _encoded(items, tokenizers, like, config, content, say)
    if prepared is None or (own is not None and not items.sides.own and prepared.fingerprint != own):
        prepared = _encoded(_held_out(items), tokenizers, like, config, content, say)
    prepared.summary["seconds"] = {"prepare": round(time.perf_counter() - started, 3)}
    return store.keep(prepared, say)


def dataset(source: str, prepared: PreparedTexts, seconds: float, from_cache: bool) -> Dataset:
    """The tables of prepared texts."""
    summary = {"source": shown(source), **prepared.summary, "from_cache": from_cache}
    summary["seconds"] = {**summary["seconds"], "open": round(seconds, 3)}
    tables = {name: _table(prepared, name, items) for name, items in prepared.sides.items()}
    train, test = tables.pop(TRAIN), tables.pop(TEST)
    named = {name.partition(":")[2]: table for name, table in tables.items()}
    return Dataset(shown(source), prepared.fingerprint, train, test, summary, named)


def _table(prepared: PreparedTexts, side: str, items: np.ndarray) -> Table:
    columns: dict[str, Column] = {}
    token, overlap, spans = None, 1, None
    if prepared.context:
        (name,) = prepared.tokens
        learns = side == TRAIN
        stride = stride_of(prepared.context) if learns else prepared.context
        overlap = overlap_of(prepared.context) if learns else 1
        found = windows(prepared.offsets[name], items, prepared.context, stride)
        columns[name] = Tokens(prepared.specs[name], prepared.tokens[name], found.first, found.sizes, found.equal)
        items, token = found.item, found.first - prepared.offsets[name][found.item]
        spans = np.stack([found.first, found.first + found.sizes], 1)
    else:
        for name, offsets in prepared.offsets.items():
            first = offsets[items]
            columns[name] = Tokens(prepared.specs[name], prepared.tokens[name], first, offsets[items + 1] - first)
    for k, name in enumerate(prepared.labels):
        columns[name] = Stored(prepared.specs[name], prepared.codes[k], items)
    return Table(columns, Places(prepared.files, prepared.file, prepared.line, items, token), overlap, spans)


# -- tokens ------------------------------------------------------------------------------------------


def _trained(items: Items, config: DataConfig, say: Say) -> dict[str, Tokenizer]:
    """Tokenizers of the text columns, trained on the training split."""
    learned = items.sides.train.tolist()
    texts: dict[str, Sequence[str]] = {
        name: [values[i] for i in learned] for name, values in items.columns.texts.items()
    }
    return vocabulary.train(texts, config, items.columns.source is not None, say)


def _held_out(items: Items) -> Items:
    """All items on both sides."""
    everything = np.arange(len(items.material))
    notes = [*items.sides.notes, "All of it is held out: the run was trained on other data."]
    return replace(items, sides=Sides(everything, everything, notes=notes))


def _known(items: Items, like: DataSpec) -> dict[str, Tokenizer]:
    """Those of a run."""
    made = {}
    for name in items.columns.texts:
        spec = like.columns.get(name)
        if spec is None or spec.kind != "text":
            raise UserError(f"The run has no text column '{shown(name)}'.", f"It has {', '.join(like.columns)}.")
        made[name] = Tokenizer(spec.unit, spec.tokenizer)
    return made


def _encoded(
    items: Items, tokenizers: dict[str, Tokenizer], like: DataSpec | None, config: DataConfig, content: str, say: Say
) -> PreparedTexts:
    """Everything as tokens and classes, with its specification and summary."""
    columns = items.columns
    say(f"Encoding {len(items.material):,} texts")
    found = {name: vocabulary.encode(texts, tokenizers[name]) for name, texts in columns.texts.items()}
    target = next(iter(columns.texts))
    known = like.columns[target] if like else None
    framed = _framed(items, found[target], config) if known is None else known.framed
    context = 0 if framed else config.of("text").context if known is None else known.shape[0] - 1
    if framed:
        found = {name: [_frame(tokens) for tokens in texts] for name, texts in found.items()}
        items = _without_longest(items, found, config)
    material, sides = items.material, items.sides
    tokens, offsets = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for name, texts in found.items():
        tokens[name] = np.concatenate(texts)
        offsets[name] = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    specs = dict[str, ColumnSpec]()
    for name, texts in found.items():
        known = like.columns[name] if like else None
        specs[name] = _spec(tokenizers[name], texts, columns.texts[name], sides.train, context, known)
    labels, codes = _labels(items, like)
    fingerprint = digest(_identity(tokenizers, tokens, context, labels, codes, sides))
    made = PreparedTexts(
        content, fingerprint, specs | labels, tokens, offsets, codes, [shown(file) for file in material.files],
        np.array(material.file, np.int32), np.array(material.line, np.int64),
        {TRAIN: sides.train, TEST: sides.test} | {f"split:{name}": rows for name, rows in sides.named.items()}, context,
    )  # fmt: skip
    for side in (sides.train, sides.test):
        if context and not len(windows(offsets[target], side, context, context).first):
            raise UserError(
                f"There is too little text in '{shown(config.source or '')}' to learn from and to hold some out.",
                "A model needs some 100,000 characters to learn from.",
            )
    made.summary = summarise(
        survey(material, columns, digests_of(items, config), sides), made, columns, sides, tokenizers, found
    )
    return made


def _frame(tokens: np.ndarray) -> np.ndarray:
    """BOS .. EOS."""
    return np.concatenate([[BOS], tokens, [EOS]]).astype(tokens.dtype)


def _framed(items: Items, tokens: Sequence[np.ndarray], config: DataConfig) -> bool:
    """Whether each item stands for itself: rows do, and many short documents; long ones are read in windows."""
    if not items.documents:
        return True
    sizes = [len(text) for text in tokens]
    return len(sizes) >= split.FEW and float(np.quantile(sizes, 0.95)) + 2 <= config.of("text").longest


def _labels(items: Items, like: DataSpec | None) -> tuple[dict[str, ColumnSpec], np.ndarray]:
    """Specification of each label column, and i32[K, M], the classes."""
    labels = items.columns.labels
    specs, codes = dict[str, ColumnSpec](), np.zeros((len(labels), len(items.material)), np.int32)
    for k, (name, values) in enumerate(labels.items()):
        known = like.columns.get(name) if like else None
        known = known if known is not None and known.kind == "label" else None
        names, codes[k] = choose.classes(values, known.classes if known else ())
        counts = np.bincount(codes[k][items.sides.train], minlength=len(names))
        specs[name] = known or find_modality("label").Spec(classes=names, shares=shares(counts))
    return specs, codes


def _spec(
    tokenizer: Tokenizer, items: Sequence[np.ndarray], texts: Sequence[str], train: np.ndarray, context: int,
    known: ColumnSpec | None,
) -> ColumnSpec:  # fmt: skip
    """The specification of a text column, or the known one with room for longer items. context: 0 for framed items."""
    longest = max(map(len, items))
    if known is not None:
        return known if context else known.model_copy(update={"shape": (max(known.shape[0], longest),)})
    learned = train.tolist()
    sizes = [len(items[i]) for i in learned]
    bare = sum(sizes) - (0 if context else 2 * len(sizes))
    newline = int(vocabulary.encode(["\n"], tokenizer)[0][0])
    mean = sum(sizes) / len(sizes)
    if context:
        ends = np.cumsum([0, *sizes])
        mean = float(windows(ends, np.arange(len(sizes)), context, stride_of(context)).sizes.mean())
    return find_modality("text").Spec(
        shape=(context + 1 if context else longest,),
        vocab=tokenizer.vocab,
        unit=tokenizer.unit,
        tokenizer=tokenizer.json,
        framed=not context,
        start=BOS if not context else newline if newline != UNK else int(items[learned[0]][0]),
        mean_length=mean,
        chars_per_token=sum(len(texts[i]) for i in learned) / max(bare, 1),
    )


def _without_longest(items: Items, bare: dict[str, list[np.ndarray]], config: DataConfig) -> Items:
    """The items without the items that have more than data.text.longest tokens, which are emptied and named."""
    faults: dict[int, Fault] = {}
    longest = config.of("text").longest
    for name, texts in bare.items():
        for i, tokens in enumerate(texts):
            if len(tokens) > longest:
                where = f"'{shown(name)}' has " if len(bare) > 1 else ""
                reason = f"{where}{len(tokens):,} tokens, more than data.text.longest={config.of('text').longest}"
                faults.setdefault(i, Fault(reason, name))
    if not faults:
        return items
    material = items.material
    found = material.named(faults)
    refuse_if(config.strict, found)
    for texts in bare.values():
        for i in faults:
            texts[i] = texts[i][:0]
    out = np.array(sorted(faults))
    sides = items.sides
    kept = replace(
        sides, train=np.setdiff1d(sides.train, out), test=np.setdiff1d(sides.test, out),
        named={name: np.setdiff1d(rows, out) for name, rows in sides.named.items()},
    )  # fmt: skip
    if not len(kept.train) or not len(kept.test):
        raise UserError(
            f"No text of '{shown(config.source or '')}' has at most data.text.longest={longest} tokens "
            f"({len(found):,} left out).",
            "Raise data.text.longest, or cut the texts into shorter ones.",
        )
    return replace(items, material=replace(material, left_out=[*material.left_out, *found]), sides=kept)


def _identity(
    tokenizers: dict[str, Tokenizer], tokens: dict[str, np.ndarray], context: int, labels: dict[str, ColumnSpec],
    codes: np.ndarray, sides: Sides,
) -> list[object]:  # fmt: skip
    """What two preparations share if and only if they are the same data to learn from."""
    return [
        VERSION, context, *(part for name in sorted(tokens) for part in (name, tokenizers[name].json)),
        *(tokens[name].tobytes() for name in sorted(tokens)), *labels, *(spec.classes for spec in labels.values()),
        codes.tobytes(), sides.train.tobytes(), sides.test.tobytes(),
        *(part for name, rows in sides.named.items() for part in (name, rows.tobytes())),
    ]  # fmt: skip
