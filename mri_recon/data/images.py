"""An image volume on its way into or out of a file: pixels, their place, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.geometry import Placement, placement
from mri_recon.data.scan import Scan


@dataclass(frozen=True)
class Images:
    """Images of one scan.

    Parameters
    ----------
    pixels
        Magnitude, `(slice, height, width)` float32.
    attributes
        How they were made, as texts and numbers.
    xml
        The scan's ISMRMRD header, where it has one: sequence and patient are told there.
    """

    name: str
    pixels: NDArray[np.float32]
    placed: Placement = field(default_factory=Placement)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    xml: str | None = None


def images_of(
    scan: Scan,
    pixels: NDArray[np.float32],
    *,
    slices: tuple[int, int] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Images:
    """Images made of a scan, placed as its header says.

    Parameters
    ----------
    pixels
        `(slice, height, width)`, cropped about the centre.
    slices
        First slice of the scan and one past the last; all of them by default.
    """
    height, width = pixels.shape[1:]
    placed = placement(scan.header, scan.shape, (height, width), slices or (0, scan.n_slices))
    return Images(scan.name, pixels, placed, dict(attributes or {}), scan.header.xml)


def white_of(pixels: NDArray[np.floating]) -> float:
    """Brightness to show as white: the 99.7th percentile, so that one bright pixel cannot black out the volume."""
    top = float(np.percentile(pixels, 99.7))
    return top if top > 0 else float(pixels.max()) or 1.0
