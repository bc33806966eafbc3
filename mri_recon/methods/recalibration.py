"""Coil maps estimated again where little of the centre was acquired: from the centre of an image that has the rest.

Of five lines ESPIRiT cannot tell how maps vary across them: its kernel is two samples wide. What an image made with
such maps predicts for the columns beside those lines is right enough for a wider kernel, and the maps that this
gives make a better image. Where enough was acquired nothing is gained, and nothing is done.
"""

from __future__ import annotations

import numpy as np

from mri_recon.methods.base import Method
from mri_recon.physics.fourier import Array
from mri_recon.physics.masks import Columns, center_run

ENOUGH = 2 / 3
"""Part of the columns asked for that is enough if acquired: on measured scans nothing was gained by adding to more."""


def is_narrow(columns: Columns, wanted: int) -> bool:
    """Whether fewer centre columns were acquired than that maps are to be estimated from them alone."""
    start, stop = center_run(columns)
    return stop - start < ENOUGH * min(wanted, columns.size)


def completed_center(method: Method, kspace: Array, mask: Array, smaps: Array) -> tuple[Array, Columns]:
    """K-space of which the `method.recalibrate` centre columns are acquired or the method's, and which they are.

    Parameters
    ----------
    kspace, mask, smaps
        What the method is called with: maps of the acquired centre.
    """
    width = kspace.shape[-1]
    wanted = min(method.recalibrate, width)
    center = np.zeros(width, dtype=bool)
    first = (width - wanted + 1) // 2
    center[first : first + wanted] = True
    return method.completed(kspace, mask, smaps), center
