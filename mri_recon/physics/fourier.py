"""The Fourier transform of the house: centred, orthonormal, on numpy and torch alike.

The zero frequency sits at index ``n // 2`` in k-space and the centre of the field of view at ``n // 2``
in the image, for odd and even sizes: ifftshift, transform, fftshift, both ways. Orthonormal, so the
inverse is the adjoint.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np

Array = Any
"""A numpy array or torch tensor: anything that speaks the Array API."""


@lru_cache(maxsize=1)
def n_threads() -> int:
    """Threads for one transform: OMP_NUM_THREADS if set, else the processors this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fftc(image: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """Image to k-space along `axes`, centred and orthonormal; keeps shape and precision."""
    return _centred(image, tuple(axes), forward=True)


def ifftc(kspace: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """K-space to image along `axes`: inverse and adjoint of `fftc`."""
    return _centred(kspace, tuple(axes), forward=False)


def _centred(x: Array, axes: tuple[int, ...], *, forward: bool) -> Array:
    if isinstance(x, np.ndarray):
        import ducc0

        x = np.fft.ifftshift(x, axes=axes)
        x = ducc0.fft.c2c(x, axes=[a % x.ndim for a in axes], forward=forward, inorm=1, nthreads=n_threads())
        return np.fft.fftshift(x, axes=axes)
    xp = array_api_compat.array_namespace(x)
    x = xp.fft.ifftshift(x, axes=axes)
    x = (xp.fft.fftn if forward else xp.fft.ifftn)(x, axes=axes, norm="ortho")
    return xp.fft.fftshift(x, axes=axes)
