"""Signs in the noise: a measurement has it everywhere, equally strong, and unlike from pixel to pixel.

What is looked at is the quietest twentieth of the image, which is air around the object if there is any. Scanners
filter the ends of the readout, so the outer eighth of the rows is left out. K-space with columns missing inside is
not judged, because its aliases fill the air.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mri_recon.inspection.finding import Finding
from mri_recon.inspection.support import Floats, Kspace, missing_inside, noise_levels, power, trimmed
from mri_recon.physics.fourier import ifftc

EMPTY_LIMIT = 0.08
SMOOTH_LIMIT = 0.4
SLOPE_LIMIT = 3.5

_NO_AIR = 1.2
"""Above this multiple of the corners' noise the quietest part of the image is no air but signal."""
_QUIET_CORNERS = 2.0
"""Above this multiple the corners of k-space may have been emptied."""


@dataclass(frozen=True)
class Air:
    """The quietest part of an image.

    Parameters
    ----------
    ratio
        Its noise over that in the corners of k-space; thermal noise is white, so 1 in a measurement.
    likeness
        Correlation of neighbouring pixels there; white noise has none.
    """

    ratio: float
    likeness: float


def quiet_air(kspace: Kspace) -> Air | None:
    """Measure the quietest part of each coil's image, the median over coils; None where it cannot be judged."""
    kspace = trimmed(kspace)
    if missing_inside(kspace).any() or min(kspace.shape[-2:]) < 32 or not kspace.any():
        return None
    ratios, likenesses = [], []
    for coil, level in zip(kspace, noise_levels(kspace), strict=True):
        image = ifftc(coil)
        height, width = image.shape
        image = image[height // 8 : height - height // 8]
        size = max(4, min(16, height // 10, width // 8))
        rows, columns = image.shape[0] // size, width // size
        blocks = image[: rows * size, : columns * size].reshape(rows, size, columns, size)
        blocks = blocks.transpose(0, 2, 1, 3).reshape(-1, size, size)
        means = power(blocks).mean(axis=(1, 2))
        quiet = np.argsort(means)[: max(2, len(means) // 20)]
        ratios.append(float(np.sqrt(means[quiet].mean() / 2)) / level if level > 0 else np.inf)
        blocks = blocks[quiet]
        below = _correlation(blocks[:, 1:], blocks[:, :-1])
        beside = _correlation(blocks[:, :, 1:], blocks[:, :, :-1])
        likenesses.append(min(below, beside))
    return Air(float(np.median(ratios)), float(np.median(likenesses)))


def _correlation(one: Kspace, other: Kspace) -> float:
    norm = float(np.sqrt(power(one).sum() * power(other).sum()))
    return float(abs(np.vdot(one, other))) / norm if norm > 0 else 0.0


def noise_findings(kspace: Kspace) -> tuple[Finding, Finding, Finding]:
    """Three detectors on the same measurement of the air: `empty_noise_floor`, `denoised`, `filtered_corners`."""
    air = quiet_air(kspace)
    return empty_noise_floor(air), denoised(air), filtered_corners(kspace, air)


def empty_noise_floor(air: Air | None) -> Finding:
    """No noise in the air: the background was blanked, or there never was a scanner."""
    value = 1.0 if air is None else min(air.ratio, 1e6)
    text = ""
    if value < EMPTY_LIMIT:
        text = (
            "The air around the object holds no noise: the background was blanked, or the scan was generated without "
            "noise. A scanner always measures some; without it every method scores better than it will on patients."
        )
    return Finding("empty-noise-floor", value, EMPTY_LIMIT, "noise in air / noise in k-space's corners", text)


def denoised(air: Air | None) -> Finding:
    """Noise that is alike from pixel to pixel, at the level of noise: what a denoiser leaves behind."""
    value = 0.0 if air is None or not EMPTY_LIMIT <= air.ratio <= _NO_AIR else air.likeness
    text = ""
    if value > SMOOTH_LIMIT:
        text = (
            "The noise in the air around the object is smooth, which a scanner's never is: the image was denoised "
            "before k-space was made from it. Scores on it reward smoothing, and are better than on a measured scan."
        )
    return Finding("denoised", value, SMOOTH_LIMIT, "correlation of neighbouring pixels in air", text)


def filtered_corners(kspace: Kspace, air: Air | None) -> Finding:
    """The border of k-space was emptied, by an apodisation, a filter or a smoothing of the image.

    The evidence is how far the power still falls towards the end of an axis, from three quarters of the highest
    frequency on, where a measurement has reached its flat noise; k-space's corners must also hold far less noise than
    the quietest part of the image. The steeper axis counts, and the flatter of its ends.
    """
    value = 0.0
    if air is not None and air.ratio > _QUIET_CORNERS:
        inner = power(trimmed(kspace))
        value = max(_slope(np.median(inner, axis=axes)) for axes in ((0, 1), (0, 2)))
        if np.isinf(air.ratio):
            value = max(value, 120.0)
    text = ""
    if value > SLOPE_LIMIT:
        fall = f"falls by {value:.0f} dB" if value < 100 else "ends"
        text = (
            f"The border of k-space was filtered: its noise {fall} where a measurement is flat. The image was "
            "smoothed, which takes away fine detail and noise alike, and scores on it are too good."
        )
    return Finding("filtered-corners", value, SLOPE_LIMIT, "fall of the noise towards the border, dB", text)


def _slope(profile: Floats) -> float:
    n = profile.size
    width, quarter = max(2, n // 40), n // 8
    level = 10 * np.log10(np.maximum(profile / max(float(profile.max()), 1e-300), 1e-12))
    falls = (
        float(one[quarter - width : quarter + width].mean() - one[:width].mean())
        for one in (level, level[::-1])
    )
    return min(falls)
