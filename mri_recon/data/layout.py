"""What fastMRI's data sets may look like, and what to make of those that do not.

K-space and a mask must be right; a header, target or coil maps that contradict k-space are left out, and
the note that comes back says so.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_recon.data.hdf5 import StoredSlices, explained, find_dataset, is_complex, plain, read_text
from mri_recon.data.header import parse_header
from mri_recon.data.scan import Header
from mri_recon.errors import ScanError
from mri_recon.files import one_line

_AXES = "(slice, height, width) or (slice, coil, height, width)"


def find_kspace(file: h5py.File, path: Path) -> StoredSlices:
    """K-space as `(slice, coil, height, width)`, however many axes it has in the file.

    Raises
    ------
    ScanError
        There is none, or it is not complex, not a volume, empty or kept elsewhere.
    """
    data = find_dataset(file, path, "kspace")
    if data is None:
        raise _not_a_scan(file, path)
    shown = f"{one_line(path)}: 'kspace'"
    with explained(path, "'kspace'"):
        shape, dtype, stored_bytes = data.shape, data.dtype, data.id.get_storage_size()
    if not is_complex(dtype):
        last_axis = "kspace[..., 0] + 1j * kspace[..., 1], if its last axis holds them"
        fix = last_axis if shape[-1:] == (2,) else "real + 1j * imaginary, if they are stored apart"
        raise ScanError(
            f"{shown} is {dtype}, shape {shape}; expected complex64. Combine real and imaginary "
            f"part first: {fix}."
        )
    if len(shape) not in (3, 4):
        add_axis, split = "Add a slice axis: kspace[None].", "Store one volume of those axes a file."
        fix = add_axis if len(shape) == 2 else split
        raise ScanError(f"{shown} has {len(shape)} axes, shape {shape}; expected {_AXES}. {fix}")
    if 0 in shape:
        raise ScanError(
            f"{shown} has shape {shape}: there is nothing in it, expected {_AXES}. Export it again."
        )
    if stored_bytes == 0:
        raise ScanError(f"{shown} was declared with shape {shape} but never written. Export it again.")
    logical = shape if len(shape) == 4 else (shape[0], 1, *shape[1:])
    return stored_slices(path, "kspace", data, logical, complex_valued=True)


def stored_slices(
    path: Path, name: str, data: h5py.Dataset, shape: tuple[int, ...], *, complex_valued: bool
) -> StoredSlices:
    """Describe a data set that was found, to be read as `shape` later."""
    # Absolute: slices may be read after the process has changed its folder.
    return StoredSlices(path.absolute(), name, tuple(shape), tuple(data.shape), complex_valued)


def _not_a_scan(file: h5py.File, path: Path) -> ScanError:
    shown, names = one_line(path), _names(file, path)
    with explained(path, "the groups"):
        # ISMRMRD: a group, by custom 'dataset', of the header 'xml' and the readouts 'data'.
        for name in names:
            link = file.get(name, getlink=True)
            group = file[name] if isinstance(link, h5py.HardLink) else None
            if isinstance(group, h5py.Group) and {"xml", "data"} <= set(group):
                return ScanError(
                    f"{shown} is raw ISMRMRD data (readouts in '{one_line(name)}/data'), expected fastMRI "
                    f"HDF5 with a data set 'kspace' {_AXES}. Convert it: mri-recon convert {path.name} scan.h5."
                )
    if "reconstruction" in names:
        fix = "It looks like an output file of `reconstruct`: pass the scan that it was made from."
    elif not names:
        fix = "Export it again."
    else:
        close = difflib.get_close_matches("kspace", names, n=1)
        fix = f"If that is '{one_line(close[0])}', rename it." if close else "Pass a file with k-space."
    return ScanError(f"{shown} has no data set 'kspace', it has {contents(file, path)}. {fix}")


def contents(file: h5py.File, path: Path) -> str:
    """Name the first things in the file, for an error message."""
    names = _names(file, path)
    shown = ", ".join(f"'{one_line(name)}'" for name in names[:8])
    return (shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"


def _names(file: h5py.File, path: Path) -> list[str]:
    with explained(path, "the list of data sets"):
        return [str(plain(name)) for name in file]  # h5py gives a name that is not UTF-8 as bytes


def find_mask(file: h5py.File, path: Path, width: int) -> NDArray[np.bool_] | None:
    """Columns acquired, `(width,)`; None if the file does not say.

    Raises
    ------
    ScanError
        It does not fit k-space: unlike a target, a mask that is wrong cannot be done without.
    """
    data = find_dataset(file, path, "mask")
    if data is None:
        return None
    shown = f"{one_line(path)}: 'mask'"
    if data.size != width:
        raise ScanError(
            f"{shown} has shape {data.shape}, expected ({width},), one value a column of k-space. "
            "Write the mask of this scan's columns, or delete the data set."
        )
    with explained(path, "'mask'"):
        values = np.asarray(data[()]).reshape(width)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ScanError(f"{shown} is {values.dtype}, expected booleans or finite numbers. Write it as bool.")
    mask: NDArray[np.bool_] = values != 0
    if not mask.any():
        raise ScanError(
            f"{shown} marks none of {width} columns as acquired, expected at least one. Delete the data set "
            "or write the right mask."
        )
    return mask


def find_header(file: h5py.File, path: Path, width: int) -> tuple[Header, tuple[str, ...]]:
    """Geometry from the ISMRMRD header, and notes on what could not be used."""
    try:
        xml = read_text(file, path, "ismrmrd_header")
    except ScanError as error:
        return Header(), (f"The ISMRMRD header was ignored: {error}",)
    return (Header(), ()) if xml is None else parse_header(xml, width)


def find_target(
    file: h5py.File, path: Path, kspace: StoredSlices
) -> tuple[StoredSlices | None, tuple[str, ...]]:
    """The reference images: RSS for several coils, ESC for one, else the other."""
    names = ["reconstruction_rss", "reconstruction_esc"]
    notes: list[str] = []
    for name in names if kspace.shape[1] > 1 else reversed(names):
        try:
            data = find_dataset(file, path, name)
            problem = _target_problem(data, kspace) if data is not None else None
        except ScanError as error:
            notes.append(f"The target '{name}' was left out: {error}")
            continue
        if data is not None and problem is None:
            return stored_slices(path, name, data, data.shape, complex_valued=False), tuple(notes)
        if problem is not None:
            notes.append(f"The target '{name}' was left out: {problem}.")
    return None, tuple(notes)


def _target_problem(data: h5py.Dataset, kspace: StoredSlices) -> str | None:
    shape, stored = tuple(data.shape), kspace.stored_shape
    if data.dtype.kind not in "fiu":
        return f"it is {data.dtype}, expected real magnitudes"
    if len(shape) != 3 or shape[0] != stored[0]:
        coils = f" (are its {stored[0]} slices coils? then store it as {(1, *stored)})"
        hint = coils if len(stored) == 3 and (len(shape) == 2 or shape[0] == 1) else ""
        return f"its shape {shape} does not fit k-space {stored}, expected {stored[0]} slices{hint}"
    if shape[1] > stored[-2] or shape[2] > stored[-1]:
        return f"its shape {shape} is larger than k-space {stored}, so it was interpolated"
    if 0 in shape:
        return f"its shape {shape} holds nothing"
    return None


def find_companion(
    file: h5py.File, path: Path, name: str, kspace: StoredSlices
) -> tuple[StoredSlices | None, tuple[str, ...]]:
    """Coil maps or the true image of a generated scan; what does not fit k-space is left out."""
    logical = kspace.shape if name == "sensitivity_maps" else (kspace.shape[0], *kspace.shape[2:])
    try:
        data = find_dataset(file, path, name)
    except ScanError as error:
        return None, (f"'{name}' was left out: {error}",)
    if data is None:
        return None, ()
    fits = data.shape == logical or (name == "sensitivity_maps" and data.shape == kspace.stored_shape)
    if not fits or not is_complex(data.dtype):
        return None, (f"'{name}' was left out: {data.dtype} {data.shape}, expected complex {logical}.",)
    return stored_slices(path, name, data, logical, complex_valued=True), ()
