"""Cropping and padding about the centre."""

from __future__ import annotations

from mri_recon.physics.fourier import Array, fftc, ifftc


def center_crop(image: Array, shape: tuple[int, int]) -> Array:
    """Cut the centre `shape` out of the last two axes, starting at ``(size - crop) // 2``.

    An axis shorter than asked is left whole.
    """
    height, width = image.shape[-2:]
    h, w = min(shape[0], height), min(shape[1], width)
    top, left = (height - h) // 2, (width - w) // 2
    return image[..., top : top + h, left : left + w]


def crop_readout(kspace: Array, height: int) -> Array:
    """K-space `(…, height, width)` of the middle `height` rows of the image.

    The readout is always sampled in full and usually twice as wide as the object, so its rows can be left out
    before anything else is done: those that stay are what they were. K-space of that height or less is left whole.
    """
    if height >= kspace.shape[-2]:
        return kspace
    rows = ifftc(kspace, axes=(-2,))
    return fftc(center_crop(rows, (height, kspace.shape[-1])), axes=(-2,))
