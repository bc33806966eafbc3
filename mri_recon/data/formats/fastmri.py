"""fastMRI's HDF5 layout as one of the formats; `mri_recon.data.storage` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mri_recon.data.formats.base import Format, ReadOptions, WriteOptions, lost
from mri_recon.data.geometry import Placement
from mri_recon.data.images import Images, images_of
from mri_recon.data.scan import Scan
from mri_recon.data.storage import (
    holds_reconstruction,
    read_reconstruction,
    read_scan,
    reconstruction_attributes,
    write_reconstruction,
    write_scan,
)
from mri_recon.errors import ScanError
from mri_recon.files import one_line


class FastMri(Format):
    """fastMRI's HDF5: k-space with its target, or reconstructed images."""

    name: ClassVar[str] = "h5"
    suffix: ClassVar[str] = ".h5"
    suffixes: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start.startswith(b"\x89HDF\r\n\x1a\n")

    @classmethod
    def read_scans(cls, path: Path, options: ReadOptions) -> tuple[Scan, ...]:
        return (read_scan(path),)

    @classmethod
    def read_images(cls, path: Path) -> Images:
        if holds_reconstruction(path):
            images, told = read_reconstruction(path), reconstruction_attributes(path)
            return Images(path.name, images, Placement.from_attributes(told, len(images)), told)
        scan = read_scan(path)
        if scan.target is None:
            raise ScanError(
                f"{one_line(path)} holds k-space without a target, so there is no image to convert. Reconstruct it: "
                f"mri-recon reconstruct {path.name} -f nifti"
            )
        return images_of(scan, scan.target[:], attributes={"method": "target of the scan's file"})

    @classmethod
    def write_scan(cls, path: Path, scan: Scan, *, overwrite: bool) -> tuple[str, ...]:
        write_scan(path, scan, overwrite=overwrite)
        return lost({"separate calibration lines": scan.calibration})

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        attributes = {**images.attributes, **images.placed.attributes()}
        write_reconstruction(path, images.pixels, attributes=attributes, overwrite=overwrite)
        return ()
