"""Features from a small network trained once on the user's own training pictures. Nothing is downloaded.

With labels it learns to classify, and is also the classifier behind every class number. Without, it
learns to tell pictures apart: two crops of one picture should look alike and unlike all others
(contrastive learning, NT-Xent; Chen et al. 2020, eq. 1). Beside that it learns to name what is wrong with
pictures that were spoiled (flaws.py): features that do not see blur or noise could not hold it against a
generator. Only geometry is augmented, for the same reason. Pictures are mirrored where that does not hide what
they show, which a short trial finds out: a mirrored digit is no digit.

Part of the training split, the *reserve*, is kept from the network (see evaluation/features.py).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from maquette.core.hardware import multiplies_bf16
from maquette.core.progress import track
from maquette.core.rng import derive
from maquette.core.table import Column, Dataset
from maquette.evaluation.features import Notify, Seen, epochs, kept, order
from maquette.losses.contrastive import contrastive
from maquette.modalities.image.flaws import FLAWS, flawed

VERSION = 2  # raise it whenever the network or its training changes: cached ones are then left alone
SIDE = 64  # larger pictures are averaged down to it
EASY = 0.95  # right answers after the trial, from which on the classes take no long training
MIRRORED = 0.9  # share of these that must stay right in the mirror
LEARNED = 0.3  # beyond the commonest class: who knows less than that does not know what a mirror hides either
ASKED = 60  # pictures, of fewer of which a trial says nothing
FLAWED = 4  # one spoiled picture to so many


class Network(nn.Module):
    """f32[B, C, H, W] -> features f32[B, dim]; `head` turns features into logits or an embedding, `flaws` into logits
    of what is wrong with the picture, 0 being nothing."""

    def __init__(self, channels: int, height: int, width: int, dim: int, out: int) -> None:
        super().__init__()
        h, w = min(height, SIDE), min(width, SIDE)
        halvings = max(1, math.ceil(math.log2(min(h, w) / 7)))  # 28 -> 7, 32 -> 4, 64 -> 4, 8 -> 4
        first = 2 if halvings > 1 else 1
        width_now, layers = 32, [*_block(channels, 32, 4 if first == 2 else 3, first)]
        for _ in range(halvings - (first == 2)):
            wider = min(width_now * 2, 128)
            layers += [*_block(width_now, width_now, 3, 1), *_block(width_now, wider, 3, 2)]
            width_now = wider
        layers += _block(width_now, width_now, 3, 1)
        self.size = (h, w)
        self.trunk = nn.Sequential(*layers)
        self.features = nn.Linear(width_now * 4, dim)
        self.head = nn.Sequential(nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, out))
        self.flaws = nn.Sequential(nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, 1 + len(FLAWS)))
        # Of the features over the reserve: after it, they have mean 0 and variance 1 per dimension on
        # average, so that distances of different data sets can be read on one scale.
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.trunk(self.shrunk(x))
        # 2 x 2 rather than a single mean: where things are is part of what a picture is.
        features: Tensor = self.features(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return features

    def shrunk(self, x: Tensor) -> Tensor:
        """As large as the network sees it."""
        return x if x.shape[-2:] == self.size else F.adaptive_avg_pool2d(x, self.size)


def _block(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, kernel, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


@dataclass(frozen=True)
class OwnFeatures:
    """A trained network; `classes` names what its head tells apart, () when it is no classifier."""

    network: Network
    identity: str
    classes: tuple[str, ...]
    device: torch.device
    name: str = "own"
    learned: bool = True

    @property
    def dim(self) -> int:
        return self.network.features.out_features

    @torch.no_grad()
    def see(self, images: Iterator[Tensor]) -> Seen:
        features, classes = [], []
        for chunk in images:
            f = self.network(chunk.to(self.device, memory_format=torch.channels_last))
            features.append(((f - self.network.centre) / self.network.scale).double().cpu().numpy())
            if self.classes:
                classes.append(self.network.head(f).argmax(1).cpu().numpy())
        return Seen(np.concatenate(features), np.concatenate(classes) if classes else None)


def own_features(
    dataset: Dataset,
    target: str,
    label: str | None,
    device: torch.device,
    cache: Path | None = None,
    notify: Notify | None = None,
) -> OwnFeatures:
    """The network of this data: from the cache, or trained now and put there."""
    spec = dataset.train.columns[target].spec
    classes = dataset.train.columns[label].spec.classes if label else ()
    n = len(dataset.train)
    kind = "classifier" if classes else "contrastive"
    words = (dataset.fingerprint, VERSION, target, label, spec.shape, n)
    digest = hashlib.blake2b(repr(words).encode(), digest_size=6).hexdigest()
    identity = f"own-{VERSION}-{kind}-{digest}"
    channels, height, width = spec.shape

    def build() -> Network:
        return Network(channels, height, width, dim=128 if n >= 5000 else 64, out=len(classes) or 64)

    def trained() -> Network:
        if notify:
            notify(f"Training the feature network on the training pictures ({kind}); it is kept for the next time.")
        torch.manual_seed(derive(0, "own features", "trial"))
        rows, reserved = order(n)
        labels = dataset.train.columns[label].take(np.arange(n)) if classes and label else None
        data = _Data(dataset.train.columns[target], rows[reserved:], labels, device)
        mirror, easy = _trial(build(), data) if labels is not None else (False, True)
        # Built again under its own seed: weights do not depend on what was drawn before.
        torch.manual_seed(derive(0, "own features", VERSION))
        network = build()
        _place(network, device)
        _train(network, data, plan(len(data.rows), spec.shape, labels is None, easy), mirror)
        network.eval()
        _standardise(network, dataset.train.columns[target], rows[: max(reserved, min(n, 100))], device)
        return network

    network = kept(build(), identity, trained, cache, notify)
    _place(network, device)
    return OwnFeatures(network.eval(), identity, classes, device)


def _place(network: Network, device: torch.device) -> None:
    network.to(device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(frozen=True)
class _Data:
    """What is learned from: rows of a column, and the labels i64[N] of all its rows where there are some."""

    column: Column
    rows: NDArray[np.int64]
    labels: Tensor | None
    device: torch.device

    def take(self, rows: NDArray[np.int64], network: Network) -> Tensor:
        return network.shrunk(self.column.take(rows).to(self.device))


def plan(n: int, spec_shape: tuple[int, ...], contrastive: bool, easy: bool = True) -> tuple[int, int]:
    """(steps, batch size). easy: whether a minute of two cores will do; if not, it is two, which classes of photographs
    take."""
    area = min(spec_shape[1], SIDE) * min(spec_shape[2], SIDE)
    batch = min(256 if n >= 5000 else 64, n)
    epochs, most = (30, 160_000) if easy else (60, 400_000)
    pictures = min(epochs * n, most * 28 * 28 // max(area, 20 * 20))
    return max(pictures // (2 if contrastive else 1) // batch, 1), batch


def _trial(network: Network, data: _Data) -> tuple[bool, bool]:
    """Whether mirrored pictures still show their class, and whether the classes are easy: what a short training says of
    a tenth that it is not shown."""
    asked, learned = np.split(data.rows, [min(len(data.rows) // 10, 1000)])
    if len(asked) < ASKED or data.labels is None:
        return False, data.labels is None
    _place(network, data.device)
    steps, batch = plan(len(learned), data.column.spec.shape, False)
    _train(network, replace(data, rows=learned), (max(steps // 4, 1), batch), False, "trying how hard the classes are")
    network.eval()
    seen = data.take(asked, network)
    with torch.no_grad():
        right, mirrored = (
            float((network.head(network(x)).argmax(1).cpu() == data.labels[asked]).float().mean())
            for x in (seen, seen.flip(3))
        )
    chance = float(data.labels[asked].bincount().max()) / len(asked)
    return right - chance >= LEARNED and mirrored >= MIRRORED * right, right >= EASY


def _train(
    network: Network, data: _Data, planned: tuple[int, int], mirror: bool, doing: str = "training the feature network"
) -> None:
    if len(data.rows) < 4:
        return  # too few to learn from: an untrained network still gives usable distances
    steps, batch = planned
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=max(steps, 2), pct_start=0.2)
    rng = np.random.default_rng(derive(0, "own features", "order"))
    bf16 = multiplies_bf16(data.device)
    for picked in track(epochs(data.rows, batch, steps, rng), doing, steps):
        x = data.take(picked, network)
        bad, flaw = flawed(x[: max(batch // FLAWED, 2)])
        with torch.autocast(data.device.type, torch.bfloat16, enabled=bf16):
            loss = _loss(
                network, x, None if data.labels is None else data.labels[picked].to(x.device), bad, flaw, mirror
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def _loss(network: Network, x: Tensor, labels: Tensor | None, bad: Tensor, flaw: Tensor, mirror: bool) -> Tensor:
    """Of the classes, or of telling pictures apart, and of naming what is wrong with as many sound and spoiled ones."""
    if labels is None:
        views = [move(x, 0.25, 0.2, 0.15), move(x, 0.25, 0.2, 0.15)]
    else:
        flip = torch.rand(len(x), 1, 1, 1).to(x.device) < (0.5 if mirror else 0.0)
        views = [move(torch.where(flip, x.flip(3), x), 0.15, 0.15, 0.1)]
    seen = network(torch.cat([*views, bad]).contiguous(memory_format=torch.channels_last))
    sound, spoiled = seen[: -len(bad)], seen[-len(bad) :]
    out = network.head(sound).float()
    loss = contrastive(out) if labels is None else F.cross_entropy(out, labels, label_smoothing=0.1)
    named = network.flaws(torch.cat([sound[: len(bad)], spoiled])).float()
    return loss + 0.5 * F.cross_entropy(named, torch.cat([torch.zeros_like(flaw), flaw]))


def move(x: Tensor, turn: float, zoom: float, shift: float) -> Tensor:
    """Each picture turned (radians), zoomed and shifted (shares) by up to so much; edges repeat."""
    n = len(x)
    u = torch.rand(4, n) * 2 - 1
    angle, size = u[0] * turn, 1 + u[1] * zoom
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    dx, dy = u[2] * 2 * shift, u[3] * 2 * shift
    affine = torch.stack([torch.stack([cos, -sin, dx], 1), torch.stack([sin, cos, dy], 1)], 1)
    grid = F.affine_grid(affine, list(x.shape), align_corners=False).to(x)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def _standardise(network: Network, column: Column, rows: NDArray[np.int64], device: torch.device) -> None:
    parts = [
        network(column.take(rows[i : i + 500]).to(device, memory_format=torch.channels_last)).double()
        for i in range(0, len(rows), 500)
    ]
    f = torch.cat(parts)
    network.centre.copy_(f.mean(0))
    network.scale.copy_(f.var(0, unbiased=False).mean().sqrt().clamp_min(1e-6))
