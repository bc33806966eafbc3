"""The Fourier transform of the house: centred, orthonormal, on numpy and torch alike.

The zero frequency sits at index ``n // 2`` in k-space and the centre of the field of view at ``n // 2``
in the image, for odd and even sizes: ifftshift, transform, fftshift, both ways. Orthonormal, so the
inverse is the adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import array_api_compat
import numpy as np

from mri_recon.solvers.threads import n_threads

Array = Any
"""A numpy array or torch tensor: anything that speaks the Array API."""


def fftc(image: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """Image to k-space along `axes`, centred and orthonormal; keeps shape and precision."""
    return _centred(image, tuple(axes), forward=True)


def ifftc(kspace: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """K-space to image along `axes`: inverse and adjoint of `fftc`."""
    return _centred(kspace, tuple(axes), forward=False)


def filtered(image: Array, response: Array) -> Array:
    """F⁻¹ diag(response) F of `(…, height, width)`, the response centred as `fftc` gives frequencies.

    Such a filter commutes with circular shifts, so the image need not be centred and back again.
    """
    xp = array_api_compat.array_namespace(image)
    response = (
        xp.fft.ifftshift(response, axes=(-2, -1))
        if response.shape[-2] > 1
        else xp.fft.ifftshift(response, axes=(-1,))
    )
    axes = (-2, -1)
    if isinstance(image, np.ndarray):
        import ducc0

        both = [a % image.ndim for a in axes]
        spectrum = ducc0.fft.c2c(image, axes=both, forward=True, inorm=1, nthreads=n_threads())
        spectrum *= response
        return ducc0.fft.c2c(spectrum, axes=both, forward=False, inorm=1, out=spectrum, nthreads=n_threads())
    return xp.fft.ifftn(xp.fft.fftn(image, axes=axes) * response, axes=axes)


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
