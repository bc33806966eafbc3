"""Signs in the values themselves: rounding, grey levels, and the blocks of a JPEG picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.inspection.finding import Finding
from mri_recon.inspection.support import Floats, Kspace, power, trimmed
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop

STEP_LIMIT = 1.0
LEVELS_LIMIT = 0.8
JPEG_LIMIT = 6.0


def quantised(kspace: Kspace) -> Finding:
    """Lossily rounded: the values of k-space lie on a grid as coarse as the noise, or coarser.

    A scanner's converter rounds too, but finer than the noise, so that nothing is lost. The evidence is the step
    over the noise of the outer half of k-space; the largest of the coils.
    """
    value = 0.0
    for coil in trimmed(kspace):
        parts = np.abs(np.concatenate([coil.real.ravel(), coil.imag.ravel()]))
        outside = _outer(coil)
        noise = float(np.sqrt(power(outside).mean() / 2)) if outside.size else 0.0
        step = _half_precision_step(coil) or _grid(parts)[0]
        if step and noise > 0:
            value = max(value, step / noise)
    text = ""
    if value > STEP_LIMIT:
        text = (
            f"The values of k-space were rounded coarsely, to steps of {value:.1f} times the noise: the weak, high "
            "frequencies that carry fine detail were lost or replaced by rounding. Keep k-space in single precision."
        )
    return Finding("quantised", value, STEP_LIMIT, "rounding step / noise", text)


def grey_levels(kspace: Kspace) -> Finding:
    """Made from a picture of whole numbers: the image's brightness comes in steps, as in DICOM, NIfTI or PNG.

    The evidence is how well the magnitudes fit the steps, 0 to 1.
    """
    image = rss(ifftc(kspace)).ravel()
    step, fit = _grid(image[image > image.max() * 1e-4]) if image.size and image.max() > 0 else (0.0, 0.0)
    text = ""
    if fit > LEVELS_LIMIT:
        text = (
            f"The image comes in {round(float(image.max()) / step)} grey levels: k-space was computed from a picture "
            "stored in whole numbers (DICOM, NIfTI, PNG), not measured."
        )
    return Finding("grey-levels", fit, LEVELS_LIMIT, "fit of the brightness to whole steps", text)


def jpeg_blocks(kspace: Kspace) -> Finding:
    """Made from a JPEG picture: within blocks of 8 × 8 pixels high frequencies are missing.

    Cosine transforms of 8 × 8 pixels are taken at every place; where their grid is JPEG's, the coefficients that it
    rounded away are nearly zero. The evidence is by how many standard deviations one of the 64 places of the
    grid stands out.
    """
    image = center_crop(rss(ifftc(trimmed(kspace))), (256, 256)).astype(np.float32)  # enough to be sure of
    value = 0.0
    if min(image.shape) >= 48 and image.max() > 0:
        value = _grid_of_blocks(image / image.max())
    text = ""
    if value > JPEG_LIMIT:
        text = (
            "The image shows the 8 × 8 blocks of a JPEG picture: it was compressed with loss before k-space was "
            "computed from it. Fine detail is JPEG's, not the patient's."
        )
    return Finding("jpeg-blocks", value, JPEG_LIMIT, "prominence of an 8 × 8 grid, standard deviations", text)


def _outer(coil: NDArray[np.complexfloating]) -> NDArray[np.complexfloating]:
    """The outer half of the rows, of the columns that hold data."""
    filled = (coil != 0).any(axis=0)
    quarter = coil.shape[0] // 4
    return np.concatenate([coil[:quarter, filled], coil[coil.shape[0] - quarter :, filled]])


def _grid(values: Floats) -> tuple[float, float]:
    """Step of the grid that non-negative `values` lie on, and how well they fit it; zeros where they lie on none."""
    values = values[values > 0].astype(np.float64)
    if values.size < 256:
        return 0.0, 0.0
    # Low levels are the most crowded, and the step is largest against the rounding of single precision there.
    low = np.sort(values)
    low = low[low <= max(4 * float(np.median(low)), float(low[64]))][:65536]
    gaps = np.diff(low, prepend=0.0)
    real_gaps = gaps[gaps > 4e-6 * float(np.median(low))]
    if real_gaps.size == 0 or real_gaps.size > low.size // 2:
        return 0.0, 0.0
    step = float(np.quantile(real_gaps, 0.1))
    for furthest in (4, 16, 64, 1024):
        near = low[low < (furthest + 0.5) * step]
        count = np.round(near / step)
        if count.any():
            step = float((near * count).sum() / (count * count).sum())
    phases = 2 * np.pi * low[low < 1024 * step] / step
    fit = float(np.abs(np.exp(1j * phases).mean())) if phases.size else 0.0
    return (step, fit) if fit > 0.5 else (0.0, fit)


def _half_precision_step(coil: NDArray[Any]) -> float:
    """Step at the largest value, if all of them have the few digits of half precision; else zero."""
    bits = np.ascontiguousarray(coil, dtype=np.complex64).view(np.uint32)
    nonzero = bits[(bits & 0x7FFFFFFF) != 0]
    if nonzero.size < 256 or (nonzero & 0x1FFF).any():
        return 0.0
    digits = 11 if (nonzero & 0xFFFF).any() else 8
    return float(np.abs(coil).max()) * 2.0**-digits


def _grid_of_blocks(image: Floats) -> float:
    n = np.arange(8)
    basis = np.stack([np.cos(np.pi * (n + 0.5) * frequency / 8) for frequency in (3, 5, 6, 7)], axis=1) / 2
    basis = basis.astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view
    across = windows(image, 8, axis=1) @ basis
    both = windows(across, 8, axis=0) @ basis
    height, width = (size - size % 8 for size in both.shape[:2])
    size = np.abs(both[:height, :width]).reshape(height // 8, 8, width // 8, 8, -1)
    # Blocks with nothing in them say nothing about a grid.
    lively = size.mean(axis=(1, 3, 4)) > 1e-4
    if lively.sum() < 16:
        return 0.0
    cells = np.log(size + 1e-5).mean(axis=-1).transpose(0, 2, 1, 3)[lively].mean(axis=0).ravel()
    lowest = int(cells.argmin())
    others = np.delete(cells, lowest)
    spread = max(1.4826 * float(np.median(np.abs(others - np.median(others)))), 0.01)
    return float((np.median(others) - cells[lowest]) / spread)
