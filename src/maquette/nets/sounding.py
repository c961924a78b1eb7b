"""A WaveNet's next sample, on a CPU: states are kept, so each sample is one pass of one time (Le Paine et al. 2016).

    voice = Voice(weights, values)
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
NOTHING_YET, GOES_ON, ENDED = range(3)
_LANES = 32  # outputs are filled up to a multiple of it
_ENDED = -1.0e4  # logit of what they are filled up with
TOGETHER = 4  # streams that read weights together
NO_CODES = np.empty(0, np.float32)
FIRST, AT_ONCE = 2**8, 2**10  # samples of the first piece of a stream, and of those after it


@dataclass(frozen=True)
class Sizes:
    """Of a network.

    codes:   that a sample may be; 0: samples are real numbers, beside each of which stands 1 where there is nothing
             yet, else 0
    outputs: numbers about the next sample
    blocks, layers: dilations 1, 2, 4, ... of `layers` layers, `blocks` times over
    """

    codes: int
    outputs: int
    blocks: int
    layers: int
    residual: int
    skip: int

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each layer."""
        return tuple(2**i for i in range(self.layers)) * self.blocks


@dataclass(frozen=True)
class Weights:
    """As the loop reads them, [inputs, outputs]; those of gates halved, since sigmoid(a) = (1 + tanh(a / 2)) / 2.

    Of 8 bits, if `rounded`: then they and what is added to their products are in units of their outputs' own, else 1.
    """

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
    gate_unit: Array  # [layers, 2 R]
    out_unit: Array  # [layers, R]
    skip_unit: Array
    inner_unit: Array
    head_unit: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], sizes: Sizes) -> Weights:
        """Of a network's parameters by name, which have `shapes`."""
        c, n, r = sizes, len(sizes.dilations), sizes.residual

        def taken(name: str) -> Array:
            return arrays[name].T.astype(np.float32, order="C")

        def stacked(part: str) -> Array:
            return np.stack([taken(f"{part}.{i}.weight") for i in range(n)])

        embedding = taken("embedding.weight")
        fill = -c.outputs % _LANES
        return cls(
            np.ascontiguousarray(embedding.T) if c.codes else embedding,
            stacked("past") * np.float32(0.5), stacked("now") * np.float32(0.5), stacked("out"),
            taken("skip.weight"), taken("skip.bias"), taken("inner.weight"), taken("inner.bias"),
            np.pad(taken("head.weight"), ((0, 0), (0, fill))),
            np.pad(taken("head.bias"), (0, fill), constant_values=_ENDED),
            np.array(c.dilations, np.int64),
            *(np.ones(shape, np.float32) for shape in ((n, 2 * r), (n, r), c.skip, c.skip, c.outputs + fill)),
        )  # fmt: skip

    def rounded(self) -> Weights:
        """The same in 8 bits: of each output the largest weight is 127 units."""
        past_now, gate = _rounded(np.concatenate([self.past, self.now], 1))
        (out, by_out), (skip, by_skip), (inner, by_inner), (head, by_head) = map(
            _rounded, (self.out, self.skip, self.inner, self.head)
        )
        return replace(
            self, past=np.ascontiguousarray(past_now[:, : self.past.shape[1]]),
            now=np.ascontiguousarray(past_now[:, self.past.shape[1] :]), out=out, skip=skip, inner=inner, head=head,
            skip_bias=self.skip_bias / by_skip, inner_bias=self.inner_bias / by_inner,
            head_bias=self.head_bias / by_head, gate_unit=gate, out_unit=by_out, skip_unit=by_skip,
            inner_unit=by_inner, head_unit=by_head,
        )  # fmt: skip


def _rounded(w: Array) -> tuple[Any, Array]:
    """i8[..., inputs, outputs], and the unit of each output."""
    unit = np.maximum(np.abs(w).max(-2), np.float32(1e-12)) / np.float32(127)
    return np.rint(w / unit[..., None, :]).astype(np.int8), unit


def shapes(sizes: Sizes, classes: Sequence[int], width: int) -> dict[str, tuple[int, ...]]:
    """Of a network's parameters by name. classes: of each given column; width: numbers that describe what is given"""
    c, n, r = sizes, len(sizes.dilations), sizes.residual
    found: dict[str, tuple[int, ...]] = {
        "embedding.weight": (c.codes + 1, r) if c.codes else (r, 2), "bias": (2 * n * r,),
        "skip.weight": (c.skip, n * r), "skip.bias": (c.skip,), "inner.weight": (c.skip, c.skip),
        "inner.bias": (c.skip,), "head.weight": (c.outputs, c.skip), "head.bias": (c.outputs,),
    }  # fmt: skip
    for part, outputs in (("past", 2 * r), ("now", 2 * r), ("out", r)):
        found |= {f"{part}.{i}.weight": (outputs, r) for i in range(n)}
    found |= {f"condition.columns.{i}.table.weight": (count + 1, width) for i, count in enumerate(classes)}
    if len(classes) > 1:
        for layer, inputs in ((0, len(classes) * width), (2, width)):
            found |= {
                f"condition.together.{layer}.weight": (width, inputs),
                f"condition.together.{layer}.bias": (width,),
            }
    return found | ({"given.weight": (2 * n * r, width)} if classes else {})


def steering(arrays: Mapping[str, Array], classes: Sequence[int]) -> Array:
    """What is given of one item, f32[layers x 2 residual], where all that can be given are classes: their numbers, -1
    of one that is not given. In numpy, whoever asks, so that it is the same to the last bit."""
    bias = arrays["bias"]
    if not classes:
        return bias
    found = [arrays[f"condition.columns.{i}.table.weight"][number] for i, number in enumerate(classes)]

    def through(layer: str, x: Array, bias: Array) -> Array:
        return _summed(bias[None], x[None], arrays[f"{layer}.weight"].T)[0]

    y = np.add.reduce(found)
    if len(found) > 1:
        h = through("condition.together.0", np.concatenate(found), arrays["condition.together.0.bias"])
        y = y + through("condition.together.2", h / (1 + np.exp(-h)), arrays["condition.together.2.bias"])
    return through("given", y, bias)


@dataclass
class State:
    """What streams remember. time: samples made of each

    steering: what is given, [n, frames, layers, 2 R], halved, in the units of the gates; each frame is `hop` samples,
              and the last one all that follow
    heard:    inputs of each layer, as long as they are needed, [n, sum of dilations, R]
    last:     the sample before, [n]: its code, or its value
    phase:    NOTHING_YET, GOES_ON or ENDED, i8[n]
    """

    steering: Array
    heard: Array
    last: Array
    phase: NDArray[np.int8]
    hop: int = 1
    time: int = 0

    @property
    def goes_on(self) -> NDArray[np.bool_]:
        """Which streams have not ended, [n]."""
        return self.phase != ENDED

    def rows(self, index: NDArray[np.int64]) -> State:
        """A new state of these streams."""
        return State(self.steering[index], self.heard[index], self.last[index], self.phase[index], self.hop, self.time)


class Voice:
    """Weights that make samples.

    values:   of their codes, f32[codes]; none of a network that makes mixtures of so many logistics
    cache:    the folder where compiled code is kept; None: in memory alone
    compiled: whether numba compiles the loop, where it is installed
    threads:  that many streams are shared out to
    """

    def __init__(
        self, weights: Weights, values: Array, mixtures: int = 0, cache: Path | None = None, compiled: bool = True,
        threads: int = 1,
    ) -> None:  # fmt: skip
        self.weights, self.values, self.mixtures, self.threads = weights, values, mixtures, threads
        loop = compiled_loop(cache) if compiled else None
        self.compiled, self.loop = loop is not None, loop or _by_numpy

    def begin(self, steering: Array, hop: int = 1) -> State:
        """The state of streams that have not begun, of what is given f32[n, layers * 2 R], or of each frame of `hop`
        samples, f32[n, frames, layers * 2 R]."""
        w, n = self.weights, len(steering)
        halved = steering.reshape(n, -1, *w.gate_unit.shape) * np.float32(0.5)
        return State(
            halved / w.gate_unit,
            np.zeros((n, int(w.dilations.sum()), w.out.shape[-1]), np.float32),
            np.zeros(n, np.float32),
            np.full(n, NOTHING_YET, np.int8),
            hop,
        )

    def hear(self, state: State, inputs: Iterable[Array], samples: int, last: float) -> None:
        """One stream that has not begun is told its first samples, and goes on behind them.

        inputs: what each layer in turn has read of them, f32[T, R]; last: the last of them, a code or a value
        """
        place = 0
        for d, x in zip(self.weights.dilations.tolist(), inputs, strict=True):
            times = np.arange(max(samples - d, 0), samples)
            state.heard[0, place + times % d] = x[-d:]
            place += d
        state.last[0], state.phase[0], state.time = last, GOES_ON, samples

    def advance(self, state: State, noise: Array, temperature: float = 1.0) -> Array:
        """The next samples of n streams, f32[n, T] in [-1, 1], NaN from the end of a stream on. The state moves on.

        noise: what each is drawn by, f32[n, T, 2]: a uniform number and, for mixtures, a logistic one
        """
        noise, made = np.ascontiguousarray(noise), np.empty(noise.shape[:2], np.float32)
        n = len(noise)
        share = -(-n // (TOGETHER * self.threads)) * TOGETHER  # streams of a thread
        parts = [slice(at, at + share) for at in range(0, n, share)]
        arguments = [
            (*vars(self.weights).values(), self.values, self.mixtures, state.steering[s], state.hop, state.heard[s],
             state.last[s], state.phase[s], state.time, noise[s], np.float32(1 / temperature), made[s])
            for s in parts
        ]  # fmt: skip
        if len(parts) == 1:
            self.loop(*arguments[0])
        else:
            with ThreadPoolExecutor(len(parts)) as pool:  # compiled code runs beside other threads
                list(pool.map(lambda each: self.loop(*each), arguments))
        state.time += noise.shape[1]
        return made


def drawn_by(uniform: Array) -> Array:
    """What each sample is drawn by, f32[n, T, 2]: of uniform numbers f32[n, T, 1 or 2] the first, and the second as a
    logistic one."""
    second = np.clip(uniform[..., -1].astype(np.float64), 2.0**-25, 1 - 2.0**-25)
    return np.stack([uniform[..., 0], np.log(second / (1 - second)).astype(np.float32)], -1)


def unfolded(voice: Voice, state: State, noise: Array, temperature: float) -> Iterator[Array]:
    """One stream in pieces f32[1, n], up to its end, or that of the noise f32[1, N, 2]. The first piece is short."""
    while state.time < noise.shape[1] and state.goes_on[0]:
        size = AT_ONCE if state.time else FIRST
        drawn = voice.advance(state, noise[:, state.time : state.time + size], temperature)
        yield drawn[~np.isnan(drawn)][None]


# -- in numpy ----------------------------------------------------------------------------------------


def _by_numpy(
    embedding: Array, past: Array, now: Array, out: Array, skip: Array, skip_bias: Array, inner: Array,
    inner_bias: Array, head: Array, head_bias: Array, dilations: NDArray[np.int64], gate_unit: Array, out_unit: Array,
    skip_unit: Array, inner_unit: Array, head_unit: Array, values: Array, mixtures: int, steering: Array, hop: int,
    heard: Array, last: Array, phase: NDArray[np.int8], time: int, noise: Array, sharpness: np.float32, made: Array,
) -> None:  # fmt: skip
    """T samples of n streams into `made`; `heard`, `last` and `phase` move on."""
    n, r = len(noise), past.shape[1]
    z = np.empty((n, len(skip)), np.float32)
    half = np.float32(0.5)
    for t in range(noise.shape[1]):
        x = embedding[last.astype(np.int64)] if len(values) else last[:, None] * embedding[0]
        x[phase == NOTHING_YET] = embedding[-1]
        place, frame = 0, min((time + t) // hop, steering.shape[1] - 1)
        for i, d in enumerate(dilations):
            slot = place + (time + t) % d
            a = _summed(_summed(steering[:, frame, i], heard[:, slot], past[i]), x, now[i])
            heard[:, slot] = x
            a = _tanh(a * gate_unit[i])
            z[:, i * r : (i + 1) * r] = (a[:, :r] * half) * (a[:, r:] * half + half)
            x = _summed(x / out_unit[i], z[:, i * r : (i + 1) * r], out[i]) * out_unit[i]
            place += d
        h = np.maximum(_summed(skip_bias[None], z, skip), 0) * skip_unit
        h = np.maximum(_summed(inner_bias[None], h, inner), 0) * inner_unit
        y = _summed(head_bias[None], h, head) * head_unit
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


def mu_law_values(codes: int = 256) -> Array:
    """What each code of a sample stands for (losses/mu_law.py), f32[codes]: that of silence, codes / 2, is 0.0."""
    steps = np.arange(codes) - codes // 2
    return (np.sign(steps) * np.expm1(np.abs(steps) * (np.log1p(codes - 1) / (codes // 2))) / (codes - 1)).astype("f4")


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
