"""NMSE, PSNR and SSIM of a volume, as fastMRI's evaluation defines them.

A volume is `(slice, height, width)`, real. Both volumes are first cut to the centre square of the target's
width; a target wider than tall, which fastMRI cannot score, is scored whole. `data_range` is the maximum
of the target volume. The mean over volumes is the plain one.

References
----------
.. [1] Zbontar et al. (2018), fastMRI: an open dataset and benchmarks, arXiv:1811.08839.
.. [2] Wang et al. (2004), Image quality assessment: from error visibility to structural similarity,
   IEEE TIP 13:600-612.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import ScanError
from mri_recon.physics.geometry import center_crop
from mri_recon.similarity.ssim import WINDOW, ssim_of_slices

Volume = NDArray[np.floating]


@dataclass(frozen=True)
class Metrics:
    """The three scores of one volume."""

    nmse: float
    psnr: float
    ssim: float

    def as_dict(self) -> dict[str, float]:
        """The scores by name."""
        return asdict(self)


def score(target: Volume, image: Volume) -> Metrics:
    """Score a reconstructed volume against its target.

    Raises
    ------
    ScanError
        The volumes differ in shape after the crop, or the target holds nothing.
    """
    target, image = evaluation_crop(target, image)
    error, energy = _squared_error(target, image), _squared_error(target)
    return Metrics(error / energy, _psnr(error / target.size, float(target.max())), ssim(target, image))


def evaluation_crop(target: Volume, image: Volume) -> tuple[Volume, Volume]:
    """Cut both volumes to the centre square of the target's width, where the target is that tall."""
    if target.ndim != 3 or image.ndim != 3 or target.shape[0] != image.shape[0]:
        raise ScanError(
            f"Expected two volumes (slice, height, width) of as many slices, got a target {target.shape} "
            f"and an image {image.shape}."
        )
    height, width = target.shape[-2:]
    shape = (width, width) if width <= height else (height, width)
    target, image = center_crop(target, shape), center_crop(image, shape)
    if target.shape != image.shape:
        raise ScanError(
            f"The image is smaller than its target: {image.shape[-2:]} against {target.shape[-2:]} pixels. "
            "Reconstruct without a crop, or crop the target alike."
        )
    if not target.max() > 0:
        raise ScanError("The target is zero everywhere, so nothing can be scored against it.")
    return target, image


def nmse(target: Volume, image: Volume) -> float:
    """Squared error over squared target, ‖t − x‖² / ‖t‖²."""
    return _squared_error(target, image) / _squared_error(target)


def psnr(target: Volume, image: Volume, data_range: float | None = None) -> float:
    """Peak signal-to-noise ratio in decibels, 10 log₁₀(data_range² / MSE); infinite for equal volumes."""
    data_range = float(target.max()) if data_range is None else data_range
    return _psnr(_squared_error(target, image) / target.size, data_range)


def ssim(target: Volume, image: Volume, data_range: float | None = None) -> float:
    """Mean over slices of the structural similarity [2]_ with a uniform 7×7 window.

    Raises
    ------
    ScanError
        An image smaller than the window.
    """
    if min(target.shape[-2:]) < WINDOW:
        raise ScanError(f"SSIM needs images of at least 7×7 pixels, not {target.shape[-2:]}.")
    data_range = float(target.max()) if data_range is None else data_range
    return float(ssim_of_slices(target, image, data_range).mean())


def _psnr(mse: float, data_range: float) -> float:
    return 10 * math.log10(data_range**2 / mse) if mse else math.inf


def _squared_error(target: Volume, image: Volume | float = 0.0) -> float:
    """‖t − x‖², slice by slice so that the differences stay in the cache."""
    total = 0.0
    for i, one in enumerate(target):
        other = image[i] if isinstance(image, np.ndarray) else image
        difference = np.subtract(one, other, dtype=np.float64).ravel()
        total += float(np.einsum("i,i->", difference, difference))
    return total
