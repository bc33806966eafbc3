"""Compiled versions of what is done to every coil at every pixel, for numpy arrays on a CPU.

Each stands beside a plain version it is tested against; compiled on first use and cached on disk.
"""

from __future__ import annotations

import threading
from typing import Any

import ducc0
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mri_recon.solvers.threads import share_rows

Complex = NDArray[np.complexfloating]

_CACHE_BYTES = 3 << 19
"""Size of the coil images worked on at once: small enough to stay in a core's cache."""

_local = threading.local()


class ColumnNormal:
    """AᴴA of `mri_recon.physics.operators.SenseOperator` where F transforms the width alone.

    Rows are then independent: a few at a time go through expand, FFT, mask, inverse FFT and combine without
    leaving the cache. Centring is left out: AᴴA shifts forth and back, and F⁻¹MF commutes with shifts.

    Parameters
    ----------
    columns
        `(slice, width)` or, for all slices, `(1, width)`; bool or real, centred.
    smaps
        `(slice, coil, height, width)`.
    """

    def __init__(self, columns: NDArray[Any], smaps: Complex) -> None:
        real = smaps.real.dtype
        squared = np.fft.ifftshift(columns, axes=-1).astype(real) ** 2
        self._weights = np.broadcast_to(squared, (smaps.shape[0], smaps.shape[-1]))
        self._smaps = np.ascontiguousarray(smaps)

    def __call__(self, image: Complex) -> Complex:
        """AᴴA x, `(slice, height, width)`."""
        out = np.empty_like(image)
        _, n_coils, height, width = self._smaps.shape
        chunk = max(1, min(height, _CACHE_BYTES // (n_coils * width * image.itemsize)))
        for x, smaps, weights, target in zip(image, self._smaps, self._weights, out, strict=True):

            def work(
                start: int,
                stop: int,
                x: Complex = x,
                s: Complex = smaps,
                w: NDArray[Any] = weights,
                t: Complex = target,
            ) -> None:
                coils = _buffer((n_coils, chunk, width), image.dtype)[:, : stop - start]
                _expand(x, s, coils, start)
                ducc0.fft.c2c(coils, axes=[2], forward=True, inorm=1, out=coils, nthreads=1)
                _weigh(coils, w)
                ducc0.fft.c2c(coils, axes=[2], forward=False, inorm=1, out=coils, nthreads=1)
                _combine(coils, s, t, start)

            share_rows(work, height, chunk)
        return out


def leading_eigenvectors(g: Complex, start: Complex, iterations: int) -> NDArray[np.floating]:
    """Power iteration at every pixel, in place on `start`; the eigenvalues, `(row, width)`.

    Parameters
    ----------
    g
        Hermitian matrices, `(coil, coil, row, width)`.
    start
        First guesses `(coil, row, width)`, which become the eigenvectors, of unit norm.
    """
    values = np.empty(start.shape[1:], dtype=start.real.dtype)
    share_rows(lambda a, b: _power_iteration(g, start, values, iterations, a, b), start.shape[1], 4)
    return values


def _buffer(shape: tuple[int, ...], dtype: Any) -> Complex:
    """Scratch memory of this thread, kept for the next call."""
    held: Complex | None = getattr(_local, "buffer", None)
    if held is None or held.shape != shape or held.dtype != dtype:
        held = _local.buffer = np.empty(shape, dtype=dtype)
    return held


@njit(nogil=True, cache=True, fastmath=True)
def _expand(image: Any, smaps: Any, coils: Any, start: int) -> None:
    n_coils, n_rows, width = coils.shape
    for c in range(n_coils):
        for i in range(n_rows):
            for j in range(width):
                coils[c, i, j] = smaps[c, start + i, j] * image[start + i, j]


@njit(nogil=True, cache=True, fastmath=True)
def _weigh(coils: Any, weights: Any) -> None:
    n_coils, n_rows, width = coils.shape
    for c in range(n_coils):
        for i in range(n_rows):
            for j in range(width):
                coils[c, i, j] *= weights[j]


@njit(nogil=True, cache=True, fastmath=True)
def _combine(coils: Any, smaps: Any, image: Any, start: int) -> None:
    n_coils, n_rows, width = coils.shape
    for i in range(n_rows):
        for j in range(width):
            image[start + i, j] = np.conj(smaps[0, start + i, j]) * coils[0, i, j]
        for c in range(1, n_coils):
            for j in range(width):
                image[start + i, j] += np.conj(smaps[c, start + i, j]) * coils[c, i, j]


@njit(nogil=True, cache=True, fastmath=True)
def _power_iteration(g: Any, vectors: Any, values: Any, iterations: int, start: int, stop: int) -> None:
    n_coils, _, width = vectors.shape
    # A whole row at once, so that the inner loop runs along memory and is vectorised.
    product = np.empty((n_coils, width), dtype=vectors.dtype)
    size = np.empty(width, dtype=values.dtype)
    for i in range(start, stop):
        for step in range(iterations + 1):
            size[:] = 0
            for c in range(n_coils):
                for j in range(width):
                    v = vectors[c, i, j]
                    size[j] += v.real * v.real + v.imag * v.imag
            for j in range(width):
                size[j] = np.sqrt(size[j])
                values[i, j] = size[j]
                size[j] = 1 / size[j] if size[j] > 0 else 0
            for c in range(n_coils):
                for j in range(width):
                    vectors[c, i, j] *= size[j]
            if step == iterations:
                break
            product[:] = 0
            for c in range(n_coils):
                for d in range(n_coils):
                    for j in range(width):
                        product[c, j] += g[c, d, i, j] * vectors[d, i, j]
            for c in range(n_coils):
                for j in range(width):
                    vectors[c, i, j] = product[c, j]
