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
_ONE, _TWO, _ZERO = _F(1), _F(2), _F(0)

# w² up to which columns are near zero; w² − 1 up to which numbers in them are, which are rounded.
_BORDER, _END = 2.0, _F(1.001)
# J₁(z)/z with w = z / 2π: near zero a polynomial in w² − 1, good to 4e-11 up to w² = 2; further out
# w^-1.5 P(1/w²) cos 2π(w − 3/8 + Q(1/w²)/w), good to 1e-10. All are fits at Chebyshev's points to J₁ and Y₁.
_NEAR = tuple(_F(c) for c in (
    -3.38017295e-02, 1.43940184e-01, 2.28646678e-02, -2.59636778e-01, 2.40831315e-01, -1.12705727e-01,
    3.34755161e-02, -6.99061826e-03, 1.09057061e-03, -1.32533211e-04, 1.31387245e-05, -1.04916475e-06,
))  # fmt: skip
_SIZE = tuple(_F(c) for c in (5.06605919e-02, 2.40605249e-04, -6.24744669e-06, 5.34841239e-07))
_PHASE = tuple(_F(c) for c in (9.49885776e-03, -1.05150848e-04, 5.39299962e-06))
# sin(πx)/x and cos(πx) in x², up to a quarter; good to 3e-10.
_SINE = tuple(
    _F(c) for c in (3.14159265, -5.16771276, 2.55016332, -0.599252198, 0.0820504017, -0.00702838626)
)
_COSINE = tuple(_F(c) for c in (1, -4.93480214, 4.05870916, -1.335212, 0.234937314, -0.0243963243))


@kernel("float64*, float64*, float32*, int64, int64")
def turn(k_: Any, positions_: Any, out_: Any, n_positions: Any, n_k: Any) -> None:
    """Out (position, 2, k): real and imaginary part of exp(−2πi k r)."""
    n = _U(n_k)
    k, positions = carray(k_, (n_k,)), carray(positions_, (n_positions,))
    out = carray(out_, (n_positions * 2 * n_k,))
    of_sine, of_cosine = _SINE, _COSINE
    for e in range(_U(n_positions)):
        real, imaginary, r = e * _U(2) * n, (e * _U(2) + _U(1)) * n, positions[e]
        for j in range(n):
            turns = k[j] * r
            # Half the angle first, for which the series are short: sin 2a = 2 sin a cos a, cos 2a = 1 − 2 sin² a.
            t = _F(turns - np.rint(turns))
            x = t * t
            sine = t * (
                of_sine[0]
                + x * (of_sine[1] + x * (of_sine[2] + x * (of_sine[3] + x * (of_sine[4] + x * of_sine[5]))))
            )
            cosine = of_cosine[0] + x * (
                of_cosine[1] + x * (of_cosine[2] + x * (of_cosine[3] + x * (of_cosine[4] + x * of_cosine[5])))
            )
            out[real + j] = _ONE - _TWO * sine * sine
            out[imaginary + j] = -_TWO * sine * cosine


@kernel(
    "float64*, float64*, float32*, float32*, float32*, float32*, float32*, "
    "int64, int64, int64, int64, int64, int64, int64, int64"
)
def add_ellipses(
    k_: Any, shapes_: Any, turns_: Any, ramp_: Any, waves_: Any, jinc_: Any, out_: Any,
    n_rows: Any, begin: Any, end: Any, even: Any, columns: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Rows start to stop of the planes out (row, 2, width): ellipses begin to end, each intensity J₁(z)/z exp(iφ).

    ``z = 2π √(p² + q²)``, where p and q are linear in k (row,) and in the ramp (width,): shapes (ellipse, 7) hold what
    they grow by with k, what they are at the first column of k = 0, what they grow by with the ramp, and a factor.
    Phases are turns (ellipse, 2, n_rows) times waves (ellipse, 2, width). Where even is not 0 the ramp is 0, 1, 2, …;
    the width is a multiple of columns.
    """
    n, block, rows = _U(width), _U(columns), _U(n_rows)
    k, ramp, jinc = carray(k_, (n_rows,)), carray(ramp_, (width,)), carray(jinc_, (width,))
    shapes = carray(shapes_, (end * 7,))
    turns = carray(turns_, (end * 2 * n_rows,))
    waves = carray(waves_, (end * 2 * width,))
    out = carray(out_, (stop * 2 * width,))
    near, of_size, of_phase, of_sine = _NEAR, _SIZE, _PHASE, _SINE
    furthest = np.float64(ramp[n - _U(1)])
    for i in range(_U(start), _U(stop)):
        real = i * _U(2) * n
        imaginary = real + n
        for p in range(_U(2) * n):
            out[real + p] = _ZERO
        for e in range(_U(begin), _U(end)):
            at = e * _U(7)
            p_at, q_at = (
                k[i] * shapes[at] + shapes[at + _U(2)],
                k[i] * shapes[at + _U(1)] + shapes[at + _U(3)],
            )
            p_by, q_by = shapes[at + _U(4)], shapes[at + _U(5)]
            # In single precision p would lose what it is a small difference of: it is told where it is least.
            p_least = 0.0 if p_by == 0 else min(max(np.rint(-p_at / p_by), 0.0), furthest)
            q_least = 0.0 if q_by == 0 else min(max(np.rint(-q_at / q_by), 0.0), furthest)
            p0, tp, sp = _F(p_at + p_by * p_least), _F(p_least), _F(p_by)
            q0, tq, sq = _F(q_at + q_by * q_least), _F(q_least), _F(q_by)
            # Columns from and to which z is near zero; an ellipse without extent is so everywhere.
            square = max(p_by * p_by + q_by * q_by, 1e-30)
            middle = p_at * p_by + q_at * q_by
            reach = middle * middle - square * (p_at * p_at + q_at * q_at - _BORDER)
            first, last = _U(0), _U(0)
            if reach > 0:
                reach = np.sqrt(reach)
                first = _U(min(max(np.ceil((-middle - reach) / square), 0.0), np.float64(width)))
                last = _U(min(max(np.ceil((-middle + reach) / square), 0.0), np.float64(width)))
            # Whole blocks, so that no loop ends in the middle of a vector: what is near overwrites what is far.
            up_to, since = (first + block - _U(1)) // block * block, last // block * block
            first, last = first // block * block, (last + block - _U(1)) // block * block
            if even == 0:
                up_to, since, first, last = n, n, _U(0), n
            for side in range(2):
                low, high = (_U(0), up_to) if side == 0 else (since, n)
                for j in range(low, high):
                    a, b = p0 + sp * (ramp[j] - tp), q0 + sq * (ramp[j] - tq)
                    turns_z = np.sqrt(max(a * a + b * b, _ONE))
                    y = _ONE / turns_z
                    x = y * y
                    size = (
                        y * np.sqrt(y) * (of_size[0] + x * (of_size[1] + x * (of_size[2] + x * of_size[3])))
                    )
                    # cos(2πt) = 1 − 2 sin²(πt), whole turns taken off first.
                    t = (
                        turns_z
                        - np.rint(turns_z)
                        + (y * (of_phase[0] + x * (of_phase[1] + x * of_phase[2])) - _F(0.375))
                    )
                    t = t - np.rint(t)
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
            for j in range(first, last):
                a, b = p0 + sp * (ramp[j] - tp), q0 + sq * (ramp[j] - tq)
                x = a * a + b * b - _ONE
                y = near[6] + x * (near[7] + x * (near[8] + x * (near[9] + x * (near[10] + x * near[11]))))
                y = near[0] + x * (
                    near[1] + x * (near[2] + x * (near[3] + x * (near[4] + x * (near[5] + x * y))))
                )
                before = jinc[j]
                jinc[j] = y if x < _END else before
            at = _U(2) * e * rows + i
            factor = _F(shapes[e * _U(7) + _U(6)])
            row_re, row_im = factor * turns[at], factor * turns[at + rows]
            at = _U(2) * e * n
            for j in range(n):
                w_re, w_im = waves[at + j], waves[at + n + j]
                out[real + j] += jinc[j] * (row_re * w_re - row_im * w_im)
                out[imaginary + j] += jinc[j] * (row_re * w_im + row_im * w_re)


@kernel("float32*, float32*, float32*, float32*, float32*, int64, int64, int64, int64, int64")
def add_interpolated_rows(
    coarse_: Any, taps_: Any, turns_: Any, sums_: Any, out_: Any,
    n_rows: Any, every: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Add rows that lie between those of coarse to rows start to stop of out (n_rows), both planes (row, 2, width).

    Row i sums twelve rows of coarse, from i // every on, weighted by taps (every, 12), and turned by the complex
    number turns (2, n_rows).
    """
    n, between = _U(2 * width), _U(every)
    coarse = carray(coarse_, (((stop - 1) // every + 12) * 2 * width,))
    taps, turns = carray(taps_, (every * 12,)), carray(turns_, (2 * n_rows,))
    sums, out = carray(sums_, (2 * width,)), carray(out_, (stop * 2 * width,))
    for i in range(_U(start), _U(stop)):
        for j in range(n):
            sums[j] = _ZERO
        for t in range(_U(0), _U(12), _U(4)):
            tap = (i % between) * _U(12) + t
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
        w_re, w_im = turns[i], turns[_U(n_rows) + i]
        half = _U(width)
        real = i * n
        imaginary = real + half
        for j in range(half):
            out[real + j] += w_re * sums[j] - w_im * sums[half + j]
            out[imaginary + j] += w_re * sums[half + j] + w_im * sums[j]


@kernel("float32*, float32*, float32*, float32*, int64, int64, int64, int64, int64")
def add_interpolated_columns(
    coarse_: Any, taps_: Any, waves_: Any, out_: Any,
    every: Any, n_coarse: Any, steps: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Add columns that lie between those of coarse (row, 2, n_coarse) to rows start to stop of out.

    As for rows, of which n_coarse is at least ``steps + 11``. Out (row, 2, every, steps) holds a column and those that
    are every so many further on side by side, and so do waves (2, every, steps).
    """
    n, between, given = _U(steps), _U(every), _U(n_coarse)
    coarse = carray(coarse_, (stop * 2 * n_coarse,))
    taps, waves = carray(taps_, (every * 12,)), carray(waves_, (2 * every * steps,))
    out = carray(out_, (stop * 2 * every * steps,))
    for i in range(_U(start), _U(stop)):
        for r in range(between):
            tap = r * _U(12)
            a, b, c, d = taps[tap], taps[tap + _U(1)], taps[tap + _U(2)], taps[tap + _U(3)]
            e, f, g, h = taps[tap + _U(4)], taps[tap + _U(5)], taps[tap + _U(6)], taps[tap + _U(7)]
            p, q, s, u = taps[tap + _U(8)], taps[tap + _U(9)], taps[tap + _U(10)], taps[tap + _U(11)]
            real, to = i * _U(2) * between * n + r * n, r * n
            imaginary = real + between * n
            for j in range(n):
                at = i * _U(2) * given + j
                x = (
                    a * coarse[at] + b * coarse[at + _U(1)] + c * coarse[at + _U(2)] + d * coarse[at + _U(3)]
                    + e * coarse[at + _U(4)] + f * coarse[at + _U(5)] + g * coarse[at + _U(6)] + h * coarse[at + _U(7)]
                    + p * coarse[at + _U(8)] + q * coarse[at + _U(9)]
                    + s * coarse[at + _U(10)] + u * coarse[at + _U(11)]
                )  # fmt: skip
                at += given
                y = (
                    a * coarse[at] + b * coarse[at + _U(1)] + c * coarse[at + _U(2)] + d * coarse[at + _U(3)]
                    + e * coarse[at + _U(4)] + f * coarse[at + _U(5)] + g * coarse[at + _U(6)] + h * coarse[at + _U(7)]
                    + p * coarse[at + _U(8)] + q * coarse[at + _U(9)]
                    + s * coarse[at + _U(10)] + u * coarse[at + _U(11)]
                )  # fmt: skip
                w_re, w_im = waves[to + j], waves[between * n + to + j]
                out[real + j] += w_re * x - w_im * y
                out[imaginary + j] += w_re * y + w_im * x


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
