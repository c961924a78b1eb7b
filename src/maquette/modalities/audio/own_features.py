"""Features from a small network trained once on the user's own training sounds. Nothing is downloaded.

It sees mel bands. With labels it learns to classify, and is also the classifier behind every class number; without, to
tell sounds apart (contrastive). Beside that it learns to name what is wrong with sounds that were spoiled (flaws.py):
features that do not see noise could not hold it against a generator. What is augmented is when a sound begins, how fast
and how high it is, and no more, for the same reason.

Part of the training split, the *reserve*, is kept from the network (see evaluation/features.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
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
from maquette.modalities.audio.flaws import FLAWS, flawed
from maquette.nets.spectrogram import bands_for, log_mel

VERSION = 1  # raise it whenever the network or its training changes: cached ones are then left alone
DIM = 64
FRAMES = 160  # of longer sounds several are averaged
QUIET, MIDDLE, SPREAD = -80.0, -45.0, 20.0  # dB: below the first all is silent; about the mean and spread of the rest
FLAWED = 4  # one spoiled sound to so many
BATCH, EPOCHS, MOST = 64, 40, 100_000  # sounds in a step; passes over few sounds, and the most that are shown


class Network(nn.Module):
    """Sounds f32[B, C, N] -> features f32[B, DIM]; `head` turns these into logits or an embedding, `flaws` into logits
    of what is wrong with the sound, 0 being nothing."""

    def __init__(self, channels: int, rate: int, out: int) -> None:
        super().__init__()
        self.rate = rate
        widths = (channels, 32, 64, 96, 128)
        self.trunk = nn.Sequential(*(layer for i, (a, b) in enumerate(pairwise(widths)) for layer in _block(a, b, i)))
        self.features = nn.Linear(128 * 8, DIM)
        self.head = nn.Sequential(nn.BatchNorm1d(DIM), nn.ReLU(), nn.Linear(DIM, out))
        self.flaws = nn.Sequential(nn.BatchNorm1d(DIM), nn.ReLU(), nn.Linear(DIM, 1 + len(FLAWS)))
        # Of the features over the reserve: after it, they have mean 0 and variance 1 per dimension on average.
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(DIM))
        self.register_buffer("scale", torch.ones(()))

    def bands(self, x: Tensor) -> Tensor:
        """What it sees of sounds: f32[B, C, bands, frames]."""
        mel = (log_mel(x, self.rate, bands_for(self.rate)).clamp_min(QUIET) - MIDDLE) / SPREAD
        frames = min(-(-mel.shape[-1] // 2), FRAMES)
        return F.adaptive_avg_pool2d(mel, (mel.shape[-2], frames))

    def forward(self, bands: Tensor) -> Tensor:
        # 2 x 4 rather than a single mean: when what is heard is part of what a sound is.
        features: Tensor = self.features(F.adaptive_avg_pool2d(self.trunk(bands), (2, 4)).flatten(1))
        return features


def _block(before: int, after: int, number: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=2 if number < 3 else 1, padding=1, bias=False)
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
    dim: int = DIM

    @torch.no_grad()
    def see(self, sounds: Iterator[Tensor]) -> Seen:
        features, classes = [], []
        for chunk in sounds:
            for some in chunk.split(BATCH):
                f = self.network(self.network.bands(some.to(self.device)))
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
    column = dataset.train.columns[target]
    classes = dataset.train.columns[label].spec.classes if label else ()
    n, spec = len(dataset.train), column.spec
    kind = "classifier" if classes else "contrastive"
    words = (dataset.fingerprint, VERSION, target, label, spec.shape, spec.rate_hz, n)
    identity = f"own-audio-{VERSION}-{kind}-{hashlib.blake2b(repr(words).encode(), digest_size=6).hexdigest()}"

    def build() -> Network:
        made = Network(spec.channels, spec.rate_hz, len(classes) or DIM)
        return made.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def trained() -> Network:
        if notify:
            notify(f"Training the feature network on the training sounds ({kind}); it is kept for the next time.")
        torch.manual_seed(derive(0, "own features", VERSION))
        network, (rows, reserved) = build(), order(n)
        labels = dataset.train.columns[label].take(np.arange(n)) if classes and label else None
        _train(network, column, rows[reserved:], labels, device)
        network.eval()
        _standardise(network, column, rows[: max(reserved, min(n, 100))], device)
        return network

    return OwnFeatures(kept(build(), identity, trained, cache, notify).eval(), identity, classes, device)


def _train(
    network: Network, column: Column, rows: NDArray[np.int64], labels: Tensor | None, device: torch.device
) -> None:
    if len(rows) < 4:
        return  # too few to learn from: an untrained network still gives usable distances
    batch = min(BATCH, len(rows))
    steps = max(min(EPOCHS * len(rows), MOST) // batch, 1)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=max(steps, 2), pct_start=0.2)
    rng, bf16 = np.random.default_rng(derive(0, "own features", "order")), multiplies_bf16(device)
    for picked in track(epochs(rows, batch, steps, rng), "training the feature network", steps):
        x = column.take(picked).to(device)
        bad, flaw = flawed(x[: max(batch // FLAWED, 2)])
        bands = network.bands(torch.cat([x, bad]))
        sound, spoiled = bands[: len(x)], bands[len(x) :]
        views = [move(sound) for _ in range(1 if labels is not None else 2)]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            seen = network(torch.cat([*views, spoiled]).contiguous(memory_format=torch.channels_last))
            good = seen[: -len(bad)]
            out, named = network.head(good).float(), network.flaws(torch.cat([good[: len(bad)], seen[-len(bad) :]]))
        wanted = None if labels is None else labels[picked].to(device)
        loss = contrastive(out) if wanted is None else F.cross_entropy(out, wanted, label_smoothing=0.1)
        loss = loss + 0.5 * F.cross_entropy(named.float(), torch.cat([torch.zeros_like(flaw), flaw]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def move(bands: Tensor, shift: float = 0.1, stretch: float = 0.15, pitch: float = 0.04) -> Tensor:
    """Each f32[B, C, bands, frames] later or earlier, slower or faster, higher or lower, by up to so much of it."""
    u = (torch.rand(4, len(bands)) * 2 - 1).to(bands.device)
    zero, one = torch.zeros_like(u[0]), torch.ones_like(u[0])
    time = torch.stack([one + stretch * u[0], zero, 2 * shift * u[1]], 1)
    height = torch.stack([zero, one + pitch * u[2], 2 * pitch * u[3]], 1)
    grid = F.affine_grid(torch.stack([time, height], 1), list(bands.shape), align_corners=False)
    return F.grid_sample(bands, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def _standardise(network: Network, column: Column, rows: NDArray[np.int64], device: torch.device) -> None:
    parts = [
        network(network.bands(column.take(rows[i : i + BATCH]).to(device))).double() for i in range(0, len(rows), BATCH)
    ]
    f = torch.cat(parts)
    network.centre.copy_(f.mean(0))
    network.scale.copy_(f.var(0, unbiased=False).mean().sqrt().clamp_min(1e-6))
