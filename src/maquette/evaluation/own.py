"""What networks have in common that a modality trains once on the user's own training items: its FEATURES["own"].

With labels such a network learns to classify, and is also the classifier behind every class number; without, to tell
items apart (contrastive). Beside that it learns to name what is wrong with items that were spoiled: features that do
not see noise could not hold it against a generator. Part of the training split, the reserve, is kept from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from maquette.core.hardware import multiplies_bf16
from maquette.core.progress import track
from maquette.core.rng import derive
from maquette.core.table import Column, Dataset
from maquette.evaluation.features import Notify, Seen, chunks, epochs, kept, order
from maquette.losses.contrastive import contrastive

EMBEDDED = 64  # outputs where there are no labels
FLAWED = 4  # one spoiled item to so many
SMOOTHED = 0.1  # of the labels
NAMING = 0.5  # what naming flaws counts, beside telling items apart


class OwnNetwork(nn.Module):
    """Items as `look` shows them -> features f32[B, dim]; `head` turns these into logits or an embedding, `flaws` into
    logits of what is wrong with the item, 0 being nothing. at_once: items that are seen together, at most."""

    at_once = 500
    features: nn.Linear
    centre: Tensor
    scale: Tensor

    def finish(self, inputs: int, dim: int, out: int, flaws: int) -> None:
        """Adds what comes behind the trunk, which gives so many numbers."""
        self.features = nn.Linear(inputs, dim)
        self.head = nn.Sequential(nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, out))
        self.flaws = nn.Sequential(nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, 1 + flaws))
        # Of the features over the reserve: after it, they have mean 0 and variance 1 per dimension on average, so that
        # distances of different data sets can be read on one scale.
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def look(self, items: Tensor) -> Tensor:
        """Canonical items as `forward` takes them."""
        return items

    def place(self, device: torch.device) -> None:
        self.to(device)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def standardise(self, column: Column, rows: NDArray[np.int64], device: torch.device) -> None:
        parts = chunks(column, rows, self.at_once)
        f = torch.cat([self(self.look(part.to(device))).double() for part in parts])
        self.centre.copy_(f.mean(0))
        self.scale.copy_(f.var(0, unbiased=False).mean().sqrt().clamp_min(1e-6))


Net = TypeVar("Net", bound=OwnNetwork)


@dataclass(frozen=True)
class OwnFeatures:
    """A trained network; `classes` names what its head tells apart, () when it is no classifier."""

    network: OwnNetwork
    identity: str
    classes: tuple[str, ...]
    device: torch.device
    name: str = "own"
    learned: bool = True

    @property
    def dim(self) -> int:
        return self.network.features.out_features

    @torch.no_grad()
    def see(self, items: Iterator[Tensor]) -> Seen:
        net, features, classes = self.network, [], []
        for chunk in items:
            for some in chunk.split(net.at_once):
                f = net(net.look(some.to(self.device)))
                features.append(((f - net.centre) / net.scale).double().cpu().numpy())
                if self.classes:
                    classes.append(net.head(f).argmax(1).cpu().numpy())
        return Seen(np.concatenate(features), np.concatenate(classes) if classes else None)


@dataclass(frozen=True)
class OwnKind(Generic[Net]):
    """How such networks of one kind of items are made, and so the entry "own" of its FEATURES.

    name: of the networks      version: raised whenever one or its training changes: cached ones are then left alone
    noun: of many items        facts: what of a column's Spec the cached one depends on
    build: a network for a column's Spec, so many training items and so many outputs
    learn: makes one and trains it, with draws from torch's own generator
    """

    name: str
    version: int
    noun: str
    facts: Callable[[Any], tuple[Any, ...]]
    build: Callable[[Any, int, int], Net]
    learn: Callable[[Callable[[], Net], Lesson], Net]

    def __call__(
        self,
        dataset: Dataset,
        target: str,
        label: str | None,
        device: torch.device,
        cache: Path | None = None,
        notify: Notify | None = None,
    ) -> OwnFeatures:
        """The network of this data: from the cache, or trained now and put there."""
        classes = dataset.train.columns[label].spec.classes if label else ()
        n, column = len(dataset.train), dataset.train.columns[target]
        kind = "classifier" if classes else "contrastive"
        words = (dataset.fingerprint, self.version, target, label, *self.facts(column.spec), n)
        known = hashlib.blake2b(repr(words).encode(), digest_size=6).hexdigest()
        identity = f"{self.name}-{self.version}-{kind}-{known}"

        def made() -> Net:
            return self.build(column.spec, n, len(classes) or EMBEDDED)

        def trained() -> Net:
            if notify:
                notify(
                    f"Training the feature network on the training {self.noun} ({kind}); it is kept for the next time."
                )
            rows, reserved = order(n)
            labels = dataset.train.columns[label].take(np.arange(n)) if classes and label else None
            network = self.learn(made, Lesson(column, rows[reserved:], labels, device))
            network.eval()
            network.standardise(column, rows[: max(reserved, min(n, 100))], device)
            return network

        network = kept(made(), identity, trained, cache, notify)
        network.place(device)
        return OwnFeatures(network.eval(), identity, classes, device)


@dataclass(frozen=True)
class Lesson:
    """What is learned from: rows of a column, and the labels i64[N] of all its rows where there are some."""

    column: Column
    rows: NDArray[np.int64]
    labels: Tensor | None
    device: torch.device

    @property
    def views(self) -> int:
        """Times that each item is looked at in a step: with labels once, else twice, to be told from all others."""
        return 1 if self.labels is not None else 2

    def begin(self, build: Callable[[], Net], word: str | int) -> Net:
        """A network whose weights, and what is drawn after them, depend on the word alone."""
        torch.manual_seed(derive(0, "own features", word))
        network = build()
        network.place(self.device)
        return network

    def plan(self, batch: int, epochs: int, most: int) -> tuple[int, int]:
        """(steps, items in each) of so many passes over few items, and at most so many shown."""
        size = max(min(batch, len(self.rows)), 1)
        return max(min(epochs * len(self.rows), most) // size, 1), size

    def teach(
        self, network: OwnNetwork, steps: int, batch: int, peak: float,
        show: Callable[[Tensor, int], tuple[list[Tensor], Tensor, Tensor]], doing: str = "training the feature network",
    ) -> None:  # fmt: skip
        """Trains the network for so many steps.

        peak: the highest learning rate
        show: items, and how many of them are spoiled -> what the network looks at: the items moved, as many `views` of
              them; the spoiled ones; and what is wrong with these, i64[b], from 1 on
        """
        if len(self.rows) < 4:
            return  # too few to learn from: an untrained network still gives usable distances
        network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=max(steps, 10), pct_start=0.2)
        rng, bf16 = np.random.default_rng(derive(0, "own features", "order")), multiplies_bf16(self.device)
        for picked in track(epochs(self.rows, batch, steps, rng), doing, steps):
            views, bad, flaw = show(self.column.take(picked).to(self.device), max(batch // FLAWED, 2))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                seen = network(torch.cat([*views, bad]).contiguous(memory_format=torch.channels_last))
                good, spoiled = seen[: -len(bad)], seen[-len(bad) :]
                out, named = network.head(good).float(), network.flaws(torch.cat([good[: len(bad)], spoiled])).float()
                loss = contrastive(out) if self.labels is None else self._told_apart(out, self.labels[picked])
            loss = loss + NAMING * F.cross_entropy(named, torch.cat([torch.zeros_like(flaw), flaw]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            schedule.step()

    def _told_apart(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels.to(logits.device), label_smoothing=SMOOTHED)
