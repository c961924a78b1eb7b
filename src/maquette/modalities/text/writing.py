"""What a run of text can do beyond a plain sample: follow a prompt, fill a gap, keep a form, stream."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.asking import check_asked
from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Streams
from maquette.core.rng import ItemRng
from maquette.core.spec import BOS, EOS, MIDDLE, PAD, PREFIX, SPECIALS, SUFFIX, ClassSpec, ColumnSpec, DataSpec
from maquette.core.table import Dataset
from maquette.modalities import text as modality
from maquette.modalities.text.options import DECODING
from maquette.sampling import autoregressive
from maquette.sampling.constraints import Pattern

GAP = "[gap]"
BLANK = "_"
FORM = "form"
DRAWING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens")  # as sampling knows them
AGREED = 0.5  # share of a label's texts that have one layout, from which on it is the label's form
CHUNK = 4096  # training texts read at once


@dataclass(frozen=True)
class Decoding:
    """How a text is drawn from a model that writes it token by token.

    prompt:      how it begins; part of the text that comes out
    infill:      a text with [gap] where something is to be written; the model must have been trained with infill
    temperature: of the distribution of each token; 0 always takes the likeliest
    top_k:       draw among the k likeliest tokens only; 0: all (Fan et al. 2018)
    top_p:       ... among the fewest that make up this share of the probability (Holtzman et al. 2020)
    min_p:       ... among those with at least this share of the likeliest one's probability (Nguyen et al. 2024)
    repetition_penalty: above 1, tokens that were written already become less likely (Keskar et al. 2019)
    max_tokens:  most tokens to write after the prompt; None: as many as an item of the training data may have
    stop:        the text ends before the first of these that it would contain
    pattern:     a form that the whole text keeps, the prompt included: _ stands for any one letter, digit, ideograph
                 or combining mark, all else for itself; "form": the layout that most training texts of the label have
    """

    prompt: str = ""
    infill: str = ""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int | None = None
    stop: Sequence[str] = ()
    pattern: str | None = None

    def __post_init__(self) -> None:
        for option in DECODING:
            object.__setattr__(self, option.name, option.checked(getattr(self, option.name)))
        for name, text in (("prompt", self.prompt), ("infill", self.infill), ("pattern", self.pattern or ""),
                           *(("stop", word) for word in self.stop)):  # fmt: skip
            if not _is_unicode(text):
                raise UserError(
                    f"The {name} is no text: {text!a} holds half of a surrogate pair, or bytes that are not UTF-8.",
                    "Write it as UTF-8; a terminal does so where its locale says UTF-8 (LANG=C.UTF-8).",
                )
        if self.prompt and self.infill:
            raise UserError("A prompt and a text to fill in were both given.", "Give one of them.")
        if self.infill and self.infill.count(GAP) != 1:
            raise UserError(f"The text to fill in has {self.infill.count(GAP)} gaps.", f"Mark one gap as {GAP}.")
        if self.pattern == "":
            raise UserError("The pattern is empty.", f"Write {BLANK} for a letter, and everything else as it is.")
        if self.pattern is not None and (self.infill or self.stop):
            other = "infill" if self.infill else "stop"
            raise UserError(f"A pattern is of a whole text, so it cannot be kept with {other}.", "Drop one of the two.")

    def options(self, generator: Generator, n: int, forms: Sequence[str] = ()) -> dict[str, Any]:
        """Keywords of Model.sample for n texts of this model; refuses what it cannot do.

        forms: the layout of each text, where `pattern` is "form"
        """
        spec, model = generator.spec.only(), generator.model
        if not isinstance(model, Streams):
            raise UserError("This run does not write token by token.", "Drop the options.")
        if self.infill and not getattr(model, "fills_gaps", False):
            raise UserError(
                "This model was not trained to fill gaps.", "Train with model.infill=0.5, or give a prompt instead."
            )
        head = self.head(spec)
        if len(head) > model.context:
            raise UserError(
                f"The prompt has {len(head):,} tokens, and the model sees {model.context:,} at once.",
                "Its beginning would be forgotten: shorten it, or train with a larger data.text.context.",
            )
        options: dict[str, Any] = {name: getattr(self, name) for name in DRAWING}
        if head:
            options["prompt"] = torch.tensor(head)
        if self.stop:
            options["stop"] = _stop(self.stop, len(head), spec)
        if self.pattern is not None:
            patterns = list(forms) if self.pattern == FORM else [self.pattern] * n
            options["allowed"] = form(patterns, spec, head)
            options["max_tokens"] = self._room(patterns, head)
        if not spec.framed and (self.infill or self.pattern is not None):
            options["ends"] = True  # a form and what fills a gap have an end, in a long text too
        return options

    def head(self, spec: ColumnSpec) -> list[int]:
        """The tokens that a text begins with: the prompt, or what stands around the gap."""
        if self.infill:
            before, after = (_tokens(part, spec) for part in self.infill.split(GAP))
            return [PREFIX, *before, SUFFIX, *after, MIDDLE]
        return _tokens(self.prompt, spec) if self.prompt else []

    def _room(self, patterns: list[str], head: list[int]) -> int:
        """Tokens to write at most, so that every form is whole: its characters, and the end."""
        needed = max(map(len, patterns)) - len(head)
        if self.max_tokens is not None and self.max_tokens < needed:
            raise UserError(
                f"max_tokens = {self.max_tokens} would cut the form off, which takes {needed:,} more characters.",
                "Leave it out: a form says itself how long a text is.",
            )
        return needed + 1


def _is_unicode(text: str) -> bool:
    """Whether all of it are characters: the shell hands bytes that are none over as halves of surrogate pairs."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _tokens(text: str, spec: ColumnSpec) -> list[int]:
    """The bare tokens of a text; refuses characters that the model has never seen."""
    return _bare(modality.known(text, spec), spec)


def _bare(text: str, spec: ColumnSpec) -> list[int]:
    return [t for t in modality.tokenize(text, spec).tolist() if t not in (BOS, EOS)]


def _stop(words: Sequence[str], written: int, spec: ColumnSpec) -> Callable[[Tensor], Tensor]:
    """Whether one of the words stands in each text after its first `written` tokens: i64[n, t] -> bool[n]."""

    # Asked after each token, of which none is empty: what is found ends with the last one.
    longest = max(len(word.encode()) for word in words)

    def found(tokens: Tensor) -> Tensor:
        ends = [modality.decode(row, spec) for row in tokens[:, max(written, tokens.shape[1] - longest) :]]
        return torch.tensor([any(word in end for word in words) for end in ends])

    return found


def until(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop word."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return text[: min(places)] if places else text


def texts(items: Tensor, spec: ColumnSpec) -> list[str]:
    """Tokens i64[n, L] -> n texts."""
    return [modality.decode(item, spec) for item in items]


def stream(
    generator: Generator, given: dict[str, Tensor], seed: int, item: int, decoding: Decoding, forms: Sequence[str] = ()
) -> Iterator[str]:
    """One text, piece by piece, as soon as each piece is a whole character; a prompt comes first.

    A gap is filled where it stands: after what is given before it, and before what is given after it.
    """
    check_asked(1, seed)
    options = decoding.options(generator, 1, forms)
    return _pieces(generator, given, seed, item, options, decoding)


def _pieces(
    generator: Generator, given: dict[str, Tensor], seed: int, item: int, options: dict[str, Any], decoding: Decoding
) -> Iterator[str]:
    shown = Shown(decoding, generator.spec.only())
    yield shown.begin
    for token in _written(generator, given, seed, item, options):
        if piece := shown.push(token):
            yield piece
    yield shown.rest()
    yield shown.end


class Shown:
    """A text as it is written, token by token: each piece as soon as it is of whole characters, and sure to stay.

    begin, end: what stands before and behind what is written: the prompt, or what is around a gap
    """

    def __init__(self, decoding: Decoding, spec: ColumnSpec) -> None:
        self.spec, self.stop = spec, decoding.stop
        head = decoding.head(spec)
        gap = head.index(SUFFIX) if decoding.infill else len(head)
        self.begin, self.end = modality.decode(head[:gap], spec), modality.decode(head[gap:], spec)
        self.held: list[int] = []  # tokens that are not shown yet

    def push(self, token: int) -> str:
        """What is to be shown after one token more; "" until that is sure."""
        self.held.append(token)
        text = modality.decode(self.held, self.spec)
        # A character may be cut in two by byte-level tokens; a stop word may be there, or under way.
        if text.endswith("\N{REPLACEMENT CHARACTER}") or until(text, self.stop) != text or any(
            text.endswith(word[:k]) for word in self.stop for k in range(1, len(word))
        ):  # fmt: skip
            return ""
        self.held.clear()
        return text

    def rest(self) -> str:
        """What is left to be shown where no token comes any more."""
        text, self.held = until(modality.decode(self.held, self.spec), self.stop), []
        return text


@torch.no_grad()
def _written(
    generator: Generator, given: dict[str, Tensor], seed: int, item: int, options: dict[str, Any]
) -> Iterator[int]:
    """The tokens that are written, without what the text began with."""
    model, spec = generator.model, generator.spec.only()
    assert isinstance(model, Streams)
    given = {name: value.to(generator.device) for name, value in given.items()}
    rng = ItemRng(seed, [item], generator.device)
    own = getattr(model, "stream", None)  # a model of several agents writes in its own way
    if own is not None:
        written = own(1, given, rng, **options)
    else:
        layout: dict[str, Any] = {"start": spec.start, "length": spec.shape[0], "framed": spec.framed}
        written = autoregressive.stream(model, 1, given, rng, **layout, **options)
    for token in written:
        if int(token[0]) in (EOS, PAD):
            return
        yield int(token[0])


def cut(items: Tensor, decoding: Decoding, spec: ColumnSpec) -> Tensor:
    """Texts i64[n, W] without what a model wrote from a stop word on; what it was given stays as it is."""
    if not decoding.stop:
        return items
    start = int(spec.framed) + len(decoding.head(spec))
    made = []
    for row in items:
        text = modality.decode(row[start:], spec)
        kept = until(text, decoding.stop)
        if kept != text:
            end = [EOS] if spec.framed or decoding.infill else []
            row = torch.cat([row[:start], torch.tensor([*_bare(kept, spec), *end], dtype=row.dtype)])
        made.append(row)
    return torch.nn.utils.rnn.pad_sequence(made, batch_first=True, padding_value=PAD)


def layout(text: str) -> str:
    """The pattern of a text: its letters, digits, ideographs and combining marks blank, all else as it is."""
    return "".join(BLANK if _fills(character) else character for character in text)


def _fills(character: str) -> bool:
    """Whether a blank stands for it. Marks count: the vowel signs of Indic scripts and of Thai are parts of words."""
    return character.isalnum() or unicodedata.category(character).startswith("M")


def layouts(dataset: Dataset, spec: DataSpec) -> dict[str, str]:
    """The layout that most training texts of each label have, by its name; labels without one are left out."""
    column, label = spec.only(), _label_of(spec)
    if label is None or column.unit != "char" or not column.framed:
        return {}
    counts: dict[int, Counter[str]] = {}
    for start in range(0, len(dataset.train), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(dataset.train)))
        labels = dataset.train.columns[label].take(rows).tolist()
        for c, item in zip(labels, dataset.train.columns[spec.only_name].take(rows), strict=True):
            counts.setdefault(c, Counter())[layout(modality.decode(item, column))] += 1
    found = {}
    for c, seen in counts.items():
        ((most, times),) = seen.most_common(1)
        if times >= AGREED * seen.total():
            found[spec.columns[label].classes[c]] = most
    return found


def _label_of(spec: DataSpec) -> str | None:
    """The given label whose texts may share a layout: the first."""
    return next(iter(spec.givens(ClassSpec)), None)


def forms_of(
    decoding: Decoding, given: Mapping[str, Tensor], spec: DataSpec, facts: Mapping[str, Any]
) -> list[str]:  # fmt: skip
    """The layout of each text by its label, where the form of the label is to be kept. facts: of the run's data."""
    if decoding.pattern != FORM:
        return []
    known, label = facts.get("layouts", {}), _label_of(spec)
    remedy = f"Give the form itself as the pattern: '___, ___.', {BLANK} for a letter."
    if label is None:
        raise UserError("This run knows no labels, whose form could be kept.", remedy)
    if label not in given:
        raise UserError("The unconditional model was asked for, and a form is that of a label.", remedy)
    classes = spec.columns[label].classes
    asked = [classes[i] for i in given[label].tolist()]
    if unknown := sorted(set(asked) - set(known)):
        raise UserError(
            f"There is no form to keep for {unknown[0]!r}: at least half of its texts must share one layout.", remedy
        )
    return [known[name] for name in asked]


def form(patterns: list[str], spec: ColumnSpec, head: Sequence[int] = ()) -> Pattern:
    """The constraint under which text i has the layout patterns[i]; refuses one that the prompt `head` does not fit."""
    if spec.unit != "char":
        raise UserError(
            f"A form is kept character by character, and this model writes {spec.unit} tokens.",
            "Train with data.text.tokenizer=char.",
        )
    reserved = len(SPECIALS)
    characters = {c: token for token, c in enumerate(modality.vocabulary(spec.tokenizer).tokens) if token >= reserved}
    free = {token for character, token in characters.items() if _fills(character)}
    places = {pattern: [_allowed(c, characters, free, pattern) for c in pattern] for pattern in dict.fromkeys(patterns)}
    for pattern, allowed in places.items():
        for k, token in enumerate(head):
            if k >= len(allowed) or token not in allowed[k]:
                raise UserError(
                    f"The prompt does not fit the pattern '{pattern}': '{modality.decode([token], spec)}', its "
                    f"character {k + 1}, cannot stand there.",
                    "A pattern is of the whole text, the prompt included: change one of the two.",
                )
    return Pattern([places[pattern] for pattern in patterns], spec.vocab, EOS)


def _allowed(place: str, characters: dict[str, int], free: set[int], pattern: str) -> set[int]:
    allowed = free if place == BLANK else {characters[place]} if place in characters else set()
    if not allowed:
        raise UserError(
            f"'{place}' of the pattern '{pattern}' is in no training text.",
            f"{BLANK} stands for a letter, digit or ideograph, and everything else for itself.",
        )
    return allowed
