"""Kernel of the structural similarity; `mri_recon.similarity.ssim` calls it and says what it is for.

Sums over windows of rows are a block's last rows and the next block's first, both added up one by one [1]_: as few
additions as a running sum has, and no subtraction, which would carry the rounding of a bright pixel along. As in
`mri_recon.solvers.kernels`, indices are unsigned.

References
----------
.. [1] van Herk (1992), A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels,
   Pattern Recognit Lett 13:517-521.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_SIDE = 7
_AREA = np.float64(_SIDE * _SIDE)
_SHARE = np.float64(1) / _AREA
_SAMPLE = _AREA / (_AREA - np.float64(1))
_ONE, _TWO = np.float64(1), np.float64(2)
_C1, _C2 = np.float64(0.01**2), np.float64(0.03**2)


@njit(fastmath=True, error_model="numpy")
def _add_row(target: Any, image: Any, row: Any, sums: Any, at: Any, to: Any, w: Any) -> None:
    """A row's t, x, t², x² and tx added to the five rows of sums at `at`, into those at `to`."""
    begin = row * w
    for p in range(w):
        t, x = target[begin + p], image[begin + p]
        i, o = at + p, to + p
        sums[o] = sums[i] + t
        sums[o + w] = sums[i + w] + x
        sums[o + w * _U(2)] = sums[i + w * _U(2)] + t * t
        sums[o + w * _U(3)] = sums[i + w * _U(3)] + x * x
        sums[o + w * _U(4)] = sums[i + w * _U(4)] + t * x


@njit(fastmath=True, error_model="numpy", inline="always")
def _seven(x: Any, i: Any) -> Any:
    # Written out: a loop within the loop over columns would keep that from being vectorised.
    return (
        (x[i] + x[i + _U(1)]) + (x[i + _U(2)] + x[i + _U(3)]) + (x[i + _U(4)] + x[i + _U(5)]) + x[i + _U(6)]
    )


@njit(fastmath=True, error_model="numpy")
def _row_of_windows(sums: Any, at: Any, more: Any, to: Any, w: Any) -> Any:
    """Sum of the similarity over a row of windows, whose columns' sums are those at `at` and `more` together."""
    for p in range(w * _U(5)):
        sums[to + p] = sums[at + p] + sums[more + p]
    at_x, at_tt, at_xx, at_tx = to + w, to + w * _U(2), to + w * _U(3), to + w * _U(4)
    total = np.float64(0)
    for p in range(w - _U(_SIDE - 1)):
        t, x = _seven(sums, to + p), _seven(sums, at_x + p)
        tt, xx, tx = _seven(sums, at_tt + p), _seven(sums, at_xx + p), _seven(sums, at_tx + p)
        t, x, tt, xx, tx = t * _SHARE, x * _SHARE, tt * _SHARE, xx * _SHARE, tx * _SHARE
        both = _SAMPLE * (tx - t * x)
        spread = _SAMPLE * (tt - t * t + xx - x * x)
        total += ((_TWO * t * x + _C1) * (_TWO * both + _C2)) / ((t * t + x * x + _C1) * (spread + _C2))
    return total


@kernel("float64*, float64*, float64*, float64*, int64, int64")
def ssim_sum(target_: Any, image_: Any, sums_: Any, out_: Any, height: Any, width: Any) -> None:
    """Sum over all whole windows of the similarity of two images of data range one; `sums` has room for 50 rows."""
    target, image = carray(target_, (height * width,)), carray(image_, (height * width,))
    sums, out = carray(sums_, (50 * width,)), carray(out_, (1,))
    h, w, side, one = _U(height), _U(width), _U(_SIDE), _U(1)
    five = w * _U(5)
    # Five rows of sums each: from each row of a block to its end, 0–6 and none; from the next block's first; both.
    none, first, both = five * side, five * (side + one), five * (side + _U(2))
    n_tops = h - side + one
    total = np.float64(0)
    for block in range((n_tops + side - one) // side):
        begin = block * side
        for p in range(five):
            sums[none + p] = np.float64(0)
            sums[first + p] = np.float64(0)
        for back in range(side):
            at = side - one - back
            _add_row(target, image, begin + at, sums, five * (at + one), five * at, w)
        for k in range(min(side, n_tops - begin)):
            if k > _U(0):
                _add_row(target, image, begin + side + k - one, sums, first, first, w)
            total += _row_of_windows(sums, five * k, first, both, w)
    out[0] = total
