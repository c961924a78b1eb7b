"""What a family of models is to the rest: networks, phases, a sampler, and optional abilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from maquette.core.batch import Batch
from maquette.core.graph import Graph
from maquette.core.option import Option
from maquette.core.rng import Rng
from maquette.core.spec import ColumnSpec

Given = Mapping[str, Tensor]


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise, and the named parts that are logged as `phase/part`."""

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Where training is, as a loss sees it.

    index: of this step, from 0      total: steps of the whole run, as planned by now
    rng:   noise of this step and phase, the same for any number of processes or micro-batches
    share: of the run that schedules have done, where its length was changed on the way; None: index / total
    """

    index: int
    total: int
    rng: Rng
    share: float | None = None

    @property
    def progress(self) -> float:
        """From 0 at the first step to almost 1 at the last: what schedules are functions of."""
        return self.index / max(self.total, 1) if self.share is None else self.share


@dataclass(frozen=True)
class Optim:
    """An optimizer as pure data; the engine builds it and evaluates the schedule.

    lr:       peak learning rate, reached after `warmup` (a share of the run) and then following `schedule`
    final:    learning rate at the end of the schedule, as a share of the peak
    constant_until: share of the run after which the decay begins
    clip:     largest global gradient norm; 0 turns clipping off
    muon:     learning rate of Muon as a multiple of `lr`, for weights of two dimensions or more, with
              Adam for the rest; 0 turns Muon off
    muon_block: rows of a matrix that Muon orthogonalises together; 0: all. Blocks of 64 cost a tenth
    not_muon: parameters that stay with Adam all the same, by the start of their name within their net
              (inputs, outputs, embeddings), e.g. ("stem", "head.out")
    """

    name: Literal["adam", "adamw", "adamax", "sgd"] = "adam"
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: float = 0.0
    constant_until: float = 0.0
    final: float = 0.0
    clip: float = 0.0
    muon: float = 0.0
    muon_block: int = 0
    not_muon: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One optimizer update.

    name:       the log's prefix, e.g. "d", "g", "elbo"; each phase has its own
    nets:       the child networks updated here; every other one is frozen, and so is whatever needed no gradients
                (requires_grad False) when the model was built
    loss:       (batch, step) -> Loss, the mean over the items of the batch
    every:      do this phase each so many steps
    after:      share of the run before which it is left out
    reads_data: False withholds the target columns, so that what comes out is post-processing of
                what the other phases learned; where nothing is given either, the number of items, too
    parameters: (name, parameter) -> whether this one of the nets' parameters is updated, by `<net>.<name within it>`;
                None: all are. Phases that update the same parameters share one optimizer.
    """

    name: str
    nets: tuple[str, ...]
    loss: Callable[[Batch, Step], Loss]
    optim: Optim
    every: int = 1
    after: float = 0.0
    reads_data: bool = True
    parameters: Callable[[str, nn.Parameter], bool] | None = None


@dataclass(frozen=True)
class Watch:
    """An alarm as pure data: a logged value that stays beyond a limit.

    key:      of the log, e.g. "d/accuracy" or "g/grad_norm"
    above / below: the limits
    patience: share of the run it must last
    after:    share of the run before which no alarm is raised
    saw, advice: what it means, and what to try
    """

    name: str
    key: str
    saw: str
    advice: str
    above: float | None = None
    below: float | None = None
    patience: float = 0.05
    after: float = 0.1


class Model(nn.Module):
    """A family's model. Its children ARE the networks; `phases()` is how they learn.

    keeps:   names of the children that sampling and scoring need: their moving average (EMA) is what
             `weights.safetensors` holds. Empty means all of them.
    watches: alarms over what the phases log.
    missing_weights: what the first weights should have come from and could not, for people: training cannot begin
             with such a model, and one that was trained already is loaded over it.
    options: what `sample` takes more by keyword, each with its check (core/option.py).
    settled: names of those of them that are settled when the model leaves (Exports).
    needs:   forms of given columns that cannot be left out when sampling, such as the sequence that is translated.
    """

    keeps: tuple[str, ...] = ()
    watches: tuple[Watch, ...] = ()
    missing_weights: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    settled: tuple[str, ...] = ()
    needs: tuple[type[ColumnSpec], ...] = ()

    @property
    def remark(self) -> str:
        """What people are told before it unfolds an item, such as why that is slow; empty: nothing."""
        return ""

    def phases(self) -> Sequence[Phase]:
        """The updates that one training step is made of, in order."""
        raise NotImplementedError(f"{type(self).__name__} must say how it learns: phases()")

    def sample(self, n: int, given: Given, rng: Rng) -> dict[str, Tensor]:
        """n items of each target column, canonical. Item i may depend only on (rng's seed, i, given[i]).

        given: tensors of n items by column; empty asks for the unconditional model.
        A family may take more by keyword, as its `options` say; none of it is needed.
        Called in eval mode and without gradients.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it samples: sample()")

    @property
    def kept(self) -> dict[str, nn.Module]:
        """The children named in `keeps`, or all."""
        children = dict(self.named_children())
        return {name: children[name] for name in self.keeps} if self.keeps else children


@runtime_checkable
class Decodes(Protocol):
    """Makes items from a latent code drawn from N(0, I): unlocks interpolation and the latent plane."""

    @property
    def latent_dim(self) -> int:
        """Numbers in one latent code."""
        ...

    def decode(self, z: Tensor, given: Given) -> dict[str, Tensor]:
        """Codes f32[B, latent_dim] -> canonical targets, deterministic."""
        ...


@runtime_checkable
class Exports(Protocol):
    """Can leave for other runtimes: unlocks export."""

    def graphs(self, **asked: Any) -> tuple[Graph, ...]:
        """Computations that together do what `sample` does but for drawing: whoever runs them draws. asked: by name,
        what is `settled`.

        UserError, with the reason, where these settings cannot leave.
        """
        ...


@runtime_checkable
class Encodes(Decodes, Protocol):
    """Also finds the code of an item: unlocks reconstructions and traversals."""

    def encode(self, batch: Batch) -> Tensor:
        """Mean code of each item, f32[B, latent_dim]; deterministic."""
        ...


@runtime_checkable
class GridCode(Encodes, Protocol):
    """Its code may be values on a small grid: unlocks models of the codes.

    code_grid: (channels, *cells) as which a code f32[latent_dim] can be laid out; None: it is on no grid
    """

    @property
    def code_grid(self) -> tuple[int, ...] | None:
        """(channels, *cells), or None."""
        ...


@runtime_checkable
class UsesCodec(Protocol):
    """Knows items by the codes of another model only, its codec: what is lost on the way is lost by that one."""

    @property
    def codec(self) -> Encodes:
        """The other model, frozen."""
        ...


@runtime_checkable
class Scores(Protocol):
    """Knows how likely an item is: unlocks log-likelihood, bits/dim, audits.

    All in nats per item.

    density: what exp(log_prob) is: "discrete" probabilities, a "continuous" density over the canonical
             range, or "none" (a cross-entropy), which must not be called a likelihood
    exact:   whether log_prob is log p itself, or an unbiased estimate of it; else it is a lower bound

    Where items have ends, and what is behind them costs nothing, `counted(batch)` -> i64[B] says how many values of
    each log_prob is of; without it, that is all.
    """

    density: Literal["discrete", "continuous", "none"]
    exact: bool

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        """log p(x | given), f32[B], nats; or the importance-weighted lower bound on it with `samples` samples.

        As a bound, samples = 1 is the ELBO (beta = 1). Burda et al. 2016, eq. 8.
        """
        ...

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        """The batch as the likelihood sees it: e.g. its values binarised, once, by `rng`."""
        ...


@runtime_checkable
class FlowMap(Protocol):
    """Moves noise (t = 0) to items (t = 1) along x_t = (1 - t) e + t x: unlocks editing.

    corrects: what the model was trained to correct ("noise", "hole", "downscale 4", ...); empty: nothing
    """

    @property
    def corrects(self) -> tuple[str, ...]:
        """Its names; empty: nothing."""
        ...

    def flow_map(
        self, given: Given, n: int, guidance: float = 1.0, seen: Tensor | None = None
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """u(x, t, h) of n items: the mean velocity from t to t + h, f32[n, ...]; at h = 0 the velocity E[x - e | x_t].

        guidance: towards what is given; 1 is the distribution that was learned
        seen:     for a model that corrects something, what is known of the items: their channels and a mask that is 1
                  where they are seen
        """
        ...

    def integrate(
        self, x: Tensor, given: Given, *, steps: int | None = None, noise: Callable[[], Tensor] | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Noise f32[n, ...] to items, as samples are made. noise: draws more of it, for samplers that need some."""
        ...


@runtime_checkable
class Restores(Protocol):
    """Knows what an item was before it was degraded, however long it is: unlocks restoring.

    corrects: what it was trained to undo ("noise", "gap", ...)
    """

    @property
    def corrects(self) -> tuple[str, ...]:
        """Its names."""
        ...

    def restore(self, heard: Tensor, rng: Rng, seen: Tensor | None = None, steps: int | None = None) -> Tensor:
        """Degraded items f32[B, C, N] -> what they were, of any N and C, canonical.

        seen:  1 where they are known, else 0, f32[B, 1, N]; None: everywhere
        steps: 1: the mean of all that they may have been; several: one of these; None: as the model is set
        """
        ...


@runtime_checkable
class Fills(Protocol):
    """Knows what an item lacks without having been trained for it: unlocks restoring of what is known in part."""

    def filled(self, heard: Tensor, rng: Rng, seen: Tensor, steps: int | None = None) -> Tensor:
        """Items f32[B, C, N] -> whole ones, of any N and C, canonical: an answer for what is not seen, and for all of
        the upper frequencies that an item has nothing of. What lacks neither stays as it is.

        seen: 1 where they are known, else 0, f32[B, 1, N]; steps: None: enough
        """
        ...


class Memory(Protocol):
    """What a model remembers of the sequences it is writing: the encoded source, keys and values, or states."""

    def rows(self, index: Tensor) -> Memory:
        """A new memory of these rows, i64[B']: for beams, and for leaving out what is finished."""
        ...


@runtime_checkable
class Streams(Protocol):
    """Writes a sequence token by token: unlocks prompts, beam search, streaming, and the report's token colours.

    context: how many tokens back it can see; what is older is forgotten
    """

    @property
    def context(self) -> int:
        """Tokens."""
        ...

    def begin(self, n: int, given: Given) -> Memory:
        """The memory of n sequences of which nothing is written yet; reads the given source once."""
        ...

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Reads tokens i64[B, T] after those read before -> logits f32[B, T, vocab] of the token after each.

        The memory moves on, in place. Any way of cutting a sequence into calls gives the same logits.
        """
        ...

    def token_log_prob(self, batch: Batch) -> Tensor:
        """log p(x[t + 1] | x[0..t], given) for each t, f32[B, T - 1], nats; 0 where x[t + 1] is padding."""
        ...


@runtime_checkable
class Joins(Protocol):
    """Reads the next tokens of sequences that are at different places in one pass: unlocks serving many at once."""

    def together(self) -> Any:
        """A `Pool` of sampling/together.py, of which nothing is written yet; None: not of this one, or not here."""
        ...


@runtime_checkable
class Unfolds(Protocol):
    """Makes an item from its first values to its last: unlocks streaming."""

    def unfold(self, given: Given, rng: Rng, *, prompt: Tensor | None = None, **options: Any) -> Iterator[Tensor]:
        """One item in pieces f32[C, n] as they are made: one after the other they are, to the last bit, the item that
        `sample` makes, without what is behind its end.

        prompt: how it begins, f32[C, n]; the pieces go on behind it
        """
        ...


@runtime_checkable
class Continues(Protocol):
    """Goes on with an item, along the first dimension of its grid, from its first moments: unlocks continuing.

    seen: how many moments it looks at; of more it takes the last
    """

    @property
    def seen(self) -> int:
        """Moments."""
        ...

    def extend(self, first: Tensor, count: int, given: Given, rng: Rng) -> Tensor:
        """f32[B, C, T, *grid], T >= seen, canonical -> the `count` moments after, f32[B, C, count, *grid]."""
        ...


@runtime_checkable
class Tweens(Protocol):
    """Knows what lies between two moments: unlocks slowing down and loops."""

    def between(self, first: Tensor, last: Tensor, count: int) -> Tensor:
        """f32[B, C, *grid] twice -> the `count` moments between, evenly spaced, f32[B, C, count, *grid]."""
        ...


@dataclass(frozen=True)
class Motion:
    """How moments come from what was seen, in K layers, the hindmost first.

    flow:  where each cell of a layer comes from, less where it is: f32[B, T, K, 2, H, W], in cells, down and right,
           along the way from one moment to the next
    masks: share of each layer in what is seen, then that of what was moved from nowhere: f32[B, T, K + 1, H, W],
           of sum 1
    """

    flow: Tensor
    masks: Tensor


@runtime_checkable
class Moves(Protocol):
    """Makes moments by moving what was seen: unlocks maps of motion and of layers."""

    def motion(self, first: Tensor, count: int) -> Motion:
        """Of the `count` moments after f32[B, C, T, H, W], T >= seen."""
        ...


@runtime_checkable
class Cooperates(Protocol):
    """Several agents that write one sequence: unlocks the report's colouring of who decided each token."""

    @property
    def agents(self) -> tuple[str, ...]:
        """Names of the agents."""
        ...

    def sample_with_deciders(self, n: int, given: Given, rng: Rng, **options: Any) -> tuple[Tensor, Tensor]:
        """Sequences i64[n, W], and the number of the agent that decided each token, i64[n, W]; -1: none decided it."""
        ...


@runtime_checkable
class Aligns(Protocol):
    """Says which part of the source each part of an item comes from: unlocks the alignment maps of the report."""

    def alignment(self, batch: Batch) -> Tensor:
        """Attention over the tokens of the source, f32[B, T - 1, S] of each predicted token, or f32[B, T, S] of T even
        steps through an item on a grid; rows sum to 1."""
        ...
