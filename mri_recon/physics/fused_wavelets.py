"""Sparsity of stationary wavelets as a splitting, compiled for single-precision images on a CPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

Image = NDArray[np.complex64]
Floats = NDArray[np.float32]

_kernels = Kernels("mri_recon.physics.wavelet_kernels")

_LEAST_ROWS = 32
"""Fewer rows a thread are done sooner than a thread is woken."""

_LEAST_ITEMS = 1 << 14


class FusedWavelets:
    """`mri_recon.solvers.admm.ProxSplitting` for the weighted ℓ1 norm of `wavelet`, a pass over memory a level.

    The relaxed variable v = αKx + (1 − α)z + u is all the state there is: z = shrink(v), u = v − z.

    Parameters
    ----------
    shape
        `(batch, height, width)` of the images.
    steps
        What magnitudes are shrunk by on each level, the last number that of the coarsest band.
    relaxation
        Over-relaxation in (0, 2).
    """

    def __init__(self, shape: tuple[int, int, int], steps: Sequence[float], relaxation: float) -> None:
        batch, height, width = shape
        self._levels = len(steps) - 1
        self._steps, self._relaxation = steps, relaxation
        self._size = height, width
        n_bands = 3 * self._levels + 1
        self._state = np.zeros((batch, n_bands, 2, height, width), np.float32)
        # z − u, of one image at a time, and the low bands on the way there and back.
        self._coefficients = np.empty((n_bands, 2, height, width), np.float32)
        self._planes = np.empty((2, 2, height, width), np.float32)
        self._ranges = ranges(height, least=_LEAST_ROWS)
        self._scratch = np.empty((len(self._ranges), 8 * (width + 3 * 2**self._levels)), np.float32)
        self._sums = np.empty((height, 2), np.float32)
        self._pull: Image = np.zeros(shape, np.complex64)

    def pull(self) -> Image:
        """Kᴴ(z − u); the same memory each time."""
        return self._pull

    def advance(self, x: Image, *, measure: bool = True) -> float:
        """Take x in; the residual, which costs nothing here."""
        worst = 0.0
        for image, state, pull in zip(np.ascontiguousarray(x), self._state, self._pull, strict=True):
            self._sums[:] = 0
            self._forward(image, state)
            self._back(pull)
            apart, size = self._sums.sum(axis=0, dtype=np.float64)
            worst = max(worst, math.sqrt(apart / max(size, 1e-30)))
        return worst

    def _forward(self, image: Image, state: Floats) -> None:
        """The transform of an image into its state, and z − u into the coefficients."""
        height, width = self._size
        n = height * width
        planes = [address(p) for p in self._planes]
        sums, relaxation = address(self._sums), self._relaxation
        whole = address(image)
        share(lambda a, b: _kernels.take_apart(whole, planes[0], n, a, b), ranges(n, least=_LEAST_ITEMS))
        for level, step in enumerate(self._steps[:-1]):
            x, low = planes[level % 2], planes[1 - level % 2]
            v, w = address(state[3 * level]), address(self._coefficients[3 * level])

            def split(a: int, b: int, fixed: Any = (x, low, v, w), rest: Any = (step, 2**level)) -> None:
                scratch = address(self._scratch[self._ranges.index((a, b))])
                _kernels.wavelet_advance(
                    *fixed, scratch, sums, rest[0], relaxation, height, width, rest[1], a, b
                )

            share(split, self._ranges)
        coarse = planes[self._levels % 2], address(state[-1]), address(self._coefficients[-1])
        last = self._steps[-1]
        share(
            lambda a, b: _kernels.coarse_advance(*coarse, sums, last, relaxation, height, width, a, b),
            self._ranges,
        )

    def _back(self, pull: Image) -> None:
        """The adjoint of the coefficients."""
        height, width = self._size
        n = height * width
        planes = [address(p) for p in self._planes]
        low = address(self._coefficients[-1])
        for level in range(self._levels - 1, -1, -1):
            w, x = address(self._coefficients[3 * level]), planes[level % 2]

            def merge(a: int, b: int, fixed: Any = (low, w, x), hole: int = 2**level) -> None:
                scratch = address(self._scratch[self._ranges.index((a, b))])
                _kernels.wavelet_merge(*fixed, scratch, height, width, hole, a, b)

            share(merge, self._ranges)
            low = x
        whole = address(pull)
        share(lambda a, b: _kernels.put_together(low, whole, n, a, b), ranges(n, least=_LEAST_ITEMS))
