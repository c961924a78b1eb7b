"""What a text may go on with: a mask over the vocabulary before each token.

    Pattern.of(["[\\u4e00-\\u9fff]{5}，[\\u4e00-\\u9fff]{5}。"], characters={"，": 7, ...}, vocab=5000)

A `Pattern` is exact: every token that it allows can be completed to a text of the pattern, and every text of
the pattern can be written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

PAD, EOS = 0, 2
SPECIALS = 7  # reserved tokens, which no class of characters contains


class Allowed(Protocol):
    """A constraint on B texts that are being written."""

    def mask(self, tokens: Tensor) -> Tensor:
        """Texts so far i64[B, t], without the start token -> bool[B, V]: what may come next.

        Called once for each t in rising order, so that it may keep what it has found out.
        """
        ...

    def rows(self, index: Tensor) -> Allowed:
        """The constraint on these texts alone, i64[B']: for beams, and for leaving out what is finished."""
        ...


@dataclass(frozen=True)
class Part:
    """A class of tokens, and how often it comes: `most` None has no limit."""

    tokens: frozenset[int]
    least: int = 1
    most: int | None = 1


class Pattern:
    """Texts of given parts in a row, each a class of tokens with a count; every text may have its own.

    An automaton of places in a row: from place s a token of the class of s leads to s + 1, or back to s where the
    class may go on; optional places may be passed over. `active` bool[B, S + 1] are the places a text can be at.
    """

    def __init__(self, parts: Sequence[Sequence[Part]], vocab: int, eos: int = EOS) -> None:
        """parts: of each text. Behind the last part only `eos` is allowed."""
        classes: dict[frozenset[int], int] = {frozenset(): 0}
        rows: list[list[tuple[int, bool, bool]]] = []  # class, optional, repeated
        for text in parts:
            places: list[tuple[int, bool, bool]] = []
            for part in text:
                number = classes.setdefault(part.tokens, len(classes))
                if not part.tokens:
                    raise ValueError("a part of a pattern contains no token of the vocabulary")
                places += [(number, False, False)] * part.least
                places += [(number, True, True)] if part.most is None else []
                places += [(number, True, False)] * ((part.most or part.least) - part.least)
            rows.append(places)
        longest = max(len(places) for places in rows)
        self.eos = eos
        self.classes = torch.zeros(len(classes), vocab, dtype=torch.bool)  # which tokens each class contains
        for tokens, number in classes.items():
            self.classes[number, list(tokens)] = True
        padded = torch.tensor([places + [(0, False, False)] * (longest + 1 - len(places)) for places in rows])
        self.layout, self.optional, self.repeated = padded[..., 0], padded[..., 1].bool(), padded[..., 2].bool()
        self.last = torch.tensor([len(places) for places in rows])
        self.active = torch.zeros(self.layout.shape, dtype=torch.bool)
        self.active[:, 0] = True
        self.read = 0

    @classmethod
    def of(cls, patterns: Sequence[str], characters: Mapping[str, int], vocab: int, eos: int = EOS) -> Pattern:
        """From texts such as "[A-Z][a-z]{2,5}, .*" over single characters, one for each row (see `parse`)."""
        parsed = {pattern: parse(pattern, characters) for pattern in set(patterns)}
        return cls([parsed[pattern] for pattern in patterns], vocab, eos)

    @classmethod
    def fixed(cls, layouts: Sequence[Sequence[Collection[int]]], vocab: int, eos: int = EOS) -> Pattern:
        """From the tokens allowed at each position of each text."""
        return cls([[Part(frozenset(tokens)) for tokens in layout] for layout in layouts], vocab, eos)

    def mask(self, tokens: Tensor) -> Tensor:
        while self.read < tokens.shape[1]:
            self._step(tokens[:, self.read])
        self._pass_over()
        now = torch.zeros(len(tokens), len(self.classes), device=tokens.device)
        now.scatter_add_(1, self.layout, self.active.float())
        out = now @ self.classes.float() > 0
        out[:, self.eos] |= self.active.gather(1, self.last[:, None])[:, 0]
        return out

    def rows(self, index: Tensor) -> Pattern:
        new = object.__new__(Pattern)
        new.__dict__.update(self.__dict__)
        for name in ("layout", "optional", "repeated", "last", "active"):
            setattr(new, name, getattr(self, name).to(index.device)[index])
        new.classes = self.classes.to(index.device)
        return new

    def _step(self, token: Tensor) -> None:
        """Moves every text on by its token i64[B]."""
        if self.active.device != token.device:
            self.__dict__.update(self.rows(torch.arange(len(token), device=token.device)).__dict__)
        self._pass_over()
        fits = self.classes[:, token].T.gather(1, self.layout) & self.active  # [B, S + 1]
        self.active = fits & self.repeated
        self.active[:, 1:] |= (fits & ~self.repeated)[:, :-1]
        self.read += 1

    def _pass_over(self) -> None:
        """Also the places that can be reached without a token, by passing over optional ones."""
        place = torch.arange(self.active.shape[1], device=self.active.device).expand_as(self.active)
        nearest = place.masked_fill(~self.active, -1).cummax(1).values  # the last active place up to here
        needed = torch.nn.functional.pad((~self.optional).long().cumsum(1)[:, :-1], (1, 0))  # before each place
        free = needed == needed.gather(1, nearest.clamp(min=0))
        self.active = free & (nearest >= 0)


_PART = re.compile(
    r"(?P<class>\[\^?(?:\\.|[^\]\\])+\]|\\.|[^\\\[\](){}*+?|^$])(?P<count>\{\d+(?:,\d*)?\}|[*+?])?", re.DOTALL
)


def parse(pattern: str, characters: Mapping[str, int]) -> list[Part]:
    """Parts of a pattern: characters, `.` (any), `[a-z,]`, `[^a-z]`; each with {n}, {n,m}, {n,}, *, + or ?.

    characters: token of each character; a character that has none is in no class. Groups and | are refused.
    """
    known = {c: i for c, i in characters.items() if len(c) == 1 and i >= SPECIALS}
    parts: list[Part] = []
    at = 0
    while at < len(pattern):
        found = _PART.match(pattern, at)
        if found is None:
            raise ValueError(f"cannot read '{pattern[at:]}' of the pattern '{pattern}': groups and | are not known")
        at = found.end()
        single = re.compile(found["class"], re.DOTALL)
        tokens = frozenset(i for c, i in known.items() if single.fullmatch(c))
        if not tokens:
            raise ValueError(f"'{found['class']}' of the pattern '{pattern}' fits no character of the vocabulary")
        parts.append(replace(_counted(found["count"]), tokens=tokens))
    return parts


@cache
def _counted(count: str | None) -> Part:
    """The count of a part, with no tokens yet."""
    if count is None:
        return Part(frozenset())
    if count in "*+?":
        return Part(frozenset(), int(count == "+"), 1 if count == "?" else None)
    least, comma, most = count[1:-1].partition(",")
    if comma and most and int(most) < int(least):
        raise ValueError(f"'{count}' counts backwards")
    return Part(frozenset(), int(least), (int(most) if most else None) if comma else int(least))


def verse(lines: int, characters: int, marks: tuple[str, str] = ("\uff0c", "\u3002"), kind: str = "") -> str:
    """The pattern of a poem of `lines` lines of as many characters, two lines to a couplet.

    marks: after odd and after even lines; a line break parts the couplets. kind: the class of the characters,
    by default Chinese ones. verse(4, 5) is the jueju of five, verse(8, 7) the lüshi of seven.
    """
    kind = kind or "[\u4e00-\u9fff\u3400-\u4dbf]"
    line = f"{kind}{{{characters}}}"
    return "\n".join(f"{line}{marks[0]}{line}{marks[1]}" for _ in range(lines // 2))
