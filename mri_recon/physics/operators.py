"""The forward model of the measurement, y = M F S x."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mri_recon.physics.coils import combine, expand
from mri_recon.physics.fourier import Array, fftc, filtered, ifftc
from mri_recon.solvers.arrays import array_namespace, has_kernels

if TYPE_CHECKING:
    from mri_recon.physics.columns import ColumnNormal


class SenseOperator:
    r"""Image to undersampled multi-coil k-space: :math:`A = M F S` [1]_.

    Parameters
    ----------
    mask
        Bool or real, broadcastable to k-space: `(1, 1, 1, width)` for columns.
    smaps
        Coil maps `(slice, coil, height, width)`. One coil is a map of ones.
    axes
        The axes that F transforms. With ``(-1,)`` the readout is left in the image domain: columns are
        sampled whole, so the readout transform is unitary, commutes with M and can be taken off the data once.

    References
    ----------
    .. [1] Pruessmann et al. (1999), SENSE: sensitivity encoding for fast MRI, Magn Reson Med 42:952-962.
    """

    def __init__(self, mask: Array, smaps: Array, axes: Sequence[int] = (-2, -1)) -> None:
        self.mask = mask
        self.smaps = smaps
        self.axes = tuple(axes)

    def __call__(self, image: Array) -> Array:
        """K-space `(slice, coil, height, width)` of an image `(slice, height, width)`."""
        return self.mask * fftc(expand(image, self.smaps), self.axes)

    def adjoint(self, kspace: Array) -> Array:
        """Image `(slice, height, width)`: the zero-filled inverse transform, combined over coils."""
        return combine(ifftc(self.mask * kspace, self.axes), self.smaps)

    def normal(self, image: Array) -> Array:
        """`adjoint` after the forward model, AᴴA x."""
        if has_kernels(image) and self.axes == (-1,) and self.mask.shape[1:3] == (1, 1):
            return self.column_normal(image)
        # Without centring, which costs four passes over the coil images and changes nothing here.
        filtered_coils = filtered(expand(image, self.smaps), self.mask * self.mask, self.axes)
        return combine(filtered_coils, self.smaps)

    @cached_property
    def column_normal(self) -> ColumnNormal:
        """`normal` compiled, for numpy arrays where F transforms the width alone."""
        from mri_recon.physics.columns import ColumnNormal

        return ColumnNormal(self.mask[:, 0, 0, :], self.smaps)


def sense_operator(mask: Array, smaps: Array, axes: Sequence[int] = (-2, -1)) -> SenseOperator:
    """The one forward model, for simulation, iterative methods and networks alike."""
    return SenseOperator(mask, smaps, axes)


def circulant_symbol(A: SenseOperator) -> Array:
    r"""Diagonal of F AᴴA Fᴴ, `(slice, 1, width)`: the circulant operator closest to AᴴA [1]_.

    Each frequency is seen through the maps' spectra: :math:`\sum_c |\hat s_c|^2 \ast m`.

    References
    ----------
    .. [1] Chan (1988), An optimal circulant preconditioner for Toeplitz systems, SIAM J Sci Stat Comput 9:766-771.
    """
    xp = array_namespace(A.smaps)
    spectra = fftc(A.smaps, axes=(-1,))
    power = xp.mean(xp.sum(xp.real(spectra) ** 2 + xp.imag(spectra) ** 2, axis=1, keepdims=True), axis=-2)
    power = power / power.shape[-1]  # (slice, 1, width)
    weights = xp.astype(A.mask[:, 0, 0, :], power.dtype)[:, None, :]
    # The spectrum of a product over circular shifts is the circular convolution of the two along width.
    n = power.shape[-1] ** 0.5
    convolved = fftc(ifftc(power + 0j, axes=(-1,)) * ifftc(weights + 0j, axes=(-1,)), axes=(-1,)) * n
    # A frequency that no coil can reach must not be divided by zero.
    return xp.clip(xp.real(convolved), min=1e-3)
