"""The Fourier transform of the house: centred, orthonormal, on numpy and torch alike.

The zero frequency sits at index ``n // 2`` in k-space and the centre of the field of view at ``n // 2``
in the image, for odd and even sizes: ifftshift, transform, fftshift, both ways. Orthonormal, so the
inverse is the adjoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mri_recon.solvers.arrays import array_namespace
from mri_recon.solvers.threads import n_threads, ranges, share

Array = Any
"""A numpy array or torch tensor: anything that speaks the Array API."""


def fftc(image: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """Image to k-space along `axes`, centred and orthonormal; keeps shape and precision."""
    return _centred(image, tuple(axes), forward=True)


def ifftc(kspace: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """K-space to image along `axes`: inverse and adjoint of `fftc`."""
    return _centred(kspace, tuple(axes), forward=False)


def filtered(image: Array, response: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """F⁻¹ diag(response) F of `(…, height, width)` along `axes`, the response centred as `fftc` gives frequencies.

    Such a filter commutes with circular shifts, so the image need not be centred and back again.
    """
    xp = array_namespace(image)
    response = uncentred(response, axes)
    if isinstance(image, np.ndarray):
        import ducc0

        both = [a % image.ndim for a in axes]
        filtered = ducc0.fft.c2c(image, axes=both, forward=True, inorm=1, nthreads=n_threads())
        filtered *= response
        return ducc0.fft.c2c(filtered, axes=both, forward=False, inorm=1, out=filtered, nthreads=n_threads())
    return xp.fft.ifftn(xp.fft.fftn(image, axes=axes) * response, axes=axes)


def spectrum(image: Array) -> Array:
    """F of a numpy array's last two axes without centring, orthonormal: what `numpy.fft.fft2` gives, and its order."""
    import ducc0

    axes = (image.ndim - 2, image.ndim - 1)
    return ducc0.fft.c2c(image, axes=axes, forward=True, inorm=1, nthreads=n_threads())


def rss_images(kspace: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Root sum of squares over coils of `ifftc`: numpy's `(…, coil, height, width)` to real `(…, height, width)`.

    Without the shifts of k-space, which change phases that are not looked at, and with one shift of an image in place
    of one a coil.
    """
    import ducc0

    axes = (kspace.ndim - 3, kspace.ndim - 2)
    summed: np.ndarray[Any, Any] = np.zeros(1)
    # A coil at a time: one coil's image stays in the processor's cache, all of them go through memory three times.
    for i, coil in enumerate(np.moveaxis(kspace, -3, 0)):
        image = ducc0.fft.c2c(coil, axes=axes, forward=False, inorm=1, nthreads=n_threads())
        parts = image.view(image.real.dtype)
        np.square(parts, out=parts)
        summed = parts if i == 0 else np.add(summed, parts, out=summed)
    return np.fft.fftshift(np.sqrt(summed[..., 0::2] + summed[..., 1::2]), axes=(-2, -1))


def uncentred(response: Array, axes: Sequence[int] = (-2, -1)) -> Array:
    """A response ordered as `fftc` gives frequencies, in the order of `spectrum`."""
    xp = array_namespace(response)
    return xp.fft.ifftshift(response, axes=[a for a in axes if response.shape[a] > 1])


def _centred(x: Array, axes: tuple[int, ...], *, forward: bool) -> Array:
    if isinstance(x, np.ndarray):
        return _centred_numpy(x, tuple(a % x.ndim for a in axes), forward=forward)
    xp = array_namespace(x)
    x = xp.fft.ifftshift(x, axes=axes)
    x = (xp.fft.fftn if forward else xp.fft.ifftn)(x, axes=axes, norm="ortho")
    return xp.fft.fftshift(x, axes=axes)


def _centred_numpy(x: np.ndarray[Any, Any], axes: tuple[int, ...], *, forward: bool) -> np.ndarray[Any, Any]:
    import ducc0

    def transformed(part: Array, axes: tuple[int, ...], threads: int) -> Any:
        part = np.fft.ifftshift(part, axes=axes)
        part = ducc0.fft.c2c(part, axes=axes, forward=forward, inorm=1, nthreads=threads)
        return np.fft.fftshift(part, axes=axes)

    if x.ndim <= 2 or min(axes) < x.ndim - 2:
        whole: np.ndarray[Any, Any] = transformed(x, axes, n_threads())
        return whole
    # Image by image, so that both shifts find the image still in the cache, and as many at once as may be.
    images = x.reshape(-1, *x.shape[-2:])
    out = np.empty(images.shape, np.result_type(x.dtype, np.complex64))
    inner = tuple(a - x.ndim + 2 for a in axes)

    def work(start: int, stop: int) -> None:
        for i in range(start, stop):
            out[i] = transformed(images[i], inner, n_threads())

    if len(images) >= n_threads():
        share(work, ranges(len(images)))
    else:
        work(0, len(images))
    return out.reshape(x.shape)
