"""NMSE, PSNR and SSIM of each slice of a volume, on the volume's terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mri_recon.metrics import Volume, nmse, psnr, ssim


@dataclass(frozen=True)
class SliceScores:
    """The scores of a volume's slices, in order.

    `data_range` is the volume's, so that the mean SSIM is the volume's own, and a slice's PSNR says how large its
    errors are on the scale that they are seen at.
    """

    nmse: tuple[float, ...]
    psnr: tuple[float, ...]
    ssim: tuple[float, ...]


def score_slices(target: Volume, image: Volume) -> SliceScores:
    """Score each slice of a volume that was cut to what is scored; NMSE is NaN where the target is empty."""
    peak = float(target.max())
    pairs = [(target[i : i + 1], image[i : i + 1]) for i in range(len(target))]
    return SliceScores(
        tuple(nmse(t, x) if np.any(t) else float("nan") for t, x in pairs),
        tuple(psnr(t, x, peak) for t, x in pairs),
        tuple(ssim(t, x, peak) for t, x in pairs),
    )
