"""Recurrent encoder-decoders with attention (Sutskever et al. 2014; Bahdanau et al. 2015; Luong et al. 2015).

One phase minimises, over the tokens t_1 .. t_n of the target after its first,

    -sum_i log p(t_i | t_1 .. t_(i-1), source, y)

with y what else is given, if anything is. Without a source column the same decoder is a recurrent language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.bounds import Depth, Share, Width
from maquette.core.errors import UserError
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import PAD, DataSpec, TokenSpec
from maquette.losses import sequence
from maquette.models._given import ANY, beside_source, condition, drop, source_name, source_of, vector
from maquette.models._learning import Learning, Muon, Warmup
from maquette.nets.recurrent import Memory, RecurrentNet, projected_nll
from maquette.sampling import autoregressive

SUPPORTS = (TokenSpec,)
GIVEN = ANY
NEEDS = (TokenSpec,)  # the source: rows that lack it teach nothing
NOT_MUON = ("embed", "condition", "out")  # rows of a table, one a token, rather than a matrix


class Config(Learning):
    """Settings of a recurrent encoder-decoder, or of a recurrent language model."""

    cell: Literal["lstm", "gru"] = "lstm"
    layers: Depth = Field(2, description="recurrent layers of the encoder, and of the decoder")
    width: Width = Field(512, description="numbers in a layer's output; two directions share them")
    embedding: Width = Field(256, description="numbers in the embedding of a token")
    bidirectional: bool = Field(True, description="the encoder reads the source both ways")
    reverse_source: bool = Field(False, description="the source is read backwards (Sutskever et al. 2014, section 3.3)")
    attention: Literal["none", "additive", "general", "dot"] = "general"
    query: Literal["top", "bottom"] = Field(
        "bottom", description="the decoder's layer that attends; the layers above it read the context too"
    )
    input_feeding: bool = Field(
        False,
        description="each step reads the readout of the last (Luong et al. 2015, section 3.3); slow",
    )
    shared_embeddings: bool = Field(True, description="source and target share one table where they share tokens")
    tied_output: bool = Field(True, description="the projection onto the vocabulary is the embedding of the target")

    dropout: Share = Field(0.3, description="of embeddings, layers and readout: one mask for all steps of a text")
    label_smoothing: Share = 0.1
    scheduled_sampling: float = Field(
        0.0, ge=0, le=1,
        description="share of the decoder's inputs that are its own predictions at the end of the run, growing from 0 "
        "(Bengio et al. 2015); slow",
    )  # fmt: skip
    label_dropout: float = Field(
        0.1, ge=0, le=1, description="share of items that each given column but the source is hidden of"
    )

    lr: float = Field(4e-3, gt=0)
    muon: Muon = 1.0
    beta2: Share = 0.98
    weight_decay: float = Field(0.0, ge=0)
    warmup: Warmup = 0.03


def build(config: Config, spec: DataSpec) -> RecurrentModel:
    """The model for this specification: a recurrent encoder and decoder.

    Raises UserError for settings or shapes that cannot work.
    """
    if config.bidirectional and config.width % 2:
        raise UserError("The two directions of the encoder share `width`.", "Set model.width to an even number.")
    aligns = source_name(spec) and config.attention != "none"
    return AttentiveModel(config, spec) if aligns else RecurrentModel(config, spec)


class RecurrentModel(Model):
    """p(target | source, y), token by token. Meets Streams and Scores."""

    density: Literal["discrete", "continuous", "none"] = "discrete"
    exact = True
    needs = (TokenSpec,)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        column, self.target = spec.only(TokenSpec), spec.only_name
        (self.length,) = column.shape
        self.start, self.framed, self.mean_length = column.start, column.framed, column.mean_length
        self.context = self.length - 1  # of training; the states reach back further
        self.columns, name = beside_source(spec), source_name(spec)
        c, source = config, spec.columns[name] if name else None
        self.net = RecurrentNet(
            column.vocab, source.vocab if source else 0, condition(self.columns, c.embedding, c.embedding**-0.5),
            cell=c.cell, layers=c.layers, width=c.width, embedding=c.embedding, bidirectional=c.bidirectional,
            reverse_source=c.reverse_source, attention=c.attention, query=c.query, input_feeding=c.input_feeding,
            shared=c.shared_embeddings and source is not None and column.same_tokens(source),
            tied=c.tied_output, pad=PAD,
        )  # fmt: skip

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return [Phase("nll", ("net",), self.nll, c.optim("adamw", weight_decay=c.weight_decay, not_muon=NOT_MUON))]

    def nll(self, batch: Batch, step: Step) -> Loss:
        """Label-smoothed cross-entropy; its part is the plain one, in nats per token."""
        c, n, x = self.config, batch.size, batch.only()
        given = drop(batch.given, self.columns, n, c.label_dropout, step.rng)
        masks = self.net.masks(step.rng.uniform(n, self.net.noise_size), c.dropout) if c.dropout else {}
        memory = self._begin(n, given, masks)
        if c.scheduled_sampling:
            own = step.rng.uniform(*x[:, :-1].shape) < c.scheduled_sampling * step.progress
            readout = self._with_own_tokens(memory, x[:, :-1], own)
        else:
            readout, _ = self.net.read(memory, x[:, :-1])
        real = x[:, 1:] != PAD
        loss, nll = projected_nll(
            readout[real], self.net.projection, self.net.out_bias, x[:, 1:][real], c.label_smoothing
        )
        parts = {"nats_per_token": nll / real.sum().clamp(min=1)}
        # Close to the mean over tokens, yet a mean over items: any way of cutting a batch up gives the same gradient.
        return Loss(loss / (n * max(self.mean_length - 1, 1)), parts)

    def _with_own_tokens(self, memory: Memory, tokens: Tensor, own: Tensor) -> Tensor:
        """The readout where each input i64[B, T] marked in bool[B, T] is what the model itself thought likeliest."""
        steps: list[Tensor] = []
        for t in range(tokens.shape[1]):
            inputs = tokens[:, t]
            if t:
                with torch.no_grad():
                    likeliest = self.net.logits(steps[-1][:, -1]).argmax(-1)
                inputs = torch.where(own[:, t], likeliest, inputs)
            steps.append(self.net.read(memory, inputs.unsqueeze(1))[0])
        return torch.cat(steps, 1)

    def _begin(self, n: int, given: Given, masks: dict[str, Tensor] | None = None) -> Memory:
        return self.net.begin(n, source_of(given, self.spec), vector(self.net, given, n), masks)

    # -- writing -------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        like: dict[str, Any] = {"start": self.start, "length": self.length, "framed": self.framed}
        return {self.target: autoregressive.write(self, n, given, rng, **like, **options)}

    def begin(self, n: int, given: Given) -> Memory:
        return self._begin(n, given)

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        return self.net.logits(self.net.read(memory, tokens)[0]).float()

    # -- Scores --------------------------------------------------------------------------------------

    def token_log_prob(self, batch: Batch) -> Tensor:
        x = batch.only()
        logits = self.advance(self.begin(batch.size, batch.given), x[:, :-1])
        return sequence.token_log_prob(logits, x[:, 1:], PAD)

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        return self.token_log_prob(batch).sum(1)


class AttentiveModel(RecurrentModel):
    """Also says where in the source it looked. Meets Aligns."""

    def alignment(self, batch: Batch) -> Tensor:
        memory = self.begin(batch.size, batch.given)
        _, weights = self.net.read(memory, batch.only()[:, :-1])
        assert weights is not None
        return weights
