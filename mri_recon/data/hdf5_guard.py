"""What an HDF5 file may claim before the HDF5 library is let near it, which trusts three things that it should not.

- A variable-length value lies in a *global heap*, whose objects say themselves how long they are. Where one says it is
  of no length, the library walks on the spot for ever. `refuse_lying_heaps` walks first.
- A number may be of any width and layout. Of some, h5py makes a larger numpy type than it makes room for.
  `refuse_odd_type` takes the usual ones only.
- A data set may declare any size, and a kilobyte inflate to a gigabyte. `refuse_implausible_size` compares what is
  declared with what is stored.

References
----------
.. [1] The HDF Group, HDF5 file format specification, version 3.0, III.E (global heap).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mri_recon.data.plausible import implausible
from mri_recon.errors import ScanError
from mri_recon.files import one_line

LARGEST_CHUNK = 2**30
"""A chunk is unpacked whole, however little of it is asked for."""

_SKIPPED = 2**20
_COLLECTION = b"GCOL\x01\x00\x00\x00"
_OBJECT = 16
_KEPT = 64
_walked: dict[tuple[int, ...], None] = {}


def refuse_lying_heaps(file: h5py.File, path: Path) -> None:
    """Walk the global heaps of a file, once for as long as the file stays as it is.

    Raises
    ------
    ScanError
        An object in one does not fit where it is.
    """
    status = path.stat()
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if key in _walked or not status.st_size:
        return
    with path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        length = _size_of_lengths(content)
        for start, stop in _gaps(file, status.st_size):
            _walk(content, start, stop, length, path)
    while len(_walked) >= _KEPT:
        _walked.pop(next(iter(_walked)), None)
    _walked[key] = None


def _size_of_lengths(content: mmap.mmap) -> int:
    """Bytes of a length in this file, as its superblock says; the library itself refuses what is not a power of two."""
    start = 0
    while content[start : start + 8] != b"\x89HDF\r\n\x1a\n" and start < len(content):
        start = max(512, 2 * start)
    newer = content[start + 8 : start + 9] >= b"\x02"
    place = start + (10 if newer else 14)
    return min(max(int.from_bytes(content[place : place + 1]), 1), 8)


def _gaps(file: h5py.File, size: int) -> Iterator[tuple[int, int]]:
    """Stretches of the file between large arrays, which are numbers and are not looked through."""
    position = 0
    for start, stop in sorted(_large_arrays(file)):
        if position < start:
            # A collection's first bytes may end just before an array does.
            yield position, min(start + len(_COLLECTION), size)
        position = max(position, stop)
    yield position, size


def _large_arrays(file: h5py.File) -> Iterator[tuple[int, int]]:
    for name in file:
        link = file.get(name, getlink=True)
        found = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(found, h5py.Dataset):
            continue
        offset, length = found.id.get_offset(), found.id.get_storage_size()
        if offset is not None and length >= _SKIPPED:
            yield offset, offset + length


def _walk(content: mmap.mmap, start: int, stop: int, length: int, path: Path) -> None:
    while (start := content.find(_COLLECTION, start, stop)) >= 0:
        end = start + int.from_bytes(content[start + 8 : start + 8 + length], "little")
        place = start + _OBJECT
        if not place <= end <= len(content):
            raise _lying(path, start)
        while place + _OBJECT <= end:
            number = int.from_bytes(content[place : place + 2], "little")
            stated = int.from_bytes(content[place + 8 : place + 8 + length], "little")
            # That of free space, which has no number, counts its own head; that of an object does not.
            taken = _OBJECT + -(-stated // 8) * 8 if number else stated
            if taken < _OBJECT or place + taken > end:
                raise _lying(path, place)
            place += taken
        start = end


def _lying(path: Path, place: int) -> ScanError:
    return ScanError(
        f"{one_line(path)} is damaged: its heap of texts and lists at byte {place} does not fit the file. "
        "Copy or download it again."
    )


def refuse_odd_type(stored: Any, what: str) -> None:
    """Take numbers of the usual layouts only, and texts, lists, arrays and records of such.

    Parameters
    ----------
    stored
        h5py's low-level type.
    what
        What is of that type, the start of the error message.

    Raises
    ------
    ScanError
        It is, or holds, something else.
    """
    if isinstance(stored, h5py.h5t.TypeCompoundID):
        for number in range(stored.get_nmembers()):
            refuse_odd_type(stored.get_member_type(number), what)
    elif isinstance(stored, h5py.h5t.TypeArrayID | h5py.h5t.TypeVlenID):
        refuse_odd_type(stored.get_super(), what)
    elif isinstance(stored, h5py.h5t.TypeFloatID):
        size = stored.get_size()
        usual = size in (2, 4, 8) and any(
            stored.equal(h5py.h5t.py_create(np.dtype(f"{order}f{size}"))) for order in "<>"
        )
        if not usual:
            raise ScanError(
                f"{what} holds numbers that are not laid out as floats of 16, 32 or 64 bits. The file is damaged, or "
                "write them as float32."
            )
    elif isinstance(stored, h5py.h5t.TypeIntegerID) and (
        stored.get_size() not in (1, 2, 4, 8) or stored.get_precision() > 8 * stored.get_size()
    ):
        raise ScanError(f"{what} holds whole numbers of {stored.get_size()} bytes. The file is damaged.")


def refuse_implausible_size(data: h5py.Dataset, path: Path, name: str) -> None:
    """Compare what a data set declares with what the file holds of it.

    Raises
    ------
    ScanError
        It stores more than the file is long, declares far more than it stores, or unpacks in pieces too large.
    """
    stored = data.id.get_storage_size()
    size = path.stat().st_size
    shown = f"{one_line(path)}: '{one_line(name)}'"
    if stored > size:
        raise ScanError(
            f"{shown} should take {stored} bytes, the file has {size}. Copy or download it again."
        )
    declared = _product(data.shape) * data.dtype.itemsize
    if implausible(declared, stored):
        raise ScanError(
            f"{shown} declares {data.shape}, {declared} bytes, of which {stored} are stored: most was never written, "
            "or it is made to fill the memory. Export it again."
        )
    chunk = _product(data.chunks or ()) * data.dtype.itemsize
    if chunk > LARGEST_CHUNK or implausible(chunk, stored):
        raise ScanError(
            f"{shown} is stored in pieces of {chunk} bytes, which are read whole. Store it in smaller chunks, for "
            "instance with h5repack."
        )


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for n in shape:
        total *= int(n)
    return total
