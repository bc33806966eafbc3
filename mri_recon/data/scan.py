"""A scan: k-space, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Slices(Protocol):
    """Slices that are read when indexed: a numpy array, or a data set on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Whole shape, slices first."""

    def __getitem__(self, index: slice, /) -> NDArray[Any]: ...


Vector = tuple[float, float, float]
"""A point or direction in the patient (towards left, posterior and head; mm), or a size along x, y, z."""


@dataclass(frozen=True)
class Header:
    """What the header says of the geometry; None where it says nothing.

    `encoded` and `recon` are matrix sizes (x, y, z) with x the readout; `padding` is the first column that
    was acquired and one past the last: columns outside were never measured and hold zeros. `encoded_fov` and
    `recon_fov` are the sizes of those matrices in mm; that of z is a slice's thickness. `positions` are the
    centres of the slices, one each; `orientation` the directions in which readout, phase encode and slices run.
    """

    encoded: tuple[int, int, int] | None = None
    recon: tuple[int, int, int] | None = None
    padding: tuple[int, int] | None = None
    xml: str | None = None
    encoded_fov: Vector | None = None
    recon_fov: Vector | None = None
    positions: tuple[Vector, ...] | None = None
    orientation: tuple[Vector, Vector, Vector] | None = None


@dataclass(frozen=True)
class Scan:
    """One acquisition.

    Parameters
    ----------
    name
        File name with its extension: it seeds the mask, as in fastMRI.
    kspace
        `(slice, coil, height, width)` complex64, fully sampled or not; one coil is ``coil = 1``.
    target
        Reference magnitude images, `(slice, h, w)` float32.
    mask
        `(width,)` bool, True where acquired, if the file says so.
    smaps
        Known coil sensitivity maps, shaped as `kspace`; generated scans have them.
    truth
        Known complex image `(slice, height, width)`; generated scans have it.
    calibration
        K-space of calibration lines measured apart, shaped as `kspace`, zeros elsewhere: coil maps come from it.
    n_coils_stored
        0 where the file had no coil axis.
    notes
        What had to be assumed in reading it, one sentence each.
    """

    name: str
    kspace: Slices
    target: Slices | None = None
    mask: NDArray[np.bool_] | None = None
    header: Header = Header()
    acquisition: str = "unknown"
    smaps: Slices | None = None
    truth: Slices | None = None
    calibration: Slices | None = None
    n_coils_stored: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def n_slices(self) -> int:
        """Slices in the volume."""
        return self.kspace.shape[0]

    @property
    def n_coils(self) -> int:
        """Receiver coils."""
        return self.kspace.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of k-space."""
        return self.kspace.shape[2], self.kspace.shape[3]

    @property
    def crop_shape(self) -> tuple[int, int]:
        """(height, width) a reconstruction is cropped to.

        The target's size if there is one, else the header's reconstruction matrix (fastMRI's rule: a
        square of the width where the image is narrower), else no crop.
        """
        height, width = self.shape
        if self.target is not None:
            h, w = self.target.shape[-2:]
        elif self.header.recon is not None:
            h, w, _ = self.header.recon
            if width < w:
                h = w = width
        else:
            return height, width
        return min(h, height), min(w, width)
