"""How far made sounds are from real ones, by their spectra: phases are free."""

from __future__ import annotations

from torch import Tensor

FLOOR = 1e-9  # of the power of a full-scale sine, added: -90 dB
QUIET = 3e-7  # of the loudest real one, added, too: 65 dB below it, all is as good as silent


def log_distance(made: Tensor, real: Tensor) -> Tensor:
    """Mean distance of the log magnitudes of power spectrograms f32[..., frequencies, frames], in which a full-scale
    sine is 1; f32[...], in nepers: the root of the mean square over frequencies, its mean over frames (Gray & Markel
    1976)."""
    least = FLOOR + QUIET * real.amax((-2, -1), keepdim=True)
    apart = ((made + least) / (real + least)).log() / 2
    return (apart.square().mean(-2) + 1e-6).sqrt().mean(-1)
