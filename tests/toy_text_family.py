"""The smallest family of text: a table of how likely each token is after each other one. Tests of texts use it.

Given a source it writes the source again; given a label it has a table for each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from maquette.core.batch import Batch
from maquette.core.model import Given, Loss, Model, Optim, Phase, Step
from maquette.core.rng import Rng
from maquette.core.spec import BOS, EOS, PAD, SPECIALS, ClassSpec, ColumnSpec, DataSpec, TokenSpec
from maquette.core.table import Dataset, Table
from maquette.modalities.label import Spec as LabelSpec
from maquette.modalities.text import Spec as TextSpec

SUPPORTS = (TokenSpec,)
FIRST = len(SPECIALS)


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")

    agents: bool = False
    aligns: bool = True
    broken: bool = False


@dataclass
class Read:
    """The tokens read so far are forgotten but for their number."""

    given: dict[str, Tensor]
    at: Tensor

    def rows(self, index: Tensor) -> Read:
        return replace(self, given={k: v[index] for k, v in self.given.items()}, at=self.at[index])


class Bigrams(Model):
    density = "discrete"
    exact = True

    def __init__(self, config: Config, spec: DataSpec) -> None:
        super().__init__()
        self.config, self.spec, self.context = config, spec, max(spec.only().shape[0] - 1, 1)
        self.column = spec.only_name
        self.label, label = next(iter(spec.givens(ClassSpec).items()), ("", None))
        self.source = next(iter(spec.givens(TokenSpec)), "")
        vocab = spec.only().vocab
        self.table = nn.Embedding((label.num_classes if label else 1) * vocab, vocab)
        nn.init.zeros_(self.table.weight)

    def phases(self) -> Sequence[Phase]:
        return (Phase("lm", ("table",), self.loss, Optim(lr=0.1)),)

    def loss(self, batch: Batch, step: Step) -> Loss:
        nats, n = -self.token_log_prob(batch).sum(), (batch.only()[:, 1:] != PAD).sum()
        return Loss(nats / (batch.size * max(self.spec.only().mean_length - 1, 1)), {"nats_per_token": nats / n})

    def learn(self, texts: Sequence[Tensor], classes: Sequence[int] = (), smooth: float = 0.1) -> Bigrams:
        """The table of the texts' own counts."""
        vocab = self.spec.only().vocab
        counts = torch.full((self.table.num_embeddings, vocab), smooth)
        counts[:, PAD] = counts[:, BOS] = 1e-9
        for i, text in enumerate(texts):
            label = classes[i] if self.label else 0
            for a, b in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
                if b != PAD:
                    counts[label * vocab + a, b] += 1
        self.table.weight.data = (counts / counts.sum(1, keepdim=True)).log()
        return self

    def begin(self, n: int, given: Given) -> Read:
        return Read(dict(given), torch.zeros(n, dtype=torch.long))

    def advance(self, memory: Read, tokens: Tensor) -> Tensor:
        if self.config.broken:
            raise RuntimeError("shapes <cannot> be multiplied")
        label = memory.given[self.label][:, None] if self.label in memory.given else 0
        logits = self.table(label * self.spec.only().vocab + tokens)
        if self.source:
            source = F.pad(memory.given[self.source], (0, self.context + 2), value=PAD)
            at = memory.at[:, None] + 1 + torch.arange(tokens.shape[1])
            after = source.gather(1, at.clamp(max=source.shape[1] - 1)).clamp(max=self.spec.only().vocab - 1)
            logits = logits + 20.0 * F.one_hot(torch.where(after == PAD, EOS, after), self.spec.only().vocab)
        memory.at = memory.at + tokens.shape[1]
        return logits

    def token_log_prob(self, batch: Batch) -> Tensor:
        logits = self.advance(self.begin(batch.size, batch.given), batch.only()[:, :-1]).log_softmax(-1)
        after = batch.only()[:, 1:]
        return logits.gather(-1, after[..., None])[..., 0].masked_fill(after == PAD, 0.0)

    def log_prob(self, batch: Batch, rng: Rng, samples: int = 1) -> Tensor:
        return self.token_log_prob(batch).sum(1)

    def score_target(self, batch: Batch, rng: Rng) -> Batch:
        return batch

    def sample(self, n: int, given: Given, rng: Rng, temperature: float = 1.0, **options: Any) -> dict[str, Tensor]:
        framed, length = self.spec.only().framed, self.spec.only().shape[0]
        tokens = torch.full((n, 1), self.spec.only().start)
        memory, over = self.begin(n, given), torch.zeros(n, dtype=torch.bool)
        while tokens.shape[1] < length and not (framed and bool(over.all())):
            logits = self.advance(memory, tokens[:, -1:])[:, 0]
            logits[:, [t for t in range(FIRST) if t != EOS or not framed]] = -torch.inf
            draw = (logits / max(temperature, 1e-4)).softmax(-1).cumsum(-1)
            new = (draw < rng.uniform(n)[:, None]).sum(1).clamp(max=self.spec.only().vocab - 1)
            new = torch.where(over, PAD, logits.argmax(-1) if temperature == 0 else new)
            over = over | (new == EOS)
            tokens = torch.cat([tokens, new[:, None]], 1)
        return {self.column: tokens}


class Aligned(Bigrams):
    def alignment(self, batch: Batch) -> Tensor:
        """Token t is written from token t of the source."""
        s = batch.given[self.source].shape[1]
        at = torch.arange(1, batch.only().shape[1]).clamp(max=s - 1)
        return F.one_hot(at, s).float().expand(batch.size, -1, -1)


class Deciding(Bigrams):
    """Even places are one agent's, odd ones the other's."""

    agents = ("even <one>", "odd")

    def sample_with_deciders(self, n: int, given: Given, rng: Rng, **options: Any) -> tuple[Tensor, Tensor]:
        tokens = self.sample(n, given, rng)[self.column]
        return tokens, (torch.arange(tokens.shape[1]) % 2).expand_as(tokens)


def build(config: Config, spec: DataSpec) -> Bigrams:
    kind = Deciding if config.agents else Aligned if spec.givens(TokenSpec) and config.aligns else Bigrams
    return kind(config, spec)


# -- data ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """A column held in memory."""

    spec: ColumnSpec
    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    @property
    def lengths(self) -> np.ndarray | None:
        if self.spec.kind != "text" or not self.spec.framed:
            return None
        return (self.values != PAD).sum(1).numpy()

    def take(self, rows: np.ndarray) -> Tensor:
        return self.values[torch.from_numpy(np.asarray(rows, dtype=np.int64))]


def tokenizer(texts: Sequence[str]) -> tuple[str, dict[str, int]]:
    """A tokenizer of the characters of the texts, and the number of each."""
    from maquette.modalities.text import train_tokenizer, vocabulary

    made = train_tokenizer(texts, "char", 0)
    return made, {token: i for i, token in enumerate(vocabulary(made).tokens)}


def lines_table(columns: dict[str, tuple[ColumnSpec, Tensor]]) -> Table:
    n = len(next(iter(columns.values()))[1])
    return Table({name: Rows(spec, x) for name, (spec, x) in columns.items()}, [f"text.txt:{i + 1}" for i in range(n)])


def lines(
    train: Sequence[str],
    test: Sequence[str],
    labels: tuple[Sequence[int], Sequence[int]] | None = None,
    sources: tuple[Sequence[str], Sequence[str]] | None = None,
    longest: int = 0,
) -> Dataset:
    """Texts as framed rows, one character a token; perhaps with a class or a source each. longest: of an item."""
    known = [*train, *test, *(text for side in sources or () for text in side)]
    text, vocab = tokenizer(known)
    width = max(longest, max(map(len, known)) + 2)

    def tokens(side: Sequence[str]) -> Tensor:
        rows = [[BOS, *(vocab[c] for c in item), EOS] for item in side]
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])

    mean_length = float(np.mean([len(item) + 2 for item in train]))
    spec = TextSpec(shape=(width,), vocab=len(vocab), unit="char", framed=True, tokenizer=text,
                      mean_length=mean_length)  # fmt: skip
    names = tuple(f"class {i}" for i in range(max(labels[0]) + 1)) if labels else ()
    tables = []
    for k, side in enumerate((train, test)):
        columns = {"text": (spec, tokens(side))}
        if labels:
            shares = tuple(np.bincount(labels[0], minlength=len(names)) / len(train))
            columns["label"] = (LabelSpec(classes=names, shares=shares), torch.tensor(labels[k]))
        if sources:
            columns["source"] = (spec, tokens(sources[k]))
        tables.append(lines_table(columns))
    summary = {"source": "lines", "train": len(train), "test": len(test)}
    return Dataset("lines", "test-lines", *tables, summary)


def windows(train: str, test: str, context: int = 16, stride: int | None = None) -> Dataset:
    """Windows of a long text, one character a token; those of the test split meet in one token.

    stride: from one training window to the next; None: they meet in one token, too
    """
    text, vocab = tokenizer([train, test])
    spec = TextSpec(shape=(context + 1,), vocab=len(vocab), unit="char", framed=False, tokenizer=text,
                      start=vocab["\n"], mean_length=context + 1.0)  # fmt: skip

    def table(side: str, step: int) -> Table:
        tokens = torch.tensor([vocab[c] for c in side])
        cut = tokens.unfold(0, context + 1, step)
        first = np.arange(len(cut)) * step
        return replace(lines_table({"text": (spec, cut)}), spans=np.stack([first, first + context + 1], 1))

    return Dataset("windows", "test-windows", table(train, stride or context), table(test, context),
                   {"source": "windows"})  # fmt: skip


def trained(data: Dataset, config: Config | None = None, given: Sequence[str] = ()) -> tuple[Bigrams, DataSpec]:
    """The family's model of the training split, from its counts."""
    spec = data.spec(["text"], given)
    rows = np.arange(len(data.train))
    classes = data.train.columns["label"].take(rows).tolist() if "label" in given else ()
    model = build(config or Config(), spec)
    if not spec.givens(TokenSpec):
        model.learn(list(data.train.columns["text"].take(rows)), classes)
    return model, spec
