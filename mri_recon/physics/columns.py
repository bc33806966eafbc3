"""The forward model where F transforms the width alone, compiled for numpy arrays on a CPU."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ducc0
import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

if TYPE_CHECKING:
    from mri_recon.physics.operators import SenseOperator

Image = NDArray[np.complex64]

_kernels = Kernels("mri_recon.physics.coil_kernels")

_CACHE_BYTES = 3 << 17
"""Size of the coil images worked on at once: small enough to stay in a core's cache."""

AXES = (1,)

Block = tuple[int, int, int, int, int]
"""Some rows: where they begin in an image, in bytes, and how many; their maps: where, how many, how far apart."""

_local = threading.local()


class ColumnNormal:
    """AᴴA of `mri_recon.physics.operators.SenseOperator` where F transforms the width alone.

    Rows are then independent: a few at a time go through expand, FFT, mask, inverse FFT and combine without
    leaving the cache. Centring is left out: AᴴA shifts forth and back, and F⁻¹MF commutes with shifts.

    The coils of those few rows can be turned into fewer [1]_: AᴴA is the same for any unitary mixture of the coils,
    and within a few rows smooth maps of many coils are mixtures of half as many.

    Parameters
    ----------
    columns
        `(slice, width)` or, for all slices, `(1, width)`; bool or real, centred.
    smaps
        `(slice, coil, height, width)` complex64.
    drop
        Part of the maps' energy that may be dropped; 0 keeps all coils.

    References
    ----------
    .. [1] Zhang, Pauly, Vasanawala & Lustig (2013), Coil compression for accelerated imaging with Cartesian
       sampling, Magn Reson Med 69:571-582: there for every readout position, as here.
    """

    def __init__(self, columns: NDArray[Any], smaps: Image, drop: float = 0.0) -> None:
        n_slices, n_coils, height, width = smaps.shape
        # The two FFTs' scale is taken care of here.
        squared = np.fft.ifftshift(columns, axes=-1).astype(np.float32) ** 2 / np.float32(width)
        self._weights = np.ascontiguousarray(np.broadcast_to(squared, (n_slices, width)))
        self._smaps = np.ascontiguousarray(smaps)
        rows = max(1, min(height, _CACHE_BYTES // (n_coils * width * 8)))
        self._starts = range(0, height, rows)
        self._rows = rows
        self._compressed = [self._compress(maps, drop) for maps in self._smaps] if drop > 0 else None
        self._blocks = [self._described(index) for index in range(n_slices)]

    def __call__(self, image: Image, out: Image | None = None) -> Image:
        """AᴴA x, `(slice, height, width)`."""
        image = np.ascontiguousarray(image)
        out = np.empty_like(image) if out is None else out
        width = image.shape[-1]
        for x, weights, target, blocks in zip(image, self._weights, out, self._blocks, strict=True):
            at = address(x), address(weights), address(target)

            def work(first: int, last: int, at: Any = at, blocks: list[Block] = blocks) -> None:
                x_at, weights_at, target_at = at
                scratch, coils_at = _scratch((self._smaps.shape[1] * self._rows, width))
                for offset, rows, maps_at, n_coils, apart in blocks[first:last]:
                    coils = scratch[: n_coils * rows]
                    _kernels.expand(x_at + offset, maps_at, coils_at, rows, n_coils, width, apart)
                    ducc0.fft.c2c(coils, axes=AXES, forward=True, out=coils, nthreads=1)
                    _kernels.weigh(coils_at, weights_at, rows * n_coils, width)
                    ducc0.fft.c2c(coils, axes=AXES, forward=False, out=coils, nthreads=1)
                    _kernels.combine(coils_at, maps_at, target_at + offset, rows, n_coils, width, apart)

            share(work, ranges(len(blocks)))
        return out

    def _described(self, index: int) -> list[Block]:
        _, n_coils, height, width = self._smaps.shape
        item = self._smaps.itemsize
        blocks = []
        for i, start in enumerate(self._starts):
            rows, offset = min(self._rows, height - start), start * width * item
            if self._compressed is None:
                maps_at = address(self._smaps[index]) + offset
                blocks.append((offset, rows, maps_at, n_coils, height * width))
            else:
                maps = self._compressed[index][i]
                blocks.append((offset, rows, address(maps), len(maps), rows * width))
        return blocks

    def _compress(self, smaps: Image, drop: float) -> list[Image]:
        """The fewest mixtures of each block's maps that hold all but `drop` of their energy."""
        blocks: list[Image] = [smaps[:0]] * len(self._starts)

        def work(first: int, last: int) -> None:
            for i in range(first, last):
                maps = smaps[:, self._starts[i] : self._starts[i] + self._rows]
                flat = maps.reshape(len(maps), -1)
                values, vectors = np.linalg.eigh(flat @ flat.conj().T)  # ascending
                n_dropped = int(np.searchsorted(np.cumsum(values), drop * values.sum()))
                n_dropped = min(n_dropped, len(maps) - 1)
                mixed = vectors[:, n_dropped:].conj().T @ flat
                # What is little of a block's energy may be all of a pixel's, as in the background. Steps that think a
                # pixel unseen overshoot there, and grow.
                whole, kept = (np.einsum("cp,cp->p", m, m.conj()).real for m in (flat, mixed))
                least = np.maximum(kept, 1e-12 * whole)
                # Maps of others are zero where there is nothing, and nothing it stays.
                mixed *= np.sqrt(np.divide(whole, least, out=np.zeros_like(whole), where=least > 0))
                blocks[i] = np.ascontiguousarray(mixed, np.complex64).reshape(-1, *maps.shape[1:])

        share(work, ranges(len(self._starts)))
        return blocks


def combined(coil_images: Image, smaps: Image) -> Image:
    """`mri_recon.physics.coils.combine` in one pass over both."""
    coil_images, smaps = np.ascontiguousarray(coil_images), np.ascontiguousarray(smaps)
    n_slices, n_coils, height, width = smaps.shape
    out = np.empty((n_slices, height, width), np.complex64)
    for coils, maps, image in zip(coil_images, smaps, out, strict=True):
        at = address(coils), address(maps), address(image)
        _kernels.combine(*at, height, n_coils, width, height * width)
    return out


def _scratch(shape: tuple[int, int]) -> tuple[Image, int]:
    """Memory of this thread, kept for the next call, and where it begins."""
    held: tuple[Image, int] | None = getattr(_local, "scratch", None)
    if held is None or held[0].shape != shape:
        memory = np.empty(shape, np.complex64)
        held = _local.scratch = memory, address(memory)
    return held


def mixed_normal(A: SenseOperator) -> tuple[ColumnNormal, ColumnNormal | None]:
    """An operator close to AᴴA and quicker, with AᴴA itself; AᴴA and None where mixing coils would gain nothing."""
    exact = A.column_normal
    if A.smaps.shape[1] < MANY:
        return exact, None
    return ColumnNormal(A.mask[:, 0, 0, :], A.smaps, DROP), exact


MANY = 3
"""Coils from which on mixing them into fewer is worth its time."""

DROP = 5e-3
"""Part of the maps' energy that steps may do without, where what is minimised keeps all of it."""
