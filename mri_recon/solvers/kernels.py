"""Kernels of the solvers; `mri_recon.solvers.fused` calls them and says what they are for.

Complex arrays are looked at as twice as many floats, real and imaginary parts in turn. What is only seen here is
kept as planes, real apart from imaginary, on which the same loop runs five times as fast. Indices are unsigned:
signed ones would be tested for being negative, and loops with tests are not vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_ZERO, _ONE, _TWO, _TINY = np.float32(0), np.float32(1), np.float32(2), np.float32(1e-30)


@njit(fastmath=True, error_model="numpy")
def _split(x: Any, begin: Any, planes: Any, to: Any, n: Any) -> None:
    """Real and imaginary parts of a row of n complex numbers, and the first of them once more at the end."""
    one, two = _U(1), _U(2)
    imaginary = to + n + one
    for p in range(n):
        planes[to + p] = x[begin + two * p]
        planes[imaginary + p] = x[begin + two * p + one]
    planes[to + n] = planes[to]
    planes[imaginary + n] = planes[imaginary]


@njit(fastmath=True, error_model="numpy")
def _advance_row(x: Any, here: Any, below: Any, v: Any, i: Any, plane: Any, w: Any, k: Any, m: Any,
                 step: Any, relaxation: Any, n: Any) -> Any:  # fmt: skip
    """A row's differences into its state; z − u goes to w; |∇x − z|² and |∇x|².

    x begins at `here` and `below`; the state at i, its four planes `plane` apart; w's vertical part at k, the
    horizontal one at m.
    """
    one = _U(1)
    apart, size = _ZERO, _ZERO
    xi, bi = here + n + one, below + n + one
    for p in range(n):
        a, b = x[below + p] - x[here + p], x[bi + p] - x[xi + p]
        c, d = x[here + p + one] - x[here + p], x[xi + p + one] - x[xi + p]
        ia = i + p
        ib = ia + plane
        ic = ib + plane
        id = ic + plane
        va, vb, vc, vd = v[ia], v[ib], v[ic], v[id]
        keep = max(_ONE - step / np.sqrt(va * va + vb * vb + vc * vc + vd * vd + _TINY), _ZERO)
        ea, eb, ec, ed = a - keep * va, b - keep * vb, c - keep * vc, d - keep * vd
        # z = keep·v and u = (1 − keep)·v, so αKx + (1 − α)z + u = v + α(Kx − z).
        va, vb, vc, vd = (
            va + relaxation * ea,
            vb + relaxation * eb,
            vc + relaxation * ec,
            vd + relaxation * ed,
        )
        v[ia], v[ib], v[ic], v[id] = va, vb, vc, vd
        keep = max(_ONE - step / np.sqrt(va * va + vb * vb + vc * vc + vd * vd + _TINY), _ZERO)
        twice = _TWO * keep - _ONE
        w[k + p], w[k + n + p], w[m + p], w[m + n + p] = twice * va, twice * vb, twice * vc, twice * vd
        apart += ea * ea + eb * eb + ec * ec + ed * ed
        size += a * a + b * b + c * c + d * d
    return apart, size


@kernel(
    "float32*, float32*, float32*, float32*, float32*, float32*, float32, float32, int64, int64, int64, int64"
)
def tv_advance(
    x_: Any, v_: Any, halo_: Any, scratch_: Any, out_: Any, sums_: Any,
    step: Any, relaxation: Any, height: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """The splitting's step for rows start to stop, and ∇ᴴ(z − u) of them.

    x, out (height, width) complex; v (4, height, width), halo (4, width): this range's own copy of the state of the
    row above it; scratch (10, width + 1); sums (height, 2) gets |∇x − z|² and |∇x|² of each row.
    """
    n, h = _U(width), _U(height)
    zero, one, two = _U(0), _U(1), _U(2)
    whole = n * h
    x, out = carray(x_, (2 * width * height,)), carray(out_, (2 * width * height,))
    v, halo = carray(v_, (4 * width * height,)), carray(halo_, (4 * width,))
    scratch, sums = carray(scratch_, (10 * (width + 1),)), carray(sums_, (2 * height,))
    line = two * (n + one)
    here, below, old, new, across = zero, line, two * line, _U(3) * line, _U(4) * line
    above = h - one if start == 0 else _U(start) - one
    _split(x, two * n * above, scratch, here, n)
    _split(x, two * n * _U(start), scratch, below, n)
    _advance_row(scratch, here, below, halo, zero, n, scratch, old, across, step, relaxation, n)
    for row in range(_U(start), _U(stop)):
        here, below = below, here
        _split(x, two * n * (row + one if row + one < h else zero), scratch, below, n)
        apart, size = _advance_row(
            scratch, here, below, v, row * n, whole, scratch, new, across, step, relaxation, n
        )
        sums[two * row], sums[two * row + one] = apart, size
        to = two * n * row
        last = across + n - one
        out[to] = scratch[old] - scratch[new] + scratch[last] - scratch[across]
        out[to + one] = scratch[old + n] - scratch[new + n] + scratch[last + n] - scratch[across + n]
        for p in range(one, n):
            a, b, c = old + p, new + p, across + p
            out[to + two * p] = scratch[a] - scratch[b] + scratch[c - one] - scratch[c]
            out[to + two * p + one] = scratch[a + n] - scratch[b + n] + scratch[c + n - one] - scratch[c + n]
        old, new = new, old


@kernel("float32*, float32*, int64, int64, int64, int64, int64")
def step_products(states_: Any, out_: Any, n_states: Any, n: Any, part: Any, start: Any, stop: Any) -> None:
    """Products of the steps from each of the states (n_states, n) to the next, over items start to stop.

    out (blocks, n_states − 1, n_states − 1) gets those of `part`, the lower triangle.
    """
    steps = n_states - 1
    states, out = carray(states_, (n_states * n,)), carray(out_, ((part + 1) * steps * steps,))
    one = _U(1)
    for i in range(_U(steps)):
        for j in range(i + one):
            a, b = i * _U(n), j * _U(n)
            total = _ZERO
            for p in range(_U(start), _U(stop)):
                total += (states[a + _U(n) + p] - states[a + p]) * (states[b + _U(n) + p] - states[b + p])
            out[(_U(part) * _U(steps) + i) * _U(steps) + j] = total


@kernel("float32*, float32*, float32*, int64, int64, int64, int64")
def weighted_sum(
    states_: Any, weights_: Any, out_: Any, n_states: Any, n: Any, start: Any, stop: Any
) -> None:
    """out (n) ← the sum of states (n_states, n), each times its weight, for items start to stop."""
    states, weights, out = carray(states_, (n_states * n,)), carray(weights_, (n_states,)), carray(out_, (n,))
    for p in range(_U(start), _U(stop)):
        out[p] = weights[0] * states[p]
    for i in range(_U(1), _U(n_states)):
        a, weight = i * _U(n), weights[i]
        for p in range(_U(start), _U(stop)):
            out[p] += weight * states[a + p]


@kernel("float32*, float32*, float32*, int64, int64")
def affine(x_: Any, weight_: Any, constant_: Any, start: Any, stop: Any) -> None:
    """x ← weight·x + constant for items start to stop; x and constant complex, weight real."""
    n = 2 * stop
    x, weight, constant = carray(x_, (n,)), carray(weight_, (stop,)), carray(constant_, (n,))
    one, two = _U(1), _U(2)
    for i in range(_U(start), _U(stop)):
        p = two * i
        x[p] = weight[i] * x[p] + constant[p]
        x[p + one] = weight[i] * x[p + one] + constant[p + one]


@kernel("float32*, float32*, int64, int64")
def scale(x_: Any, weight_: Any, start: Any, stop: Any) -> None:
    """x ← weight·x for items start to stop; x complex, weight real."""
    x, weight = carray(x_, (2 * stop,)), carray(weight_, (stop,))
    one, two = _U(1), _U(2)
    for i in range(_U(start), _U(stop)):
        p = two * i
        x[p] *= weight[i]
        x[p + one] *= weight[i]


@kernel("float32*, float32*, float32*, float32, int64, int64")
def move(residual_: Any, new_: Any, old_: Any, rho: Any, start: Any, stop: Any) -> None:
    """residual ← residual + rho·(new − old), old ← new, for complex items start to stop."""
    n = 2 * stop
    residual, new, old = carray(residual_, (n,)), carray(new_, (n,)), carray(old_, (n,))
    for p in range(_U(2 * start), _U(n)):
        residual[p] += rho * (new[p] - old[p])
        old[p] = new[p]


@kernel("float32*, float32*, float32*, float32*, float32*, float32*, int64, int64, int64")
def cg_products(
    q_: Any, hq_: Any, s_: Any, hs_: Any, r_: Any, sums_: Any, part: Any, start: Any, stop: Any
) -> None:
    """Real inner products of complex items start to stop, into row `part` of sums (part, 5): qHq, qr, qHs, sHs, sr."""
    n = 2 * stop
    q, hq, s, hs, r = (
        carray(q_, (n,)),
        carray(hq_, (n,)),
        carray(s_, (n,)),
        carray(hs_, (n,)),
        carray(r_, (n,)),
    )
    sums = carray(sums_, (5 * (part + 1),))
    a, b, c, d, e = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    for p in range(_U(2 * start), _U(n)):
        a += q[p] * hq[p]
        b += q[p] * r[p]
        c += q[p] * hs[p]
        d += s[p] * hs[p]
        e += s[p] * r[p]
    at = _U(5 * part)
    sums[at], sums[at + _U(1)], sums[at + _U(2)], sums[at + _U(3)], sums[at + _U(4)] = a, b, c, d, e


@kernel("float32*, float32*, float32*, float32*, float32*, float32*, float32, float32, int64, int64")
def cg_update(
    x_: Any, r_: Any, s_: Any, hs_: Any, q_: Any, hq_: Any, along_q: Any, along_s: Any, start: Any, stop: Any
) -> None:  # fmt: skip
    """A step s ← along_q·q + along_s·s, which x takes and the residual r follows, for complex items."""
    n = 2 * stop
    x, r, s, hs = carray(x_, (n,)), carray(r_, (n,)), carray(s_, (n,)), carray(hs_, (n,))
    q, hq = carray(q_, (n,)), carray(hq_, (n,))
    for p in range(_U(2 * start), _U(n)):
        a = along_q * q[p] + along_s * s[p]
        b = along_q * hq[p] + along_s * hs[p]
        s[p], hs[p] = a, b
        x[p] += a
        r[p] -= b


@kernel("float32*, float32*, float32, int64, int64, int64, int64")
def add_laplacian(x_: Any, out_: Any, rho: Any, height: Any, width: Any, start: Any, stop: Any) -> None:
    """out ← out + rho·∇ᴴ∇x for rows start to stop of (height, width) complex images."""
    line, h = _U(2 * width), _U(height)
    x, out = carray(x_, (2 * width * height,)), carray(out_, (2 * width * height,))
    zero, one, two, four = _U(0), _U(1), _U(2), np.float32(4)
    for row in range(_U(start), _U(stop)):
        i = row * line
        up = (row - one if row > zero else h - one) * line
        down = (row + one if row + one < h else zero) * line
        for p in range(two, line - two):
            out[i + p] += rho * (four * x[i + p] - x[i + p - two] - x[i + p + two] - x[up + p] - x[down + p])
        for p in range(two):
            q = line - two + p
            left, right = i + (q if width > 1 else p), i + (two + p if width > 1 else p)
            out[i + p] += rho * (four * x[i + p] - x[left] - x[right] - x[up + p] - x[down + p])
            if width > 1:
                out[i + q] += rho * (four * x[i + q] - x[i + q - two] - x[i + p] - x[up + q] - x[down + q])


@kernel("float32*, float32*, float32, int64, int64")
def add_scaled(x_: Any, out_: Any, rho: Any, start: Any, stop: Any) -> None:
    """out ← out + rho·x for complex items start to stop."""
    n = 2 * stop
    x, out = carray(x_, (n,)), carray(out_, (n,))
    for p in range(_U(2 * start), _U(n)):
        out[p] += rho * x[p]
