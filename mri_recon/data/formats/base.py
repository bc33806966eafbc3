"""What a file format can do; each format is a child that overrides what it can."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mri_recon.data.images import Images
from mri_recon.data.scan import Scan
from mri_recon.errors import OutputError, ScanError, SettingsError
from mri_recon.files import one_line

AXES = ("slice", "coil", "height", "width")


@dataclass(frozen=True)
class ReadOptions:
    """How files that leave a choice are read.

    Parameters
    ----------
    axes
        Meaning of an array's axes, such as ``("coil", "height", "width")``, where the file does not say.
    variable
        Name of the array in a file of several.
    remove_oversampling
        Cut the readout to the field of view that was asked for, where the header says it was oversampled.
    prewhiten
        Use a noise scan to decorrelate the coils.
    """

    axes: tuple[str, ...] | None = None
    variable: str | None = None
    remove_oversampling: bool = True
    prewhiten: bool = True

    def __post_init__(self) -> None:
        if self.axes is None:
            return
        known = all(axis in AXES for axis in self.axes)
        if not known or len(set(self.axes)) < len(self.axes) or not {"height", "width"} <= set(self.axes):
            raise SettingsError(
                f"Axes '{','.join(self.axes)}': expected {','.join(AXES)} in the order of the array, each at most "
                "once, height (readout) and width (phase encode) among them."
            )


@dataclass(frozen=True)
class WriteOptions:
    """How files that leave a choice are written.

    Parameters
    ----------
    keep_identity
        Keep the patient's name and number in DICOM files; they are replaced by default.
    """

    keep_identity: bool = False


class Format:
    """A file format. A child says what it can do by overriding it.

    `suffix` is given to new files, `suffixes` are those that stand for the format in a file's name; `folder` is
    set where a volume is a folder of files, `kspace` where a file holds k-space.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    folder: ClassVar[bool] = False
    kspace: ClassVar[bool] = True

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        """Whether an existing file is of this format, judged by its content: `start` is its first 256 bytes."""
        return False

    @classmethod
    def read_scans(cls, path: Path, options: ReadOptions) -> tuple[Scan, ...]:
        """The scans in a file."""
        raise ScanError(
            f"{one_line(path)} holds images ({cls.name}), expected k-space. Name the raw data that they were made from."
        )

    @classmethod
    def read_images(cls, path: Path) -> Images:
        """The images in a file."""
        if not cls.kspace:
            raise ScanError(
                f"{one_line(path)}: format {cls.name} is written, not read. Name the file that it was made from."
            )
        raise ScanError(
            f"{one_line(path)} holds k-space ({cls.name}), not images. "
            f"Reconstruct it: mri-recon reconstruct {path.name}"
        )

    @classmethod
    def file_for(cls, path: Path) -> Path:
        """The file that is written where `path` is asked for."""
        return path

    @classmethod
    def write_scan(cls, path: Path, scan: Scan, *, overwrite: bool) -> tuple[str, ...]:
        """Write a scan; what the format cannot keep comes back, a sentence each."""
        raise OutputError(
            f"{one_line(path)}: format {cls.name} does not take k-space. Use h5, mrd, cfl, npy, npz or mat."
        )

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        """Write images; what the format cannot keep comes back, a sentence each."""
        raise OutputError(
            f"{one_line(path)}: format {cls.name} does not take images. Use h5, nifti, dicom, png, tiff or cfl."
        )


def extra(module: str, package: str, path: Path) -> Any:
    """Import a module of an optional package.

    Raises
    ------
    SettingsError
        It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"{one_line(path)} needs the package {package}, which is not installed. "
            "Install it with: pip install 'mri-recon[formats]'"
        ) from error


def lost(things: Mapping[str, object]) -> tuple[str, ...]:
    """A sentence that names those of the things that a scan has and a format cannot keep."""
    names = [name for name, value in things.items() if value is not None]
    return (f"Not kept: {', '.join(names)}.",) if names else ()
