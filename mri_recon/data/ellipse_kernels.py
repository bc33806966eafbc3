"""Kernels of generated k-space; `mri_recon.data.ellipses` calls them and says what they are for.

As in `mri_recon.solvers.kernels`, loops run over real numbers with unsigned indices, so that they are vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_F = np.float32
_HALF, _ONE, _TWO, _ZERO = _F(0.5), _F(1), _F(2), _F(0)

# J₁(z)/z with w = z / 2π: near zero a polynomial in w² − 1, good to 4e-11 up to w² = 2; further out
# w^-1.5 P(1/w²) cos 2π(w − 3/8 + Q(1/w²)/w), good to 1e-10. All are fits at Chebyshev's points to J₁ and Y₁.
_NEAR = tuple(_F(c) for c in (
    -3.38017295e-02, 1.43940184e-01, 2.28646678e-02, -2.59636778e-01, 2.40831315e-01, -1.12705727e-01,
    3.34755161e-02, -6.99061826e-03, 1.09057061e-03, -1.32533211e-04, 1.31387245e-05, -1.04916475e-06,
))  # fmt: skip
_SIZE = tuple(_F(c) for c in (5.06605919e-02, 2.40605249e-04, -6.24744669e-06, 5.34841239e-07))
_PHASE = tuple(_F(c) for c in (9.49885776e-03, -1.05150848e-04, 5.39299962e-06))
# sin(πx)/x in x², up to a quarter.
_SINE = tuple(_F(c) for c in (3.14159265, -5.16771276, 2.55016332, -0.5992522, 0.0820504, -0.00702839))


@kernel("float32*, float32*, float32*, float32*, float32*, float32*, int64, int64, int64, int64")
def add_ellipses(
    ramp_: Any, lines_: Any, slopes_: Any, waves_: Any, jinc_: Any, out_: Any,
    n_ellipses: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Rows start to stop of the planes out (row, 2, width): the sum over ellipses of intensity J₁(z)/z exp(iφ).

    ``z = 2π √(p² + q²)``, where p and q are linear in the ramp (width,): lines (row, ellipse, 8) hold p at the
    place that follows it, q at the one that follows that, the columns from and to which z is near zero, and the
    phase of the row with the intensity in it; slopes are (ellipse, 2), waves (ellipse, 2, width).
    """
    n, items = _U(width), _U(n_ellipses)
    ramp, jinc = carray(ramp_, (width,)), carray(jinc_, (width,))
    lines = carray(lines_, (stop * n_ellipses * 8,))
    slopes = carray(slopes_, (n_ellipses * 2,))
    waves = carray(waves_, (n_ellipses * 2 * width,))
    out = carray(out_, (stop * 2 * width,))
    near, of_size, of_phase, of_sine = _NEAR, _SIZE, _PHASE, _SINE
    for i in range(_U(start), _U(stop)):
        real = i * _U(2) * n
        imaginary = real + n
        for p in range(_U(2) * n):
            out[real + p] = _ZERO
        for e in range(items):
            at = (i * items + e) * _U(8)
            p0, tp, q0, tq = lines[at], lines[at + _U(1)], lines[at + _U(2)], lines[at + _U(3)]
            first, last = _U(lines[at + _U(4)]), _U(lines[at + _U(5)])
            row_re, row_im = lines[at + _U(6)], lines[at + _U(7)]
            sp, sq = slopes[_U(2) * e], slopes[_U(2) * e + _U(1)]
            for j in range(first, last):
                a, b = p0 + sp * (ramp[j] - tp), q0 + sq * (ramp[j] - tq)
                x = a * a + b * b - _ONE
                y = near[6] + x * (near[7] + x * (near[8] + x * (near[9] + x * (near[10] + x * near[11]))))
                jinc[j] = near[0] + x * (
                    near[1] + x * (near[2] + x * (near[3] + x * (near[4] + x * (near[5] + x * y))))
                )
            for side in range(2):
                begin, end = (_U(0), first) if side == 0 else (last, n)
                for j in range(begin, end):
                    a, b = p0 + sp * (ramp[j] - tp), q0 + sq * (ramp[j] - tq)
                    x = a * a + b * b
                    turns = np.sqrt(x)
                    y = _ONE / turns
                    x = y * y
                    size = (
                        y * np.sqrt(y) * (of_size[0] + x * (of_size[1] + x * (of_size[2] + x * of_size[3])))
                    )
                    # cos(2πt) = 1 − 2 sin²(πt), whole turns taken off first.
                    t = (
                        turns
                        - _F(np.int32(turns))
                        + y * (of_phase[0] + x * (of_phase[1] + x * of_phase[2]))
                        + _F(0.625)
                    )
                    t = t - _F(np.int32(t + _HALF))
                    x = t * t
                    sine = t * (
                        of_sine[0]
                        + x
                        * (
                            of_sine[1]
                            + x * (of_sine[2] + x * (of_sine[3] + x * (of_sine[4] + x * of_sine[5])))
                        )
                    )
                    jinc[j] = size * (_ONE - _TWO * sine * sine)
            at = _U(2) * e * n
            for j in range(n):
                w_re, w_im = waves[at + j], waves[at + n + j]
                out[real + j] += jinc[j] * (row_re * w_re - row_im * w_im)
                out[imaginary + j] += jinc[j] * (row_re * w_im + row_im * w_re)


@kernel("float32*, float32*, float32*, float32*, float32*, int64, int64, int64, int64, int64")
def add_interpolated_rows(
    coarse_: Any, taps_: Any, waves_: Any, sums_: Any, out_: Any,
    n_taps: Any, every: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Add rows that lie between those of coarse to rows start to stop of out, both planes (row, 2, width).

    Row i sums n_taps rows of coarse, from i // every on, weighted by taps (every, n_taps), a multiple of four of them,
    and turned by the complex number waves (row, 2).
    """
    n, side, between = _U(2 * width), _U(n_taps), _U(every)
    coarse = carray(coarse_, (((stop - 1) // every + n_taps) * 2 * width,))
    taps = carray(taps_, (every * n_taps,))
    waves = carray(waves_, (stop * 2,))
    sums = carray(sums_, (2 * width,))
    out = carray(out_, (stop * 2 * width,))
    for i in range(_U(start), _U(stop)):
        for j in range(n):
            sums[j] = _ZERO
        for t in range(_U(0), side, _U(4)):
            tap = (i % between) * side + t
            a, b, c, d = taps[tap], taps[tap + _U(1)], taps[tap + _U(2)], taps[tap + _U(3)]
            first = (i // between + t) * n
            second, third, fourth = first + n, first + _U(2) * n, first + _U(3) * n
            for j in range(n):
                sums[j] += (
                    a * coarse[first + j]
                    + b * coarse[second + j]
                    + c * coarse[third + j]
                    + d * coarse[fourth + j]
                )
        w_re, w_im = waves[_U(2) * i], waves[_U(2) * i + _U(1)]
        half = _U(width)
        real = i * n
        imaginary = real + half
        for j in range(half):
            out[real + j] += w_re * sums[j] - w_im * sums[half + j]
            out[imaginary + j] += w_re * sums[half + j] + w_im * sums[j]


@kernel("float32*, float32*, float32*, float32*, int64, int64, int64, int64, int64, int64, int64, int64")
def weigh_spectrum(
    planes_: Any, taps_: Any, sums_: Any, out_: Any,
    n_weightings: Any, n_taps: Any, down: Any, step: Any, height: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Rows start to stop of out (weighting, height, width) complex: a spectrum convolved, every down-th row
    and step-th column kept.

    The planes (row, column modulo step, 2, column over step) hold the spectrum, rows as many as there are and
    columns over step ``width + (n_taps - 1) // step``; taps (weighting, n_taps, n_taps, 2).
    """
    n, every, side = _U(width), _U(step), _U(n_taps)
    along = n + (side - _U(1)) // every
    rows = (stop - 1) * down + n_taps
    planes = carray(planes_, (rows * step * 2 * (width + (n_taps - 1) // step),))
    taps = carray(taps_, (n_weightings * n_taps * n_taps * 2,))
    sums = carray(sums_, (2 * width,))
    out = carray(out_, (((n_weightings - 1) * height + stop) * 2 * width,))
    for i in range(_U(start), _U(stop)):
        for c in range(_U(n_weightings)):
            for j in range(_U(2) * n):
                sums[j] = _ZERO
            for a in range(side):
                for b in range(side):
                    tap = ((c * side + a) * side + b) * _U(2)
                    t_re, t_im = taps[tap], taps[tap + _U(1)]
                    re = ((i * _U(down) + a) * every + b % every) * _U(2) * along + b // every
                    im = re + along
                    for j in range(n):
                        x, y = planes[re + j], planes[im + j]
                        sums[j] += t_re * x - t_im * y
                        sums[n + j] += t_re * y + t_im * x
            to = (c * _U(height) + i) * _U(2) * n
            for j in range(n):
                out[to + _U(2) * j] = sums[j]
                out[to + _U(2) * j + _U(1)] = sums[n + j]
