"""Writing HDF5 so that a full disk, a failure or Ctrl-C leaves neither half a file nor a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from mri_recon.data.hdf5 import H5PY_ERRORS, clean
from mri_recon.errors import OutputError
from mri_recon.files import Sink, atomic_output, one_line


@dataclass(frozen=True)
class NewFile:
    """An HDF5 file being written."""

    path: Path
    _file: h5py.File
    _check: Callable[[Path], None]

    def create(self, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
        """Create a data set to be filled by `put`."""
        return self._file.create_dataset(name, shape, dtype)

    def put(self, data: h5py.Dataset, index: int, values: NDArray[Any]) -> None:
        """Write one slice of a data set, refusing what could not be read back."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(values).astype(data.dtype, copy=False)
        if not np.isfinite(values).all():
            raise OutputError(
                f"Cannot write {one_line(self.path)}: slice {index} of '{data.name.strip('/')}' holds NaN, "
                "Inf or numbers too large for single precision. Mend the slice or leave it out."
            )
        data[index] = values
        self._check(self.path)

    def put_rows(self, data: h5py.Dataset, first: int, rows: NDArray[Any]) -> None:
        """Write consecutive rows of a data set as they are."""
        data[first : first + len(rows)] = rows
        self._check(self.path)

    def put_whole(self, name: str, value: Any) -> None:
        """Write a small data set at once."""
        self._file[name] = value
        self._check(self.path)

    def attribute(self, name: str, value: Any) -> None:
        """Write an attribute of the file: text, a number, or a list of them."""
        try:
            self._file.attrs[name] = clean(value) if isinstance(value, str) else value
        except H5PY_ERRORS as error:
            raise OutputError(
                f"Cannot write {one_line(self.path)}: attribute {one_line(name)!r} is "
                f"{one_line(repr(value))[:80]}, expected a text or a number that HDF5 can hold "
                f"({one_line(error)[:120]}). Leave it out or convert it."
            ) from error
        self._check(self.path)


@contextmanager
def create_hdf5(path: str | Path, *, overwrite: bool) -> Iterator[NewFile]:
    """Write a new HDF5 file that takes its name when the block ends without an error.

    Raises
    ------
    OutputError
        As `mri_recon.files.atomic_output`.
    """
    asked = Path(path)
    with atomic_output(asked, overwrite=overwrite) as part, Sink(part, "wb+") as sink:
        with h5py.File(sink, "w") as file:
            yield NewFile(asked, file, sink.check)
        sink.check(asked)
