"""A WaveNet's next sample, on a CPU: states are kept, so each sample is one pass of one time (Le Paine et al. 2016).

    voice = Voice(net, values)
    state = voice.begin(steering)  # of n streams
    samples = voice.advance(state, noise)  # the next of each, f32[n, T]

Every number comes out the same, to the last bit, however it is made: one stream or many, in chunks or at once, compiled
(numba) or by numpy, or over the whole receptive field each time. For that, each sum begins with its bias and goes
through its products in order, each rounded by itself; and tanh and exp are polynomials of ours, not those of a library.
That costs nothing: a processor adds eight or sixteen sums at a time, each in its own order. One stream is bound by
reading the weights from the cache, so several read them together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maquette.nets.wavenet import WaveNet

Array = NDArray[np.float32]
NOTHING_YET, GOES_ON, ENDED = range(3)
_LANES = 32  # outputs are filled up to a multiple of it
_ENDED = -1.0e4  # logit of what they are filled up with
TOGETHER = 4  # streams that read weights together


@dataclass(frozen=True)
class Weights:
    """As the loop reads them, [inputs, outputs]; those of gates halved, since sigmoid(a) = (1 + tanh(a / 2)) / 2."""

    embedding: Array  # [codes + 1, R], or [2, R]
    past: Array  # [layers, R, 2 R]
    now: Array
    out: Array  # [layers, R, R]
    skip: Array  # [layers * R, S]
    skip_bias: Array
    inner: Array
    inner_bias: Array
    head: Array  # [S, outputs, filled up]
    head_bias: Array
    dilations: NDArray[np.int64]

    @classmethod
    def of(cls, net: WaveNet) -> Weights:
        """Of a network, as it is now."""
        fill = -net.head.out_features % _LANES
        return cls(
            _array(net.embedding.weight if net.codes else net.embedding.weight.T),
            _stacked(net.past) * np.float32(0.5), _stacked(net.now) * np.float32(0.5), _stacked(net.out),
            _array(net.skip.weight.T), _array(net.skip.bias), _array(net.inner.weight.T), _array(net.inner.bias),
            np.pad(_array(net.head.weight.T), ((0, 0), (0, fill))),
            np.pad(_array(net.head.bias), (0, fill), constant_values=_ENDED),
            np.array(net.dilations, np.int64),
        )  # fmt: skip


@dataclass
class State:
    """What streams remember. time: samples made of each

    steering: what is given, [n, layers, 2 R], halved
    heard:    inputs of each layer, as long as they are needed, [n, sum of dilations, R]
    last:     the sample before, [n]: its code, or its value
    phase:    NOTHING_YET, GOES_ON or ENDED, i8[n]
    """

    steering: Array
    heard: Array
    last: Array
    phase: NDArray[np.int8]
    time: int = 0

    @property
    def goes_on(self) -> NDArray[np.bool_]:
        """Which streams have not ended, [n]."""
        return self.phase != ENDED

    def rows(self, index: NDArray[np.int64]) -> State:
        """A new state of these streams."""
        return State(self.steering[index], self.heard[index], self.last[index], self.phase[index], self.time)


class Voice:
    """A network that makes samples.

    values:   of its codes, f32[codes]; none of a network that makes mixtures of so many logistics
    cache:    the folder where compiled code is kept; None: in memory alone
    compiled: whether numba compiles the loop, where it is installed
    """

    def __init__(
        self, net: WaveNet, values: Array, mixtures: int = 0, cache: Path | None = None, compiled: bool = True
    ) -> None:  # fmt: skip
        self.net, self.values, self.mixtures, self.weights = net, values, mixtures, Weights.of(net)
        loop = compiled_loop(cache) if compiled else None
        self.compiled, self.loop = loop is not None, loop or _by_numpy

    def begin(self, steering: Tensor) -> State:
        """The state of streams that have not begun, of what is given f32[n, layers * 2 R]."""
        n, r = len(steering), self.net.residual
        return State(
            _array(steering).reshape(n, -1, 2 * r) * np.float32(0.5),
            np.zeros((n, sum(self.net.dilations), r), np.float32),
            np.zeros(n, np.float32),
            np.full(n, NOTHING_YET, np.int8),
        )

    def hear(self, state: State, before: Tensor, steering: Tensor) -> None:
        """One stream that has not begun is told its first samples, and goes on behind them.

        before: what stands before each of them and before the next, i64[T + 1] or f32[T + 1, 2]; steering: as `begin`
        """
        n, place = len(before) - 1, 0
        with torch.no_grad():
            for d, x in zip(self.net.dilations, self.net.inputs(before[:-1], steering), strict=True):
                times = np.arange(max(n - d, 0), n)
                state.heard[0, place + times % d] = _array(x[-d:])
                place += d
        state.last[0] = float(before[-1].flatten()[0])
        state.phase[0], state.time = GOES_ON, n

    def advance(self, state: State, noise: Array, temperature: float = 1.0) -> Array:
        """The next samples of n streams, f32[n, T] in [-1, 1], NaN from the end of a stream on. The state moves on.

        noise: what each is drawn by, f32[n, T, 2]: a uniform number and, for mixtures, a logistic one
        """
        noise, made = np.ascontiguousarray(noise), np.empty(noise.shape[:2], np.float32)
        n, threads = len(noise), torch.get_num_threads()
        share = -(-n // (TOGETHER * threads)) * TOGETHER  # streams of a thread
        parts = [slice(at, at + share) for at in range(0, n, share)]
        arguments = [
            (*vars(self.weights).values(), self.values, self.mixtures, state.steering[s], state.heard[s], state.last[s],
             state.phase[s], state.time, noise[s], np.float32(1 / temperature), made[s])
            for s in parts
        ]  # fmt: skip
        if len(parts) == 1:
            self.loop(*arguments[0])
        else:
            with ThreadPoolExecutor(len(parts)) as pool:  # compiled code runs beside other threads
                list(pool.map(lambda each: self.loop(*each), arguments))
        state.time += noise.shape[1]
        return made


def _stacked(layers: Iterable[nn.Module]) -> Array:
    return np.stack([_array(layer.weight.T) for layer in layers])  # type: ignore[arg-type]


def _array(x: Tensor) -> Array:
    return np.ascontiguousarray(x.detach().float().cpu().numpy())


# -- in numpy ----------------------------------------------------------------------------------------


def _by_numpy(
    embedding: Array, past: Array, now: Array, out: Array, skip: Array, skip_bias: Array, inner: Array,
    inner_bias: Array, head: Array, head_bias: Array, dilations: NDArray[np.int64], values: Array, mixtures: int,
    steering: Array, heard: Array, last: Array, phase: NDArray[np.int8], time: int, noise: Array, sharpness: np.float32,
    made: Array,
) -> None:  # fmt: skip
    """T samples of n streams into `made`; `heard`, `last` and `phase` move on."""
    n, r = len(noise), past.shape[1]
    z = np.empty((n, len(skip)), np.float32)
    half = np.float32(0.5)
    for t in range(noise.shape[1]):
        x = embedding[last.astype(np.int64)] if len(values) else last[:, None] * embedding[0]
        x[phase == NOTHING_YET] = embedding[-1]
        place = 0
        for i, d in enumerate(dilations):
            slot = place + (time + t) % d
            a = _summed(_summed(steering[:, i], heard[:, slot], past[i]), x, now[i])
            heard[:, slot] = x
            a = _tanh(a)
            z[:, i * r : (i + 1) * r] = (a[:, :r] * half) * (a[:, r:] * half + half)
            x = _summed(x, z[:, i * r : (i + 1) * r], out[i])
            place += d
        h = np.maximum(_summed(skip_bias[None], z, skip), 0)
        h = np.maximum(_summed(inner_bias[None], h, inner), 0)
        y = _summed(head_bias[None], h, head)
        for s in range(n):
            made[s, t] = np.nan
            if phase[s] == ENDED:
                continue
            drawn = _drawn(y[s], noise[s, t], sharpness, len(values), mixtures)
            phase[s] = ENDED if drawn is None else GOES_ON
            if drawn is not None:
                last[s] = drawn
                made[s, t] = values[int(drawn)] if len(values) else drawn


def _summed(start: Array, x: Array, w: Array) -> Array:
    """start + x[0] w[0] + x[1] w[1] + ..., in this order: start [n or 1, O], x [n, I], w [I, O] -> [n, O]."""
    products = x[:, :, None] * w
    products[:, 0] += start
    return np.add.reduce(products, 1)


def _tanh(x: Array) -> Array:
    """tanh of numbers f32, by a quotient of polynomials (the coefficients of Eigen's); within 1e-6."""
    x = np.minimum(np.maximum(x, np.float32(-_FLAT)), np.float32(_FLAT))
    y = x * x
    p = np.full_like(x, _P[0])
    for c in _P[1:]:
        p = p * y + c
    q = np.full_like(x, _Q[0])
    for c in _Q[1:]:
        q = q * y + c
    return x * p / q


_FLAT = 7.90531110763549805
_P = tuple(
    np.float32(c) for c in (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
                            1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03)
)  # fmt: skip
_Q = tuple(
    np.float32(c) for c in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)


def _exp(x: Array) -> Array:
    """exp of numbers f32 in -87 .. 87 (Cephes); within 1e-7 of it."""
    n = np.floor(x * _LOG2E + np.float32(0.5))
    r = (x - n * _C1) - n * _C2
    p = np.full_like(r, _E[0])
    for c in _E[1:]:
        p = p * r + c
    whole = (n.astype(np.int32) + np.int32(127)) << np.int32(23)
    return (((p * (r * r)) + r) + np.float32(1)) * whole.view(np.float32)


_LOG2E, _C1, _C2 = np.float32(1.44269504088896341), np.float32(0.693359375), np.float32(-2.12194440e-4)
_E = tuple(
    np.float32(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                            5.0000001201e-1)
)  # fmt: skip


def _drawn(
    y: Array, noise: Array, sharpness: np.float32, codes: int, mixtures: int
) -> np.float32 | None:  # fmt: skip
    """The sample that the outputs f32[O] of one time come to: its code, or its value; None at the end."""
    count = codes or mixtures
    m = _picked(np.append(y[:count], y[codes or 3 * mixtures]), noise[0], sharpness)
    if m == count:
        return None
    if codes:
        return np.float32(m)
    scale = _exp(np.maximum(y[2 * mixtures + m :][:1], np.float32(-10)))[0]
    value = y[mixtures + m] + (scale * noise[1]) / sharpness
    return np.minimum(np.maximum(np.rint(value * _STEPS), -_STEPS), _STEPS - np.float32(1)) / _STEPS


_STEPS = np.float32(2**15)


def _picked(y: Array, uniform: np.float32, sharpness: np.float32) -> int:
    """The number of the logit that is drawn by the sum of their probabilities up to each."""
    sums = np.add.accumulate(_exp(np.maximum((y - y.max()) * sharpness, np.float32(-87))))
    return min(int((sums <= uniform * sums[-1]).sum()), len(y) - 1)


# -- compiled ----------------------------------------------------------------------------------------

Loop = Callable[..., None]


@lru_cache
def compiled_loop(cache: Path | None) -> Loop | None:
    """The loop as numba compiles it, once for a machine; None where numba is not installed.

    cache: the folder of the compiled code. It holds code, so it is used only if nobody else can write to it.
    """
    try:
        from maquette.nets import sounding_loop
        from maquette.nets.machine_code import keep
    except ImportError:
        return None
    here = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8)  # numba sees changes of its own file alone
    loop: Any = sounding_loop.loop
    keep(loop, cache and cache / here.hexdigest())
    return loop
