"""Kernel of the structural similarity; `mri_recon.similarity.ssim` calls it and says what it is for.

Sums over windows are taken anew for each row: running ones would carry the rounding of a bright pixel along.
As in `mri_recon.solvers.kernels`, indices are unsigned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_SIDE = 7
_AREA = np.float64(_SIDE * _SIDE)
_SAMPLE = _AREA / (_AREA - np.float64(1))
_ONE, _TWO = np.float64(1), np.float64(2)
_C1, _C2 = np.float64(0.01**2), np.float64(0.03**2)


@kernel("float64*, float64*, float64*, float64*, int64, int64")
def ssim_sum(target_: Any, image_: Any, sums_: Any, out_: Any, height: Any, width: Any) -> None:
    """Sum over all whole windows of the similarity of two images of data range one; `sums` has room for 5 rows."""
    target, image = carray(target_, (height * width,)), carray(image_, (height * width,))
    sums, out = carray(sums_, (5 * width,)), carray(out_, (1,))
    w, one = _U(width), _U(1)
    at_x, at_tt, at_xx, at_tx = w, w * _U(2), w * _U(3), w * _U(4)
    total = np.float64(0)
    for top in range(_U(height - _SIDE + 1)):
        for p in range(w * _U(5)):
            sums[p] = np.float64(0)
        for row in range(_U(_SIDE)):
            begin = (top + row) * w
            for p in range(w):
                t, x = target[begin + p], image[begin + p]
                sums[p] += t
                sums[at_x + p] += x
                sums[at_tt + p] += t * t
                sums[at_xx + p] += x * x
                sums[at_tx + p] += t * x
        for p in range(_U(width - _SIDE + 1)):
            t, x = sums[p], sums[at_x + p]
            tt, xx, tx = sums[at_tt + p], sums[at_xx + p], sums[at_tx + p]
            for k in range(_U(_SIDE - 1)):
                q = p + k + one
                t += sums[q]
                x += sums[at_x + q]
                tt += sums[at_tt + q]
                xx += sums[at_xx + q]
                tx += sums[at_tx + q]
            t, x, tt, xx, tx = t / _AREA, x / _AREA, tt / _AREA, xx / _AREA, tx / _AREA
            both = _SAMPLE * (tx - t * x)
            spread = _SAMPLE * (tt - t * t + xx - x * x)
            total += ((_TWO * t * x + _C1) * (_TWO * both + _C2)) / ((t * t + x * x + _C1) * (spread + _C2))
    out[0] = total
