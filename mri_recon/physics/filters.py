"""Filters in Fourier space, in as few passes over memory as they can be had, for numpy arrays on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ducc0
import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import n_threads, ranges, share

Image = NDArray[np.complex64]
Floats = NDArray[np.float32]

_kernels = Kernels("mri_recon.solvers.kernels")


class FusedFilter:
    """x = F⁻¹(weight · F image + constant); weight and constant ordered as `numpy.fft.fft2` does.

    The answer is in the same memory each time, unless the caller gives another.
    """

    def __init__(self, weight: Floats, constant: Image | None = None) -> None:
        self._weight = np.ascontiguousarray(weight, np.float32)
        self._constant = constant
        self._out: Image | None = None

    def __call__(self, image: Image, out: Image | None = None) -> Image:
        """Filter `(batch, height, width)`, each by its own weight where there are several."""
        if out is None:
            out = self._out = np.empty_like(image) if self._out is None else self._out
        threads = n_threads()
        ducc0.fft.c2c(image, axes=[1, 2], forward=True, inorm=1, out=out, nthreads=threads)
        n = image[0].size
        if self._weight.shape != image.shape:
            self._weight = np.ascontiguousarray(np.broadcast_to(self._weight, image.shape))
        for i, spectrum in enumerate(out):
            at, weight = address(spectrum), address(self._weight[i])
            if self._constant is None:
                work: Callable[[int, int], object] = partial(_kernels.scale, at, weight)
            else:
                work = partial(_kernels.affine, at, weight, address(self._constant[i]))
            share(work, ranges(n, least=1 << 14))
        ducc0.fft.c2c(out, axes=[1, 2], forward=False, inorm=1, out=out, nthreads=threads)
        return out
