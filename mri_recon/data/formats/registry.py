"""Which format a file is in, judged by its content; and which one a new file is to have.

>>> from mri_recon import read_scans
>>> scans = read_scans("meas.mrd")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mri_recon.catalog import FORMATS, look_up
from mri_recon.data.formats.base import Format, ReadOptions
from mri_recon.data.images import Images
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans
from mri_recon.errors import ScanError, SettingsError
from mri_recon.files import one_line

RAW_SUFFIXES = (".h5", ".hdf5", ".mrd", ".dat", ".cfl")
"""What is taken for a scan in a folder; files of other formats have to be named."""


def all_formats() -> list[type[Format]]:
    """Every format of the catalog, in its order."""
    return [look_up("format", FORMATS, name) for name in FORMATS]


def format_of(path: Path) -> type[Format]:
    """The format of an existing file, by its content; fastMRI's HDF5 where nothing else fits."""
    if path.is_dir() and any(path.glob("*.dcm")):
        series: type[Format] = look_up("format", FORMATS, "dicom")
        return series
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except (OSError, ValueError):
        start = b""  # the reader says what is wrong with it
    formats = all_formats()
    found = (f for f in formats if start and f.recognises(path, start))
    return next(found, next(f for f in formats if f.name == "h5"))


def read_scans(path: str | Path, options: ReadOptions | None = None) -> tuple[Scan, ...]:
    """Open the scans of a file of any format; raw data may hold several contrasts or repetitions.

    Parameters
    ----------
    options
        For files that leave a choice: axes of an array, oversampling, noise.

    Returns
    -------
    tuple
        At least one scan; its arrays are read when they are indexed.

    Raises
    ------
    ScanError
        It is not a scan, not a sound one, or of a kind that is not supported.
    SettingsError
        An option that does not fit the file, or an optional package that is missing.
    """
    path = located(Path(path))
    options = options or ReadOptions()
    found = format_of(path)
    if (options.axes or options.variable) and found.name not in ("npy", "npz", "mat"):
        raise SettingsError(
            f"{one_line(path)} says itself what its axes are ({found.name}). Leave --axes and --variable out."
        )
    with _in_memory(path):
        return found.read_scans(path, options)


def read_scan(path: str | Path, options: ReadOptions | None = None) -> Scan:
    """Open a file that holds one scan, of any format.

    Raises
    ------
    ScanError
        As `read_scans`, or it holds several.
    """
    scans = read_scans(path, options)
    if len(scans) > 1:
        raise ScanError(
            f"{one_line(path)} holds {len(scans)} scans ({', '.join(s.name for s in scans[:4])}"
            f"{' …' if len(scans) > 4 else ''}), expected one. Use read_scans, or split it: mri-recon convert."
        )
    return scans[0]


def read_images(path: str | Path) -> Images:
    """Read an image volume of any format: reconstructions, NIfTI, DICOM, or the target in a scan's file.

    Raises
    ------
    ScanError
        It holds no images.
    """
    path = located(Path(path))
    with _in_memory(path):
        return format_of(path).read_images(path)


@contextmanager
def _in_memory(path: Path) -> Iterator[None]:
    """Name the file that did not fit."""
    try:
        yield
    except MemoryError as error:
        raise ScanError(
            f"{one_line(path)} does not fit in memory, or is damaged and says so. Cut it into smaller files."
        ) from error


def find_raw(paths: Iterable[str | Path]) -> list[Path]:
    """List the scan files of any format that `paths` stand for, as `find_scans` does for HDF5.

    Raises
    ------
    ScanError
        A path does not exist, or a folder holds no scans.
    """
    named = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    files = find_scans([located(path) for path in named], RAW_SUFFIXES)
    folders = {path for path in named if path.is_dir()}
    # In a folder, coil maps are no scans, nor is just any file that is called .dat.
    scans = [file for file in files if file.parent not in folders or file in named or _is_scan(file)]
    if not scans:
        where = one_line(next(iter(folders)))
        raise ScanError(
            f"{where} holds no scans (*.h5, *.hdf5, *.mrd, *.dat or *.cfl). Name a folder that does, or files."
        )
    return scans


def _is_scan(file: Path) -> bool:
    if file.suffix.lower() == ".dat":
        return format_of(file).name == "twix"
    return not (file.suffix == ".cfl" and file.stem.endswith("_maps"))


def located(path: Path) -> Path:
    """The file that a name stands for: BART's tools leave the suffix out, and name a pair by either file."""
    if path.suffix == ".hdr" and path.with_suffix(".cfl").exists():
        return path.with_suffix(".cfl")
    pair = path.with_name(path.name + ".cfl") if path.name else path
    return pair if not path.exists() and pair.exists() else path


def format_for(path: Path, name: str | None) -> type[Format]:
    """The format of a new file: the one named, else by its suffix.

    Raises
    ------
    SettingsError
        An unknown name or suffix.
    """
    if name is not None:
        found: type[Format] = look_up("format", FORMATS, name)
        return found
    for candidate in all_formats():
        if any(path.name.lower().endswith(suffix) for suffix in candidate.suffixes):
            return candidate
    written = [key for key, of in FORMATS.items() if of.kspace or of.images]
    raise SettingsError(
        f"{one_line(path)}: its name does not say which format it should have. Name one with -f: {', '.join(written)}."
    )
