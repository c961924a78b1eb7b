"""A small recogniser of speech, trained once on the user's own recordings and their words: how well generated speech is
understood, beside how well held-out recordings are. Nothing is downloaded.

Convolutions over mel bands, and connectionist temporal classification (Graves et al. 2006): it says a token or nothing
at each moment; repeated ones count once. Bands are learned with noise, other levels and gaps, so that how cleanly
something is spoken matters more than that it is a recording.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from maquette.core.batch import lengths
from maquette.core.hardware import multiplies_bf16
from maquette.core.measure import Found, Measure, TooFew
from maquette.core.modality import part
from maquette.core.progress import track
from maquette.core.rng import derive
from maquette.core.spec import PAD, SPECIALS, TokenSpec
from maquette.core.table import Column, Dataset
from maquette.evaluation.bootstrap import Array, ratio
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.features import Notify, epochs, kept
from maquette.nets.spectrogram import SHIFTS, bands_for, frame_size, log_mel

VERSION = 1  # raise it whenever the network or its training changes: kept ones are then left alone
WIDTH, DILATIONS = 128, (1, 2, 4, 8, 1, 2)  # a word before and after is heard
QUIET, MIDDLE, SPREAD = -80.0, -45.0, 20.0  # dB: below the first all is silent; about the mean and spread of the rest
STRIDE = 2  # frames of mel bands from one moment to the next
BATCH, EPOCHS, MOST = 16, 12, 12_000  # sounds in a step; passes over few sounds, and the most that are shown
POOL = 8  # batches within which sounds are sorted by the length of their text, so that little is padding
FEWEST = 50  # recordings, of fewer nothing is understood


class Recogniser(nn.Module):
    """Sounds f32[B, C, N] -> logits f32[B, T, tokens] at T moments; PAD stands for nothing."""

    def __init__(self, rate: int, tokens: int) -> None:
        super().__init__()
        self.rate = rate
        self.stem = nn.Conv1d(bands_for(rate), WIDTH, 5, STRIDE, 2)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=d, dilation=d, bias=False),
                nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=1),
            )
            for d in DILATIONS
        )  # fmt: skip
        self.head = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Conv1d(WIDTH, tokens, 1))

    def bands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What it hears of sounds, f32[B, bands, frames] until the end of the longest, and their moments i64[B]."""
        ends = lengths(x)
        x = x[..., : max(int(ends.max()), 1)].mean(1)
        frames = ends // (frame_size(self.rate) // SHIFTS) + 1
        return (log_mel(x, self.rate).clamp_min(QUIET) - MIDDLE) / SPREAD, -(-frames // STRIDE)

    def forward(self, bands: Tensor) -> Tensor:
        h = self.stem(bands)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h).mT.float()

    @torch.no_grad()
    def heard(self, x: Tensor) -> list[Tensor]:
        """The tokens i64[L] of each sound: at each moment the likeliest."""
        bands, moments = self.bands(x)
        likeliest = self(bands).argmax(-1)
        runs = (said[:n].unique_consecutive() for said, n in zip(likeliest, moments.tolist(), strict=True))
        return [run[run != PAD] for run in runs]


def recogniser(
    dataset: Dataset, target: str, text: str, device: torch.device, cache: Path | None, notify: Notify
) -> Recogniser:
    """The recogniser of this data: kept from before, or trained now. text: the column of the words."""
    sounds, words = dataset.train.columns[target], dataset.train.columns[text]
    if len(sounds) < FEWEST:
        raise TooFew(f"it takes {FEWEST} recordings to learn to understand them, and there are {len(sounds):,}")
    rate, tokens = sounds.spec.rate_hz, words.spec.vocab
    facts = (dataset.fingerprint, VERSION, target, text, sounds.spec.shape, rate, tokens, len(sounds))
    identity = f"own-recogniser-{VERSION}-{hashlib.blake2b(repr(facts).encode(), digest_size=6).hexdigest()}"

    def trained() -> Recogniser:
        notify("Training a recogniser on the training recordings; it is kept for the next time.")
        torch.manual_seed(derive(0, "own recogniser", VERSION))
        network = Recogniser(rate, tokens).to(device)
        _train(network, sounds, words, device)
        return network.eval()

    return kept(Recogniser(rate, tokens).to(device), identity, trained, cache, notify).eval()


def _train(network: Recogniser, sounds: Column, words: Column, device: torch.device) -> None:
    rows = np.arange(len(sounds))
    batch = min(BATCH, len(rows))
    steps = max(min(EPOCHS * len(rows), MOST), 1) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=max(steps, 2), pct_start=0.2)
    rng, bf16 = np.random.default_rng(derive(0, "own recogniser", "order")), multiplies_bf16(device)
    network.train()
    sizes = words.lengths if words.lengths is not None else np.zeros(len(rows), np.int64)
    for picked in track(_alike(rows, sizes, batch, steps, rng), "training the recogniser", steps):
        bands, moments = network.bands(sounds.take(picked).to(device))
        said = [_bare(item) for item in words.take(picked)]
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = network(spoiled(bands))
        tokens = torch.tensor([len(item) for item in said])
        loss = F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), torch.cat(said).to(device), moments, tokens, PAD, zero_infinity=True
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()


def _alike(
    rows: NDArray[np.int64], sizes: NDArray[np.int64], batch: int, steps: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """`steps` batches of rows whose sizes are alike."""
    pool = min(POOL, len(rows) // batch)
    drawn = epochs(rows, pool * batch, -(-steps // pool), rng)
    ordered = (some[np.argsort(sizes[some], kind="stable")].reshape(pool, batch) for some in drawn)
    return islice((some for batches in ordered for some in rng.permutation(batches)), steps)


def spoiled(bands: Tensor, level: float = 0.3, noise: float = 0.2, gap: float = 0.2) -> Tensor:
    """Each f32[B, bands, frames] louder or quieter, noisy, and without a stretch of bands (Park et al. 2019)."""
    n, height, _ = bands.shape
    first, share = torch.rand(2, n, 1, 1).to(bands)
    place = torch.arange(height, device=bands.device)[:, None] / height
    hidden = (place >= first) & (place < first + gap * share)
    moved = bands + level * torch.randn(n, 1, 1).to(bands) + noise * torch.randn(bands.shape).to(bands)
    return moved.masked_fill(hidden, 0.0)


def _bare(tokens: Tensor) -> Tensor:
    return tokens[tokens >= len(SPECIALS)]


# -- what is made of it ------------------------------------------------------------------------------


def edits(said: str, heard: str) -> int:
    """Characters that are put in, left out or exchanged between the two, at least (Levenshtein 1966)."""
    row = [*range(len(heard) + 1)]
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _errors(
    network: Recogniser, sounds: Iterator[Tensor], words: Tensor, spec: TokenSpec, device: torch.device
) -> tuple[Array, Array]:
    """Characters that are misheard of each sound, and that its text has, f64[n]."""
    view = part(spec.kind, "view", "values")
    heard = (said for chunk in sounds for some in chunk.split(BATCH) for said in network.heard(some.to(device)))
    texts = [(view(_bare(text), spec), view(said.cpu(), spec)) for text, said in zip(words, heard, strict=True)]
    return np.array([edits(*pair) for pair in texts], float), np.array([len(text) for text, _ in texts], float)


def _of(evidence: Evidence) -> Found | None:
    column = next(iter(evidence.generator.spec.givens(TokenSpec)), None)
    if column is None or column not in evidence.sample.given or column not in evidence.dataset.test.columns:
        return None
    spec, device = evidence.generator.spec.columns[column], evidence.generator.device
    assert isinstance(spec, TokenSpec)
    network = evidence.of_real(
        "recogniser",
        lambda: recogniser(evidence.dataset, evidence.column, column, device, evidence.cache, evidence.notify),
    )
    rows: NDArray[np.int64] = evidence.rows
    sides = (
        (evidence.made.chunks(), evidence.sample.given[column]),
        (evidence.real.chunks(), evidence.dataset.test.columns[column].take(rows)),
    )
    value, floor = (
        ratio(*_errors(network, sounds, words, spec, device), evidence.rng("characters", word))
        for (sounds, words), word in zip(sides, ("made", "real"), strict=True)
    )
    return Found(value, floor, len(rows), len(sides[0][1]))


CHARACTER_ERRORS = Measure(
    name="character_errors", title="Character errors, own recogniser", better="no more", unit="share", of=_of, place=30,
    asks="How well the words are understood. A small recogniser that learned from the training recordings writes down "
    "what it hears; the characters that have to be changed are counted, over those of the text. Beside it, the same of "
    "held-out recordings: it is no perfect listener.",
    says=lambda m: f"The own recogniser mishears {m.show(m.value)} of the characters of generated {{items}}, and "
    f"{m.show(m.floor)} of held-out ones.",
)  # fmt: skip
