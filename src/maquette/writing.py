"""What a run of text can do beyond a plain sample: follow a prompt, fill a gap, keep a form, stream, translate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.errors import UserError
from maquette.core.generator import Generator
from maquette.core.model import Streams
from maquette.core.rng import ItemRng
from maquette.core.spec import BOS, EOS, MIDDLE, PAD, PREFIX, SPECIALS, SUFFIX, ColumnSpec, DataSpec
from maquette.core.table import Dataset
from maquette.modalities import text as modality
from maquette.sampling import autoregressive
from maquette.sampling.beam import search
from maquette.sampling.constraints import Pattern

GAP = "[gap]"
BLANK = "_"
FORM = "form"
AGREED = 0.5  # share of a label's texts that have one layout, from which on it is the label's form
BATCH = 128  # sources translated at once
CHUNK = 4096  # training texts read at once
SORTED = 4096  # sources among which those of like length are translated together


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
    pattern:     a form to keep: _ stands for any one character that is no punctuation, all else for itself;
                 "form": the layout that most training texts of the label have
    """

    prompt: str = ""
    infill: str = ""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    pattern: str | None = None

    def __post_init__(self) -> None:
        limits = (
            ("temperature", self.temperature >= 0, "0 or more"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("min_p", 0 <= self.min_p < 1, "0 or more and below 1"),
            ("repetition_penalty", self.repetition_penalty > 0, "above 0"),
            ("max_tokens", self.max_tokens is None or self.max_tokens > 0, "1 or more"),
            ("stop", all(self.stop), "no empty text"),
        )
        for name, fits, expected in limits:
            if not fits:
                raise UserError(f"{name} = {getattr(self, name)!r} is not possible.", f"It must be {expected}.")
        if self.prompt and self.infill:
            raise UserError("A prompt and a text to fill in were both given.", "Give one of them.")
        if self.infill and self.infill.count(GAP) != 1:
            raise UserError(f"The text to fill in has {self.infill.count(GAP)} gaps.", f"Mark one gap as {GAP}.")

    def options(self, generator: Generator, n: int, forms: Sequence[str] = ()) -> dict[str, Any]:
        """Keywords of Model.sample for n texts of this model; refuses what it cannot do.

        forms: the layout of each text, where `pattern` is "form"
        """
        spec, model = generator.spec.x, generator.model
        if spec.kind != "text" or not isinstance(model, Streams):
            raise UserError(f"This run makes {spec.kind}s, which are not written token by token.", "Drop the options.")
        prompt = self._prompt(spec, model)
        options: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens")
        }
        if prompt is not None:
            options["prompt"] = prompt
        if self.stop:
            options["stop"] = _stop(self.stop, 0 if prompt is None else len(prompt), spec)
        if self.pattern is not None:
            options["allowed"] = form(list(forms) if self.pattern == FORM else [self.pattern] * n, spec)
        return options

    def _prompt(self, spec: ColumnSpec, model: Streams) -> Tensor | None:
        if self.infill:
            if not getattr(model, "fills_gaps", False):
                raise UserError(
                    "This model was not trained to fill gaps.", "Train with model.infill=0.5, or give a prompt instead."
                )
            before, after = (_tokens(part, spec) for part in self.infill.split(GAP))
            tokens = [PREFIX, *before, SUFFIX, *after, MIDDLE]
        elif self.prompt:
            tokens = _tokens(self.prompt, spec)
        else:
            return None
        if len(tokens) > model.context:
            raise UserError(
                f"The prompt has {len(tokens):,} tokens, and the model sees {model.context:,} at once.",
                "Its beginning would be forgotten: shorten it, or train with a larger data.context.",
            )
        return torch.tensor(tokens)


def _tokens(text: str, spec: ColumnSpec) -> list[int]:
    """The bare tokens of a text; refuses characters that the model has never seen."""
    modality.check_known(text, spec)
    return [t for t in modality.encode(text, spec).tolist() if t not in (BOS, EOS)]


def _stop(words: tuple[str, ...], written: int, spec: ColumnSpec) -> Callable[[Tensor], Tensor]:
    """Whether one of the words stands in each text after its first `written` tokens: i64[n, t] -> bool[n]."""

    def found(tokens: Tensor) -> Tensor:
        ends = [modality.decode(row[written:], spec) for row in tokens]
        return torch.tensor([any(word in end for word in words) for end in ends])

    return found


def until(text: str, stop: tuple[str, ...], start: int = 0) -> str:
    """The text up to the first stop word after `start`."""
    places = [place for word in stop if (place := text.find(word, start)) >= 0]
    return text[: min(places)] if places else text


def texts(items: Tensor, spec: ColumnSpec) -> list[str]:
    """Tokens i64[n, L] -> n texts."""
    return [modality.decode(item, spec) for item in items]


def stream(
    generator: Generator, given: dict[str, Tensor], seed: int, item: int, decoding: Decoding, forms: Sequence[str] = ()
) -> Iterator[str]:
    """One text, piece by piece, as soon as each piece is a whole character; the prompt comes first."""
    spec = generator.spec.x
    options = decoding.options(generator, 1, forms)
    shown, tokens = "", options["prompt"].tolist() if "prompt" in options else []
    for piece in _written(generator, given, seed, item, options, tokens, spec):
        text = until(piece, decoding.stop, len(decoding.prompt))
        # A character may be cut in two by byte-level tokens; a stop word may be under way.
        if text.endswith("\N{REPLACEMENT CHARACTER}") or any(
            text.endswith(word[:k]) for word in decoding.stop for k in range(1, len(word))
        ):
            continue
        if text.startswith(shown):
            yield text[len(shown) :]
            shown = text
    if text.startswith(shown):
        yield text[len(shown) :]


@torch.no_grad()
def _written(
    generator: Generator, given: dict[str, Tensor], seed: int, item: int, options: dict[str, Any], tokens: list[int],
    spec: ColumnSpec,
) -> Iterator[str]:  # fmt: skip
    """The text so far, after each token."""
    model = generator.model
    assert isinstance(model, Streams)
    yield modality.decode(np.asarray(tokens), spec)
    rng = ItemRng(seed, [item], generator.device)
    own = getattr(model, "stream", None)  # a model of several agents writes in its own way
    if own is not None:
        written = own(1, given, rng, **options)
    else:
        layout: dict[str, Any] = {"start": spec.start, "length": spec.shape[0], "framed": spec.framed}
        # What fills a gap has an end, in the middle of a long text too.
        layout |= {"ends": True} if MIDDLE in tokens else {}
        written = autoregressive.stream(model, 1, given, rng, **layout, **options)
    for token in written:
        if int(token[0]) in (EOS, PAD):
            return
        tokens.append(int(token[0]))
        yield modality.decode(np.asarray(tokens), spec)


def cut(items: Tensor, decoding: Decoding, spec: ColumnSpec) -> Tensor:
    """Texts i64[n, W] without what a model wrote from a stop word on, in the same width."""
    if not decoding.stop:
        return items
    made = items.clone()
    for row in made:
        text = modality.decode(row, spec)
        kept = until(text, decoding.stop, len(decoding.prompt))
        if kept != text:
            tokens = modality.encode(kept, spec)[: len(row)]
            row[: len(tokens)] = torch.from_numpy(tokens)
            row[len(tokens) :] = PAD
    return made


def layout(text: str) -> str:
    """The pattern of a text: its letters, digits and ideographs blank, all else as it is."""
    return "".join(BLANK if character.isalnum() else character for character in text)


def layouts(dataset: Dataset, spec: DataSpec) -> dict[str, str]:
    """The layout that most training texts of each label have, by its name; labels without one are left out."""
    (name,), label = spec.target, spec.label
    if label is None or spec.x.unit != "char" or not spec.x.framed:
        return {}
    counts: dict[int, Counter[str]] = {}
    for start in range(0, len(dataset.train), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(dataset.train)))
        labels = dataset.train.columns[label].take(rows).tolist()
        for c, item in zip(labels, dataset.train.columns[name].take(rows), strict=True):
            counts.setdefault(c, Counter())[layout(modality.decode(item, spec.x))] += 1
    found = {}
    for c, seen in counts.items():
        ((most, times),) = seen.most_common(1)
        if times >= AGREED * seen.total():
            found[spec.columns[label].classes[c]] = most
    return found


def form(patterns: list[str], spec: ColumnSpec) -> Pattern:
    """The constraint under which text i has the layout patterns[i]: _ is any letter, digit or ideograph."""
    if spec.unit != "char":
        raise UserError(
            f"A form is kept character by character, and this model writes {spec.unit} tokens.",
            "Train with data.tokenizer=char.",
        )
    reserved = len(SPECIALS)
    characters = {c: token for token, c in enumerate(modality.vocabulary(spec.tokenizer).tokens) if token >= reserved}
    free = [token for character, token in characters.items() if character.isalnum()]
    places = {pattern: [_allowed(c, characters, free, pattern) for c in pattern] for pattern in set(patterns)}
    return Pattern.fixed([places[pattern] for pattern in patterns], spec.vocab)


def _allowed(place: str, characters: dict[str, int], free: list[int], pattern: str) -> list[int]:
    if place == BLANK:
        return free
    if place not in characters:
        raise UserError(
            f"'{place}' of the pattern '{pattern}' is in no training text.",
            f"{BLANK} stands for a letter, digit or ideograph, and everything else for itself.",
        )
    return [characters[place]]


# -- from one text to another ------------------------------------------------------------------------


def best(generator: Generator, given: dict[str, Tensor], beam: int = 4, length_penalty: float = 1.0) -> Tensor:
    """The likeliest target of each source by beam search, i64[n, W]; sources of like length go together."""
    spec, model = generator.spec, generator.model
    if spec.source is None or not isinstance(model, Streams):
        raise UserError(
            f"This run makes {', '.join(spec.target)} from nothing; it was not trained on pairs.",
            "Train one with: maquette train text/seq2seq --data pairs.tsv --given COLUMN --target COLUMN",
        )
    order = (given[spec.source] != PAD).sum(1).argsort(stable=True)
    n, width = len(order), spec.x.shape[0]
    made = torch.full((n, width), PAD)
    for rows in order.split(BATCH):
        part = {name: value[rows].to(generator.device) for name, value in given.items()}
        length = int((part[spec.source] != PAD).sum(1).max())
        part[spec.source] = part[spec.source][:, :length]
        # A target much longer than its source is a loop; without a limit one of them would hold up its whole batch.
        most = min(width, 2 * length + 20)
        tokens = search(model, len(rows), part, start=spec.x.start, length=most, beam=beam, alpha=length_penalty).tokens
        made[rows, : tokens.shape[1]] = tokens.cpu()
    return made


def translate(generator: Generator, sources: Iterable[str], beam: int, length_penalty: float) -> Iterator[str]:
    """The target of each source text, in order; an empty text stays empty. Sources are refused by their line."""
    spec = generator.spec
    if spec.source is None:
        best(generator, {}, beam)  # says why not
    for name in spec.given:
        if name != spec.source:
            raise UserError(f"This run also needs '{name}' for each text.", "Use maquette.load(RUN).sample in Python.")
    column = spec.columns[str(spec.source)]
    waiting: list[tuple[int, str]] = []
    # A list is sorted by length in large blocks; what comes line by line is answered line by line.
    block = SORTED if isinstance(sources, list) else 1
    if isinstance(sources, list):
        _check_sources(sources, column)
    for line, text in enumerate(sources, 1):
        waiting.append((line, text))
        if len(waiting) == block:
            yield from _translated(generator, waiting, column, beam, length_penalty)
            waiting = []
    yield from _translated(generator, waiting, column, beam, length_penalty)


def _check_sources(sources: list[str], column: ColumnSpec) -> None:
    """Before an hour's work: every line that is too long, at once."""
    for line, text in enumerate(sources, 1):
        _source(line, text, column)


def _source(line: int, text: str, column: ColumnSpec) -> np.ndarray:
    """The tokens of a source; one that is longer than any of the training data is refused, never cut."""
    tokens = modality.encode(text, column)
    if len(tokens) > column.shape[0]:
        raise UserError(
            f"Line {line:,} has {len(tokens):,} tokens; this model was trained on texts of up to {column.shape[0]:,}.",
            "Split it into sentences, or train with a larger data.longest.",
        )
    return tokens


def _translated(
    generator: Generator, lines: list[tuple[int, str]], column: ColumnSpec, beam: int, length_penalty: float
) -> Iterator[str]:
    said = [(line, text) for line, text in lines if text.strip()]
    made: list[str] = []
    if said:
        encoded = [_source(line, text, column) for line, text in said]
        given = torch.full((len(said), max(map(len, encoded))), PAD)
        for row, tokens in zip(given, encoded, strict=True):
            row[: len(tokens)] = torch.from_numpy(tokens)
        found = best(generator, {str(generator.spec.source): given}, beam, length_penalty)
        made = texts(found, generator.spec.x)
    each = iter(made)
    for _, text in lines:
        yield next(each) if text.strip() else ""
