"""Generated scans small enough that every test can afford one."""

from __future__ import annotations

from functools import cache

from mri_recon.data.phantom import sample_scan
from mri_recon.data.scan import Scan


@cache
def small_scan(
    name: str = "small.h5", *, height: int = 48, width: int = 40, n_slices: int = 2, n_coils: int = 3
) -> Scan:
    """A head with a target; the same object each time, so it must not be written to."""
    scan = sample_scan(height=height, width=width, n_slices=n_slices, n_coils=n_coils, noise=0.005, name=name)
    for array in (scan.kspace, scan.target):
        array.flags.writeable = False
    return scan
