"""From texts as they were found to tokens: files decoded, tokenizers trained on training rows, items encoded.

Rows of a table stand for themselves, and so do many short files; long texts are read in windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from maquette.core.errors import UserError
from maquette.core.modality import Examined, Notes, Unreadable, Window
from maquette.core.spec import BOS, EOS, UNK, ColumnSpec
from maquette.data import decode as decoding
from maquette.data.names import shown
from maquette.data.raw import Cell, Cells, File, Files, Values
from maquette.data.windows import windows
from maquette.modalities.text.config import Config, Spec
from maquette.modalities.text.rows import rows_of
from maquette.modalities.text.tokens import vocabulary
from maquette.modalities.text.units import tokens_of, train

LEAST = 64  # characters of a long text; fewer teach nothing
MOSTLY_LONG = 4  # rows of more than this many characters for each token of data.text.longest are documents
CHARACTERS_A_TOKEN = 32  # a row of more is too long whatever its tokens are
SHORT_DOCUMENTS = 5  # training files, from which on they may stand for themselves
SAMPLE = 200  # documents whose tokens are counted
TIMES = 16  # windows of the training split that show the same token
LITTLE = 100_000  # characters to learn from, below which a model mostly repeats them
FEW_HELD_OUT = 100  # rows, below which what is measured on them says little
LITTLE_HELD_OUT = 5_000  # characters, likewise
UNKNOWN_SHARE = 1e-3  # of the held-out characters
LONGER = "longer than data.text.longest"


class Document(str):
    """A text that is a whole file."""

    __slots__ = ()


class Part(Document):
    """The beginning or the end of a document that was cut in two."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """characters: of a text      document: whether it is a file, and not a cell of a table"""

    characters: int
    document: bool = False


# -- what cells mean ---------------------------------------------------------------------------------


def interpret(cells: Cells, config: Config, notes: Notes) -> Cells:
    """Files -> Documents, decoded by what they are. A single file that is no text is refused."""
    if not isinstance(cells, Files):
        return cells
    decoder = decoding.Decoder()
    made: list[Any] = [None] * len(cells)
    order = list(cells.order())
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        for row, cell in zip(rows, cells.take(rows), strict=True):
            if not isinstance(cell, File):
                continue
            try:
                made[row] = _document(cell, decoder)
            except Unreadable as error:
                if len(cells) == 1:
                    raise decoding.refusal(cell.name, error) from None
                made[row] = error
    notes.notes += decoder.notes()
    notes.facts["encodings"] = decoder.encodings
    if len(made) == 1 and config.items == "files" and isinstance(made[0], Document) and (hint := rows_of(made[0])):
        notes.append(hint)
    return Values(made)


def itemise(cell: Cell, config: Config, known: ColumnSpec | None) -> list[tuple[int, Cell]]:
    """The lines of a document with their numbers, where that is asked for, or a run was trained on rows."""
    lines = config.items == "lines" or (known is not None and cast(Spec, known).framed)
    if not (isinstance(cell, Document) and lines):
        return []
    return [(number, line.strip()) for number, line in enumerate(cell.split("\n"), 1) if line.strip()]


def examine(cell: Cell, config: Config) -> Facts:
    """Length of a text; raises Unreadable for one of nothing but blanks."""
    text = _text(cell)
    if not text or text.isspace():
        raise Unreadable("empty")
    return Facts(len(text), isinstance(text, Document))


def divide(
    cells: Sequence[Cell], facts: Sequence[Facts], share: float, config: Config, known: ColumnSpec | None
) -> list[tuple[Cell, Cell]] | None:
    """Few long documents: what is learned from of each, and what follows. None where texts are rows."""
    if known is not None and cast(Spec, known).framed:
        return None
    if known is None and not _are_documents(facts, config):
        return None
    _refuse_little(sum(fact.characters for fact in facts))
    texts = [_text(cell) for cell in cells]
    places = [int((1 - share) * len(text)) for text in texts]
    return [(Part(text[:at]), Part(text[at:])) for text, at in zip(texts, places, strict=True)]


# -- tokens ------------------------------------------------------------------------------------------


def fit(
    cells: Sequence[Cell], facts: Sequence[Facts], config: Config, known: ColumnSpec | None, notes: Notes
) -> ColumnSpec:
    """The tokenizer of a column, trained on these texts, and whether each of them stands for itself."""
    return fit_together({"": (cells, facts)}, config, {} if known is None else {"": known}, notes)[""]


def fit_together(
    columns: Mapping[str, tuple[Sequence[Cell], Sequence[Facts]]],
    config: Config,
    known: Mapping[str, ColumnSpec],
    notes: Notes,
) -> dict[str, ColumnSpec]:
    """The same for several columns: one vocabulary for all if config.joint, else one for each."""
    several = len(columns) > 1
    texts, documents, made = dict[str, list[str]](), dict[str, bool](), dict[str, ColumnSpec]()
    for name, (cells, facts) in columns.items():
        if name in known:
            made[name] = known[name]
            continue
        documents[name] = not several and _are_documents(facts, config)
        most = None if documents[name] else CHARACTERS_A_TOKEN * config.longest
        found = [_text(cell) for cell in cells if cell is not None]
        texts[name] = [text for text in found if most is None or len(text) <= most] or [text[:most] for text in found]
        if documents[name]:
            _refuse_little(sum(map(len, texts[name])))
            if not isinstance(found[0], Document):
                notes.append("The rows are long: each is read as a document, in windows of data.text.context tokens.")
    trained: tuple[str, str] | None = None
    if config.joint and several and texts:
        # By name: the same pairs give the same tokens whichever of the two is the target.
        trained = train([text for name in sorted(texts) for text in texts[name]], config, several)
    for name in texts:
        unit, tokenizer = trained or train(texts[name], config, several)
        framed = not documents[name] or _are_short(texts[name], unit, tokenizer, config)
        made[name] = Spec(
            shape=(config.longest if framed else config.context + 1,), vocab=len(vocabulary(tokenizer)),
            unit=unit, tokenizer=tokenizer, framed=framed, start=BOS if framed else _start(texts[name][0], tokenizer),
        )  # fmt: skip
    return {name: made[name] for name in columns}


def encode(cells: Sequence[Cell], spec: ColumnSpec, config: Config) -> list[np.ndarray | Unreadable]:
    """Tokens of each text, u16 or u32 [L]: BOS .. EOS where the column is framed; Unreadable where it is too long."""
    known = cast(Spec, spec)
    texts = [_text(cell) for cell in cells]
    most = CHARACTERS_A_TOKEN * config.longest
    if not known.framed:
        return list(tokens_of(texts, known.tokenizer))
    made: list[np.ndarray | Unreadable] = []
    for text, bare in zip(texts, tokens_of([t if len(t) <= most else "" for t in texts], known.tokenizer), strict=True):
        size = len(bare) + 2
        if len(text) > most:
            made.append(Unreadable(f"{LONGER}={config.longest}: {len(text):,} characters"))
        elif size > config.longest:
            made.append(Unreadable(f"{LONGER}={config.longest}: {size:,} tokens"))
        else:
            framed = np.empty(size, bare.dtype)
            framed[0], framed[1:-1], framed[-1] = BOS, bare, EOS
            made.append(framed)
    return made


def complete(spec: ColumnSpec, lengths: np.ndarray, facts: Sequence[Facts], known: ColumnSpec | None) -> ColumnSpec:
    """With the longest and the mean length of training items; the known one with room for longer items."""
    found = cast(Spec, spec)
    longest = int(lengths.max(initial=1))
    if known is not None:
        room = (max(known.shape[0], longest),) if found.framed else known.shape
        return known.model_copy(update={"shape": room})
    bare = int(lengths.sum()) - (2 * len(lengths) if found.framed else 0)
    sizes = lengths
    if seen := window(spec):
        ends = np.concatenate([[0], np.cumsum(lengths)])
        sizes = windows(ends, np.arange(len(lengths)), seen.size, seen.train_stride, whole=True).sizes
    return found.model_copy(update={
        "shape": (longest,) if found.framed else found.shape,
        "mean_length": float(sizes.mean()) if len(sizes) else 0.0,
        "chars_per_token": sum(fact.characters for fact in facts) / max(bare, 1),
    })  # fmt: skip


def window(spec: ColumnSpec) -> Window | None:
    """Training windows begin a sixteenth of a window apart; held-out ones predict every token but the first once."""
    if cast(Spec, spec).framed:
        return None
    context = spec.shape[0] - 1
    return Window(context + 1, max(1, context // TIMES), context)


# -- for people --------------------------------------------------------------------------------------


def describe(column: Examined, notes: Notes) -> dict[str, Any]:
    """Characters, tokens and lengths, and what of the held-out texts training does not know."""
    spec, lengths = cast(Spec, column.spec), cast(np.ndarray, column.lengths)
    train, test = ([_text(column.cells[i]) for i in rows] for rows in (column.train, column.test))
    learned, held = sum(map(len, train)), sum(map(len, test))
    strange = dict(sorted(vocabulary(spec.tokenizer).unknown("".join(test)).items(), key=lambda item: -item[1]))
    whole = not any(isinstance(text, Part) for text in train[:1])
    made = {
        "characters": sum(column.facts[i].characters for i in column.used),
        "train_characters": learned, "test_characters": held,
        "distinct_characters": len(set().union(*train)),
        "tokens": int(lengths[column.used].sum()), "unit": spec.unit, "vocab": spec.vocab,
        "chars_per_token": round(spec.chars_per_token, 3), "lengths": _quantiles(lengths[column.used]),
        "context": 0 if spec.framed else spec.shape[0] - 1,
        "unknown": {"characters": sum(strange.values()), "distinct": len(strange),
                    "examples": [shown(c) for c in strange][:10]},
    }  # fmt: skip
    _warn(column, made, strange, notes)
    often = "median {median:,.0f}, 95 % at most {p95:,.0f}, longest {longest:,}".format(**made["lengths"])
    rows = [("characters", f"{made['characters']:,}, {made['distinct_characters']:,} different to learn from")]
    if not spec.framed:
        rows.append(("split", f"{learned:,} characters to learn from, {held:,} held out"))
        rows.append(("read in", f"windows of {made['context']:,} tokens"))
    if whole:
        rows.append(("length in tokens", often))
    rows += [
        ("tokens", f"{made['tokens']:,} {spec.unit}, vocabulary of {spec.vocab:,}"),
        ("characters per token", f"{spec.chars_per_token:.2f}"),
    ]
    return {**made, "rows": [list(row) for row in rows]}


def _warn(column: Examined, made: dict[str, Any], strange: Mapping[str, int], notes: Notes) -> None:
    learned, held, number = made["train_characters"], made["test_characters"], made["unknown"]["characters"]
    if number:
        some = ", ".join(f"'{shown(c)}'" for c in list(strange)[:5]) + (" and others" if len(strange) > 5 else "")
        which = "character" if number == 1 else "characters"
        said = f"{number:,} held-out {which} of '{column.name}' unknown from training: {some}"
        if number > UNKNOWN_SHARE * held:
            notes.warn(said + "; data.text.tokenizer=bpe knows all.")
        else:
            notes.append(said + ".")
    if column.target:
        if learned < LITTLE:
            notes.warn(
                f"There are {learned:,} characters to learn from: with fewer than {LITTLE:,}, a model mostly repeats "
                "what it read."
            )
        if made["context"] and held < LITTLE_HELD_OUT:
            notes.warn(f"Only {held:,} characters are held out: what is measured on them is uncertain.")
        elif not made["context"] and len(column.test) < FEW_HELD_OUT:
            notes.warn(f"Only {len(column.test):,} texts are held out: what is measured on them is uncertain.")
    long = sum(reason.startswith(LONGER) for reason in column.left_out)
    found = len(column.used) + len(column.left_out)
    if long > 0.1 * found:
        notes.warn(f"{long:,} of {found:,} rows are too long and left out: data.text.longest can be raised.")


def _quantiles(sizes: np.ndarray) -> dict[str, float]:
    """Median, 95 % and longest."""
    if not len(sizes):
        return {"median": 0, "p95": 0, "longest": 0}
    return {"median": float(np.median(sizes)), "p95": float(np.quantile(sizes, 0.95)), "longest": int(sizes.max())}


# -- inside ------------------------------------------------------------------------------------------


def _text(cell: Cell) -> str:
    """A cell as text; a file is decoded."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, File):
        return _document(cell, decoding.Decoder())
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _document(file: File, decoder: decoding.Decoder) -> Document:
    return Document(decoding.parted(decoder.decode(file.read(), file.name)))


def _are_documents(facts: Sequence[Facts], config: Config) -> bool:
    """Whether texts are files, or rows as long as files."""
    if any(fact.document for fact in facts):
        return True
    sizes = [fact.characters for fact in facts]
    return bool(np.median(sizes or [0]) > MOSTLY_LONG * config.longest)


def _are_short(texts: Sequence[str], unit: str, tokenizer: str, config: Config) -> bool:
    """Whether each document stands for itself: there are several, whole ones, and nearly all of them short."""
    if len(texts) < SHORT_DOCUMENTS or isinstance(texts[0], Part):
        return False
    sizes = [len(text) for text in texts]
    if unit != "char":
        sample = texts[:: max(1, len(texts) // SAMPLE)]
        sizes = [len(tokens) for tokens in tokens_of(sample, tokenizer)]
    return float(np.quantile(sizes, 0.95)) + 2 <= config.longest


def _start(text: str, tokenizer: str) -> int:
    """The token that a window without a prompt begins with: a new line, or what the first text begins with."""
    newline = int(tokens_of(["\n"], tokenizer)[0][0])
    return newline if newline != UNK else int(tokens_of([text[:1000]], tokenizer)[0][0])


def _refuse_little(characters: int) -> None:
    if characters < LEAST:
        raise UserError(
            f"There is too little text: {characters:,} characters.",
            f"A model needs at least {LEAST}, and some 100,000 to learn from.",
        )
