"""Token by token: how likely the model found each, which agent chose it, and which word of the source it looked at."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.generator import Generator
from maquette.core.model import Aligns, Cooperates, Streams
from maquette.core.rng import ItemRng
from maquette.core.spec import BOS, EOS, PAD, SPECIALS, ColumnSpec
from maquette.modalities.text.measures.read import pieces

# Probabilities at which the colour changes, from sure to surprised.
STEPS = (0.5, 0.2, 0.05, 0.01, 0.001)
MOST_TOKENS = 600  # of one text
MAPS, WIDEST = 4, 40  # pairs, and tokens on a side of a map
LONGEST_NAME = 16  # characters of a token beside a map


@dataclass(frozen=True)
class Piece:
    """A token on the page: its text, its colour class, and what is said when it is pointed at."""

    text: str
    kind: str
    says: str


@dataclass(frozen=True)
class Coloured:
    """One text by its tokens. nats: mean over the tokens that were predicted."""

    pieces: list[Piece]
    nats: float
    caption: str = ""


@torch.no_grad()
def coloured(
    generator: Generator, model: Streams, column: str, items: Tensor, given: dict[str, Tensor],
    captions: Sequence[str] = (),
) -> list[Coloured]:  # fmt: skip
    """How likely the model finds each token of these texts i64[n, T], given what comes before it."""
    spec = generator.spec.columns[column]
    batch = Batch({column: items}, given, len(items)).to(generator.device)
    scores = model.token_log_prob(batch).double().cpu()
    out = []
    for i, (tokens, score) in enumerate(zip(items, scores, strict=True)):
        n = min(int((tokens != PAD).sum()), MOST_TOKENS)
        shown = [] if tokens[0] in (BOS, spec.start) else [Piece(_visible(pieces(tokens[:1], spec)[0]), "first", "")]
        for token, text, log in zip(tokens[1:n].tolist(), pieces(tokens[1:n], spec), score.tolist(), strict=False):
            text = "¶" if token == EOS else _visible(text)
            shown.append(Piece(text, shade(log), f"{percent(log)}, {-log:.2f} nats"))
        nats = float(-score[: n - 1].mean()) if n > 1 else math.nan
        out.append(Coloured(shown, nats, captions[i] if i < len(captions) else ""))
    return out


def shade(log_prob: float) -> str:
    """ "p0" (sure) to "p5" (surprised)."""
    return f"p{sum(math.exp(log_prob) < step for step in STEPS)}"


def percent(log_prob: float) -> str:
    share = 100 * math.exp(log_prob)
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def _visible(text: str) -> str:
    """A token that is only a line break still needs something to point at."""
    return text.replace("\n", "⏎\n")


@dataclass(frozen=True)
class Cell:
    x: int
    y: int
    weight: float


@dataclass(frozen=True)
class Map:
    """One pair: where each written token (a row) looked in the source (a column). Cells hold weights above 2 %."""

    source: list[str]
    target: list[str]
    cells: list[Cell]

    @property
    def left(self) -> int:
        """Pixels that the names of the rows take; `top`: those of the columns, which stand at 60 degrees."""
        return _room(self.target)

    @property
    def top(self) -> int:
        return round(_room(self.source) * 0.87) + 8


@torch.no_grad()
def alignment_maps(generator: Generator, model: Aligns, batch: Batch) -> list[Map]:
    """Attention over the source while the held-out targets are read, for the first few pairs."""
    spec = generator.spec
    name, source = spec.target[0], str(spec.source)
    batch = batch.rows(0, min(MAPS, batch.size))
    weights = model.alignment(batch.to(generator.device)).float().cpu()
    maps = []
    for i in range(batch.size):
        rows = _shown(batch.x[i], spec.columns[name])
        columns = _shown(batch.given[source][i], spec.columns[source])
        cells = []
        for y, (t, _) in enumerate(rows):
            if t == 0:
                continue
            cells += [
                Cell(x, y, round(w, 3)) for x, (s, _) in enumerate(columns) if (w := float(weights[i, t - 1, s])) > 0.02
            ]
        maps.append(Map([text for _, text in columns], [text for _, text in rows], cells))
    return sorted(maps, key=lambda pair: len(pair.target))  # those that share a row of the page are of like height


def _room(names: Sequence[str]) -> int:
    """Pixels of the longest name: an ideograph is as wide as two letters."""
    widths = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name[:LONGEST_NAME]) for name in names]
    return 14 + round(6.5 * max(widths, default=0))


def _shown(tokens: Tensor, spec: ColumnSpec) -> list[tuple[int, str]]:
    """(place, text) of the tokens that stand for text, and of the end."""
    texts = pieces(tokens, spec)
    return [
        (place, "¶" if token == EOS else texts[place].strip() or "␣")
        for place, token in enumerate(tokens.tolist())
        if token == EOS or token >= len(SPECIALS)
    ][:WIDEST]


@dataclass(frozen=True)
class Decided:
    """Texts by the agent that chose each token. shares: of the tokens, by agent; how: what choosing means, in words."""

    how: str
    agents: list[str]
    texts: list[list[Piece]]
    shares: list[float]


@torch.no_grad()
def decided(
    generator: Generator, model: Cooperates, column: str, given: dict[str, Tensor], seed: int,
    settings: Mapping[str, Any], n: int = 4,
) -> Decided:  # fmt: skip
    """Asks a model of several agents who chose what: `sample_with_deciders` -> tokens and agents, both i64[n, W].

    settings: of the model, as its recipe has them
    """
    spec = generator.spec.columns[column]
    some = {name: value[:n].to(generator.device) for name, value in given.items()}
    n = min(n, *(len(value) for value in some.values())) if some else n
    tokens, deciders = model.sample_with_deciders(n, some, ItemRng(seed, range(n), generator.device))
    tokens, deciders = tokens.cpu(), deciders.cpu()
    agents, how = named([str(name) for name in model.agents], settings)
    counted = torch.zeros(len(agents))
    texts = []
    for row, who in zip(tokens, deciders, strict=True):
        who = torch.cat([torch.full((len(row) - len(who),), -1), who]) if len(who) < len(row) else who
        shown: list[Piece] = []
        for token, text, agent in zip(row.tolist(), pieces(row, spec), who.tolist(), strict=False):
            if token < len(SPECIALS) or len(shown) >= MOST_TOKENS:
                continue
            known = 0 <= agent < len(agents)
            counted[agent] += known
            shown.append(Piece(text, f"run-{agent % 6}" if known else "first", agents[agent] if known else "given"))
        texts.append(shown)
    return Decided(how, agents, texts, (counted / counted.sum().clamp_min(1)).tolist())


def named(agents: list[str], settings: Mapping[str, Any]) -> tuple[list[str], str]:
    """The agents as the legend names them, and what it means that one chose a token."""
    drafts, block = settings.get("candidates"), settings.get("block")
    if settings.get("way") == "critic" and isinstance(drafts, int) and drafts > 0:
        writer, blind = agents[0], f"{100 * (1 - 1 / drafts):.0f} %"
        return [f"{writer}, first draft", f"{writer}, a draft that the critic preferred"], (
            f"{writer} wrote every token. It makes {drafts} drafts of {block} tokens at a time, of which the critic "
            f"keeps one. A critic that chose blindly would pass over the first draft in {blind} of them, so the share "
            "does not say how well it chooses: the measures above, set beside those of the writer alone, do."
        )
    if settings.get("way") == "experts":
        return agents, "All models predict each token together. It has the colour of the one that spoke most for it."
    return agents, "Several models write together. Each token has the colour of the one that chose it."
