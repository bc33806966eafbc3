"""Compiled passes over memory for numpy arrays on a CPU, each beside a plain version it is tested against.

Compiled on first use and cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mri_recon.solvers.admm import residuals
from mri_recon.solvers.prox import joint_soft_threshold
from mri_recon.solvers.threads import n_threads, share_rows

Complex = NDArray[np.complexfloating]


class FusedTotalVariation:
    """`mri_recon.solvers.admm.ProxSplitting` for isotropic total variation, in two passes over memory.

    `transform` and `adjoint`, the differences and their adjoint, are for measuring residuals alone.
    The relaxed variable v = αKx + (1 − α)z + u is all the state there is: z = shrink(v), u = v − z.
    """

    def __init__(
        self,
        transform: Callable[[Complex], Complex],
        adjoint: Callable[[Complex], Complex],
        like: Complex,
        step: float,
        relaxation: float,
    ) -> None:
        self._transform, self._adjoint = transform, adjoint
        self._v = np.zeros((2, *like.shape), dtype=like.dtype)
        self._w = np.zeros_like(self._v)
        real = like.real.dtype.type
        self._step, self._relaxation = real(step), real(relaxation)

    def pull(self) -> Complex:
        """∇ᴴ(z − u)."""
        out: Complex = np.empty_like(self._w[0])
        height = out.shape[1]
        for batch in range(out.shape[0]):
            rows = partial(_divergence, self._w[0, batch], self._w[1, batch], out[batch])
            share_rows(rows, height, -(-height // n_threads()))
        return out

    def advance(self, x: Complex, *, measure: bool) -> tuple[float, float] | None:
        """Take x in; with `measure`, give the primal and dual residuals."""
        before = self._v.copy() if measure else None
        height = x.shape[1]
        for batch in range(x.shape[0]):
            state = (self._v[0, batch], self._v[1, batch], self._w[0, batch], self._w[1, batch])
            rows = partial(_advance, x[batch], *state, self._step, self._relaxation)
            share_rows(rows, height, -(-height // n_threads()))
        if before is None:
            return None
        z, z_before = (joint_soft_threshold(v, float(self._step)) for v in (self._v, before))
        return residuals(self._transform, self._adjoint, x, z, z_before, self._v - z)


@njit(nogil=True, cache=True, fastmath=True)
def _advance(
    x: Any, v0: Any, v1: Any, w0: Any, w1: Any, step: Any, relaxation: Any, start: int, stop: int
) -> None:
    height, width = x.shape
    rest = 1 - relaxation
    for i in range(start, stop):
        below = i + 1 if i + 1 < height else 0
        for j in range(width):
            right = j + 1 if j + 1 < width else 0
            center = x[i, j]
            a, b = v0[i, j], v1[i, j]
            size = np.sqrt(a.real * a.real + a.imag * a.imag + b.real * b.real + b.imag * b.imag)
            # z = keep·v and u = (1 − keep)·v, so (1 − α)z + u = (1 − α·keep)·v.
            keep = 1 - step / size if size > step else step * 0
            carry = rest * keep + (1 - keep)
            a = relaxation * (x[below, j] - center) + carry * a
            b = relaxation * (x[i, right] - center) + carry * b
            v0[i, j], v1[i, j] = a, b
            size = np.sqrt(a.real * a.real + a.imag * a.imag + b.real * b.real + b.imag * b.imag)
            twice = 1 - 2 * step / size if size > step else step * 0 - 1
            w0[i, j], w1[i, j] = twice * a, twice * b


@njit(nogil=True, cache=True, fastmath=True)
def _divergence(w0: Any, w1: Any, out: Any, start: int, stop: int) -> None:
    height, width = out.shape
    for i in range(start, stop):
        above = i - 1 if i > 0 else height - 1
        for j in range(width):
            left = j - 1 if j > 0 else width - 1
            out[i, j] = w0[above, j] - w0[i, j] + w1[i, left] - w1[i, j]
