"""From one file format to another, and what is lost on the way.

>>> from mri_recon.data.formats.convert import convert
>>> convert("meas.mrd", "meas.h5").notes  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mri_recon.catalog import FORMATS
from mri_recon.data.formats.base import Format, ReadOptions, WriteOptions
from mri_recon.data.formats.registry import (
    all_formats,
    format_for,
    format_of,
    located,
    read_images,
    read_scans,
)
from mri_recon.errors import OutputError, ScanError, SettingsError
from mri_recon.files import one_line


@dataclass(frozen=True)
class Conversion:
    """What was converted: format names, the files written, and what was assumed or lost, a sentence each."""

    source: Path
    source_format: str
    format: str
    outputs: tuple[Path, ...]
    what: str
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    read: ReadOptions | None = None,
    write: WriteOptions | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Convert a file; k-space keeps its single-precision numbers exactly.

    Raw data of several contrasts or repetitions becomes a file each, with that in its name.

    Parameters
    ----------
    format
        Of the new file, a name of `mri_recon.catalog.FORMATS`; by default its suffix says.
    read
        By default k-space stays as measured: neither whitened nor cut to its field of view.

    Raises
    ------
    MriReconError
        The file cannot be read, or what it holds not be written in that format.
    """
    asked, target = Path(source), Path(output)
    path = located(asked)
    wanted = format_for(target, format)
    entry = FORMATS[wanted.name]
    if not (getattr(entry, "kspace", False) or getattr(entry, "images", False)):
        raise OutputError(
            f"{one_line(target)}: format {wanted.name} is read, not written. Use mrd for raw data."
        )
    _refuse_itself(path, target)
    _refuse_false_suffix(target, wanted)
    target = wanted.file_for(target)
    found = format_of(path)
    if wanted.kspace and found.kspace and not _holds_images(found, path):
        read = read or ReadOptions(remove_oversampling=False, prewhiten=False)
        return _convert_scans(path, target, found, wanted, read, overwrite)
    images = read_images(path)
    lost = wanted.write_images(target, images, write or WriteOptions(), overwrite=overwrite)
    notes = (*images.placed.notes, *lost)
    if images.attributes.get("method") == "target of the scan's file":
        notes = ("The images are the scan's target; its k-space was not reconstructed.", *notes)
    return Conversion(path, found.name, wanted.name, (target,), "images", tuple(dict.fromkeys(notes)))


def _refuse_false_suffix(target: Path, wanted: type[Format]) -> None:
    """A file whose name says another format than its content cannot be opened by its name."""
    for other in all_formats():
        # ISMRMRD raw data is HDF5 and often called so.
        if other.name == wanted.name or {other.name, wanted.name} == {"h5", "mrd"}:
            continue
        if target.name.lower().endswith(other.suffixes):
            raise SettingsError(
                f"{one_line(target)} is named as {other.name}, and -f says {wanted.name}. Change one of them."
            )


def _convert_scans(
    path: Path, target: Path, found: type[Format], wanted: type[Format], read: ReadOptions, overwrite: bool
) -> Conversion:
    scans = read_scans(path, read)
    notes: list[str] = []
    outputs = []
    for scan in scans:
        part = (
            target
            if len(scans) == 1
            else target.with_name(f"{target.stem}{_difference(path, scan.name)}{target.suffix}")
        )
        notes += [*scan.notes, *wanted.write_scan(part, scan, overwrite=overwrite)]
        outputs.append(part)
    return Conversion(path, found.name, wanted.name, tuple(outputs), "k-space", tuple(dict.fromkeys(notes)))


def _difference(path: Path, name: str) -> str:
    """What tells a scan's name from its file's: ``_repetition1`` and the like."""
    return Path(name).stem.removeprefix(path.stem)


def _holds_images(found: type[Format], path: Path) -> bool:
    if found.name != "h5":
        return False
    from mri_recon.data.storage import holds_reconstruction

    return holds_reconstruction(path)


def _refuse_itself(path: Path, target: Path) -> None:
    same = path.exists() and target.exists() and path.resolve() == target.resolve()
    if same or located(target).resolve() == path.resolve():
        raise OutputError(f"{one_line(target)} is the file that is to be converted. Choose another name.")
    if not path.exists() and not path.is_symlink():
        raise ScanError(f"{one_line(path)} does not exist. Check the path.")
