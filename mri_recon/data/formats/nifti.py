"""NIfTI images, by nibabel: pixels as they are, and an affine that places them in the patient."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mri_recon.data.formats.base import Format, WriteOptions, extra
from mri_recon.data.geometry import Placement
from mri_recon.data.images import Images
from mri_recon.data.plausible import implausible
from mri_recon.errors import ScanError
from mri_recon.files import atomic_output, one_line

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""NIfTI counts towards right and front, DICOM and ISMRMRD towards left and back."""


class Nifti(Format):
    """NIfTI-1, compressed or not."""

    name: ClassVar[str] = "nifti"
    suffix: ClassVar[str] = ".nii.gz"
    suffixes: ClassVar[tuple[str, ...]] = (".nii.gz", ".nii")
    kspace: ClassVar[bool] = False

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        plain = start[:4] in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c") and path.suffix == ".nii"
        return plain or (start.startswith(b"\x1f\x8b") and path.name.endswith(".nii.gz"))

    @classmethod
    def read_images(cls, path: Path) -> Images:
        nibabel = extra("nibabel", "nibabel", path)
        try:
            image = nibabel.load(path)
            if implausible(math.prod(image.shape) * image.get_data_dtype().itemsize, path.stat().st_size):
                raise ValueError(f"{image.shape} from {path.stat().st_size} bytes")
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
                values = np.asarray(image.dataobj)
        except MemoryError:
            raise
        except Exception as error:  # what a damaged file raises depends on the byte that is damaged
            raise ScanError(
                f"{one_line(path)} cannot be read as NIfTI ({one_line(error)[:120]}). Copy or download it again."
            ) from error
        values = (
            values.reshape(values.shape[:3]) if values.ndim > 3 and set(values.shape[3:]) == {1} else values
        )
        if (
            values.ndim != 3
            or 0 in values.shape
            or values.dtype.kind not in "fiu"
            or not np.isfinite(values).all()
        ):
            raise ScanError(
                f"{one_line(path)}: {values.dtype} {values.shape}, expected one volume of finite numbers. "
                "Cut it out first."
            )
        pixels = np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)
        order = tuple(range(len(pixels)))
        x, y, z = (float(size) for size in image.header.get_zooms()[:3])
        placed = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
        found = Placement((x, y, z), _TO_RAS @ image.affine if placed else None, order, z)
        return Images(path.name, pixels, found if placed else found.with_notes(), _attributes(image.header))

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        nibabel = extra("nibabel", "nibabel", path)
        placed = images.placed
        pixels = images.pixels[list(placed.order)] if placed.order else images.pixels
        volume = np.ascontiguousarray(pixels.transpose(1, 2, 0), dtype=np.float32)
        affine = _TO_RAS @ placed.affine_or_voxels()
        image = nibabel.Nifti1Image(volume, affine)
        image.header.set_xyzt_units("mm" if placed.voxel else "unknown")
        image.header["descrip"] = str(images.attributes.get("method", ""))[:79].encode("ascii", "replace")
        code = 1 if placed.affine is not None else 0  # 1: scanner coordinates; 0: voxel sizes only
        image.set_sform(affine, code=code)
        image.set_qform(affine, code=code)
        told = json.dumps(dict(images.attributes), default=str).encode()
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", told))
        content = image.to_bytes()
        with atomic_output(path, overwrite=overwrite) as part:
            # Without the time of day, so that the same image is the same file.
            part.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content)
        return placed.notes


def _attributes(header: Any) -> dict[str, Any]:
    """How the images were made, where `write_images` left it in a comment."""
    for extension in header.extensions:
        try:
            told = json.loads(extension.get_content()) if extension.get_code() == 6 else None
        except (ValueError, TypeError):
            continue
        if isinstance(told, dict):
            return told
    return {}
