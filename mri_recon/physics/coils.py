"""From one image to coil images and back."""

from __future__ import annotations

from mri_recon.physics.fourier import Array
from mri_recon.solvers.arrays import array_namespace, has_kernels


def expand(image: Array, smaps: Array) -> Array:
    """Coil images `(slice, coil, height, width)` of an image `(slice, height, width)`."""
    return image[..., None, :, :] * smaps


def combine(coil_images: Array, smaps: Array) -> Array:
    r"""Combine coil images into one, each weighted by its sensitivity.

    Computes :math:`\sum_c \bar s_c x_c`, the adjoint of `expand` [1]_.

    Parameters
    ----------
    coil_images, smaps
        `(slice, coil, height, width)`, complex.

    References
    ----------
    .. [1] Roemer et al. (1990), Magn Reson Med 16:192-225.
    """
    if (
        has_kernels(coil_images)
        and has_kernels(smaps)
        and coil_images.shape == smaps.shape
        and smaps.ndim == 4
    ):
        from mri_recon.physics.columns import combined

        return combined(coil_images, smaps)
    xp = array_namespace(coil_images, smaps)
    return xp.sum(xp.conj(smaps) * coil_images, axis=-3)


def rss(coil_images: Array) -> Array:
    """Root-sum-of-squares over coils: `(…, coil, height, width)` complex to `(…, height, width)` real."""
    xp = array_namespace(coil_images)
    return xp.sqrt(xp.sum(xp.real(coil_images) ** 2 + xp.imag(coil_images) ** 2, axis=-3))
