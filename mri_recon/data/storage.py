"""Scans and reconstructions in fastMRI's HDF5 layout, one file a volume.

Only `kspace` is required; whatever else is missing or contradicts it is done without, with a note in
`Scan.notes`. Nothing is held in memory beyond the slices asked for, and no file stays open.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.hdf5 import closest, find_dataset, open_hdf5, read_attributes
from mri_recon.data.header import build_header, with_place
from mri_recon.data.layout import (
    contents,
    find_companion,
    find_header,
    find_kspace,
    find_mask,
    find_target,
    stored_slices,
)
from mri_recon.data.new_hdf5 import NewFile, create_hdf5
from mri_recon.data.scan import Scan, Slices
from mri_recon.errors import OutputError, ScanError
from mri_recon.files import one_line

_SUFFIXES = (".h5", ".hdf5")
_POSITIONS, _ORIENTATION = "slice_positions_mm", "slice_orientation"
"""Attributes for what fastMRI's layout has no place for: where the slices lie."""


def read_scan(path: str | Path) -> Scan:
    """Open a scan: check all that can be checked without reading k-space.

    Returns
    -------
    Scan
        Its arrays read slices from the file when indexed, as complex64 or float32.

    Raises
    ------
    ScanError
        The file is not a scan or not a sound one. Damage inside the data shows when its slice is read.

    References
    ----------
    .. [1] Zbontar et al. (2018), fastMRI: An open dataset and benchmarks for accelerated MRI,
       arXiv:1811.08839.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        kspace = find_kspace(file, path)
        mask = find_mask(file, path, kspace.shape[-1])
        attributes, notes = read_attributes(file, path)
        header, header_notes = find_header(file, path, kspace.shape[-1])
        target, target_notes = find_target(file, path, kspace)
        smaps, smaps_notes = find_companion(file, path, "sensitivity_maps", kspace)
        truth, truth_notes = find_companion(file, path, "truth", kspace)
    acquisition = str(attributes.pop("acquisition", "")).strip()
    header = with_place(
        header, attributes.pop(_POSITIONS, None), attributes.pop(_ORIENTATION, None), kspace.shape[0]
    )
    return Scan(
        name=path.name,
        kspace=kspace,
        target=target,
        mask=mask,
        header=header,
        acquisition=acquisition or "unknown",
        smaps=smaps,
        truth=truth,
        n_coils_stored=0 if len(kspace.stored_shape) == 3 else kspace.shape[1],
        attributes=attributes,
        path=path,
        notes=notes + header_notes + target_notes + smaps_notes + truth_notes,
    )


def read_reconstruction(path: str | Path) -> NDArray[np.float32]:
    """Read the images of a reconstruction file.

    Returns
    -------
    NDArray
        `(slice, height, width)`.

    Raises
    ------
    ScanError
        The file holds no data set `reconstruction` of real images, or it is damaged.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        data = find_dataset(file, path, "reconstruction")
        if data is None:
            raise ScanError(
                f"{one_line(path)} has no data set 'reconstruction', it has {contents(file, path)}. "
                "Expected a reconstruction file, as `mri-recon reconstruct` writes."
            )
        if len(data.shape) != 3 or 0 in data.shape:
            raise ScanError(
                f"{one_line(path)}: 'reconstruction' has shape {data.shape}, expected (slice, height, "
                "width), none of them zero. Reshape it."
            )
        if data.dtype.kind not in "fiu":
            raise ScanError(
                f"{one_line(path)}: 'reconstruction' is {data.dtype}, expected real magnitudes. "
                "Store the absolute value as float32."
            )
        images = stored_slices(path, "reconstruction", data, data.shape, complex_valued=False)
    return images[:]


def reconstruction_attributes(path: str | Path) -> dict[str, Any]:
    """What a reconstruction file says of how it was made, as plain texts and numbers.

    Raises
    ------
    ScanError
        The file cannot be read.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        return read_attributes(file, path)[0]


def read_first_slice(path: str | Path) -> int | None:
    """Slice of the scan that a reconstruction starts with, None where its file does not say."""
    first = reconstruction_attributes(path).get("first_slice")
    return first if isinstance(first, int) and first >= 0 else None


def holds_reconstruction(path: str | Path) -> bool:
    """Whether a file holds reconstructed images rather than a scan.

    Raises
    ------
    ScanError
        The file cannot be read.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        return (
            find_dataset(file, path, "kspace") is None
            and find_dataset(file, path, "reconstruction") is not None
        )


def find_scans(paths: Iterable[str | Path], suffixes: tuple[str, ...] = _SUFFIXES) -> list[Path]:
    """List the scan files that `paths` stand for: files as they are, folders by their HDF5 files.

    Folders are not searched below, and hidden and unfinished (``.part``) files are passed over. A file
    named twice is listed once.

    Parameters
    ----------
    suffixes
        Of the files that count as scans in a folder.

    Raises
    ------
    ScanError
        A path does not exist, or a folder holds no scans.
    """
    files: dict[str, Path] = {}
    for path in [Path(paths)] if isinstance(paths, str | Path) else map(Path, paths):
        try:
            found = _scans_in(path, suffixes) if path.is_dir() else [path]
            for file in found:
                if not os.path.lexists(file):
                    raise ScanError(f"{one_line(file)} does not exist. {closest(file)}")
                files.setdefault(str(file.parent.resolve() / file.name), file)
        except (OSError, RuntimeError, ValueError) as error:
            reason = one_line(getattr(error, "strerror", None) or error)
            message = f"{one_line(path)} cannot be searched: {reason}. Check its path and permissions."
            raise ScanError(message) from error
    if not files:
        raise ScanError("No scans were named. Name one or more HDF5 files or folders of them.")
    return list(files.values())


def write_scan(path: str | Path, scan: Scan, *, overwrite: bool = False) -> None:
    """Write a scan in fastMRI's layout, slice by slice.

    A header is generated where the scan has none. `scan` may come from the very file that is overwritten.

    Raises
    ------
    OutputError
        The file exists or cannot be written, or the scan's arrays contradict each other.
    """
    with create_hdf5(path, overwrite=overwrite) as file:
        _put_slices(file, "kspace", scan.kspace, np.complex64, scan.n_coils_stored == 0)
        values = {"patient_id": Path(scan.name).stem, **scan.attributes, "acquisition": scan.acquisition}
        if scan.target is not None:
            name = "reconstruction_esc" if scan.n_coils == 1 else "reconstruction_rss"
            values["max"], values["norm"] = _put_slices(file, name, scan.target, np.float32)
        if scan.smaps is not None:
            _put_slices(file, "sensitivity_maps", scan.smaps, np.complex64, scan.n_coils_stored == 0)
        if scan.truth is not None:
            _put_slices(file, "truth", scan.truth, np.complex64)
        if scan.mask is not None:
            file.put_whole("mask", np.asarray(scan.mask, dtype=bool).reshape(scan.shape[1]))
        xml = build_header(scan) if scan.header.xml is None else scan.header.xml
        file.put_whole("ismrmrd_header", np.bytes_(xml.encode("utf-8")))
        if scan.header.positions is not None and scan.header.orientation is not None:
            values[_POSITIONS] = [x for position in scan.header.positions for x in position]
            values[_ORIENTATION] = [x for direction in scan.header.orientation for x in direction]
        for key, value in values.items():
            file.attribute(key, value)


class ReconstructionWriter:
    """Writes a reconstruction file a few slices at a time; use it in a `with` block.

    The file appears under its name when the block ends and every slice was written, not before.

    Parameters
    ----------
    path
        File to write.
    shape
        `(slice, height, width)` of the whole volume.
    attributes
        Texts and numbers to keep with it, such as the method and its settings.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    OutputError
        The file exists or cannot be written, images do not fit, or slices are missing at the end.
    """

    def __init__(
        self,
        path: str | Path,
        shape: tuple[int, int, int],
        *,
        attributes: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        self._path = Path(path)
        self._shape = tuple(int(n) for n in shape)
        self._attributes = dict(attributes or {})
        self._overwrite = overwrite
        self._written: set[int] = set()
        self._context: AbstractContextManager[None] = self._writing()
        if len(self._shape) != 3 or min(self._shape) < 1:
            raise OutputError(
                f"Cannot write {one_line(path)}: images of shape {self._shape}, expected (slice, height, "
                "width), none of them zero. Reshape them."
            )

    def __enter__(self) -> ReconstructionWriter:
        self._context.__enter__()
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._context.__exit__(*exception)

    def write(self, index: slice, images: NDArray[Any]) -> None:
        """Write real `images` `(n, height, width)` as the slices `index`."""
        slices = range(self._shape[0])[index]
        images = np.asarray(images)
        if images.shape != (len(slices), *self._shape[1:]) or images.dtype.kind not in "fiu":
            raise OutputError(
                f"Cannot write {one_line(self._path)}: got images {images.shape} {images.dtype} for "
                f"{len(slices)} slices, expected real {(len(slices), *self._shape[1:])}. Pass magnitudes."
            )
        for i, image in zip(slices, images, strict=True):
            self._file.put(self._data, i, image)
            self._written.add(i)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with create_hdf5(self._path, overwrite=self._overwrite) as self._file:
            self._data = self._file.create("reconstruction", self._shape, np.float32)
            for key, value in self._attributes.items():
                self._file.attribute(key, value)
            yield
            missing = sorted(set(range(self._shape[0])) - self._written)
            if missing:
                raise OutputError(
                    f"Cannot write {one_line(self._path)}: {len(missing)} of {self._shape[0]} slices were "
                    f"never given, the first is {missing[0]}. Write every slice."
                )


def write_reconstruction(
    path: str | Path,
    images: NDArray[Any],
    *,
    attributes: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write real images `(slice, height, width)` as fastMRI does: float32, data set `reconstruction`.

    Raises
    ------
    OutputError
        The file exists or cannot be written, or `images` are not real numbers of three axes.
    """
    images = np.asarray(images)
    shape: Any = images.shape
    with ReconstructionWriter(path, shape, attributes=attributes, overwrite=overwrite) as writer:
        writer.write(slice(None), images)


def _scans_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    def scans(directory: Path) -> list[Path]:
        inside = (p for p in directory.iterdir() if p.suffix.lower() in suffixes)
        return sorted(p for p in inside if not p.name.startswith(".") and not p.is_dir())

    found = scans(folder)
    if not found:
        below = [
            p.name for p in sorted(folder.iterdir()) if p.is_dir() and os.access(p, os.R_OK) and scans(p)
        ]
        fix = f"Its folder '{one_line(below[0])}' has some: name that." if below else "Name another folder."
        raise ScanError(f"{one_line(folder)} holds no scans (*{', *'.join(suffixes)}). {fix}")
    return found


def _put_slices(
    file: NewFile, name: str, slices: Slices, dtype: Any, drop_coil_axis: bool = False
) -> tuple[float, float]:
    """Write an array slice by slice; of a real one, the largest magnitude and the Euclidean norm."""
    shape = tuple(slices.shape)
    drop = drop_coil_axis and shape[1] == 1
    data = file.create(name, (shape[0], *shape[2:]) if drop else shape, dtype)
    largest, squares = 0.0, 0.0
    for i in range(shape[0]):
        block = np.asarray(slices[i : i + 1])
        if block.shape != (1, *shape[1:]):
            raise OutputError(
                f"Cannot write {one_line(file.path)}: slice {i} of '{name}' came as {block.shape}, expected "
                f"{(1, *shape[1:])}. Check the scan's arrays."
            )
        file.put(data, i, block[0, 0] if drop else block[0])
        if dtype == np.float32:
            largest = max(largest, float(np.abs(block).max()))
            squares += float(np.square(np.abs(block), dtype=np.float64).sum())
    return largest, math.sqrt(squares)
