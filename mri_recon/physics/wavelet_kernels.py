"""Kernels of the stationary wavelet transform; `mri_recon.physics.fused_wavelets` calls them.

Images are planes, real apart from imaginary, and indices unsigned, as in `mri_recon.solvers.kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_ONE, _TWO, _ZERO, _TINY = np.float32(1), np.float32(2), np.float32(0), np.float32(1e-30)
# Daubechies' scaling filter of `mri_recon.physics.wavelets`, over √2; the other one is (d, −c, b, −a).
_A, _B, _C, _D = (np.float32(v / 8) for v in (1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5))


@njit(fastmath=True, error_model="numpy")
def _row(i: Any, offset: Any, h: Any) -> Any:
    """Row i + offset, around the edge; offset may be many heights."""
    return (i + offset % h) % h


@njit(fastmath=True, error_model="numpy")
def _follow(re: Any, im: Any, v: Any, w: Any, i: Any, plane: Any, step: Any, relaxation: Any, n: Any) -> Any:
    """A row of coefficients into the splitting's state; z − u goes to w; |Kx − z|² and |Kx|²."""
    apart, size = _ZERO, _ZERO
    for p in range(n):
        a, b = re[p], im[p]
        ia = i + p
        ib = ia + plane
        va, vb = v[ia], v[ib]
        keep = max(_ONE - step / np.sqrt(va * va + vb * vb + _TINY), _ZERO)
        ea, eb = a - keep * va, b - keep * vb
        # z = keep·v and u = (1 − keep)·v, so αKx + (1 − α)z + u = v + α(Kx − z).
        va, vb = va + relaxation * ea, vb + relaxation * eb
        v[ia], v[ib] = va, vb
        keep = _TWO * max(_ONE - step / np.sqrt(va * va + vb * vb + _TINY), _ZERO) - _ONE
        w[ia], w[ib] = keep * va, keep * vb
        apart += ea * ea + eb * eb
        size += a * a + b * b
    return apart, size


@njit(fastmath=True, error_model="numpy")
def _across(x: Any, out: Any, a: Any, b: Any, c: Any, d: Any, s: Any, n: Any) -> None:
    """out[p] = Σ filter[k] x[p + k s]."""
    for p in range(n):
        out[p] = a * x[p] + b * x[p + s] + c * x[p + _U(2) * s] + d * x[p + _U(3) * s]


@kernel("float32*, float32*, int64, int64, int64")
def take_apart(x_: Any, planes_: Any, size: Any, start: Any, stop: Any) -> None:
    """Complex items start to stop of an image of `size` as two planes."""
    x, planes = carray(x_, (2 * size,)), carray(planes_, (2 * size,))
    for p in range(_U(start), _U(stop)):
        planes[p] = x[_U(2) * p]
        planes[p + _U(size)] = x[_U(2) * p + _U(1)]


@kernel("float32*, float32*, int64, int64, int64")
def put_together(planes_: Any, x_: Any, size: Any, start: Any, stop: Any) -> None:
    """Adjoint and inverse of `take_apart`."""
    x, planes = carray(x_, (2 * size,)), carray(planes_, (2 * size,))
    for p in range(_U(start), _U(stop)):
        x[_U(2) * p] = planes[p]
        x[_U(2) * p + _U(1)] = planes[p + _U(size)]


@kernel(
    "float32*, float32*, float32*, float32*, float32*, float32*, float32, float32, int64, int64, int64, int64, int64"
)
def wavelet_advance(
    x_: Any, low_: Any, v_: Any, w_: Any, scratch_: Any, sums_: Any,
    step: Any, relaxation: Any, height: Any, width: Any, hole: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """One level of the transform for rows start to stop, its three bands of details into the splitting's state.

    x, low (2, height, width); v, w (3, 2, height, width); scratch (8, width + 3 hole); sums (height, 2) gets
    |Kx − z|² and |Kx|² of each row added.
    """
    n, h, s = _U(width), _U(height), _U(hole)
    whole = n * h
    x, low = carray(x_, (2 * width * height,)), carray(low_, (2 * width * height,))
    v, w = carray(v_, (6 * width * height,)), carray(w_, (6 * width * height,))
    line = width + 3 * hole
    scratch, sums = carray(scratch_, (8, line)), carray(sums_, (2 * height,))
    for row in range(_U(start), _U(stop)):
        apart, size = _ZERO, _ZERO
        for q in range(_U(2)):
            i0 = q * whole + row * n
            i1 = q * whole + _row(row, s, h) * n
            i2 = q * whole + _row(row, _U(2) * s, h) * n
            i3 = q * whole + _row(row, _U(3) * s, h) * n
            lo, hi = scratch[q], scratch[_U(2) + q]
            for p in range(n):
                e, f, g, k = x[i0 + p], x[i1 + p], x[i2 + p], x[i3 + p]
                lo[p] = _A * e + _B * f + _C * g + _D * k
                hi[p] = _D * e - _C * f + _B * g - _A * k
            for p in range(_U(3) * s):
                lo[n + p], hi[n + p] = lo[p % n], hi[p % n]
            to = q * whole + row * n
            for p in range(n):
                low[to + p] = _A * lo[p] + _B * lo[p + s] + _C * lo[p + _U(2) * s] + _D * lo[p + _U(3) * s]
            _across(lo, scratch[_U(4) + q], _D, -_C, _B, -_A, s, n)
        i = row * n
        one, two = _follow(scratch[4], scratch[5], v, w, i, whole, step, relaxation, n)
        apart, size = apart + one, size + two
        for q in range(_U(2)):
            _across(scratch[_U(2) + q], scratch[_U(4) + q], _A, _B, _C, _D, s, n)
            _across(scratch[_U(2) + q], scratch[_U(6) + q], _D, -_C, _B, -_A, s, n)
        one, two = _follow(scratch[4], scratch[5], v, w, _U(2) * whole + i, whole, step, relaxation, n)
        apart, size = apart + one, size + two
        one, two = _follow(scratch[6], scratch[7], v, w, _U(4) * whole + i, whole, step, relaxation, n)
        sums[_U(2) * row] += apart + one
        sums[_U(2) * row + _U(1)] += size + two


@kernel("float32*, float32*, float32*, float32*, float32, float32, int64, int64, int64, int64")
def coarse_advance(
    low_: Any, v_: Any, w_: Any, sums_: Any,
    step: Any, relaxation: Any, height: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """The coarsest band (2, height, width) into the splitting's state v, w of that shape, for rows start to stop."""
    n, whole = _U(width), _U(width * height)
    size = 2 * width * height
    low, v, w, sums = (
        carray(low_, (size,)),
        carray(v_, (size,)),
        carray(w_, (size,)),
        carray(sums_, (2 * height,)),
    )
    for row in range(_U(start), _U(stop)):
        i = row * n
        apart, norm = _follow(
            low[i : i + n], low[whole + i : whole + i + n], v, w, i, whole, step, relaxation, n
        )
        sums[_U(2) * row] += apart
        sums[_U(2) * row + _U(1)] += norm


@kernel("float32*, float32*, float32*, float32*, int64, int64, int64, int64, int64")
def wavelet_merge(
    low_: Any, w_: Any, x_: Any, scratch_: Any, height: Any, width: Any, hole: Any, start: Any, stop: Any
) -> None:
    """Adjoint of one level for rows start to stop: from low and the details w (3, 2, height, width) to x.

    low, x (2, height, width); scratch (2, width + 3 hole).
    """
    n, h, s = _U(width), _U(height), _U(hole)
    whole = n * h
    low, x = carray(low_, (2 * width * height,)), carray(x_, (2 * width * height,))
    w = carray(w_, (6 * width * height,))
    line = width + 3 * hole
    scratch = carray(scratch_, (8, line))
    lo, hi = scratch[0], scratch[1]
    lead = _U(3) * s
    for row in range(_U(start), _U(stop)):
        # Rows before this one, by way of the far edge.
        r0 = row * n
        r1 = _row(row, h - s % h, h) * n
        r2 = _row(row, h - (_U(2) * s) % h, h) * n
        r3 = _row(row, h - (_U(3) * s) % h, h) * n
        for q in range(_U(2)):
            at = q * whole
            # Bands of details: low and high along width, high and low, high and high (height, width).
            b, c, d = at, at + _U(2) * whole, at + _U(4) * whole
            for p in range(n):
                lo[lead + p] = (
                    _A * low[at + r0 + p] + _B * low[at + r1 + p] + _C * low[at + r2 + p] + _D * low[at + r3 + p]
                    + _D * w[c + r0 + p] - _C * w[c + r1 + p] + _B * w[c + r2 + p] - _A * w[c + r3 + p]
                )  # fmt: skip
                hi[lead + p] = (
                    _A * w[b + r0 + p] + _B * w[b + r1 + p] + _C * w[b + r2 + p] + _D * w[b + r3 + p]
                    + _D * w[d + r0 + p] - _C * w[d + r1 + p] + _B * w[d + r2 + p] - _A * w[d + r3 + p]
                )  # fmt: skip
            for p in range(lead):
                from_end = lead + n - _U(1) - p % n
                lo[lead - _U(1) - p], hi[lead - _U(1) - p] = lo[from_end], hi[from_end]
            to = at + row * n
            for p in range(n):
                x[to + p] = (
                    _A * lo[lead + p] + _B * lo[lead - s + p] + _C * lo[lead - _U(2) * s + p] + _D * lo[p]
                    + _D * hi[lead + p] - _C * hi[lead - s + p] + _B * hi[lead - _U(2) * s + p] - _A * hi[p]
                )  # fmt: skip
