"""The loop of sounding.py for numba, which compiles it: number for number what `_by_numpy` does.

Sums go through their products in order, so nothing here may be reassociated or fused (no fastmath). Eight products are
added to a sum at a time, and their outputs are what a processor does side by side.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from maquette.nets.sounding import (
    _C1,
    _C2,
    _E,
    _FLAT,
    _LOG2E,
    _P,
    _Q,
    _STEPS,
    ENDED,
    GOES_ON,
    NOTHING_YET,
    TOGETHER,
)  # fmt: skip

_P0, _P1, _P2, _P3, _P4, _P5, _P6 = _P
_Q0, _Q1, _Q2, _Q3 = _Q
_E0, _E1, _E2, _E3, _E4, _E5 = _E
_F = np.float32  # weights may be of 8 bits
_BOUND, _ONE, _HALF, _ZERO = np.float32(_FLAT), np.float32(1), np.float32(0.5), np.float32(0)


@njit(nogil=True)
def _one(a, w, x):
    """a += x[0] w[0] + x[1] w[1] + ...: a [O], w [I, O], x [I]."""
    i, n = 0, len(x)
    while i + 8 <= n:
        x0, x1, x2, x3, x4, x5, x6, x7 = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        for o in range(len(a)):
            w0, w1, w2, w3 = _F(w[i, o]), _F(w[i + 1, o]), _F(w[i + 2, o]), _F(w[i + 3, o])
            w4, w5, w6, w7 = _F(w[i + 4, o]), _F(w[i + 5, o]), _F(w[i + 6, o]), _F(w[i + 7, o])
            a[o] = (((((((a[o] + x0 * w0) + x1 * w1) + x2 * w2) + x3 * w3) + x4 * w4) + x5 * w5) + x6 * w6) + x7 * w7
        i += 8
    for j in range(i, n):
        xj = x[j]
        for o in range(len(a)):
            a[o] += xj * _F(w[j, o])


@njit(nogil=True)
def _four(a, b, c, d, w, x, y, z, u):
    """The same of four streams, which read the weights together."""
    i, n = 0, len(x)
    while i + 4 <= n:
        x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        y0, y1, y2, y3 = y[i], y[i + 1], y[i + 2], y[i + 3]
        z0, z1, z2, z3 = z[i], z[i + 1], z[i + 2], z[i + 3]
        u0, u1, u2, u3 = u[i], u[i + 1], u[i + 2], u[i + 3]
        for o in range(len(a)):
            w0, w1, w2, w3 = _F(w[i, o]), _F(w[i + 1, o]), _F(w[i + 2, o]), _F(w[i + 3, o])
            a[o] = (((a[o] + x0 * w0) + x1 * w1) + x2 * w2) + x3 * w3
            b[o] = (((b[o] + y0 * w0) + y1 * w1) + y2 * w2) + y3 * w3
            c[o] = (((c[o] + z0 * w0) + z1 * w1) + z2 * w2) + z3 * w3
            d[o] = (((d[o] + u0 * w0) + u1 * w1) + u2 * w2) + u3 * w3
        i += 4
    for j in range(i, n):
        for o in range(len(a)):
            a[o] += x[j] * _F(w[j, o])
            b[o] += y[j] * _F(w[j, o])
            c[o] += z[j] * _F(w[j, o])
            d[o] += u[j] * _F(w[j, o])


@njit(nogil=True)
def _add(a, w, x):
    """a [n, O] += x [n, I] w [I, O]."""
    s, n = 0, len(a)
    while s + TOGETHER <= n:
        _four(a[s], a[s + 1], a[s + 2], a[s + 3], w, x[s], x[s + 1], x[s + 2], x[s + 3])
        s += TOGETHER
    for j in range(s, n):
        _one(a[j], w, x[j])


@njit(nogil=True)
def _tanh(a):
    for o in range(len(a)):
        x = min(max(a[o], -_BOUND), _BOUND)
        y = x * x
        p = (((((_P0 * y + _P1) * y + _P2) * y + _P3) * y + _P4) * y + _P5) * y + _P6
        q = ((_Q0 * y + _Q1) * y + _Q2) * y + _Q3
        a[o] = (x * p) / q


@njit(nogil=True)
def _exp(a, whole):
    """exp of numbers in -87 .. 87, in place. whole: room for as many i32"""
    for o in range(len(a)):
        x = a[o]
        n = np.floor(x * _LOG2E + _HALF)
        r = (x - n * _C1) - n * _C2
        p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
        a[o] = ((p * (r * r)) + r) + _ONE
        whole[o] = (np.int32(n) + np.int32(127)) << np.int32(23)
    power = whole.view(np.float32)
    for o in range(len(a)):
        a[o] *= power[o]


@njit(nogil=True)
def _scale(a, unit):
    for s in range(len(a)):
        for o in range(a.shape[1]):
            a[s, o] *= unit[o]


@njit(nogil=True)
def _relu(a, unit):
    for s in range(len(a)):
        for o in range(a.shape[1]):
            a[s, o] = max(a[s, o], _ZERO) * unit[o]


@njit(nogil=True)
def _pick(y, count, end, uniform, sharpness, e, whole):
    """Which of the first `count` outputs is drawn, or `count` for that of the end. e, whole: room for them"""
    top = y[end]
    for o in range(count):
        top = max(top, y[o])
    for o in range(count):
        e[o] = max((y[o] - top) * sharpness, np.float32(-87))
    e[count] = max((y[end] - top) * sharpness, np.float32(-87))
    _exp(e[: count + 1], whole[: count + 1])
    total = _ZERO
    for o in range(count + 1):
        total += e[o]
        e[o] = total
    goal = uniform * total
    for o in range(count + 1):
        if e[o] > goal:
            return o
    return count


@njit(nogil=True)
def loop(
    embedding, past, now, out, skip, skip_bias, inner, inner_bias, head, head_bias, dilations, gate_unit, out_unit,
    skip_unit, inner_unit, head_unit, values, mixtures, steering, hop, heard, last, phase, time, noise, sharpness, made,
):  # fmt: skip
    """T samples of n streams into `made`; `heard`, `last` and `phase` move on."""
    n, r, codes = len(noise), past.shape[1], len(values)
    count, end = (codes, codes) if codes else (mixtures, 3 * mixtures)
    x, before, a = np.empty((n, r), np.float32), np.empty((n, r), np.float32), np.empty((n, 2 * r), np.float32)
    z, zi = np.empty((n, len(skip)), np.float32), np.empty((n, r), np.float32)
    h, g = np.empty((n, skip.shape[1]), np.float32), np.empty((n, skip.shape[1]), np.float32)
    y = np.empty((n, head.shape[1]), np.float32)
    e, whole = np.empty(head.shape[1], np.float32), np.empty(head.shape[1], np.int32)
    for t in range(noise.shape[1]):
        for s in range(n):
            if phase[s] == NOTHING_YET:
                x[s] = embedding[-1]
            elif codes:
                x[s] = embedding[int(last[s])]
            else:
                x[s] = last[s] * embedding[0]
        place, frame = 0, min((time + t) // hop, steering.shape[1] - 1)
        for i in range(len(dilations)):
            slot = place + (time + t) % dilations[i]
            for s in range(n):
                a[s] = steering[s, frame, i]
                before[s] = heard[s, slot]
                heard[s, slot] = x[s]
            _add(a, past[i], before)
            _add(a, now[i], x)
            _scale(a, gate_unit[i])
            for s in range(n):
                _tanh(a[s])
                for o in range(r):
                    zi[s, o] = (a[s, o] * _HALF) * (a[s, r + o] * _HALF + _HALF)
                    x[s, o] /= out_unit[i, o]
                z[s, i * r : (i + 1) * r] = zi[s]
            _add(x, out[i], zi)
            _scale(x, out_unit[i])
            place += dilations[i]
        for s in range(n):
            h[s], g[s], y[s] = skip_bias, inner_bias, head_bias
        _add(h, skip, z)
        _relu(h, skip_unit)
        _add(g, inner, h)
        _relu(g, inner_unit)
        _add(y, head, g)
        _scale(y, head_unit)
        for s in range(n):
            made[s, t] = np.nan
            if phase[s] == ENDED:
                continue
            m = _pick(y[s], count, end, noise[s, t, 0], sharpness, e, whole)
            phase[s] = ENDED if m == count else GOES_ON
            if m == count:
                continue
            if codes:
                last[s], made[s, t] = m, values[m]
                continue
            e[0] = max(y[s, 2 * mixtures + m], np.float32(-10))
            _exp(e[:1], whole[:1])
            value = y[s, mixtures + m] + (e[0] * noise[s, t, 1]) / sharpness
            value = min(max(np.rint(value * _STEPS), -_STEPS), _STEPS - _ONE) / _STEPS
            last[s] = made[s, t] = value
