"""Signs that k-space cannot have come off a scanner as it is: implicit data crimes.

Each detector is a function of one slice's k-space, `(coil, height, width)`, and gives a `Finding`, found or not. What
was processed before it became k-space is smoother, more symmetric or emptier than a measurement, and every method
scores better on it than it will on a patient [1]_. The limits lie between what measured scans and made-up crimes gave;
``scripts/measure_crimes`` measures both.

References
----------
.. [1] Shimron et al. (2022), Implicit data crimes: Machine learning bias arising from misuse of public data,
   PNAS 119:e2117203119.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mri_recon.inspection.finding import Finding
from mri_recon.inspection.support import Floats, Kspace, missing_inside, power
from mri_recon.physics.fourier import fftc, ifftc

PADDED_LIMIT = 10.0
SYMMETRIC_LIMIT = 0.99
MASKED_LIMIT = 0.05


def zero_padded(kspace: Kspace, padding: tuple[int, int] | None = None) -> Finding:
    """Interpolated: the outside of k-space is empty on both sides, or drops off a cliff.

    The evidence is the fall of the power at the steepest place that both ends of an axis share, the weaker of the two
    ends: partial Fourier, empty at one end only, is how scanners measure.

    Parameters
    ----------
    padding
        First column that the header says was measured and one past the last; columns outside are empty by right.
    """
    filled = (kspace != 0).any(axis=(0, 1))
    rows = np.median(power(kspace[:, :, filled]), axis=(0, 2))
    columns = np.median(power(kspace), axis=(0, 1))
    gaps = missing_inside(kspace)
    if gaps.any() and columns.any():
        columns = _bridged(columns, gaps)
    if padding is not None:
        columns = columns[slice(*padding)]
    falls = {"rows (readout)": _cliff(rows), "columns (phase encode)": _cliff(columns)}
    axis = max(falls, key=lambda name: falls[name][0])
    fall, kept = falls[axis]
    text = ""
    if fall > PADDED_LIMIT:
        text = (
            f"The outer {axis} of k-space are empty: only the middle {kept:.0%} holds data. The image was enlarged by "
            "zero-filling (interpolated): its true resolution is lower than its pixels, and every method scores "
            "better on it than on a measured scan of this size."
        )
    return Finding("zero-padded", fall, PADDED_LIMIT, "fall of power at the border, dB", text)


def _bridged(profile: Floats, gaps: NDArray[np.bool_]) -> Floats:
    """Fill columns that undersampling skipped with a neighbour; at the ends as many as are skipped inside."""
    bridged = profile.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], gaps.view(np.int8), [0]])))
    widest = int((edges[1::2] - edges[::2]).max())
    filled = np.flatnonzero(~gaps & (profile > 0))
    bridged[gaps] = profile[filled[np.searchsorted(filled, np.flatnonzero(gaps)) - 1]]
    first, last = int(filled[0]), int(filled[-1])
    bridged[max(0, first - widest) : first] = profile[first]
    bridged[last + 1 : last + 1 + widest] = profile[last]
    return bridged


def _cliff(profile: Floats) -> tuple[float, float]:
    """Steepest fall towards both ends in dB, and the fraction of the axis between the two cliffs."""
    n = profile.size
    window = max(2, n // 32)
    if n < 16 or profile.max() <= 0:
        return 0.0, 1.0
    level = 10 * np.log10(np.maximum(profile / profile.max(), 1e-12))
    margins = np.arange(window, n // 2 - window)
    ends = []
    for one in (level, level[::-1]):
        total = np.concatenate([[0.0], np.cumsum(one)])
        outside = (total[margins] - total[margins - window]) / window
        inside = (total[margins + window] - total[margins]) / window
        # What lies further out must be as low: a weak line among others is no border.
        ends.append(np.where(total[margins] / margins <= outside + 3, inside - outside, 0.0))
    slack = max(2, n // 50)
    best = (0.0, 1.0)
    for i, fall in enumerate(ends[0]):
        weaker = min(float(fall), float(ends[1][max(0, i - slack) : i + slack + 1].max()))
        if weaker > best[0]:
            best = (weaker, 1 - 2 * float(margins[i]) / n)
    return best


def conjugate_symmetric(kspace: Kspace) -> Finding:
    r"""Made from a magnitude image: k-space equals its own mirror image, conjugated.

    With x the image, the evidence is :math:`\max_s |F(x^2)(s)| / \sum |x|^2`, which is 1 where the phase of the image
    is one number, or a straight ramp, everywhere. A scanner's images carry the phase of the receiver and the field.
    Only columns whose mirror image was measured too are used. The median over coils.
    """
    if missing_inside(kspace).any():
        filled = (kspace != 0).any(axis=(0, 1))
        kspace = kspace * (filled & np.roll(filled[::-1], 1 if filled.size % 2 == 0 else 0))
    values = []
    for coil in kspace:
        image = ifftc(coil)
        energy = float(power(image).sum())
        if energy > 0:
            spectrum = np.abs(fftc(image * image)) * np.sqrt(image.size)
            values.append(float(spectrum.max()) / energy)
    value = float(np.median(values)) if values else 0.0
    text = ""
    if value > SYMMETRIC_LIMIT:
        text = (
            "K-space is its own mirror image: it was computed from a magnitude image, such as a DICOM picture, not "
            "measured. Phase and noise are missing, and with them much of what makes reconstruction hard: scores on it "
            "say little about patients."
        )
    return Finding("conjugate-symmetric", value, SYMMETRIC_LIMIT, "coherence with the mirror image", text)


def masked_already(kspace: Kspace, declared: bool = False) -> Finding:
    """Undersampled already, and the file does not say so: columns inside are empty, or nearly.

    Parameters
    ----------
    declared
        Whether the file carries a mask that leaves columns out.
    """
    profile = np.median(power(kspace), axis=(0, 1))
    where = np.flatnonzero(profile > 0)
    value = 0.0
    if where.size:
        inside = profile[where[0] : where[-1] + 1]
        reach = max(4, inside.size // 10)
        padded = np.pad(inside, reach)
        highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=-1)
        value = float((inside < 1e-4 * highest).mean())
    text = ""
    if value > MASKED_LIMIT and not declared:
        text = (
            f"{value:.0%} of the phase-encode columns are empty, and the file has no mask that says so: k-space was "
            "undersampled before. It is no fully sampled reference, and a target made from it holds aliases."
        )
    return Finding("already-masked", value, MASKED_LIMIT, "part of the columns that are empty", text)
