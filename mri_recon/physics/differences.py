"""Finite differences of an image, circular, and what belongs to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mri_recon.physics.fourier import Array
from mri_recon.solvers.arrays import array_namespace


def gradient(image: Array) -> Array:
    """Forward differences along height and width, circular: `(…, h, w)` to `(2, …, h, w)`."""
    xp = array_namespace(image)
    return xp.stack([xp.roll(image, -1, axis=axis) - image for axis in (-2, -1)])


def gradient_adjoint(field: Array) -> Array:
    """Adjoint of `gradient` (the negative divergence): `(2, …, h, w)` to `(…, h, w)`."""
    xp = array_namespace(field)
    vertical, horizontal = field[0, ...], field[1, ...]
    return xp.roll(vertical, 1, axis=-2) - vertical + xp.roll(horizontal, 1, axis=-1) - horizontal


def total_variation(image: Array) -> Array:
    r"""Isotropic total variation of each image, :math:`\sum \sqrt{|\partial_h x|^2 + |\partial_w x|^2}` [1]_.

    References
    ----------
    .. [1] Rudin, Osher & Fatemi (1992), Nonlinear total variation based noise removal algorithms,
       Physica D 60:259-268.
    """
    xp = array_namespace(image)
    field = gradient(image)
    magnitude = xp.sqrt(xp.sum(xp.real(field) ** 2 + xp.imag(field) ** 2, axis=0))
    return xp.sum(magnitude, axis=(-2, -1))


def laplacian_symbol(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Eigenvalues of gradient_adjoint∘gradient under `fftc`: `(height, width)`, zero frequency central."""

    def along(n: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(4 * np.sin(np.pi * (np.arange(n) - n // 2) / n) ** 2)

    return along(height)[:, None] + along(width)[None, :]
