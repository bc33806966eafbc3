"""Cropping and padding about the centre."""

from __future__ import annotations

from mri_recon.physics.fourier import Array


def center_crop(image: Array, shape: tuple[int, int]) -> Array:
    """Cut the centre `shape` out of the last two axes, starting at ``(size - crop) // 2``.

    An axis shorter than asked is left whole.
    """
    height, width = image.shape[-2:]
    h, w = min(shape[0], height), min(shape[1], width)
    top, left = (height - h) // 2, (width - w) // 2
    return image[..., top : top + h, left : left + w]
