"""Several trained language models that write one text together, as it is written.

experts: the next token comes from all members at once,

    product  log p(x_t | before) = sum_k w_k log p_k(x_t | before) - log Z          (Hinton 2002, eq. 1)
    mixture  log p(x_t | before) = log sum_k w_k p_k(x_t | before)                  (Jacobs et al. 1991)

with weights that a gate learns, the same everywhere or anew for each token from what the members predict.

critic:  the first member writes, and a critic chooses among its drafts, block by block (sampling/steered.py). The
    critic learns to tell real continuations of a text from the writer's (noise-contrastive estimation of a residual
    energy model: Deng et al. 2020, eq. 4); further members are readers, whose opinion of each token it sees. As in a
    GAN, a discriminator acts on what is written; unlike in one the writer is not trained by it: no gradient passes
    through tokens, and the likelihood of the steered text is not known, so scores are those of the writer alone.

The members are frozen, and become part of the run: it works where theirs are gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.bounds import WIDEST, Few, Length, Width
from maquette.core.errors import UserError
from maquette.core.model import Given, Loss, Memory, Model, Optim, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import EOS, PAD, DataSpec, TokenSpec
from maquette.core.table import Table
from maquette.losses import sequence
from maquette.models._given import ANY
from maquette.models._members import Member, build_writer, distinct, fill, read, runs_of
from maquette.nets import text_critic
from maquette.nets.gate import Gate
from maquette.sampling import autoregressive, steered

SUPPORTS = (TokenSpec,)
GIVEN = ANY
NEEDS = (TokenSpec,)  # the source: rows that lack it teach nothing
NOBODY = -1  # decided by no agent: the prompt, and padding
SLICE = 16  # tokens at a time whose deciders are found


class Config(BaseModel):
    """Settings of language models that write together."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    members: tuple[Member | str, ...] = Field((), description="run folders of language models with the same tokenizer")
    way: Literal["experts", "critic"] = Field(
        "experts", description="experts: all predict each token; critic: the first writes, a critic chooses its drafts"
    )

    combine: Literal["product", "mixture"] = Field(
        "mixture", description="experts: the product of their distributions, or their mixture"
    )
    # Members know the texts that they were trained on too well, and the gate learns from the same ones: what more it
    # could say than a share for each member would be about them.
    gate_hidden: int = Field(
        0, ge=0, le=WIDEST, description="experts: units of a gate that weighs anew for each token; 0: shares"
    )
    free_sum: bool = Field(False, description="experts: the weights of a product need not sum to 1")

    critic: Literal["ngrams", "recurrent"] = Field(
        "ngrams", description="critic: judges by n-grams of tokens, or by all of the text and the members' opinions"
    )
    candidates: Few = Field(8, description="critic: drafts of each block, of which one is kept")
    block: Length = Field(8, description="critic: tokens in a draft")
    continuation: Length = Field(32, description="critic: tokens that are written after a real beginning in training")
    width: Width = Field(256, description="recurrent critic: numbers in its state")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="critic: of real and written")

    lr: float = Field(2e-3, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the run in which the learning rate grows")
    clip: float = Field(1.0, ge=0)


# -- the members -------------------------------------------------------------------------------------------------


def resolve(config: Config, spec: DataSpec, train: Table | None = None) -> Config:
    """The settings with each run folder replaced by what it holds; UserError where a member does not fit the data."""
    members = tuple(read(Member(run=m) if isinstance(m, str) else m, spec) for m in config.members)
    return config.model_copy(update={"members": members})


def members(config: Config) -> tuple[str, ...]:
    """The runs that write together: what is held out here must be what they held out."""
    return runs_of(*config.members)


def build(config: Config, spec: DataSpec) -> Cooperative:
    """The model for this specification: trained models that write together, or one under a critic.

    Raises UserError for settings or shapes that cannot work.
    """
    least = 2 if config.way == "experts" else 1
    if len(config.members) < least:
        raise UserError(
            f"Writing together as {config.way} takes {least} or more members; the recipe names {len(config.members)}.",
            "Name run folders of language models: model.members=[runs/a, runs/b]",
        )
    return (Experts if config.way == "experts" else WriterAndCritic)(resolve(config, spec), spec)


class Cooperative(Model):
    """What both ways share. Meets Streams, Scores and Cooperates."""

    density: Literal["discrete", "continuous", "none"] = "discrete"
    exact = True

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config = config
        column, self.target = spec.only(TokenSpec), spec.only_name
        self.length, self.start, self.framed = column.shape[0], column.start, column.framed
        self.mean_length, self.vocab = column.mean_length, column.vocab
        members, self.givens = [], list[tuple[str, ...]]()
        for member in config.members:
            assert isinstance(member, Member)
            model = build_writer(member, spec)
            if member.run is not None:
                # A run that was trained has its members' weights, wherever they are now; one that begins needs them.
                folder = member.folder
                try:
                    fill(model, folder.weights(), member.run)
                except UserError as error:
                    self.missing_weights = (*self.missing_weights, f"member '{folder.path}': {error.problem}")
            members.append(model)
            self.givens.append(spec.given if member.given is None else member.given)
        self.members = nn.ModuleList(members)
        self.needs = (TokenSpec,) if any(member.needs for member in members) else ()
        self.names = distinct([Path(m.run).name if m.run else str(m.family) for m in config.members])  # type: ignore[union-attr]

    def train(self, mode: bool = True) -> Cooperative:
        """The members stay as they are used: without dropout."""
        super().train(mode)
        self.members.eval()
        return self

    def _begin(self, k: int, n: int, given: Given) -> Memory:
        return self.members[k].begin(n, {name: given[name] for name in self.givens[k] if name in given})  # type: ignore[operator]

    def _advance(self, k: int, memory: Memory, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            return self.members[k].advance(memory, tokens)  # type: ignore[operator]

    def _optim(self) -> Optim:
        return Optim(
            "adam", self.config.lr, (0.9, 0.99), schedule="linear", warmup=self.config.warmup, clip=self.config.clip
        )

    # -- Streams -----------------------------------------------------------------------------------------------

    @property
    def context(self) -> int:
        return max(int(member.context) for member in self.members)  # type: ignore[arg-type]

    def begin(self, n: int, given: Given) -> Memory:
        raise NotImplementedError

    def advance(self, memory: Any, tokens: Tensor) -> Tensor:
        raise NotImplementedError

    def token_log_prob(self, batch: Batch) -> Tensor:
        x = batch.only()
        logits = self.advance(self.begin(batch.size, batch.given), x[:, :-1])
        return sequence.token_log_prob(logits, x[:, 1:], PAD)

    # -- Scores ------------------------------------------------------------------------------------------------

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        return self.token_log_prob(batch).sum(1)

    # -- writing -----------------------------------------------------------------------------------------------

    @property
    def agents(self) -> tuple[str, ...]:
        raise NotImplementedError

    def sample_with_deciders(self, n: int, given: Given, rng: Rng, **options: Any) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _layout(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"start": self.start, "length": self.length, "framed": self.framed, **options}


class Memories:
    """What each member remembers."""

    def __init__(self, members: Sequence[Memory]) -> None:
        self.members = members

    def rows(self, index: Tensor) -> Memories:
        return Memories([memory.rows(index) for memory in self.members])


# -- experts -----------------------------------------------------------------------------------------------------


class Experts(Cooperative):
    """Every member predicts every token; a gate says how much each counts."""

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        product = config.combine == "product"
        self.gate = Gate(len(self.members), config.gate_hidden, free=product and config.free_sum)

    def phases(self) -> Sequence[Phase]:
        return [Phase("gate", ("gate",), self.nll, self._optim())]

    def nll(self, batch: Batch, step: Step) -> Loss:
        """Cross-entropy of what the members say together; parts in nats per token, theirs for comparison."""
        x = batch.only()
        log_p, after = self._log_p(self.begin(batch.size, batch.given), x[:, :-1]), x[:, 1:]
        nll = -sequence.token_log_prob(self._together(log_p, self.gate(log_p)), after, PAD)
        tokens = (after != PAD).sum().clamp(min=1)
        parts = {"nats_per_token": nll.detach().sum() / tokens}
        for k, alone in enumerate(log_p):
            parts[f"member_{k}"] = -sequence.token_log_prob(alone, after, PAD).sum() / tokens
        return Loss(sequence.mean_over_items(nll, self.mean_length), parts)

    def begin(self, n: int, given: Given) -> Memories:
        return Memories([self._begin(k, n, given) for k in range(len(self.members))])

    def advance(self, memory: Memories, tokens: Tensor) -> Tensor:
        log_p = self._log_p(memory, tokens)
        return self._together(log_p, self.gate(log_p)).log_softmax(-1)

    def _log_p(self, memory: Memories, tokens: Tensor) -> Tensor:
        """What each member predicts after each token, f32[K, B, T, V]."""
        told = [self._advance(k, part, tokens).float().log_softmax(-1) for k, part in enumerate(memory.members)]
        return torch.stack(told)

    def _together(self, log_p: Tensor, weights: Tensor) -> Tensor:
        """Logits f32[B, T, V] of all predictions f32[K, B, T, V] with weights f32[K, B, T]."""
        if self.config.combine == "product":
            return torch.einsum("kbtv,kbt->btv", log_p, weights)
        return (log_p + weights.log().unsqueeze(-1)).logsumexp(0)

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        return {self.target: autoregressive.write(self, n, given, rng, **self._layout(options))}

    @property
    def agents(self) -> tuple[str, ...]:
        return self.names

    def sample_with_deciders(self, n: int, given: Given, rng: Rng, **options: Any) -> tuple[Tensor, Tensor]:
        """Texts i64[n, W], and who decided each token, i64[n, W]: the member that made it likelier than it would
        else be by most,

            product  argmax_k w_k (log p_k(x_t) - sum_v p(v) log p_k(v))        mixture  argmax_k w_k p_k(x_t)
        """
        layout = self._layout(options)
        text = autoregressive.write(self, n, given, rng, **layout)
        head = _opening(n, layout).head.shape[1]  # tokens that were not written
        first = torch.full_like(text[:, :1], self.start)
        # Windows without a prompt were read from the start token on, which is no part of the text.
        read = text[:, :-1] if head else torch.cat([first, text[:, :-1]], 1)
        written = text[:, 1:] if head else text
        memory = self.begin(n, given)
        # All predictions of all members at once would be far larger than the text.
        slices = [part.split(SLICE, 1) for part in (read, written)]
        decider = torch.cat([self._deciders(memory, *some) for some in zip(*slices, strict=True)], 1)
        if head:
            decider = torch.cat([decider[:, :1], decider], 1)
            decider[:, :head] = NOBODY
        return text, decider.masked_fill(text == PAD, NOBODY)

    @torch.no_grad()
    def _deciders(self, memory: Memories, read: Tensor, written: Tensor) -> Tensor:
        """Who decided each of the tokens i64[B, T] that were written after those read, i64[B, T]."""
        log_p = self._log_p(memory, read)
        weights = self.gate(log_p)
        said = log_p.gather(-1, written.expand(len(log_p), -1, -1).unsqueeze(-1)).squeeze(-1)
        if self.config.combine == "product":
            p = self._together(log_p, weights).softmax(-1)
            said = weights * (said - (p * log_p.clamp(min=-80)).sum(-1))
        else:
            said = weights.log() + said
        return said.argmax(0)


# -- writer and critic -------------------------------------------------------------------------------------------


class Reading:
    """What the critic remembers: its state, the readers' memories, and the last token, which they have not read."""

    def __init__(self, state: text_critic.Memory, readers: Memories, last: Tensor) -> None:
        self.state, self.readers, self.last = state, readers, last

    def rows(self, index: Tensor) -> Reading:
        return Reading(self.state.rows(index), self.readers.rows(index), self.last[index])


class WriterAndCritic(Cooperative):
    """The first member writes drafts; a critic chooses among them. As Streams and Scores it is the writer alone."""

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__(config, spec)
        self.critic: text_critic.NgramCritic | text_critic.RecurrentCritic = (
            text_critic.NgramCritic(self.vocab)
            if config.critic == "ngrams"
            else text_critic.RecurrentCritic(self.vocab, config.width, 2 * len(self.members))
        )

    def phases(self) -> Sequence[Phase]:
        return [Phase("critic", ("critic",), self.nce, self._optim())]

    def nce(self, batch: Batch, step: Step) -> Loss:
        """Binary cross-entropy of the critic on real and written continuations of the same real beginnings.

        The logit that a continuation is real is the sum of its tokens' log-ratios, so its optimum is
        log p(continuation) / p_writer(continuation): Gutmann & Hyvärinen 2010. Judged after each of its tokens.
        """
        x, n = batch.only(), batch.size
        m = min(self.config.continuation, self.length - 1)
        most = int(min(self.length, max(self.mean_length, 2))) - m
        # Where the beginnings end follows from the step, and is the same for all items.
        begun = min(1 + int(max(most, 0) * (step.index * 0.6180339887 % 1)), x.shape[1] - 1)
        written = autoregressive.write(
            self, n, batch.given, step.rng, start=self.start, length=m, framed=False, prompt=x[:, :begun],
            max_tokens=m, ends=self.framed,
        )  # fmt: skip
        real = F.pad(x[:, : begun + m], (0, max(begun + m - x.shape[1], 0)), value=PAD)
        texts = torch.cat([real, written])
        twice = {name: torch.cat([value, value]) for name, value in batch.given.items()}
        reads = self.critic.reads_opinions
        logits = self._advance(0, self._begin(0, 2 * n, twice), texts[:, :-1]) if reads else None
        ratio = self.judge.advance(self.judge.begin(2 * n, twice, texts[:, :1]), texts[:, 1:], logits)[:, begun - 1 :]
        # A beginning that had ended has no continuation.
        counts = (texts[:, begun:] != PAD) & ~(x[:, :begun] == EOS).any(1).repeat(2).unsqueeze(1)
        logit = (ratio * counts).cumsum(1)
        is_real = (torch.arange(2 * n, device=x.device) < n).float().unsqueeze(1).expand_as(logit)
        soft = is_real * (1 - 2 * self.config.label_smoothing) + self.config.label_smoothing
        loss = F.binary_cross_entropy_with_logits(logit, soft, reduction="none") * counts
        right = ((logit[:, -1] > 0) == is_real[:, -1].bool()).float()
        return Loss(loss.sum() / (2 * n * m), {"accuracy": right.mean(), "nats": loss.detach().sum() / counts.sum()})

    @property
    def judge(self) -> SteeringCritic:
        return SteeringCritic(self)

    # -- Streams: the writer alone ---------------------------------------------------------------------------

    @property
    def context(self) -> int:
        return int(self.members[0].context)  # type: ignore[arg-type]

    def begin(self, n: int, given: Given) -> Memory:
        return self._begin(0, n, given)

    def advance(self, memory: Any, tokens: Tensor) -> Tensor:
        return self._advance(0, memory, tokens)

    # -- writing ---------------------------------------------------------------------------------------------

    @property
    def agents(self) -> tuple[str, ...]:
        return (self.names[0], "critic")

    def blocks(self, n: int, given: Given, rng: Rng, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        """Blocks of the text as they are kept; options of sampling/steered.py: `candidates=1` is the writer alone."""
        chosen = {"candidates": self.config.candidates, "block": self.config.block, **options}
        return steered.stream(self, self.judge, n, given, rng, **self._layout(chosen))

    def stream(self, n: int, given: Given, rng: Rng, **options: Any) -> Iterator[Tensor]:
        """The tokens after the prompt as they are kept, i64[n] each, a block at a time."""
        for tokens, _ in self.blocks(n, given, rng, **options):
            yield from tokens.unbind(1)

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        return {self.target: self.sample_with_deciders(n, given, rng, **options)[0]}

    def sample_with_deciders(self, n: int, given: Given, rng: Rng, **options: Any) -> tuple[Tensor, Tensor]:
        """Texts i64[n, W], and who decided each token: 0 where it is the writer's first draft, 1 where the critic
        preferred another."""
        layout = self._layout(options)
        open_ = _opening(n, layout)
        told = list(self.blocks(n, given, rng, **options))
        head, device = open_.head.shape[1], told[0][0].device
        text = torch.full((n, open_.width), PAD, dtype=torch.int64, device=device)
        decider = torch.full_like(text, NOBODY)
        text[:, :head] = open_.head
        written = torch.cat([tokens for tokens, _ in told], 1)
        text[:, head : head + written.shape[1]] = written
        decider[:, head : head + written.shape[1]] = torch.cat([swapped for _, swapped in told], 1).long()
        return text, decider.masked_fill(text == PAD, NOBODY)


class SteeringCritic:
    """The critic as sampling/steered.py asks it; it sees the writer's and the readers' opinion of each token."""

    def __init__(self, model: WriterAndCritic) -> None:
        self.model = model

    def begin(self, n: int, given: Given, first: Tensor) -> Reading:
        members = range(1, len(self.model.members)) if self.model.critic.reads_opinions else ()
        readers = Memories([self.model._begin(k, n, given) for k in members])
        return Reading(self.model.critic.begin(n), readers, first)

    def advance(self, memory: Reading, tokens: Tensor, logits: Tensor | None) -> Tensor:
        told = None
        if logits is not None and self.model.critic.reads_opinions:
            read = torch.cat([memory.last, tokens[:, :-1]], 1)
            readers = [self.model._advance(k, m, read) for k, m in enumerate(memory.readers.members, 1)]
            memory.last = tokens[:, -1:]
            told = opinions([logits, *readers], tokens)
        ratio: Tensor = self.model.critic.advance(memory.state, tokens, told)
        return ratio


def opinions(told: Sequence[Tensor], tokens: Tensor) -> Tensor:
    """Of each model with logits f32[B, T, V]: its surprise at the token less the surprise it expected (its entropy),
    and that entropy, in nats / 4, so that they are of the order of 1. f32[B, T, 2K]."""
    out = []
    for logits in told:
        log_p = logits.float().log_softmax(-1)
        entropy = -(log_p.exp() * log_p.clamp(min=-80)).sum(-1)
        surprise = -log_p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).clamp(min=-80)
        out += [(surprise - entropy) / 4, entropy / 4]
    return torch.stack(out, -1)


def _opening(n: int, layout: Mapping[str, Any]) -> autoregressive.Opening:
    named = ("start", "length", "framed", "prompt", "max_tokens")
    return autoregressive.opening(n, **{name: layout[name] for name in named if name in layout})
