"""Texts: files <-> tokens i64[L] of a trained tokenizer, padded with PAD in a batch.

A tokenizer is the JSON of the `tokenizers` library, kept in the column's specification. Three units: characters;
byte-level byte-pair encoding (Sennrich et al. 2016, Radford et al. 2019), which loses nothing; and unigram
pieces (Kudo 2018). All reserve SPECIALS as their first tokens, and text that spells one of them stays text.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.core.about import About
from maquette.core.bounds import LONGEST, VOCABULARY
from maquette.core.errors import UserError
from maquette.core.files import ready, write_json, write_text
from maquette.core.parse import COPY_OF_RUN, parse_json
from maquette.core.spec import BOS, EOS, MIDDLE, PAD, PREFIX, SPECIALS, SUFFIX, UNK, ColumnSpec

PLAIN = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".log", ".srt")
SUFFIXES = PLAIN + tuple(suffix + ".gz" for suffix in PLAIN)
BYTES = 256  # pieces that a byte-level vocabulary cannot do without
PIECE = 100_000  # characters that the `tokenizers` library is handed at once
RULE = "─" * 60
SPACE = "▁"  # how unigram pieces write a space


def canonical(stored: np.ndarray) -> Tensor:
    """Tokens u16 or u32 [B, T] -> i64[B, T]."""
    return torch.from_numpy(np.asarray(stored, dtype=np.int64))


def write(item: Tensor, path: Path, spec: ColumnSpec, about: About) -> Path:
    """Writes tokens i64[L] as UTF-8 text and nothing but the text; `about` goes into a .json of the same name."""
    path = Path(path)
    if path.suffix.lower() not in PLAIN:
        raise UserError(f"Texts cannot be written as '{path.suffix}'.", "Use .txt.")
    return save(decode(item, spec), path, about)


def preview(items: Tensor, path: Path, spec: ColumnSpec, captions: Sequence[str], about: About) -> Path:
    """Writes the sheet of tokens i64[N, L]."""
    return save(sheet(items, spec, captions) + "\n", path, about)


def save(text: str, path: Path, about: About) -> Path:
    """Writes a text, packed where the name ends in .gz, and `about` into a .json of the same name."""
    write_text(ready(path), text)
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    write_json(bare.with_suffix(".json"), about.fields)
    return path


def sheet(items: Tensor, spec: ColumnSpec, captions: Sequence[str] = ()) -> str:
    """Whole texts, one below the other between ruled lines, each under its caption if there are captions."""
    parts = []
    for i, item in enumerate(items):
        text = decode(item, spec).rstrip("\n")
        # A caption is one line, so that it can be told from the text below it.
        parts.append(f"[{' '.join(captions[i].splitlines())}]\n{text}" if i < len(captions) else text)
    return f"\n{RULE}\n".join(parts)


def apart(shown: str, captioned: bool) -> list[tuple[str, str]]:
    """(caption, text) of each text of a preview: `sheet` the other way round."""
    parts = shown.split(f"\n{RULE}\n")
    if not captioned:
        return [("", part) for part in parts]
    cut = (part.removeprefix("[").partition("]\n") if part.startswith("[") else ("", "", part) for part in parts)
    return [(caption, text) for caption, _, text in cut]


# -- tokens ------------------------------------------------------------------------------------------


def tokenize(text: str, spec: ColumnSpec) -> np.ndarray:
    """Tokens of a text, i64[L]: BOS .. EOS where the column is framed. Unknown characters become UNK."""
    bare = vocabulary(spec.tokenizer).encode(text)
    return np.concatenate([[BOS], bare, [EOS]]) if spec.framed else bare


def decode(item: Tensor | np.ndarray | Sequence[int], spec: ColumnSpec) -> str:
    """The text of tokens [L]; reserved tokens are left out, and broken UTF-8 shows as U+FFFD.

    PREFIX a SUFFIX b MIDDLE m, a gap that was filled, reads a m b.
    """
    tokens = _in_order(_numbers(item))
    return vocabulary(spec.tokenizer).decode(tokens[tokens >= len(SPECIALS)])


def _in_order(tokens: np.ndarray) -> np.ndarray:
    """Tokens [L] in the order in which they are read: what fills a gap is written last."""
    places = [np.flatnonzero(tokens == mark) for mark in (PREFIX, SUFFIX, MIDDLE)]
    if not all(len(place) for place in places):
        return tokens
    prefix, suffix, middle = (int(place[0]) for place in places)
    if not prefix < suffix < middle:
        return tokens
    return np.concatenate([tokens[:suffix], tokens[middle:], tokens[suffix:middle]])


def pieces(item: Tensor | np.ndarray | Sequence[int], spec: ColumnSpec) -> list[str]:
    """The text of every token, for showing them apart: a part of a character is U+FFFD, a reserved token its name."""
    known = vocabulary(spec.tokenizer)
    return [known.piece(token) for token in _numbers(item).tolist()]


def characters(item: Tensor | np.ndarray, spec: ColumnSpec) -> np.ndarray:
    """How many characters begin in each token, i64 of the same shape: they sum to those of the text wherever it is cut.

    An unknown character is one, and so is a run of them where the tokens are unigram pieces, which make it one token.
    Other reserved tokens are none.
    """
    return vocabulary(spec.tokenizer).begun[np.asarray(item)]


def known(text: str, spec: ColumnSpec) -> str:
    """The text, composed (NFC) or taken apart (NFD) where its characters are only so in the vocabulary; refuses one
    with characters that are not, by name."""
    forms = (text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD")))
    found = next((form for form in forms if not vocabulary(spec.tokenizer).unknown(form)), None)
    if found is None:
        unknown = vocabulary(spec.tokenizer).unknown(text)
        shown = ", ".join(f"'{c}'" if c.isprintable() else repr(c) for c in list(unknown)[:5])
        more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
        raise UserError(
            f"The model does not know {'this character' if len(unknown) == 1 else 'these characters'}: {shown}{more}.",
            "Its training text has none of them: write without, or train with data.text.tokenizer=bpe, which knows "
            "all.",
        )
    return found


def train_tokenizer(texts: Iterable[str], unit: str, vocab: int, lowercase: bool = False) -> str:
    """JSON of a tokenizer trained on these texts, with SPECIALS as its first tokens.

    unit: "char" (every character of the texts; `vocab` is not asked), "bpe" or "unigram" (at most `vocab` tokens)
    """
    if unit == "char":
        return _characters(texts, lowercase)
    if unit == "bpe" and vocab < BYTES + len(SPECIALS) + 1:
        raise UserError(
            f"data.text.vocab = {vocab} is too small for byte-pair encoding.",
            f"It begins with {BYTES} bytes and {len(SPECIALS)} reserved tokens: ask for at least 264.",
        )
    from tokenizers import models, pre_tokenizers, trainers

    trainer: Any
    if unit == "bpe":
        tokenizer = _assembled(models.BPE(), lowercase)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = _assembled(models.Unigram(), lowercase)
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab, special_tokens=list(SPECIALS), unk_token=SPECIALS[UNK], show_progress=False
        )
    tokenizer.train_from_iterator((part for text in texts for part in in_parts(text)), trainer)
    plain = json.loads(tokenizer.to_str())
    # The library would find reserved tokens within a text that spells them. (No piece can spell one either: bytes
    # are paired within words, and "<" begins another word than "pad".)
    plain["added_tokens"] = []
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _assembled(model: Any, lowercase: bool) -> Any:
    """The library's tokenizer around its model of tokens, which alone is trained, or taken from a file."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    if isinstance(model, models.BPE):
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="never")
        tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="never")
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer


def in_parts(text: str) -> Iterator[str]:
    """A text in parts that the `tokenizers` library takes without much memory, cut at ends of lines if possible."""
    start = 0
    while start < len(text):
        stop = start + PIECE
        if stop < len(text):
            line = text.rfind("\n", start, stop)
            stop = stop if line < 0 else line + 1
        yield text[start:stop]
        start = stop


@lru_cache(maxsize=16)
def vocabulary(tokenizer: str) -> Vocabulary:
    """The tokenizer of this JSON, of which the tokens alone are taken; raises UserError where they cannot be."""
    plain = parse_json(tokenizer, "tokenizer", COPY_OF_RUN)
    try:
        model, normalizer = plain["model"], plain.get("normalizer") or {}
        kind = {"WordLevel": _Characters, "BPE": _Bytes, "Unigram": _Unigram}[model["type"]]
        made = kind(model, _listed(model["vocab"]), normalizer.get("type") == "Lowercase")
        made.check()
        return made
    except Exception as error:  # the library raises no other
        what = f"{type(error).__name__}: " * (not isinstance(error, ValueError)) + str(error)
        raise UserError(f"'tokenizer' is damaged: {what[:200]}.", COPY_OF_RUN) from None


def _listed(vocab: Any) -> list[str]:
    """The tokens in the order of their numbers; ValueError where they are none of ours."""
    tokens = list(vocab) if isinstance(vocab, dict) else [token for token, _ in vocab]
    if isinstance(vocab, dict):
        tokens.sort(key=vocab.__getitem__)
        if [vocab[token] for token in tokens] != list(range(len(tokens))):
            raise ValueError("its tokens are not numbered 0, 1, 2, ...")
    if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
        raise ValueError("it does not reserve the tokens of Maquette")
    if len(tokens) > VOCABULARY:
        raise ValueError(f"it has {len(tokens):,} tokens")
    if not all(isinstance(token, str) and 0 < len(token) <= LONGEST for token in tokens):
        raise ValueError(f"a token is no string of 1 to {LONGEST:,} characters")
    return tokens


@dataclass
class Vocabulary:
    """A tokenizer ready for use. Subclasses say how its tokens spell text. model: as the library writes it"""

    model: dict[str, Any] = field(repr=False)
    tokens: list[str] = field(repr=False)
    lowercase: bool

    def __len__(self) -> int:
        return len(self.tokens)

    def check(self) -> None:
        """Raises an error where the tokens spell nothing."""
        _ = self.begun, self.library

    @cached_property
    def library(self) -> Any:
        """What finds the tokens of a text; None where that is done here."""
        raise NotImplementedError

    def encode(self, text: str) -> np.ndarray:
        """Bare tokens, i64[L]."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Bare tokens of many texts."""
        parts = [list(in_parts(_whole(text))) for text in texts]
        done = iter(self.library.encode_batch_fast([p for group in parts for p in group], add_special_tokens=False))
        made = []
        for group in parts:
            found = [np.asarray(next(done).ids, np.int64) for _ in group]
            tokens = np.concatenate([np.zeros(0, np.int64), *found])
            tokens[tokens < len(SPECIALS)] = UNK
            made.append(tokens)
        return made

    @cached_property
    def begun(self) -> np.ndarray:
        """Characters that begin in each token, i64[vocab]."""
        reserved = np.arange(len(SPECIALS)) == UNK
        return np.array([*reserved, *map(self._begins, range(len(SPECIALS), len(self)))], np.int64)

    def _begins(self, token: int) -> int:
        return len(self.tokens[token])

    def decode(self, tokens: np.ndarray) -> str:
        raise NotImplementedError

    def piece(self, token: int) -> str:
        return SPECIALS[token] if token < len(SPECIALS) else self.decode(np.array([token]))

    def unknown(self, text: str) -> dict[str, int]:
        """Characters that the vocabulary cannot spell, and how often each stands in the text."""
        raise NotImplementedError


class _Characters(Vocabulary):
    """One token a character."""

    library = None

    def check(self) -> None:
        _ = self._codes

    @cached_property
    def _of_code(self) -> np.ndarray:
        table = np.full(0x110000, UNK, np.int64)
        for token, character in enumerate(self.tokens[len(SPECIALS) :], len(SPECIALS)):
            table[ord(character)] = token
        return table

    @cached_property
    def _codes(self) -> np.ndarray:
        return np.array([0xFFFD] * len(SPECIALS) + [ord(c) for c in self.tokens[len(SPECIALS) :]], np.uint32)

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._of_code[_codes(text.lower() if self.lowercase else text)] for text in texts]

    def decode(self, tokens: np.ndarray) -> str:
        return str(self._codes[tokens].astype("<u4").tobytes().decode("utf-32-le"))

    def unknown(self, text: str) -> dict[str, int]:
        codes = _codes(text.lower() if self.lowercase else text)
        found, counts = np.unique(codes[self._of_code[codes] == UNK], return_counts=True)
        return {_character(code): n for code, n in zip(found.tolist(), counts.tolist(), strict=True)}


class _Bytes(Vocabulary):
    """Pieces of UTF-8 bytes, spelled as the characters by which byte-level encoding writes them."""

    @cached_property
    def library(self) -> Any:
        from tokenizers import models

        vocab = {token: number for number, token in enumerate(self.tokens)}
        merges = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in self.model["merges"]]
        return _assembled(models.BPE(vocab, merges), self.lowercase)

    @cached_property
    def _bytes(self) -> list[bytes]:
        byte_of = {character: byte for byte, character in enumerate(_byte_characters())}
        return [b""] * len(SPECIALS) + [bytes(byte_of[c] for c in token) for token in self.tokens[len(SPECIALS) :]]

    def _begins(self, token: int) -> int:
        return sum(byte & 0xC0 != 0x80 for byte in self._bytes[token])  # the others go on with a character

    def decode(self, tokens: np.ndarray) -> str:
        spelled = self._bytes
        return b"".join([spelled[token] for token in tokens.tolist()]).decode("utf-8", "replace")

    def unknown(self, text: str) -> dict[str, int]:
        return {}


class _Unigram(Vocabulary):
    """Pieces of characters, in which a space is written as U+2581."""

    @cached_property
    def library(self) -> Any:
        from tokenizers import models

        scores = [float(score) for _, score in self.model["vocab"]]
        if not np.isfinite(scores).all():
            raise ValueError("the score of a token is not finite")
        return _assembled(models.Unigram(list(zip(self.tokens, scores, strict=True)), UNK), self.lowercase)

    def decode(self, tokens: np.ndarray) -> str:
        return "".join([self.tokens[token] for token in tokens.tolist()]).replace(SPACE, " ")

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset("".join(self.tokens[len(SPECIALS) :])) | {" "}

    def unknown(self, text: str) -> dict[str, int]:
        text = text.lower() if self.lowercase else text
        return {c: text.count(c) for c in sorted(set(text) - self._known)}


# -- inside ------------------------------------------------------------------------------------------


def _characters(texts: Iterable[str], lowercase: bool) -> str:
    found: set[str] = set()
    for text in texts:
        found.update(text.lower() if lowercase else text)
    found = {c for c in found if not "\ud800" <= c <= "\udfff"}
    tokens = [*SPECIALS, *sorted(found)]
    plain: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": {"type": "Lowercase"} if lowercase else None,
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False},
        "post_processor": None, "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel", "vocab": {token: i for i, token in enumerate(tokens)}, "unk_token": SPECIALS[UNK],
        },
    }  # fmt: skip
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _byte_characters() -> list[str]:
    """The character by which byte-level encoding writes each of the 256 bytes (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _codes(text: str) -> np.ndarray:
    """Code points u32[N]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _character(code: int) -> str:
    return chr(code)


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which no UTF-8 has: each becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace") if _has_halves(text) else text


def _has_halves(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _numbers(item: Tensor | np.ndarray | Sequence[int]) -> np.ndarray:
    return np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item, dtype=np.int64).reshape(-1)


def made_up(spec: ColumnSpec, items: int, seed: int = 0) -> Tensor:
    """Texts that count upwards from different numbers; framed ones differ in length. i64[items, shape[0]]."""
    first, (width,) = len(SPECIALS), spec.shape
    start, place = torch.arange(items)[:, None] + seed, torch.arange(width)
    x = first + (start + place) % (spec.vocab - first)
    if spec.framed:
        lengths = (width - 2 - torch.arange(items)[:, None] % (width // 2)).clamp(min=1)
        x = torch.where(place <= lengths, x, EOS)
        x = torch.where(place <= lengths + 1, x, PAD)
        x[:, 0] = BOS
    return x
