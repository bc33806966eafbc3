"""Whether the target of a scan is the image of its own k-space, and if not, what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.inspection.crimes import MASKED_LIMIT
from mri_recon.inspection.finding import Finding
from mri_recon.inspection.support import Kspace, empty_margins, missing_inside, noise_levels, power
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.geometry import center_crop

Image = NDArray[np.floating[Any]]

MISMATCH_LIMIT = 0.005
_SAME = 0.05
"""Relative difference up to which an explanation (scaled, shifted …) is one."""

_MEASURE = "relative difference of target and k-space's image"


def target_mismatch(kspace: Kspace, target: Image, *, undersampled: bool = False) -> Finding:
    """Hold the target against the root-sum-of-squares image of k-space, cropped about its centre.

    A target that differs by no more than the noise is right as well: it is the truth of a generated scan, say.

    Parameters
    ----------
    kspace, target
        The same slice: `(coil, height, width)` with every coil, and `(h, w)`.
    undersampled
        Whether columns are known to be missing: then the target must not equal the image, which has aliases,
        and only coarse structure is compared.
    """
    image = rss(ifftc(kspace)).astype(np.float64)
    target = target.astype(np.float64)
    shape: Any = target.shape
    if not image.any() or not target.any():
        blank = "The target of this slice is empty although k-space is not." if image.any() else ""
        return Finding("target-mismatch", float(bool(blank)), MISMATCH_LIMIT, _MEASURE, blank)
    cropped = center_crop(image, shape)
    difference = _difference(cropped, target)
    if undersampled or missing_inside(kspace).mean() > MASKED_LIMIT:
        return _undersampled(image, target, difference)
    same = difference <= MISMATCH_LIMIT or _cleaner(kspace, cropped, target)
    if not same and _is_partial(kspace):
        # The target may be of the whole k-space, of which a part was left out, or filled in by symmetry.
        return _coarsely(image, target)
    text = "" if same else _explained(kspace, image, target)
    return Finding("target-mismatch", min(difference, 1e6), MISMATCH_LIMIT, _MEASURE, text)


def _cleaner(kspace: Kspace, image: Image, target: Image) -> bool:
    """Whether the target is the image but for its noise: the truth of a generated scan, or a mean of several.

    Where the target is bright the two then differ by no more than k-space's noise, and not in scale.
    """
    if image.shape != target.shape or _clipped(target):
        return False
    levels = noise_levels(kspace)
    energy = power(kspace).sum(axis=(1, 2))
    level = float(np.sqrt((levels**2 * energy).sum() / energy.sum()))
    bright = target > 5 * level
    if bright.sum() < 100 or level == 0:
        return False
    rest = (image - target)[bright]
    slope = float((rest * target[bright]).sum() / (target[bright] ** 2).sum())
    return float(np.sqrt((rest**2).mean())) <= 1.3 * level and abs(slope) <= 0.01


def _undersampled(image: Image, target: Image, difference: float) -> Finding:
    if difference <= MISMATCH_LIMIT:
        text = (
            "The target was made from the undersampled k-space itself: it holds the aliases that reconstruction is to "
            "remove, and scores against it reward leaving them in."
        )
        return Finding("target-mismatch", 1.0, MISMATCH_LIMIT, _MEASURE, text)
    return _coarsely(image, target)


def _coarsely(image: Image, target: Image) -> Finding:
    """Hold the coarse structure of the target against the image's."""
    coarse, coarse_target = _coarse(center_crop(image, _shape(target))), _coarse(target)
    likeness = _likeness(coarse, coarse_target)
    text = ""
    if likeness < 0.7:
        text = "The target shows something else than k-space: even their coarse structures differ. " + _ADVICE
    return Finding("target-mismatch", (1 - likeness) if text else 0.0, MISMATCH_LIMIT, _MEASURE, text)


_ADVICE = (
    "Scores against it measure this difference, not the reconstruction: make the target anew from k-space."
)


def _explained(kspace: Kspace, image: Image, target: Image) -> str:
    """What was done to the target, as far as it can be told."""
    shape = _shape(target)
    cropped = center_crop(image, shape)
    if _clipped(target):
        share = float((target >= target.max()).mean())
        return f"The target was clipped: {share:.2%} of its pixels share its largest value. {_ADVICE}"
    scale = _scale(cropped, target)
    if _difference(cropped * scale, target) <= _SAME:
        return f"The target is the image of k-space times {scale:.4g}: it was scaled. {_ADVICE}"
    for how, variant in _turned(target):
        if how and variant.shape == cropped.shape:
            scale = _scale(cropped, variant)
            if _difference(cropped * scale, variant) <= _SAME:
                return f"The target is the image of k-space {how}. {_ADVICE}"
        found = _placed(image, variant)
        if found is not None:
            down, right = found
            turned = f"{how} and " if how else ""
            if shape == image.shape:
                moved = f"{turned}shifted by {-down} pixels down, {-right} right"
                return f"The target is the image of k-space {moved}. {_ADVICE}"
            return (
                f"The target is another crop of k-space's image: {turned}cut {abs(down)} pixels "
                f"{'lower' if down > 0 else 'higher'} and {abs(right)} further {'right' if right > 0 else 'left'} than "
                f"the centre. {_ADVICE}"
            )
    resized = rss(ifftc(center_crop(kspace, shape))).astype(np.float64)
    if shape != image.shape and _likeness(resized, target) > 0.98:
        return f"The target is k-space's whole image resized to {shape[0]}×{shape[1]}, not cropped. {_ADVICE}"
    likeness = _likeness(cropped, target)
    if likeness > 0.8:
        return (
            f"The target is like k-space's image (correlation {likeness:.2f}) but not it: it was processed (filtered, "
            f"corrected or combined in another way), or comes from other data. {_ADVICE}"
        )
    return f"The target does not show what k-space shows (correlation {likeness:.2f}). {_ADVICE}"


def _is_partial(kspace: Kspace) -> bool:
    """Whether one end of an axis was left out, as in partial Fourier and asymmetric echoes."""
    return any(
        abs(before - after) > size // 20
        for (before, after), size in zip(empty_margins(kspace), kspace.shape[1:], strict=True)
    )


def _clipped(target: Image) -> bool:
    """Whether many pixels share the largest value, as after windowing."""
    return int((target >= target.max()).sum()) > max(8, target.size // 2000)


def _shape(image: Image) -> tuple[int, int]:
    height, width = image.shape
    return height, width


def _turned(target: Image) -> Iterator[tuple[str, Image]]:
    yield "", target
    yield "upside down", target[::-1]
    yield "mirrored left to right", target[:, ::-1]
    yield "turned by 180°", target[::-1, ::-1]
    yield "transposed", target.T
    yield "turned by 90° clockwise", np.rot90(target, 1)
    yield "turned by 90° anticlockwise", np.rot90(target, -1)
    yield "transposed about the other diagonal", target[::-1, ::-1].T


def _placed(image: Image, target: Image) -> tuple[int, int] | None:
    """Where in the image the target was cut out, relative to the centre; None if nowhere, or at the centre."""
    height, width = image.shape
    h, w = target.shape
    if h > height or w > width:
        return None
    top, left = (height - h) // 2, (width - w) // 2
    canvas = np.zeros_like(image)
    canvas[top : top + h, left : left + w] = target
    # A crop's correlation is largest where the image is bright, unless it is held against the energy under it.
    window = np.zeros_like(image)
    window[top : top + h, left : left + w] = 1
    energy = np.maximum(_correlate(image**2, window), 1e-9 * float((image**2).sum()))
    score = _correlate(image, canvas) / np.sqrt(energy)
    peak = np.unravel_index(int(score.argmax()), score.shape)
    down, right = (int(p) - n // 2 for p, n in zip(peak, image.shape, strict=True))
    moved = center_crop(np.roll(image, (-down, -right), axis=(0, 1)), (h, w))
    same = _difference(moved * _scale(moved, target), target) <= _SAME
    return (down, right) if same and (down, right) != (0, 0) else None


def _correlate(one: Image, other: Image) -> Image:
    """Circular correlation, no shift at the centre."""
    product = fftc(one.astype(np.complex128)) * np.conj(fftc(other.astype(np.complex128)))
    result: Image = ifftc(product).real
    return result


def _scale(image: Image, target: Image) -> float:
    return float((image * target).sum() / max(float((image * image).sum()), np.finfo(float).tiny))


def _difference(image: Image, target: Image) -> float:
    if image.shape != target.shape:
        return float("inf")
    return float(np.linalg.norm(image - target) / np.linalg.norm(target))


def _likeness(one: Image, other: Image) -> float:
    if one.shape != other.shape or one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _coarse(image: Image) -> Image:
    """Means over blocks, an eighth of the image wide, across the direction that aliases."""
    height, width = image.shape
    h, w = max(1, height // 16), max(1, width // 16)
    blocks = image[: height - height % h, : width - width % w]
    means: Image = blocks.reshape(height // h, h, -1, w).mean(axis=(1, 3))
    return means
