"""Accelerated-MRI reconstruction: zero-filled, compressed sensing and learned.

>>> from mri_recon import read_scan, reconstruct
>>> result = reconstruct(read_scan("scan.h5"), method="cs")  # doctest: +SKIP

Names are imported when first used, so that ``import mri_recon`` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "MriReconError": "mri_recon.errors",
    "Scan": "mri_recon.data.scan",
    "evaluate": "mri_recon.evaluation.run",
    "generate_mask": "mri_recon.physics.masks",
    "read_scan": "mri_recon.data.formats.registry",
    "read_scans": "mri_recon.data.formats.registry",
    "reconstruct": "mri_recon.reconstruct",
    "sample_scan": "mri_recon.data.phantom",
    "train": "mri_recon.training.loop",
    "write_reconstruction": "mri_recon.data.storage",
    "write_scan": "mri_recon.data.storage",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from mri_recon.data.formats.registry import read_scan, read_scans
    from mri_recon.data.phantom import sample_scan
    from mri_recon.data.scan import Scan
    from mri_recon.data.storage import write_reconstruction, write_scan
    from mri_recon.errors import MriReconError
    from mri_recon.evaluation.run import evaluate
    from mri_recon.physics.masks import generate_mask
    from mri_recon.reconstruct import reconstruct
    from mri_recon.training.loop import train


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mri_recon' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(types.ModuleType):
    """Keeps `mri_recon.reconstruct` the function: importing the file of that name would put it there."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
