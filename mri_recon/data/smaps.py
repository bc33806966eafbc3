"""Coil maps that the user brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.numpy_files import NUMPY_ERRORS, load_array
from mri_recon.data.scan import Scan
from mri_recon.errors import ScanError, SettingsError
from mri_recon.files import one_line


def given_maps(smaps: Any, scan: Scan) -> Any:
    """Coil maps for a scan, `(slice or 1, coil, height, width)`: an array, or the path of
    one saved with `numpy.save`, or by BART.

    A file is mapped, not read: only the slices that are used come into memory.

    Raises
    ------
    SettingsError
        Not such a file, or maps of another shape than the scan's.
    """
    where = "The maps"
    if isinstance(smaps, str | Path):
        where, smaps = f"{smaps}", _opened(Path(smaps), scan)
    if smaps.ndim == 3:
        smaps = smaps[None]
    wanted = (scan.n_slices, scan.n_coils, *scan.shape)
    if smaps.shape not in (wanted, (1, *wanted[1:])):
        shapes = " or ".join(dict.fromkeys(map(str, (wanted, (1, *wanted[1:])))))  # once, of a single slice
        raise SettingsError(f"{where}: expected coil maps {shapes} for {scan.name}, got {smaps.shape}.")
    if not np.issubdtype(smaps.dtype, np.complexfloating):
        raise SettingsError(f"{where}: expected complex coil maps, got {smaps.dtype}.")
    return smaps


def refuse_not_finite(maps: NDArray[np.complex64], smaps: Any) -> None:
    """Refuse maps, read from what the user gave as `smaps`, that hold NaN or Inf.

    Raises
    ------
    SettingsError
        They do.
    """
    if not np.isfinite(maps).all():
        where = one_line(smaps) if isinstance(smaps, str | Path) else "The maps"
        raise SettingsError(f"{where}: coil maps that hold NaN or Inf. Make them anew.")


def _opened(path: Path, scan: Scan) -> Any:
    if path.suffix in (".cfl", ".hdr"):
        from mri_recon.data.formats.cfl import read_maps

        try:
            return read_maps(path, tuple(scan.kspace.shape))[:]
        except ScanError as error:
            raise SettingsError(str(error)) from error
    return _mapped(path)


def _mapped(path: Path) -> Any:
    try:
        found = load_array(path, "r")
    except NUMPY_ERRORS as error:
        raise SettingsError(
            f"{path} cannot be read as coil maps: expected an array (slice, coil, height, width) saved with numpy.save."
        ) from error
    if not isinstance(found, np.ndarray):
        raise SettingsError(f"{path}: expected one array saved with numpy.save, got an archive of several.")
    return found
