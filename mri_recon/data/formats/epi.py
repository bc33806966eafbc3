"""EPI reads every other line backwards; what that does to the phase is measured by its correction lines.

Reversed lines see k-space shifted by a part of a sample, and another phase: a straight line over the image's
readout. Both come from two correction lines without phase encoding, one of either direction.

References
----------
.. [1] Ahn and Cho (1987), IEEE Trans Med Imaging 6:32-36.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import ScanError

if TYPE_CHECKING:
    from mri_recon.data.formats.readouts import Raw


def ghost_phases(raw: Raw, own: NDArray[np.bool_], slices: NDArray[Any]) -> tuple[tuple[float, float], ...]:
    """Slope (radians a pixel) and offset (radians at the centre) of the phase of reversed lines, for each slice.

    Raises
    ------
    ScanError
        A slice lacks correction lines of either direction.
    """
    from mri_recon.data.formats.readouts import PHASE_CORRECTION

    table = raw.table
    found = []
    for number in slices:
        rows = (table["purpose"] == PHASE_CORRECTION) & (table["slice"] == number)
        # Correction lines are mostly measured once a repetition; where not, the file's serve all.
        rows = rows & own if (rows & own).any() else rows
        forward, backward = (_mean_image(raw, rows & (table["reverse"] == r)) for r in (False, True))
        if forward is None or backward is None or forward.shape != backward.shape:
            raise ScanError(
                f"{raw.path}: EPI without correction data is not supported; slice {number} lacks correction lines of "
                "both directions. Sort it with another tool."
            )
        found.append(phase_between(forward, backward))
    return tuple(found)


def phase_between(forward: NDArray[Any], backward: NDArray[Any]) -> tuple[float, float]:
    """Line through the phase of `backward` over `forward`, `(coil, pixel)` images, by their autocorrelation."""
    product = (backward * forward.conj()).sum(axis=0)
    slope = float(np.angle(np.sum(product[1:] * product[:-1].conj())))
    pixels = np.arange(product.size) - product.size // 2
    offset = float(np.angle(np.sum(product * np.exp(-1j * slope * pixels))))
    return slope, offset


def corrected(samples: NDArray[np.complex64], ghost: tuple[float, float]) -> NDArray[np.complex64]:
    """A reversed readout, already turned, without that phase."""
    from mri_recon.physics.fourier import fftc, ifftc

    n = samples.shape[-1]
    phase = ghost[0] * (np.arange(n) - n // 2) + ghost[1]
    image = ifftc(np.ascontiguousarray(samples), axes=(-1,)) * np.exp(-1j * phase)
    return np.asarray(fftc(image.astype(np.complex64), axes=(-1,)))


def _mean_image(raw: Raw, rows: NDArray[np.bool_]) -> NDArray[Any] | None:
    from mri_recon.physics.fourier import ifftc

    chosen = np.flatnonzero(rows)
    if not len(chosen):
        return None
    lines = [
        s[:, ::-1] if raw.table["reverse"][r] else s
        for r, s in zip(chosen, raw.load(chosen.tolist()), strict=True)
    ]
    if len({line.shape for line in lines}) > 1:
        return None
    return np.asarray(ifftc(np.mean(lines, axis=0), axes=(-1,)))
