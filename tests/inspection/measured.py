"""A generated slice that has what a scanner's has: noise, phase, air around the head."""

from __future__ import annotations

from functools import cache

import numpy as np

from mri_recon.data.phantom import sample_scan
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc


@cache
def measured_slice(height: int = 160, width: int = 128, n_coils: int = 3, noise: float = 0.01) -> np.ndarray:
    """K-space `(coil, height, width)`; it must not be written to."""
    scan = sample_scan(
        height=height, width=width, n_slices=1, n_coils=n_coils, noise=noise, name="measured.h5"
    )
    kspace = scan.kspace[0].astype(np.complex64)
    kspace.flags.writeable = False
    return kspace


def image_of(kspace: np.ndarray) -> np.ndarray:
    """Root-sum-of-squares image."""
    return rss(ifftc(kspace))
