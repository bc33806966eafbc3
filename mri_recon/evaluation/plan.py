"""What is to be done with each scan: by which methods, at which sampling, scored how."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mri_recon
from mri_recon.data.sampling import read_mask
from mri_recon.evaluation.definitions import DEFINITIONS, definition_texts
from mri_recon.evaluation.manifest import versions, weights_record
from mri_recon.methods.base import Method
from mri_recon.physics.masks import Columns
from mri_recon.reconstruct import method_name_of

Pair = tuple[float, float | None]
"""Acceleration and center_fraction; None lets the acceleration choose its usual centre."""


@dataclass(frozen=True)
class Plan:
    """The settings of an evaluation, the same for every scan; it can be sent to another process.

    Parameters
    ----------
    pairs
        None where the usual one is meant.
    metrics
        Definitions besides fastMRI's.
    images
        Whether the images are wanted too, and not the scores alone.
    mask_file
        Where the columns of `mask` were read, if from a file.
    """

    methods: tuple[Method, ...]
    pairs: tuple[Pair, ...] | None
    mask: str | Columns | None
    seed: int | None
    slices: tuple[int, int] | None
    device: str
    metrics: tuple[str, ...] = ()
    images: bool = False
    journal: Path | None = None
    mask_file: str | None = None

    @property
    def cells(self) -> int:
        """Reconstructions there are of each scan."""
        return len(self.methods) * len(self.pairs or (None,))

    def settings(self, data: Any) -> dict[str, Any]:
        """All that is needed to run it again, ready for JSON."""
        columns = None
        if isinstance(self.mask, np.ndarray):
            columns = "".join("1" if c else "0" for c in np.asarray(self.mask).ravel())
        return {
            "version": mri_recon.__version__,
            "python": platform.python_version(),
            "data": data,
            "methods": {method_name_of(method): method.as_dict() for method in self.methods},
            "pairs": [list(pair) for pair in self.pairs or ((4.0, 0.08),)],
            "mask": "array" if columns is not None else str(self.mask or "random"),
            **({} if columns is None else {"mask_columns": columns}),
            **({} if self.mask_file is None else {"mask_file": self.mask_file}),
            "seed": "file name" if self.seed is None else self.seed,
            "slices": list(self.slices) if self.slices else None,
            "device": self.device,
            "metrics": DEFINITIONS["fastmri"],
            "definitions": definition_texts(self.metrics),
        }

    def key_of(self, method: Method, pair: Pair | None) -> dict[str, Any]:
        """All that the scores of one method at one pair depend on, besides the scan."""
        mask = self.mask
        if isinstance(mask, np.ndarray):
            mask = hashlib.sha256(np.asarray(mask, dtype=np.uint8).tobytes()).hexdigest()
        return {
            "method": method_name_of(method),
            "settings": method.as_dict(),
            "weights": weights_record(method)["sha256"] if method.learned else None,
            "pair": pair,
            "mask": mask,
            "seed": self.seed,
            "slices": self.slices,
            "device": self.device,
            "metrics": self.metrics,
            "versions": versions(),
        }


def plan_of(
    methods: Sequence[Method],
    pairs: Sequence[Pair] | None,
    mask: str | Columns | Path | None,
    **others: Any,
) -> Plan:
    """A plan, with its sequences frozen, and a mask file read: results must not hang on a file that may change."""
    frozen = None if pairs is None else tuple((a, f) for a, f in pairs)
    if isinstance(mask, Path):
        return Plan(tuple(methods), frozen, read_mask(mask), **others, mask_file=str(mask))
    return Plan(tuple(methods), frozen, mask, **others)
