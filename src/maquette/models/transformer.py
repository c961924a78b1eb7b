"""Transformers over tokens (Vaswani et al. 2017): language models, and encoder-decoders where there is a source.

One phase minimises, over the tokens t_1 .. t_n of the target after its first,

    -sum_i log p(t_i | t_1 .. t_(i-1), source, y)

with y what else is given, if anything is. A language model can also learn to fill gaps: a share of the texts is put in
the order prefix, suffix, middle (Bavarian et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from maquette.core.batch import Batch
from maquette.core.bounds import DEEPEST, AnyCount, AnyDepth, Count, Depth, Length, Share, Width
from maquette.core.cache import cache_folder
from maquette.core.errors import UserError
from maquette.core.graph import Graph, Port, Sizes, given_ports
from maquette.core.model import Given, Loss, Model, Phase, Step
from maquette.core.rng import ItemRng, Rng
from maquette.core.spec import EOS, MIDDLE, PAD, PREFIX, SUFFIX, ClassSpec, DataSpec, TokenSpec
from maquette.core.watches import exploding
from maquette.losses import sequence
from maquette.models._given import ANY, beside_source, condition, drop, source_name, source_of, vector
from maquette.models._learning import Learning, Muon, Warmup
from maquette.nets.attention import Handed, Source
from maquette.nets.transformer import Memory, Transformer
from maquette.nets.writing_together import Together
from maquette.sampling import autoregressive

SUPPORTS = (TokenSpec,)
GIVEN = ANY
NEEDS = (TokenSpec,)  # the source: rows that lack it teach nothing
NOT_MUON = ("embedding", "source_embedding", "condition", "ngrams.table")  # mostly rows of a table, one a token


class Config(Learning):
    """Settings of a transformer."""

    width: Width = Field(256, description="numbers that describe a token; multiples of 32 suit the hardware")
    layers: Depth = Field(4, description="blocks of the decoder")
    encoder_layers: AnyDepth = Field(0, description="blocks of the encoder, where there is a source; 0: as many")
    heads: Width = Field(4, description="attention heads; width / heads = 64 is fastest on a CPU")
    mlp: float = Field(4.0, gt=0, le=64, description="width of the hidden layer of a block over `width`")
    shift: Share = Field(
        0.0, description="share of the numbers that attention reads of a token which are those of the token before"
    )
    ngrams: int = Field(1, ge=1, le=8, description="the last 2 .. ngrams tokens have an embedding of their own; 1: no")
    ngram_rows: Count = Field(32768, description="rows in a table of n-grams; more n-grams than that share them")
    ngram_dim: Width = Field(32, description="numbers in a row of such a table")
    ngram_dropout: Share = Field(0.0, description="share of n-grams that are not looked up while learning")
    shared: Literal["auto", "yes", "no"] = Field(
        "auto", description="source and target share one table of embeddings; auto: where they share tokens"
    )

    dropout: Share = Field(0.0, description="of embeddings and of what each layer adds")
    label_smoothing: Share = 0.0
    label_dropout: float = Field(
        0.1, ge=0, le=1, description="share of items that each given column but the source is hidden of"
    )
    short: tuple[tuple[Annotated[float, Field(gt=0, le=1)], Length], ...] = Field(
        (),
        max_length=DEEPEST,
        description="[share of the run, tokens]: until then windows of a long sequence are cut into pieces so long: "
        "cheaper, and what is near is learned first (Press et al. 2021, shortformer)",
    )
    infill: Share = Field(0.0, description="share of sequences that are rearranged, so that gaps can be filled")

    muon: Muon = 5.0
    muon_block: AnyCount = Field(
        0, description="rows of a weight matrix that Muon orthogonalises together, 64 a tenth of the work; 0: all"
    )
    weight_decay: float = Field(0.0, ge=0)
    warmup: Warmup = 0.02
    final: float = Field(0.0, ge=0, le=1, description="learning rate at the end over the highest")

    @model_validator(mode="after")
    def _heads_fit(self) -> Config:
        if self.width % (2 * self.heads):
            raise ValueError(f"heads: width = {self.width} cannot be shared by {self.heads} heads of an even size")
        return self


def build(config: Config, spec: DataSpec) -> TransformerModel:
    """The model for this specification: a decoder, with an encoder where a sequence is given.

    Raises UserError for settings or shapes that cannot work.
    """
    source = source_name(spec)
    if source and config.infill:
        raise UserError("Gaps are filled by a model without a source.", "Set model.infill=0, or train without --given.")
    return AlignedTransformer(config, spec) if source else TransformerModel(config, spec)


class TransformerModel(Model):
    """p(target | source, y), token by token. Meets Streams, Joins, Scores and Exports."""

    density: Literal["discrete", "continuous", "none"] = "discrete"
    exact = True
    needs = (TokenSpec,)
    watches = (exploding("nll", above=20.0),)

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec = config, spec
        column, self.target = spec.only(TokenSpec), spec.only_name
        (self.length,) = column.shape
        self.start, self.framed, self.mean_length = column.start, column.framed, column.mean_length
        self.fills_gaps = config.infill > 0
        self.columns, self.source = beside_source(spec), source_name(spec)
        c, source = config, spec.columns[self.source] if self.source else None
        alike = source is not None and column.same_tokens(source)
        if c.shared == "yes" and not alike:
            raise UserError(
                "One table of embeddings needs one tokenizer for source and target.",
                f"Prepare them with one (data.{column.kind}.joint=true), or set model.shared=auto.",
            )
        self.net = Transformer(
            column.vocab, c.width, c.layers, c.heads, self.length - 1, round(c.mlp * c.width),
            dropout=c.dropout, condition=condition(self.columns, c.width, c.width**-0.5),
            source_vocab=source.vocab if source else 0, encoder_layers=c.encoder_layers or c.layers,
            shared=alike and c.shared != "no", pad=PAD,
            ngrams=c.ngrams, ngram_rows=c.ngram_rows, ngram_dim=c.ngram_dim, ngram_dropout=c.ngram_dropout,
            shift=round(c.shift * c.width),
        )  # fmt: skip

    # -- learning ------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        c = self.config
        optim = c.optim(
            "adamw", weight_decay=c.weight_decay, final=c.final, muon_block=c.muon_block, not_muon=NOT_MUON
        )  # fmt: skip
        return [Phase("nll", ("net",), self.nll, optim)]

    def nll(self, batch: Batch, step: Step) -> Loss:
        """Label-smoothed cross-entropy; its part is the plain one, in nats per token."""
        c, n, x = self.config, batch.size, batch.only()
        given = drop(batch.given, self.columns, n, c.label_dropout, step.rng)
        if c.infill:
            chosen, cuts = step.rng.uniform(n) < c.infill, step.rng.uniform(n, 2)
            x = rearrange(x, chosen, cuts, self.framed, self.length)
        tokens, after, y = x[:, :-1], x[:, 1:], vector(self.net, given, n)
        pieces = self._pieces(tokens.shape[1], step.progress)
        if pieces > 1:
            tokens, after = (t.reshape(n * pieces, -1) for t in (tokens, after))
            y = None if y is None else y.repeat_interleave(pieces, 0)
        logits = self.net(tokens, self._source(batch.given), y)
        loss, nll = sequence.smoothed_nll(logits, after, c.label_smoothing, PAD)
        parts = {"nats_per_token": nll.sum() / (after != PAD).sum().clamp(min=1)}
        return Loss(sequence.mean_over_items(loss.view(n, -1), self.mean_length), parts)

    def _pieces(self, length: int, progress: float) -> int:
        """How many pieces a window of so many tokens is cut into; texts with a beginning and an end stay whole."""
        size = next((tokens for until, tokens in self.config.short if progress < until), length)
        whole = self.framed or self.config.infill or self.source or length % size
        return 1 if whole else length // size

    def _source(self, given: Given) -> Tensor | None:
        return source_of(given, self.spec)

    # -- writing -------------------------------------------------------------------------------------

    def sample(self, n: int, given: Given, rng: Rng, **options: Any) -> dict[str, Tensor]:
        """options: of sampling/autoregressive.py. A prompt that ends with MIDDLE asks for what fills a gap."""
        like: dict[str, Any] = {"start": self.start, "length": self.length, "framed": self.framed}
        prompt = options.get("prompt")
        if prompt is not None and bool((prompt == MIDDLE).any()):
            options.setdefault("ends", True)  # what fills a gap ends, also in a text that does not
        return {self.target: autoregressive.write(self, n, given, rng, **like, **options)}

    @property
    def context(self) -> int:
        return self.net.context

    def begin(self, n: int, given: Given) -> Memory:
        return self.net.begin(n, self._source(given), vector(self.net, given, n), cache_folder("compiled", "numba"))

    def advance(self, memory: Memory, tokens: Tensor) -> Tensor:
        return self.net.advance(memory, tokens)

    def together(self) -> Together | None:
        return Together.of(self.net, self.begin(1, {}))

    # -- Exports -------------------------------------------------------------------------------------

    def graphs(self) -> tuple[Graph, ...]:
        """The next token, with a memory that goes in and comes out; before it, the encoder of a source."""
        return (self._encoder(), self._decoder()) if self.source else (self._decoder(),)

    def _encoder(self) -> Graph:
        assert self.source is not None
        net, inputs = self.net, given_ports({self.source: self.spec.columns[self.source]}, needed=True)

        def run(source: Tensor) -> tuple[Tensor, Tensor]:
            seen = net.encode(source)
            return torch.stack(seen.layers), seen.bias

        return Graph("encoder", run, inputs, self._of_source(str(inputs[0].shape[1])))

    def _of_source(self, length: str) -> tuple[Port, Port]:
        shape = (len(self.net.blocks), 2, "batch", self.net.heads, length, self.net.head_dim)
        return (
            Port("source_keys", shape, "keys and values of the source, by layer"),
            Port(
                "source_bias", ("batch", 1, 1, length), "0 where the source has tokens, else far below", high=0, low=0
            ),
        )

    def _decoder(self) -> Graph:
        net, layers = self.net, len(self.net.blocks)
        gram, shift = net.ngrams.before if net.ngrams is not None else 0, net.shift
        own = [
            Port("tokens", ("batch", "tokens"), f"read next; a sequence begins with {self.start}", "int64", 0,
                 net.embedding.num_embeddings - 1),
            Port("position", (), "how many tokens were read before", "int64", 0, 0),
            Port("past", (layers, 2, "batch", net.heads, "past", net.head_dim),
                 f"keys and values of the last of them, {self.context - 1} at most: the last `present`; none at first"),
            *([Port("recent", ("batch", gram), "the last tokens: the last `recent_now`; 0 at first", "int64", 0,
                    net.embedding.num_embeddings - 1)] if gram else []),
            *([Port("before", (layers, "batch", 1, shift), "the last `before_now`; 0 at first")] if shift else []),
            *(self._of_source("source") if self.source else ()),
        ]  # fmt: skip
        names = [port.name for port in own]
        inputs = (*own, *given_ports(self.columns, [*names, "logits", "present"]))
        vocab, longer = net.embedding.num_embeddings, "past + tokens"
        outputs = [
            Port("logits", ("batch", "tokens", vocab), "of the token after each", what="logits"),
            Port("present", (layers, 2, "batch", net.heads, longer, net.head_dim), "goes in as `past`", what="state"),
        ]
        if gram:
            outputs.append(Port("recent_now", ("batch", gram), "goes in as `recent`", "int64", what="state"))
        if shift:
            outputs.append(Port("before_now", (layers, "batch", 1, shift), "goes in as `before`", what="state"))

        def run(*values: Tensor) -> list[Tensor]:
            told = dict(zip(names, values, strict=False))
            tokens, n = told["tokens"], told["tokens"].shape[0]
            given = dict(zip(self.columns, values[len(names) :], strict=True))
            recent = told["recent"] if gram else tokens[:, :0]
            before = told["before"] if shift else told["past"].new_zeros(layers, n, 1, 0)
            source = Source(tuple(told["source_keys"].unbind(0)), told["source_bias"]) if self.source else None
            memory = Handed(told["past"], before)
            logits, recent = net.read(tokens, told["position"], memory, recent, source, vector(net, given, n))
            kept = [*([recent] if gram else []), *([torch.stack(memory.before)] if shift else [])]
            return [logits, memory.longer, *kept]

        def example(sizes: Sizes, seed: int) -> dict[str, Tensor]:
            """What goes in after the first `past` tokens of sequences that the model wrote."""
            n, past = sizes["batch"], sizes["past"]
            told: dict[str, Tensor] = {"past": net.embedding.weight.new_zeros(layers, 2, n, net.heads, 0, net.head_dim)}
            told |= {"recent": torch.zeros(n, gram, dtype=torch.long)} if gram else {}
            told |= {"before": torch.zeros(layers, n, 1, shift)} if shift else {}
            given: dict[str, Tensor] = {}
            if self.source:
                tokens = torch.arange(n * 5).view(n, 5) % net.embedding.num_embeddings
                given[self.source] = tokens
                encoded = net.encode(tokens)
                told |= {"source_keys": torch.stack(encoded.layers), "source_bias": encoded.bias}
            most = past + sizes["tokens"]
            x = autoregressive.write(
                self, n, given, ItemRng(seed, range(n)), start=self.start, length=min(most, self.length),
                framed=self.framed,
            )  # fmt: skip
            x = torch.nn.functional.pad(x, (0, max(0, most - x.shape[1])), value=self.start)
            told |= {"tokens": x[:, :past], "position": torch.tensor(0)}
            if past:
                nothing = [torch.full((n,), -1) if isinstance(c, ClassSpec) else None for c in self.columns.values()]
                if all(one is not None for one in nothing):
                    _, told["past"], *kept = run(*(told[name] for name in names), *nothing)  # type: ignore[arg-type]
                    told |= dict(zip([name for name in ("recent", "before") if name in told], kept, strict=True))
            return {**told, "tokens": x[:, past:most], "position": torch.tensor(past)}

        sizes = [(3, 4, 5), (1, 6, 0), (2, 1, 9), (4, 24, 20)]
        tried = tuple(dict(zip(("batch", "tokens", "past"), some, strict=True)) for some in sizes)
        return Graph("decoder", run, inputs, tuple(outputs), tried, example)

    # -- Scores --------------------------------------------------------------------------------------

    def token_log_prob(self, batch: Batch) -> Tensor:
        x = batch.only()
        logits = self.net(x[:, :-1], self._source(batch.given), vector(self.net, batch.given, batch.size))
        return sequence.token_log_prob(logits, x[:, 1:], PAD)

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        return self.token_log_prob(batch).sum(1)


class AlignedTransformer(TransformerModel):
    """Also says where in the source it looked. Meets Aligns."""

    def alignment(self, batch: Batch) -> Tensor:
        source = self._source(batch.given)
        assert source is not None  # or _source would have refused
        return self.net.alignment(batch.only()[:, :-1], source, vector(self.net, batch.given, batch.size))


def rearrange(x: Tensor, chosen: Tensor, cuts: Tensor, framed: bool, longest: int) -> Tensor:
    """Texts i64[B, L], those chosen (bool[B]) as PREFIX before SUFFIX after MIDDLE between EOS.

    cuts: uniform f32[B, 2]: where the gap begins and ends, as shares of the text. A framed text keeps its BOS, and
    the batch grows by three tokens. A window has at most `longest` tokens: a whole one loses its last four, and keeps
    its length (Bavarian et al. 2022, PSM); a text that is shorter than a window keeps what there is room for. What
    becomes of a text never depends on the others of the batch.
    """
    grown = 3 if framed else min(4, longest - x.shape[1])
    x = torch.nn.functional.pad(x, (0, grown), value=PAD)
    first = int(framed)  # BOS stays where it is
    width = x.shape[1]
    n = (x != PAD).sum(1, keepdim=True)  # tokens of the text
    n = n - 2 if framed else n.clamp(max=longest - 4)
    n = n.clamp(min=0)
    begin, end = ((cuts.sort(1).values * (n + 1)).long().clamp(max=n)).split(1, 1)  # the gap is begin .. end
    suffix, middle, last = begin + 1, 2 + begin + n - end, n + 3  # where SUFFIX, MIDDLE and EOS stand
    place = torch.arange(width, device=x.device)[None] - first
    origin = torch.where(
        place < suffix, place - 1, torch.where(place < middle, place - 2 + end - begin, place - 3 - n + end)
    )
    moved = x.gather(1, (origin + first).clamp(0, width - 1))
    for where, token in ((torch.zeros_like(n), PREFIX), (suffix, SUFFIX), (middle, MIDDLE), (last, EOS)):
        moved = torch.where(place == where, token, moved)
    moved = torch.where(place > last, PAD, moved)
    moved = torch.where(place < 0, x, moved)
    return torch.where(chosen[:, None], moved, x)
