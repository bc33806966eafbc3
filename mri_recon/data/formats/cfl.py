"""BART's cfl/hdr: complex64 in column-major order, and a text file that says how much.

K-space is `(readout, phase encode, 1, coil, …)` with slices on axis 13. The transform of both is the same, centred and
orthonormal (``bart fft -u``), so that numbers need no change. Coil maps of ``scan.cfl`` are in ``scan_maps.cfl``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.base import Format, ReadOptions, WriteOptions, lost
from mri_recon.data.geometry import Placement
from mri_recon.data.images import Images
from mri_recon.data.scan import Scan, Slices
from mri_recon.errors import OutputError, ScanError
from mri_recon.files import atomic_output, one_line

_READ, _PHASE, _PARTITION, _COIL, _MAPS, _SLICE, _N = 0, 1, 2, 3, 4, 13, 16
_SEVERAL = {5: "echo", 10: "time", 11: "time2", 15: "batch"}
"""Axes of which each index is a scan of its own."""


class Cfl(Format):
    """BART's cfl/hdr pair."""

    name: ClassVar[str] = "cfl"
    suffix: ClassVar[str] = ".cfl"
    suffixes: ClassVar[tuple[str, ...]] = (".cfl", ".hdr")

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        if path.suffix == ".hdr":
            return start.startswith(b"#")
        try:
            with path.with_suffix(".hdr").open("rb") as file:
                return path.suffix == ".cfl" and file.read(1) == b"#"
        except OSError:
            return path.suffix == ".cfl"

    @classmethod
    def file_for(cls, path: Path) -> Path:
        """BART's tools name a pair without its suffix: ``scan.1`` is ``scan.1.cfl`` and ``scan.1.hdr``."""
        return path.with_suffix(".cfl") if path.suffix in cls.suffixes else path.with_name(f"{path.name}.cfl")

    @classmethod
    def read_scans(cls, path: Path, options: ReadOptions) -> tuple[Scan, ...]:
        data, dims = _pair(path)
        _refuse(path, dims, allowed={_READ, _PHASE, _COIL, _SLICE, *_SEVERAL})
        several = [axis for axis in _SEVERAL if dims[axis] > 1]
        maps_path = data.with_name(f"{data.stem}_maps.cfl")
        scans = []
        for index in product(*(range(dims[axis]) for axis in several)):
            label = "".join(f"_{_SEVERAL[axis]}{i}" for axis, i in zip(several, index, strict=True))
            kspace = CflSlices(data.absolute(), dims, tuple(zip(several, index, strict=True)))
            notes: tuple[str, ...] = ()
            smaps = None
            if maps_path.exists():
                try:
                    smaps = read_maps(maps_path, kspace.shape)
                except ScanError as error:
                    notes = (f"The coil maps were left out: {error}",)
            scans.append(
                Scan(
                    name=f"{data.stem}{label}.cfl",
                    kspace=kspace,
                    smaps=smaps,
                    n_coils_stored=dims[_COIL],
                    path=data,
                    notes=notes,
                )
            )
        return tuple(scans)

    @classmethod
    def read_images(cls, path: Path) -> Images:
        data, dims = _pair(path)
        _refuse(path, dims, allowed={_READ, _PHASE, _SLICE})
        volume = CflSlices(data, dims)[:]
        placed = Placement(order=tuple(range(len(volume)))).with_notes()
        return Images(f"{data.stem}.cfl", np.abs(volume[:, 0]), placed)

    @classmethod
    def write_scan(cls, path: Path, scan: Scan, *, overwrite: bool) -> tuple[str, ...]:
        path = cls.file_for(path)
        maps = path.with_name(f"{path.stem}_maps.cfl")
        if scan.smaps is None and maps.exists():
            raise OutputError(
                f"{one_line(maps)} would be taken for the coil maps of {one_line(path)}, and {one_line(scan.name)} "
                "has none. Remove it, or choose another name."
            )
        if scan.smaps is not None:  # before k-space, which then says that both are there
            unfinished = not path.with_suffix(".cfl").exists() and _holds(maps, scan.smaps)
            shape = tuple(scan.smaps.shape)
            _write(maps, _blocks(scan.smaps, scan.n_slices), shape, overwrite or unfinished)
        _write(path, _blocks(scan.kspace, scan.n_slices), tuple(scan.kspace.shape), overwrite)
        return lost(
            {
                "the header with the geometry": scan.header.xml or scan.header.encoded,
                "the mask (columns that are zero still show it)": scan.mask,
                "the target": scan.target,
                "the true image": scan.truth,
                "separate calibration lines": scan.calibration,
                "attributes": scan.attributes or None,
            }
        )

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        pixels = images.pixels[:, None].astype(np.complex64)
        _write(cls.file_for(path), _blocks(pixels, len(pixels)), pixels.shape, overwrite)
        return lost({"the geometry": images.placed.voxel, "how it was made": images.attributes or None})


@dataclass(frozen=True)
class CflSlices:
    """K-space, maps or images `(slice, coil, height, width)` in a cfl file, read when indexed by a slice."""

    path: Path
    dims: tuple[int, ...]
    fixed: tuple[tuple[int, int], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole volume."""
        return self.dims[_SLICE], self.dims[_COIL], self.dims[_READ], self.dims[_PHASE]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, index: slice, /) -> NDArray[np.complex64]:
        """Read slices.

        Raises
        ------
        ScanError
            The file has changed, or a slice holds NaN or Inf.
        """
        if not isinstance(index, slice):
            raise TypeError(f"expected a slice such as [3:4], got {index!r}")
        try:
            whole = np.memmap(self.path, "<c8", "r", shape=self.dims, order="F")
        except (OSError, ValueError) as error:
            raise ScanError(
                f"{one_line(self.path)} has changed since it was opened. Open it again."
            ) from error
        where: list[Any] = [0] * _N
        for axis, number in self.fixed:
            where[axis] = number
        where[_READ] = where[_PHASE] = where[_COIL] = slice(None)
        where[_SLICE] = index
        out = np.array(whole[tuple(where)].transpose(3, 2, 0, 1), dtype=np.complex64, order="C")
        bad = ~np.isfinite(out).all(axis=(1, 2, 3))
        if bad.any():
            number = range(self.shape[0])[index][int(np.argmax(bad))]
            raise ScanError(
                f"{one_line(self.path)}: slice {number} holds NaN or Inf. Export it again, or leave that slice out."
            )
        return out


@dataclass(frozen=True)
class _Repeated:
    """One slice's maps for every slice."""

    one: CflSlices
    shape: tuple[int, ...]

    def __getitem__(self, index: slice, /) -> NDArray[np.complex64]:
        n = len(range(self.shape[0])[index])
        return np.broadcast_to(self.one[:], (n, *self.shape[1:]))


def read_maps(path: Path, shape: tuple[int, ...]) -> CflSlices | _Repeated:
    """Coil maps for k-space of a shape; of several sets (``bart ecalib -m``) the first.

    Raises
    ------
    ScanError
        They cannot be read, or do not fit.
    """
    data, dims = _pair(path)
    _refuse(path, dims, allowed={_READ, _PHASE, _COIL, _MAPS, _SLICE})
    found = CflSlices(data.absolute(), dims)
    if found.shape == tuple(shape):
        return found
    if found.shape == (1, *shape[1:]):
        return _Repeated(found, tuple(shape))
    raise ScanError(
        f"{one_line(path)}: coil maps {found.shape}, expected {tuple(shape)} as k-space. Make maps of this scan."
    )


def _pair(path: Path) -> tuple[Path, tuple[int, ...]]:
    """The cfl file of a pair and its sixteen sizes, checked against each other."""
    data, header = path.with_suffix(".cfl"), path.with_suffix(".hdr")
    try:
        with header.open("rb") as file:
            text = file.read(65536).decode("utf-8", errors="replace")
        size = data.stat().st_size
    except OSError as error:
        missing = data if header.exists() else header
        raise ScanError(
            f"{one_line(missing)} cannot be read ({one_line(error.strerror or error)}): a cfl file and its hdr "
            "belong together. Copy both."
        ) from error
    found = re.search(r"^# Dimensions[^\n]*\n([0-9 \t]+)$", text, flags=re.MULTILINE)
    # Thousands of digits are no count: Python refuses them, and the first few are too many for any file.
    dims = tuple(int(n[:15]) for n in found[1].split()[:_N]) if found else ()
    dims += (1,) * (_N - len(dims))
    if not found or min(dims) < 1:
        raise ScanError(
            f"{one_line(header)} states no dimensions, expected '# Dimensions' and counts. Write it again with BART."
        )
    if math.prod(dims) * 8 != size:
        raise ScanError(
            f"{one_line(data)} holds {size} bytes, its hdr says {math.prod(dims) * 8}. Copy both files again."
        )
    return data, dims


def _refuse(path: Path, dims: Sequence[int], allowed: set[int]) -> None:
    wrong = [axis for axis, n in enumerate(dims) if n > 1 and axis not in allowed]
    if not wrong:
        return
    shown = " ".join(map(str, dims)).removesuffix(
        " 1" * (_N - 1 - max(i for i, n in enumerate(dims) if n > 1))
    )
    if wrong == [_PARTITION]:
        raise ScanError(
            f"{one_line(path)}: 3-D k-space ({shown}) is not supported. If axis 2 holds slices, move it: "
            "bart transpose 2 13."
        )
    raise ScanError(
        f"{one_line(path)}: dimensions {shown}, where axis {wrong[0]} has {dims[wrong[0]]}; expected readout, phase "
        "encode, 1, coils, and slices on axis 13. Cut it apart with: bart slice"
    )


def _blocks(slices: Any, n_slices: int) -> Iterator[NDArray[np.complex64]]:
    for i in range(n_slices):
        yield np.asarray(slices[i : i + 1])[0]


def _holds(path: Path, slices: Slices) -> bool:
    """Whether a pair holds these very values, as one that a killed conversion left."""
    try:
        data, dims = _pair(path)
        kept = CflSlices(data, dims)
        same = kept.shape == tuple(slices.shape)
        return same and all(np.array_equal(kept[i : i + 1], slices[i : i + 1]) for i in range(len(kept)))
    except ScanError:
        return False


def _write(path: Path, blocks: Iterator[NDArray[Any]], shape: tuple[int, ...], overwrite: bool) -> None:
    """Write volumes `(coil, height, width)` one after the other, and the hdr beside them."""
    data, header = path.with_suffix(".cfl"), path.with_suffix(".hdr")
    dims = [1] * _N
    dims[_SLICE], dims[_COIL], dims[_READ], dims[_PHASE] = shape

    def fill(part: Path, text: Path) -> None:
        text.write_text(f"# Dimensions\n{' '.join(map(str, dims))} \n", encoding="ascii")
        with part.open("wb") as file:
            for i, block in enumerate(blocks):
                if not np.isfinite(block).all():
                    raise OutputError(
                        f"Cannot write {one_line(data)}: slice {i} holds NaN or Inf. Leave it out."
                    )
                # Column-major: the readout runs fastest, the coil slowest.
                file.write(np.ascontiguousarray(block.transpose(0, 2, 1), dtype="<c8").tobytes())

    # Killed at any moment, this leaves no pair of which one half belongs to another volume. Where no cfl is there, the
    # hdr, worth nothing by itself, takes its name first; else it is away while the cfl is exchanged.
    if not (overwrite and data.exists()):
        with (
            atomic_output(data, overwrite=overwrite) as part,
            atomic_output(header, overwrite=overwrite or not data.exists()) as text,
        ):
            fill(part, text)
        return
    before = header.read_bytes() if header.exists() else None
    try:
        with atomic_output(header, overwrite=True) as text:
            with atomic_output(data, overwrite=True) as part:
                fill(part, text)
                header.unlink(missing_ok=True)
            before = None  # it would be beside another volume's cfl
    except BaseException:
        if before is not None and not header.exists():
            header.write_bytes(before)
        raise
