"""Where the data of k-space lie, and what is noise among them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Kspace = NDArray[np.complexfloating]
"""One slice, `(coil, height, width)`."""

Floats = NDArray[np.floating[Any]]


def power(values: Kspace) -> Floats:
    """Squared magnitude."""
    squared: Floats = values.real**2 + values.imag**2
    return squared


def scale_of(kspace: Kspace) -> np.float32:
    """A power of two that brings k-space to about one; 1 for numbers whose squares single precision holds anyway.

    To multiply by it rounds nothing, so that what is told by ratios and by rounding stays the same.
    """
    largest = float(max(np.abs(kspace.real).max(), np.abs(kspace.imag).max()))
    exponent = math.frexp(largest)[1]
    return np.float32(1 if abs(exponent) <= 20 else math.ldexp(1, -exponent))


def empty_margins(kspace: Kspace) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows before and after the data that hold exact zeros in every coil, then columns."""
    filled = (kspace != 0).any(axis=0)
    return _margins(filled.any(axis=1)), _margins(filled.any(axis=0))


def trimmed(kspace: Kspace) -> Kspace:
    """K-space without its empty margins: the part that could have been measured."""
    (top, bottom), (left, right) = empty_margins(kspace)
    height, width = kspace.shape[-2:]
    return kspace[:, top : height - bottom, left : width - right]


def missing_inside(kspace: Kspace) -> NDArray[np.bool_]:
    """Columns that hold nothing although there are data on both sides of them, `(width,)`."""
    filled = (kspace != 0).any(axis=(0, 1))
    left, right = _margins(filled)
    inside = np.zeros(filled.size, dtype=bool)
    inside[left : filled.size - right] = True
    missing: NDArray[np.bool_] = inside & ~filled
    return missing


def _margins(filled: NDArray[np.bool_]) -> tuple[int, int]:
    where = np.flatnonzero(filled)
    if where.size == 0:
        return 0, 0
    return int(where[0]), int(filled.size - 1 - where[-1])


def noise_levels(kspace: Kspace) -> Floats:
    """Noise of each coil, `(coil,)`: the standard deviation of a sample's real part, equal to its imaginary part's.

    From the median power in the four corners of what was measured, where an image has next to no signal; what
    little it has makes this an upper bound. With the house's orthonormal transform the noise of the image is the same.
    """
    corners = power(_corners(trimmed(kspace))).reshape(len(kspace), -1)
    # The power of complex Gaussian noise is exponential: its median is 2 σ² ln 2.
    levels: Floats = np.sqrt(np.median(corners, axis=1) / (2 * np.log(2)))
    return levels


def _corners(kspace: Kspace) -> Kspace:
    """Samples of the four corners, `(coil, …)`, out of the columns that hold data."""
    kspace = kspace[:, :, (kspace != 0).any(axis=(0, 1))]
    height, width = kspace.shape[-2:]
    h, w = max(2, height // 12), max(2, width // 12)
    rows = np.r_[0 : min(h, height), max(height - h, 0) : height]
    columns = np.r_[0 : min(w, width), max(width - w, 0) : width]
    return kspace[:, rows[:, None], columns]


def strongest_coils(kspace: Kspace, n_coils: int) -> Kspace:
    """The coils with the most signal, for what need not be looked at in every coil."""
    if len(kspace) <= n_coils:
        return kspace
    return kspace[np.sort(np.argsort(power(kspace).sum(axis=(1, 2)))[-n_coils:])]
