"""Sounds that ran away: silent, without an end, or noise. They are counted, and never filtered out.

And how far sounds are from what comes back of their codes: by their spectra, since an error of each sample says nothing
of sounds that are alike but for their phases.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maquette.core.batch import lengths
from maquette.core.measure import Found, Measure
from maquette.core.model import Encodes, FlowMap, UsesCodec
from maquette.evaluation.bootstrap import Array, mean
from maquette.evaluation.evidence import Evidence
from maquette.evaluation.similarity import log_spectral_distance
from maquette.modalities.audio.levels import FLOOR
from maquette.modalities.audio.recogniser import CHARACTER_ERRORS
from maquette.modalities.audio.restored import MEASURES as RESTORED
from maquette.nets.spectrogram import power

FRAME = 256  # samples
REBUILT = 500  # held-out sounds, at most
BEYOND = 0.1  # of the spread of real sounds, that they may be beyond the least and the most of them


def traits(items: Tensor) -> Array:
    """f64[B, 3] of f32[B, C, N]: samples until it ends; loudness until then, in dBFS; and flatness, in dB: how near its
    spectrum is to that of noise, 0, as the geometric by the arithmetic mean of each frame, of the louder frames."""
    ends = lengths(items)
    square = items.square().mean(1).sum(-1) / ends.clamp_min(1)
    loud = 10 * square.clamp_min(10 ** (FLOOR / 10)).log10()
    frames = power(items.mean(1), FRAME, FRAME // 2)[:, 1:] + 1e-10
    flat = 10 * (frames.log10().mean(1) - frames.mean(1).log10())
    weight = frames.mean(1)
    return torch.stack([ends.double(), loud.double(), ((flat * weight).sum(1) / weight.sum(1)).double()], 1).numpy()


def ran_away(items: Array, real: Array) -> Array:
    """f64[n], 1 where a sound is shorter, longer, quieter, louder, purer or noisier than any real one, clearly."""
    low, high = real.min(0), real.max(0)
    room = BEYOND * (high - low)
    return ((items < low - room) | (items > high + room)).any(1).astype(np.float64)


def _of(evidence: Evidence) -> Found | None:
    made, real, known = (
        np.concatenate([traits(chunk) for chunk in side.chunks()])
        for side in (evidence.made, evidence.real, evidence.reserve)
    )
    # One that goes on to the last sample there is has no end, where real ones have.
    endless = evidence.spec.shape[-1] if (known[:, 0] < evidence.spec.shape[-1]).all() else np.inf
    share = (np.maximum(ran_away(side, known), side[:, 0] >= endless) for side in (made, real))
    value, floor = (mean(one, evidence.rng("runaway", word)) for one, word in zip(share, ("made", "real"), strict=True))
    return Found(value, floor, len(real), len(made))


@torch.no_grad()
def _rebuilt(evidence: Evidence) -> Found | None:
    model, generator = evidence.model, evidence.generator
    if not isinstance(model, Encodes) or isinstance(model, FlowMap) or not evidence.on_grids:
        return None  # as of the general measures of it
    coder: Encodes = model.codec if isinstance(model, UsesCodec) else model
    found = []
    for rows in np.array_split(evidence.rows[:REBUILT], -(-min(len(evidence.rows), REBUILT) // 100)):
        batch = evidence.dataset.test.batch(rows, generator.spec).to(generator.device)
        again, real = (x[evidence.column] for x in (coder.decode(coder.encode(batch), batch.given), batch.target))
        inside = torch.arange(real.shape[-1], device=real.device) < lengths(real)[:, None]
        found.append(log_spectral_distance(again, real, inside.float()).double().cpu().numpy())
    values = np.concatenate(found)
    return Found(mean(values, evidence.rng("rebuilt")), n_real=len(values))


MEASURES = (
    Measure(
        name="reconstruction", title="Reconstruction, log-spectral distance", better="lower", unit="dB", of=_rebuilt,
        whole=True, place=80,
        asks="How far the spectrum of a {item} is from its own after it was squeezed through the latent code.",
        says=lambda m: f"Coded and decoded, the spectrum of a held-out {{item}} is off by {m.show(m.value)} dB.",
    ),
    Measure("psnr", "Reconstruction, peak signal to noise", "higher", "dB", "", lambda evidence: None, lambda m: ""),
    Measure(
        name="runaway", title="Runaway {items}", better="no more", unit="share", of=_of, place=46, sees=("runaway",),
        asks="Share of samples that are shorter or longer, quieter or louder, purer or noisier than any real {item}, "
        "or have no end: what is silent, noise, or goes on.",
        says=lambda m: f"{m.show(m.value)} of generated {{items}} ran away: silent, endless or noise; by the same rule "
        f"{m.show(m.floor)} of real ones did.",
    ),
    CHARACTER_ERRORS,
    *RESTORED,
)  # fmt: skip
