"""What a run restores of held-out sounds to which something known was done, beside what was done to them.

Each is done as it would be in the world: a narrow band by resampling, coding as an MP3.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.core.batch import lengths
from maquette.core.measure import Found, Measure, TooFew
from maquette.core.model import Fills, Restores
from maquette.core.progress import track
from maquette.core.rng import ItemRng, derive
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.similarity import log_spectral_distance, si_sdr
from maquette.modalities.audio.files import rate_in
from maquette.modalities.audio.judges import dnsmos, pesq, stoi
from maquette.modalities.audio.opening import resampled, soundfile
from maquette.sampling import degrade_sound
from maquette.sampling.degrade_sound import Kind

ITEMS = 64  # that are tried of each
SNR = 5.0  # dB
GAP = 0.05  # seconds, in the middle half of a sound
CLIP = 0.25  # of the peak
T60, DIRECT = 0.4, 3.0  # seconds; dB of the direct sound above the reverberation
COARSEST = {"compression_level": 0.99, "bitrate_mode": "CONSTANT"}  # of MP3: 8 kbit/s at 8 kHz
SHORTEST = 0.1  # seconds of a sound that is tried
CPU = torch.device("cpu")
WORDS: dict[str, str] = {
    "noise": f"noise at {SNR:g} dB", "gap": f"gaps of {1000 * GAP:g} ms", "lowpass": "half the band",
    "clip": f"clipped at {CLIP:g} of the peak", "reverb": f"reverberation of {T60:g} s", "coding": "the coarsest MP3",
}  # fmt: skip
BEFORE: dict[str, str] = {"gap": "in a straight line", "lowpass": "resampled"}  # where it is not simply as it was


@dataclass(frozen=True)
class Trial:
    """Sounds f32[1, n] before, after something was done to them, and restored.

    heard:    as they are without a model: a gap is bridged by a straight line
    expected: the mean of all that they may have been; sampled: one of these
    where:    1 where they are to be compared, f32[1, n]; None: everywhere
    """

    real: list[Tensor]
    heard: list[Tensor]
    expected: list[Tensor]
    sampled: list[Tensor]
    where: list[Tensor] | None = None

    def sdr(self, side: Sequence[Tensor]) -> Array:
        """f64[n], dB."""
        return _each(si_sdr, side, self.real)

    def distance(self, side: Sequence[Tensor]) -> Array:
        """Log-spectral distance f64[n], dB."""
        if self.where is None:
            return _each(log_spectral_distance, side, self.real)
        return _each(log_spectral_distance, side, self.real, self.where)


@torch.no_grad()
def trial(
    model: Restores | Fills, items: Tensor, kind: Kind, rate: int, seed: int = 0, device: torch.device = CPU
) -> Trial:
    """What is restored of canonical sounds f32[B, C, N] of a rate, each by itself and as long as it is.

    device: where the model is
    """
    made = Trial([], [], [], [], [] if kind == "gap" else None)
    for i, (item, length) in enumerate(zip(items, lengths(items).tolist(), strict=True)):
        if length < SHORTEST * rate:
            continue
        x, rng = item[:1, :length], np.random.default_rng(derive(seed, "trial", kind, i))
        heard, seen = degraded(x, kind, rate, rng)
        made.real.append(x)
        made.heard.append(bridged(heard, seen))
        for side, steps in ((made.expected, 1), (made.sampled, None)):
            there = (heard[None].to(device), ItemRng(seed, [i], device), seen[None].to(device))
            found = restored(model, *there, steps)[0].cpu()
            side.append(torch.where(seen > 0, heard, found) if made.where is not None else found)
        if made.where is not None:
            made.where.append(1 - seen)
    return made


def restored(model: Restores | Fills, heard: Tensor, rng: ItemRng, seen: Tensor, steps: int | None) -> Tensor:
    """What a model makes of degraded sounds f32[B, C, n], by what it is."""
    return (model.filled if isinstance(model, Fills) else model.restore)(heard, rng, seen, steps)


def degraded(x: Tensor, kind: Kind, rate: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A sound f32[1, n] to which something was done, and where it is heard, f32[1, n]."""
    noise, seen = torch.from_numpy(rng.standard_normal(x.shape, dtype=np.float32)), torch.ones_like(x)
    if kind == "noise":
        return degrade_sound.noisy(x, noise, torch.tensor([SNR])), seen
    if kind == "gap":
        size = min(GAP * rate / x.shape[1], 0.5)
        return degrade_sound.gapped(x, torch.tensor([0.25 + rng.random() * (0.5 - size)]), torch.tensor([size]))
    if kind == "lowpass":
        narrow = resampled(resampled(x.numpy(), rate, rate // 2), rate // 2, rate)
        return F.pad(torch.from_numpy(narrow), (0, max(0, x.shape[1] - narrow.shape[1])))[:, : x.shape[1]], seen
    if kind == "clip":
        return degrade_sound.clipped(x, torch.tensor([CLIP])), seen
    if kind == "reverb":
        return degrade_sound.reverberant(x, noise, torch.tensor([T60]), torch.tensor([DIRECT]), rate), seen
    return _as_mp3(x, rate), seen


def bridged(x: Tensor, seen: Tensor) -> Tensor:
    """f32[1, n] with a straight line where it is not heard."""
    there = (seen[0] > 0).nonzero()[:, 0].numpy()
    line = np.interp(np.arange(x.shape[1]), there, x[0].numpy()[there])
    return torch.from_numpy(line.astype(np.float32))[None]


def _as_mp3(x: Tensor, rate: int) -> Tensor:
    """A sound as the coarsest MP3 keeps it, moved to where it is most like itself: decoders begin late."""
    file, library = io.BytesIO(), soundfile()
    to = rate_in(".mp3", rate)
    library.write(file, resampled(x.numpy(), rate, to)[0], to, format="MP3", subtype="MPEG_LAYER_III", **COARSEST)
    file.seek(0)
    made = torch.from_numpy(resampled(library.read(file, dtype="float32")[0][None], to, rate)[0])
    n = x.shape[1]
    size = 2 ** (n + len(made)).bit_length()
    alike = torch.fft.irfft(torch.fft.rfft(made, size) * torch.fft.rfft(x[0], size).conj(), size)
    late = int(alike[: max(1, len(made) - n // 2)].argmax())
    return F.pad(made[late:], (0, n))[None, :n]


def _each(measure: Callable[..., Tensor], *sides: Sequence[Tensor]) -> Array:
    found = [measure(made, real, *(w for w in more)) for made, real, *more in zip(*sides, strict=True)]
    return torch.cat(found).double().numpy()


# -- measures ------------------------------------------------------------------------------------------


def _tried(evidence: Evidence, kind: Kind) -> Trial | None:
    if not isinstance(evidence.model, Restores) or kind not in evidence.model.corrects:
        return None

    def make() -> Trial:
        items = next(iter(evidence.real.chunks()))[:ITEMS].cpu()
        return trial(evidence.model, items, kind, evidence.spec.rate_hz, evidence.seed, evidence.generator.device)

    found = evidence.once(f"restored {kind}", make)
    if len(found.real) < 2:
        raise TooFew(f"it takes two held-out {{items}} of {SHORTEST:g} s at least")
    return found


def _sdr(found: Trial, rate: int) -> list[Array | None]:
    return [found.sdr(found.heard), found.sdr(found.expected)]


def _distance(found: Trial, rate: int) -> list[Array | None]:
    return [found.distance(found.heard), found.distance(found.sampled)]


def _stoi(found: Trial, rate: int) -> list[Array | None]:
    return [stoi(side, found.real, rate) for side in (found.heard, found.expected)]


def _pesq(found: Trial, rate: int) -> list[Array | None]:
    return [pesq(side, found.real, rate) for side in (found.heard, found.expected)]


def _dnsmos(found: Trial, rate: int) -> list[Array | None]:
    return [dnsmos(side, rate) for side in (found.heard, found.expected, found.real)]


@dataclass(frozen=True)
class Number:
    """What is measured of a trial: of -> as it was, restored, and perhaps of the true sounds, f64[n] each; None where
    it cannot be measured."""

    name: str
    title: str
    better: Literal["lower", "higher"]
    unit: str
    of: Callable[[Trial, int], list[Array | None]]
    asks: str

    def found(self, kind: Kind, evidence: Evidence) -> Found | None:
        """The mean of what is restored; the title says what it was before."""
        tried = _tried(evidence, kind)
        values = [side for side in (self.of(tried, evidence.spec.rate_hz) if tried else ()) if side is not None]
        if len(values) < 2:
            return None
        before, after, *true = values
        was = f"{before.mean():.1f} dB" if self.unit else f"{before.mean():.2f}"
        title = f"{self.title}, {WORDS[kind]}, restored ({BEFORE.get(kind, 'as it was')}: {was})"
        floor = mean(true[0], evidence.rng("true", kind)) if true else None
        return Found(mean(after, evidence.rng("restored", kind)), floor, n_real=len(after), title=title)

    def measure(self, kind: Kind) -> Measure:
        return Measure(
            name=f"{self.name}_{kind}", title=f"{self.title}, {WORDS[kind]}, restored", better=self.better,
            unit=self.unit, place=30, of=partial(self.found, kind), asks=self.asks,
            says=lambda m: f"{self.title} of held-out {{items}} after that ({WORDS[kind]}), restored, is "
            f"{m.show(m.value)}{' dB' if self.unit else ''}.",
        )  # fmt: skip


NUMBERS = (
    Number("si_sdr", "SI-SDR", "higher", "dB", _sdr,
           "How much stronger the true {item} is than all that differs from it, at whatever loudness: of the mean of "
           "all that it may have been."),
    Number("lsd", "Log-spectral distance", "lower", "dB", _distance,
           "How far the loudness of each pitch at each moment is from that of the true {item}: of one answer."),
    Number("stoi", "STOI", "higher", "", _stoi,
           "How well speech would be understood, from 0 to 1, by a model of hearing (STOI)."),
    Number("pesq", "PESQ", "higher", "", _pesq,
           "How near speech would be found to the true one by listeners, from 1 to 4.6, by a model of hearing (PESQ)."),
    Number("dnsmos", "DNSMOS", "higher", "", _dnsmos,
           "What listeners would say of speech, from 1 to 5, by a foreign judge: a network (DNSMOS) that others have "
           "trained on other speech. Beside it what it says of the true {items}."),
)  # fmt: skip
MEASURES = tuple(number.measure(kind) for kind in degrade_sound.KINDS for number in NUMBERS)


def tried_items(model: Restores, items: Tensor, rate: int, seed: int, device: torch.device) -> dict[str, Trial]:
    """Trials of everything that the model corrects, by its words: for the report."""
    kinds = [kind for kind in degrade_sound.KINDS if kind in model.corrects]
    return {WORDS[kind]: trial(model, items, kind, rate, seed, device) for kind in track(kinds, "restoring")}
