"""Magnitude volumes to simulate scans of: NIfTI files and folders of PNG slices."""

from __future__ import annotations

import hashlib
import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.plausible import implausible
from mri_recon.errors import ScanError
from mri_recon.files import one_line

_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Volume:
    """A volume on disk: a NIfTI file, or the PNG files of its slices."""

    name: str
    files: tuple[Path, ...]

    def sha256(self) -> str:
        """Of what its files hold, so that an image that was changed is not taken for the one before.

        Raises
        ------
        ScanError
            A file cannot be read.
        """
        digest = hashlib.sha256()
        for path in self.files:
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ScanError(
                    f"{one_line(path)} cannot be read: {one_line(error.strerror or error)}. Check its permissions."
                ) from error
        return digest.hexdigest()

    def read(self) -> NDArray[np.float32]:
        """Magnitudes `(slice, height, width)`, peak 1; anterior is up and the patient's right is on the left.

        Raises
        ------
        ScanError
            Not such a file, or no image in it.
        """
        nifti = self.files[0].name.lower().endswith(_NIFTI)
        images = _read_nifti(self.files[0]) if nifti else _read_pngs(self.files)
        where = one_line(self.files[0] if nifti else self.files[0].parent)
        if not np.isfinite(images).all():
            raise ScanError(f"{where} holds NaN or Inf. Mend the image or leave it out.")
        images = np.abs(images)
        if not images.any():
            raise ScanError(f"{where} is zero everywhere; expected an image. Leave it out.")
        return np.asarray(images / images.max(), dtype=np.float32)


def find_volumes(path: Path) -> list[Volume]:
    """Volumes that a path stands for.

    A NIfTI file is one; so is a folder of PNG files, its slices in the order of their names; a folder of NIfTI files
    or of such folders is several.

    Raises
    ------
    ScanError
        There is no such path, or no volume in it.
    """
    if not path.exists():
        raise ScanError(f"{one_line(path)} does not exist. Check the path.")
    if not path.is_dir():
        if not path.name.lower().endswith(_NIFTI):
            raise ScanError(
                f"{one_line(path)} is no NIfTI file (.nii, .nii.gz). Give one, or a folder of them or of PNG slices."
            )
        return [Volume(_stem(path), (path,))]
    inside = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    volumes = [Volume(_stem(p), (p,)) for p in inside if p.name.lower().endswith(_NIFTI)]
    for folder in (path, *(p for p in inside if p.is_dir())):
        slices = tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png"))
        volumes += [Volume(folder.resolve().name, slices)] if slices else []
    if not volumes:
        raise ScanError(
            f"{one_line(path)} holds no volumes; expected NIfTI files (.nii, .nii.gz), PNG slices, or folders of them."
        )
    names = [volume.name for volume in volumes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ScanError(f"{one_line(path)} has two volumes named '{one_line(twice)}'. Rename one.")
    return volumes


def _stem(path: Path) -> str:
    return path.name[: -len(next(s for s in reversed(_NIFTI) if path.name.lower().endswith(s)))]


def _read_nifti(path: Path) -> NDArray[np.float32]:
    try:
        nibabel: Any = importlib.import_module("nibabel")
    except ImportError as error:
        raise ScanError(
            f"{one_line(path)} is NIfTI, which needs nibabel: pip install 'mri-recon[formats]'."
        ) from error
    try:
        stored = nibabel.load(path)
        if implausible(math.prod(stored.shape) * stored.get_data_dtype().itemsize, path.stat().st_size):
            raise ValueError(f"{stored.shape} from {path.stat().st_size} bytes")
        image = nibabel.as_closest_canonical(stored)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by who asked
            values = np.asarray(image.dataobj)
            values = np.asarray(np.abs(values) if values.dtype.kind == "c" else values, dtype=np.float32)
    except (
        Exception
    ) as error:  # nibabel's own errors share no base, and damaged files raise zlib's and numpy's
        raise ScanError(
            f"{one_line(path)} cannot be read as NIfTI: {one_line(error)}. Export it again."
        ) from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or 0 in values.shape:
        raise ScanError(
            f"{one_line(path)} has shape {values.shape}, expected one volume of three axes. Split it into volumes."
        )
    # Canonical axes point right, anterior and superior; rows run to posterior, columns to the patient's left.
    return np.ascontiguousarray(values[::-1, ::-1].transpose(2, 1, 0))


def _read_pngs(files: tuple[Path, ...]) -> NDArray[np.float32]:
    from PIL import Image

    images: list[NDArray[np.float32]] = []
    for path in files:
        try:
            with Image.open(path) as picture:
                gray = picture if picture.mode in ("L", "I", "I;16", "I;16B", "F") else picture.convert("L")
                images.append(np.asarray(gray, dtype=np.float32))
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:  # some broken PNGs: SyntaxError
            raise ScanError(
                f"{one_line(path)} cannot be read as PNG: {one_line(error)}. Export it again."
            ) from error
        if images[-1].shape != images[0].shape:
            raise ScanError(
                f"{one_line(path)} is {images[-1].shape[0]}×{images[-1].shape[1]}, the first slice of its folder "
                f"{images[0].shape[0]}×{images[0].shape[1]}. Put volumes of one size each into folders of their own."
            )
    return np.stack(images)
