"""How well speech would be understood and liked, by models of hearing, each where its package is installed (the extras
audio-measures and audio-judges). Sounds are joined first, since none of them knows short ones.

    stoi     short-time objective intelligibility (Taal et al. 2011), 0 to 1, beside the true sound
    pesq     perceptual evaluation of speech quality (ITU-T P.862, at 16 kHz P.862.2), 1 to 4.6, beside the true sound
    dnsmos   what listeners would say of it (Reddy et al. 2022, P.835, overall), 1 to 5, by a network that others have
             trained on other speech: a foreign judge, which hears no true sound
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maquette.evaluation.bootstrap import Array
from maquette.modalities.audio.opening import resampled

TOGETHER = 3.0  # seconds of sounds that are heard at once
JUDGED = 9.01, 16_000  # seconds that the foreign judge hears, and their rate
OVERALL = (-0.06766283, 1.11546468, 0.04602535)  # from what it says to a mean opinion, as published with it


def stoi(made: Sequence[Tensor], real: Sequence[Tensor], rate: int) -> Array | None:
    """Of sounds f32[1, n] that are joined to TOGETHER seconds, f64[m]; None where pystoi is not installed."""
    try:
        import pystoi
    except ImportError:
        return None
    return _each(pystoi.stoi(x, y, rate) for y, x in _joined(rate, made, real))


def pesq(made: Sequence[Tensor], real: Sequence[Tensor], rate: int) -> Array | None:
    """The same of PESQ; narrow-band of sounds below 16 kHz. None where pesq is not installed."""
    try:
        import pesq as judge
    except ImportError:
        return None
    to, mode = (8000, "nb") if rate < 16_000 else (16_000, "wb")
    found = (
        judge.pesq(to, *(resampled(one[None], rate, to)[0] for one in (x, y)), mode, judge.PesqError.RETURN_VALUES)
        for y, x in _joined(rate, made, real)
    )
    return _each(score for score in found if score > 0)  # else it heard no speech


def dnsmos(made: Sequence[Tensor], rate: int) -> Array | None:
    """The same of DNSMOS; None where speechmos and onnxruntime are not installed."""
    judge = _foreign_judge()
    if judge is None:
        return None
    seconds, to = JUDGED
    wanted = int(seconds * to)
    sounds = (np.resize(resampled(x[None], rate, to)[0].clip(-1, 1), wanted) for (x,) in _joined(rate, made))
    return _each(float(np.polyval(OVERALL, judge.run(None, {"input_1": x[None]})[0][0][2])) for x in sounds)


@functools.cache
def _foreign_judge() -> Any:
    """speechmos brings the weights; what it has beside them is not used."""
    try:
        import onnxruntime

        weights = files("speechmos").joinpath("dnsmos_models/sig_bak_ovr.onnx").read_bytes()
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(weights, options)


def _each(scores: Iterator[float]) -> Array | None:
    found = np.array([*scores], np.float64)
    return found if len(found) else None


def _joined(rate: int, *sides: Sequence[Tensor]) -> Iterator[list[np.ndarray]]:
    """Of each side, which has as many samples as the others, the same sounds one after the other, f32[n]."""
    ends = np.cumsum([x.shape[1] for x in sides[-1]])
    edges = [0, *(np.flatnonzero(np.diff(ends // round(TOGETHER * rate))) + 1).tolist(), len(ends)]
    for a, b in pairwise(edges):
        if sum(x.shape[1] for x in sides[-1][a:b]) > rate:
            yield [torch.cat([*side[a:b]], 1)[0].numpy() for side in sides]
