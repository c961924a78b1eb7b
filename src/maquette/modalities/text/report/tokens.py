"""Token by token: how likely the model found each, and which agent chose it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.generator import Generator
from maquette.core.model import Cooperates, Streams
from maquette.core.rng import ItemRng
from maquette.core.samples import captions
from maquette.core.section import Markup, Missing
from maquette.core.spec import BOS, EOS, PAD, SPECIALS
from maquette.modalities.text.tokens import pieces
from maquette.report.missing import attempt
from maquette.report.page import fragment
from maquette.report.view import RunView, Sampled

# Probabilities at which the colour changes, from sure to surprised.
STEPS = (0.5, 0.2, 0.05, 0.01, 0.001)
MOST_TOKENS = 600  # of one text
SHOWN = 3  # texts of each sort
DECIDED = 4  # texts

SPANS = """
{% macro spans(pieces) %}<p class="tokens" dir="auto" lang="{{ pieces|join('', attribute='text')|language }}">{% for part in pieces %}<span class="{{ part.kind }}"{% if part.says %} title="{{ part.says }}"{% endif %}>{{ part.text }}</span>{% endfor %}</p>{% endmacro %}
"""  # noqa: E501

TOKENS = """
{% from "macros.html.j2" import missing %}
<p class="intro">Each token, coloured by how likely the model found it after all that stands before. Point at one to see
the probability. A surprise in real text is where the model lacks something; in its own text it is where the dice fell
oddly.</p>
<p class="legend tokens" aria-label="Legend"><span class="p0">50 % or more</span> <span class="p1">20 %</span> <span class="p2">5 %</span> <span class="p3">1 %</span> <span class="p4">0.1 %</span> <span class="p5">less</span></p>
{% for title, parts in shown %}
<h3>{{ title }}</h3>
{% if parts.why is defined %}{{ missing(parts) }}{% else %}
{% for part in parts %}<figure class="coloured">{{ spans(part.pieces) }}<figcaption>{% if part.caption %}<span lang="{{ part.caption|language }}">{{ part.caption }}</span> · {% endif %}{{ part.nats|number }} nats per token</figcaption></figure>
{% endfor %}
{% endif %}
{% endfor %}
"""  # noqa: E501

AGENTS = """
<p class="intro">{{ decided.how }}</p>
<p class="legend">{% for name in decided.agents %}<span class="run run-{{ loop.index0 % 6 }}">{{ name }}</span> <span class="small">{{ "%.0f"|format(100 * decided.shares[loop.index0]) }} % of the tokens</span>{% if not loop.last %} · {% endif %}{% endfor %}</p>
<div class="deciders">{% for pieces in decided.texts %}{{ spans(pieces) }}{% endfor %}</div>
"""  # noqa: E501


@dataclass(frozen=True)
class Tokens:
    """How likely the model found each token of held-out texts, and of its own."""

    id: str = "tokens"
    title: str = "How sure was it?"
    after: str = "form"

    def make(self, run: RunView) -> Markup | None:
        model = run.generator.model
        if not isinstance(model, Streams):
            return None
        shown: list[tuple[str, Any]] = []
        if not run.for_sharing:
            shown.append(("Held-out text", attempt(lambda: self._held_out(run, model))))
        if isinstance(sampled := attempt(lambda: run.sampled), Sampled):
            shown.append(("What it wrote", attempt(lambda: self._written(run, model, sampled))))
        return Markup(fragment(SPANS + TOKENS, shown=shown), training_items=not run.for_sharing) if shown else None

    def _held_out(self, run: RunView, model: Streams) -> list[Coloured] | Missing:
        batch = run.held_out(SHOWN)
        if isinstance(batch, Missing):
            return batch
        return coloured(run.generator, model, run.column, batch.target[run.column], batch.given)

    def _written(self, run: RunView, model: Streams, sampled: Sampled) -> list[Coloured]:
        given = {name: value[:SHOWN] for name, value in sampled.given.items()}
        said = [] if run.sources and run.for_sharing else captions(given, run.spec)
        return coloured(run.generator, model, run.column, sampled.target[run.column][:SHOWN], given, said)


@dataclass(frozen=True)
class Agents:
    """Which of several models chose each token."""

    id: str = "agents"
    title: str = "Who wrote what?"
    after: str = "tokens"

    def make(self, run: RunView) -> Markup | Missing | None:
        model = run.generator.model
        if not isinstance(model, Cooperates):
            return None
        sampled = run.sampled
        if isinstance(sampled, Missing):
            return sampled
        found = decided(run.generator, model, run.column, sampled.given, run.seed, run.recipe.model, DECIDED)
        return Markup(fragment(SPANS + AGENTS, decided=found))


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
    """A probability, given in log, in percent."""
    share = 100 * math.exp(log_prob)
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def _visible(text: str) -> str:
    """A token that is only a line break still needs something to point at."""
    return text.replace("\n", "⏎\n")


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
