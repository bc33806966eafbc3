"""Where the pixels of an image lie in the patient, as far as the scan's header says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.scan import Header

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Voxel sizes and position of an image volume `(slice, height, width)`.

    Parameters
    ----------
    voxel
        Size along height, width and from slice to slice in mm; None where the header does not say.
    affine
        4 × 4, from (row, column, slice) to mm towards the patient's left, posterior and head, as in DICOM; None
        where position or orientation is not known.
    order
        The slices in the order in which they lie along the affine's third axis.
    thickness
        Of a slice, in mm; it differs from the distance between slices where there are gaps.
    notes
        What is not known or had to be assumed, one sentence each.
    """

    voxel: tuple[float, float, float] | None = None
    affine: Affine | None = None
    order: tuple[int, ...] = ()
    thickness: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_attributes(cls, told: dict[str, Any], n_slices: int) -> Placement:
        """What `attributes` wrote, as far as it is there."""
        voxel, affine, order = (told.get(name) for name in ("voxel_mm", "affine_lps", "slice_order"))
        order = order if isinstance(order, list) else [order]
        thickness = told.get("slice_thickness_mm")
        known = isinstance(voxel, list) and len(voxel) == 3 and all(v > 0 for v in voxel)
        placed = isinstance(affine, list) and len(affine) == 16 and sorted(order) == list(range(n_slices))
        found = cls(
            voxel=(float(voxel[0]), float(voxel[1]), float(voxel[2])) if known and voxel else None,
            affine=np.array(affine, dtype=float).reshape(4, 4) if known and placed else None,
            order=tuple(order) if known and placed else tuple(range(n_slices)),
            thickness=float(thickness) if isinstance(thickness, int | float) else None,
        )
        return found if found.affine is not None else found.with_notes()

    def attributes(self) -> dict[str, Any]:
        """Numbers to keep in a file, from which `from_attributes` makes it again."""
        told: dict[str, Any] = {}
        if self.voxel is not None:
            told["voxel_mm"] = list(self.voxel)
        if self.thickness is not None:
            told["slice_thickness_mm"] = self.thickness
        if self.affine is not None:
            told |= {"affine_lps": self.affine.ravel().tolist(), "slice_order": list(self.order)}
        return told

    def with_notes(self) -> Placement:
        """The same, saying what is missing."""
        if self.voxel is None:
            note = (
                "The scan states neither field of view nor position: lengths are in voxels, not millimetres."
            )
        else:
            note = "The scan states no position and orientation: voxel sizes are right, their place is not."
        return Placement(self.voxel, self.affine, self.order, self.thickness, (*self.notes, note))

    def affine_or_voxels(self) -> Affine:
        """The affine; where it is not known, one with the voxel sizes alone, or of unit voxels."""
        return self.affine if self.affine is not None else np.diag([*(self.voxel or (1.0, 1.0, 1.0)), 1.0])


def placement(
    header: Header,
    kspace_shape: tuple[int, int],
    image_shape: tuple[int, int],
    slices: tuple[int, int],
) -> Placement:
    """Where the images of a scan lie.

    The centre of the field of view is pixel ``n // 2`` of k-space's own matrix; cropping about the centre moves
    the corner, not the voxels.

    Parameters
    ----------
    kspace_shape, image_shape
        (height, width) before and after the crop.
    slices
        First slice and one past the last of those in the image.
    """
    n_slices = slices[1] - slices[0]
    order = tuple(range(n_slices))
    fov = header.encoded_fov
    if fov is None:
        return Placement(order=order).with_notes()
    row, column = fov[0] / kspace_shape[0], fov[1] / kspace_shape[1]
    thickness = next((v[2] for v in (header.recon_fov, fov) if v is not None and v[2] > 0), 1.0)
    if header.positions is None or header.orientation is None or len(header.positions) < slices[1]:
        return Placement((row, column, thickness), None, order, thickness).with_notes()
    positions = np.array(header.positions[slice(*slices)], dtype=float)
    read, phase, normal = (np.array(v, dtype=float) for v in header.orientation)
    order = tuple(int(i) for i in np.argsort(positions @ normal, kind="stable"))
    positions = positions[list(order)]
    step = (positions[-1] - positions[0]) / (n_slices - 1) if n_slices > 1 else normal * thickness
    notes: tuple[str, ...] = ()
    if n_slices > 1:
        straight = positions[0] + np.arange(n_slices)[:, None] * step
        if not np.linalg.norm(step) > 0 or np.abs(positions - straight).max() > 0.1 * np.linalg.norm(step):
            notes = (
                "The slices are not evenly spaced along a line: their distance is a slice's thickness here.",
            )
            step = normal * thickness
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = read * row, phase * column, step
    center = [n // 2 - (n - m) // 2 for n, m in zip(kspace_shape, image_shape, strict=True)]
    affine[:3, 3] = positions[0] - affine[:3, 0] * center[0] - affine[:3, 1] * center[1]
    return Placement((row, column, float(np.linalg.norm(step))), affine, order, thickness, notes)


def displayed(
    pixels: NDArray[Any], placed: Placement
) -> tuple[NDArray[Any], Affine, tuple[float, float, float]]:
    """Slices in spatial order, turned as a radiologist expects them: nothing is interpolated.

    Axial: the patient's left at the right, front up. Coronal: head up. Sagittal: head up, front at the left.
    Without a known orientation they stay as stored.

    Returns
    -------
    tuple
        Pixels, their affine (`Placement.affine_or_voxels`), and voxel sizes.
    """
    affine = placed.affine_or_voxels().copy()
    voxel = placed.voxel or (1.0, 1.0, 1.0)
    pixels = pixels[list(placed.order)] if placed.order else pixels
    if placed.affine is None:
        return pixels, affine, voxel
    rows, columns = affine[:3, 0], affine[:3, 1]
    normal = np.abs(np.cross(rows, columns))
    # The patient's axis that should run to the right, and the one that should run down, with its sign.
    across, down, sign = ((1, 2, -1), (0, 2, -1), (0, 1, 1))[int(np.argmax(normal))]
    if abs(rows[across]) / np.linalg.norm(rows) > abs(columns[across]) / np.linalg.norm(columns):
        pixels = pixels.swapaxes(1, 2)
        affine[:, [0, 1]] = affine[:, [1, 0]]
        voxel = (voxel[1], voxel[0], voxel[2])
    for axis, wanted in ((0, sign * affine[down, 0]), (1, affine[across, 1])):
        if wanted < 0:
            pixels = np.flip(pixels, axis + 1)
            affine[:3, 3] += affine[:3, axis] * (pixels.shape[axis + 1] - 1)
            affine[:3, axis] *= -1
    return np.ascontiguousarray(pixels), affine, voxel
