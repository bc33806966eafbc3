"""HDF5 beneath the scans: opening, looking and reading slices, with errors a user can act on.

Nothing here knows fastMRI's layout; `layout` does. No handle outlives the call that opened it.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_recon.data.hdf5_guard import refuse_implausible_size, refuse_lying_heaps, refuse_odd_type
from mri_recon.errors import ScanError
from mri_recon.files import one_line

# What h5py raises for a damaged file depends on the byte that is damaged.
H5PY_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)
_COMPLEX_FIELDS = {("r", "i"), ("re", "im"), ("real", "imag"), ("real", "imaginary")}
_MOST_LINKS = 16
_LONGEST_TEXT = 64 * 2**20


@contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn whatever h5py raises while reading `what` into a `ScanError`."""
    try:
        yield
    except MemoryError as error:
        message = f"{one_line(path)}: {what} does not fit in memory. Read fewer slices at a time."
        raise ScanError(message) from error
    except H5PY_ERRORS as error:
        reason = one_line(error.args[0] if error.args else type(error).__name__)
        raise ScanError(
            f"{one_line(path)}: {what} cannot be read ({reason[:200]}). The file is damaged or incomplete: "
            "copy or download it again."
        ) from error


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an existing file for reading, without locks.

    Raises
    ------
    ScanError
        It is missing, a folder, not HDF5, truncated, damaged or not readable.
    """
    _require_hdf5(path)
    with explained(path, "the file"):
        file = _open_unlocked(path)
    with file:
        with explained(path, "the list of data sets"):
            refuse_lying_heaps(file, path)
        yield file


def _open_unlocked(path: Path) -> h5py.File:
    # Locks fail on read-only and many network file systems, and a reader needs none.
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        message = str(error)
        if "truncated file" in message:
            wanted = re.search(r"stored_eof = (\d+)", message)
            of = f" of {wanted.group(1)}" if wanted else ""
            raise ScanError(
                f"{one_line(path)} is truncated: {path.stat().st_size} bytes{of}. Copy or download it again."
            ) from error
        if "locking flag" not in message:
            raise
    # The same process has it open with locks (a notebook, say), and HDF5 insists on both being alike.
    return h5py.File(path, "r")


def _require_hdf5(path: Path) -> None:
    shown = one_line(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ScanError(f"{shown} is a folder, expected one file. Name a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise ScanError(f"{shown} is not a regular file, expected an HDF5 file. Name a file on disk.")
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError as error:
        raise ScanError(f"{shown} does not exist. {closest(path)}") from error
    except (OSError, RuntimeError, ValueError) as error:
        reason = one_line(getattr(error, "strerror", None) or error)
        raise ScanError(f"{shown} cannot be opened: {reason}. Check its path and permissions.") from error
    if not start:
        raise ScanError(f"{shown} is empty (0 bytes), expected an HDF5 file. Copy or download it again.")
    if not h5py.is_hdf5(path):
        raise ScanError(
            f"{shown} is not an HDF5 file: it begins with {start[:16]!r}. Expected fastMRI HDF5 with a "
            "data set 'kspace'; check that it is the right file and came over whole."
        )


def closest(path: Path) -> str:
    """What to do about a file that does not exist: the name that was probably meant."""
    if path.is_symlink():
        return f"It is a link to {one_line(path.readlink())}, which is not there: mend the link."
    try:
        close = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=1)
    except OSError:
        return f"There is no folder {one_line(path.parent)} either: check the path."
    return f"Did you mean {one_line(path.parent / close[0])}?" if close else "Check the path."


def find_dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset | None:
    """Find a data set whose values lie in this very file; None where there is nothing of that name.

    Raises
    ------
    ScanError
        It is not a data set, its links run in a loop, or it would be read from another file: what is
        opened is what the user named, never a path that a file names.
    """
    with explained(path, f"'{name}'"):
        found = _resolve(file, path, name)
        if found is None:
            return None
        if not isinstance(found, h5py.Dataset):
            kind = "group" if isinstance(found, h5py.Group) else "data type"
            raise ScanError(
                f"{one_line(path)}: '{name}' is a {kind}, expected a data set. "
                "Store the array itself under that name."
            )
        refuse_odd_type(found.id.get_type(), f"{one_line(path)}: '{one_line(name)}'")
        _ = found.dtype  # raises, here where it is explained, if the type is damaged or unknown to numpy
        if found.external or found.is_virtual:
            raise _elsewhere(path, name)
        if found.shape is None:
            raise ScanError(f"{one_line(path)}: '{name}' is empty. Write the array and try again.")
        refuse_implausible_size(found, path, name)
        return found


def _resolve(file: h5py.File, path: Path, name: str) -> Any:
    """Follow links one by one, as h5py would open whatever file an external link names on the way."""
    node: Any = file
    pending, hops = deque([name]), 0
    while pending:
        part = pending.popleft()
        if part in ("", "."):
            continue
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise _elsewhere(path, name)
        if isinstance(link, h5py.SoftLink):
            hops += 1
            if hops > _MOST_LINKS:
                raise ScanError(
                    f"{one_line(path)}: '{name}' is a loop of links. Store the array itself under that name."
                )
            node = file if link.path.startswith("/") else node
            pending.extendleft(reversed(link.path.split("/")))
        else:
            node = node[part]
    return node


def _elsewhere(path: Path, name: str) -> ScanError:
    return ScanError(
        f"{one_line(path)}: '{name}' is kept in another file (external link, external storage or virtual "
        "data set), which is not followed. Make a self-contained copy, for instance with h5repack."
    )


def complex_fields(dtype: np.dtype[Any]) -> tuple[str, str] | None:
    """Names of the real and imaginary field of a compound type that stands for complex numbers."""
    names = dtype.names or ()
    if tuple(n.lower() for n in names) not in _COMPLEX_FIELDS:
        return None
    return (names[0], names[1]) if all(_is_float(dtype[n]) for n in names) else None


def is_complex(dtype: np.dtype[Any]) -> bool:
    """Whether the stored type is complex of at least single precision."""
    return dtype.kind == "c" or complex_fields(dtype) is not None


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" and dtype.itemsize >= 4


@dataclass(frozen=True)
class StoredSlices:
    """A data set on disk that looks like an array of slices and is read when indexed by a slice.

    The file is opened anew for each access, so that this can be pickled, sent to another process and kept
    for as long as one likes. Values arrive as complex64, or as float32 where `complex_valued` is not set.
    """

    path: Path
    dataset: str
    shape: tuple[int, ...]
    stored_shape: tuple[int, ...]
    complex_valued: bool

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        # Without this numpy would wrap the object itself instead of asking it for all its slices.
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, index: slice, /) -> NDArray[Any]:
        """Read slices.

        Raises
        ------
        ScanError
            They cannot be read, or hold NaN or Inf; the message names the slice.
        """
        if not isinstance(index, slice):
            raise TypeError(f"expected a slice such as [3:4], got {index!r}")
        wanted = range(self.shape[0])[index]
        with explained(self.path, f"'{self.dataset}'"):
            out = np.empty((len(wanted), *self.shape[1:]), self._dtype)
        self.read_into(index, out)
        return out

    @property
    def _dtype(self) -> type[np.complex64] | type[np.float32]:
        return np.complex64 if self.complex_valued else np.float32

    def read_into(self, index: slice, out: NDArray[Any]) -> None:
        """Read slices into an array that is there already, of their shape and type.

        Raises
        ------
        ScanError
            As indexing does.
        """
        wanted = range(self.shape[0])[index]
        if out.shape != (len(wanted), *self.shape[1:]) or out.dtype != self._dtype:
            expected = f"{(len(wanted), *self.shape[1:])} {np.dtype(self._dtype).name}"
            raise ValueError(f"expected an array of {expected}, got {out.shape} {out.dtype.name}")
        with open_hdf5(self.path) as file:
            data = find_dataset(file, self.path, self.dataset)
            if data is None or data.shape != self.stored_shape:
                raise ScanError(f"{one_line(self.path)} has changed since it was opened. Open it again.")
            for row, i in enumerate(wanted):
                with explained(self.path, f"slice {i} of '{self.dataset}'"):
                    if data.dtype == out.dtype and data.shape == self.shape and out.flags.c_contiguous:
                        data.read_direct(out, np.s_[i], np.s_[row])  # nothing to convert, nothing to copy
                    else:
                        _convert(data[i], out[row])
                if not np.isfinite(out[row]).all():
                    raise ScanError(
                        f"{one_line(self.path)}: slice {i} of '{self.dataset}' holds NaN, Inf or numbers "
                        "too large for single precision. Export it again, or leave that slice out."
                    )


def _convert(stored: NDArray[Any], out: NDArray[Any]) -> None:
    # Out of range becomes Inf, and is reported as such by whoever asked.
    with np.errstate(over="ignore", invalid="ignore"):
        fields = complex_fields(stored.dtype)
        if fields is None:
            out[...] = stored.reshape(out.shape)
        else:
            out.real = stored[fields[0]].reshape(out.shape)
            out.imag = stored[fields[1]].reshape(out.shape)


def read_text(file: h5py.File, path: Path, name: str) -> str | None:
    """Read a data set that holds one text, however it was stored; None if absent.

    Raises
    ------
    ScanError
        It is there but holds no text.
    """
    data = find_dataset(file, path, name)
    if data is None:
        return None
    with explained(path, f"'{name}'"):
        if data.size * data.dtype.itemsize > _LONGEST_TEXT:
            raise ScanError(f"{one_line(path)}: '{name}' is too long for a text. Store it anew.")
        value = data[()]
    if isinstance(value, np.ndarray) and value.dtype in (np.uint8, np.int8):
        value = value.tobytes()
    value = plain(value)
    if not isinstance(value, str):
        raise ScanError(f"{one_line(path)}: '{name}' is not a text. Store it as a string.")
    return value


def read_attributes(file: h5py.File, path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Attributes of the file as plain Python values; those that have none are named in notes."""
    attributes: dict[str, Any] = {}
    notes: list[str] = []
    with explained(path, "the list of attributes"):
        names = list(file.attrs)
    for name in names:
        try:
            refuse_odd_type(file.attrs.get_id(name).get_type(), "It")
            value = plain(file.attrs[name])
        except (*H5PY_ERRORS, MemoryError, ScanError):
            value = None
        if value is None:
            notes.append(f"Attribute '{one_line(name)}' was left out: it is not a text or a number.")
        else:
            attributes[str(plain(name))] = value
    return attributes, tuple(notes)


def plain(value: Any) -> Any:
    """Turn what h5py hands out into text, a number or a list of them; None if it cannot be."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, np.ndarray):
        if value.size == 1:
            return plain(value.reshape(-1)[0])
        items = [plain(v) for v in value.reshape(-1)]
        return None if None in items else items
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, bool | int | float | complex) else None


def clean(text: str) -> str:
    """Replace the parts of `text` that are not Unicode."""
    # h5py marks bytes that are not UTF-8 with surrogates, on which a later print would fail.
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
