"""Scanner readouts sorted into k-space: what ISMRMRD and TWIX have in common.

A raw file is a list of readouts, each with counters that say where it belongs. Here they become scans of 2-D
Cartesian k-space: one a contrast, repetition, cardiac phase and set. Slices are put together when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.epi import ghost_phases
from mri_recon.data.formats.sorting import LinesOfSlice, SortedSlices, n_readout
from mri_recon.data.header import rewrite_header
from mri_recon.data.plausible import implausible
from mri_recon.data.scan import Header, Scan, Vector
from mri_recon.errors import ScanError

IMAGING, CALIBRATION, BOTH, NOISE, PHASE_CORRECTION, OTHER = range(6)
"""What a readout was measured for."""

COUNTERS = ("contrast", "phase", "repetition", "set")
"""Counters of which each value is a scan of its own."""

TABLE = np.dtype(
    [
        ("purpose", "u1"),
        ("reverse", "?"),
        *(
            (name, "i4")
            for name in ("step", "partition", "slice", "average", "segment", "encoding", *COUNTERS)
        ),
        *((name, "i4") for name in ("n_samples", "n_coils", "center", "discard_pre", "discard_post")),
        *((name, "f8", (3,)) for name in ("position", "read", "phase_dir", "normal")),
    ]
)
"""A row a readout. `center` is the sample at the centre of k-space, after a reversed readout was turned."""

Load = Callable[[Sequence[int]], Iterator[NDArray[np.complex64]]]
"""Reads readouts by their row, `(coil, sample)` each."""


@dataclass(frozen=True)
class Encoding:
    """How the lines of one encoding fill k-space.

    Parameters
    ----------
    matrix, recon
        (x, y, z) of k-space as encoded, oversampling included, and of the image.
    fov, recon_fov
        Their sizes in mm.
    center
        Phase-encode counter of the line through the centre.
    separate_calibration
        The calibration lines were measured apart, with another contrast: they are good for coil maps only.
    ramp_sampled
        The readout's samples are not evenly spaced in k-space.
    """

    matrix: tuple[int, int, int]
    recon: tuple[int, int, int] | None = None
    fov: Vector | None = None
    recon_fov: Vector | None = None
    center: int | None = None
    trajectory: str = "cartesian"
    separate_calibration: bool = False
    ramp_sampled: bool = False


@dataclass(frozen=True)
class Raw:
    """A raw file: its readouts and its encodings; `xml` is its ISMRMRD header, if it has one."""

    path: Path
    table: NDArray[Any]
    load: Load
    encodings: tuple[Encoding, ...]
    xml: str | None = None
    acquisition: str = "unknown"
    notes: tuple[str, ...] = ()
    label: str = ""


def scans_of(raw: Raw, options: ReadOptions) -> tuple[Scan, ...]:
    """Sort the readouts of a file into scans.

    Raises
    ------
    ScanError
        There is nothing to sort, or it is of a kind that is not supported: 3-D, radial, and so on.
    """
    table = raw.table
    imaging = np.isin(table["purpose"], (IMAGING, BOTH))
    if not imaging.any():
        raise ScanError(
            f"{raw.path}: it holds no imaging readouts. Choose the file of the measurement itself."
        )
    for number in np.unique(table["encoding"][imaging]):
        _refuse_unsupported(raw, int(number), table[imaging & (table["encoding"] == number)])
    n_coils = np.unique(table["n_coils"][imaging])
    if len(n_coils) > 1 or n_coils[0] < 1:
        raise ScanError(
            f"{raw.path}: its readouts have {', '.join(map(str, n_coils))} coils, expected the same number in all. "
            "Export it with one set of coils."
        )
    whitening, notes = _whitening(raw, int(n_coils[0]), options)
    keys = np.stack([table[name] for name in ("encoding", *COUNTERS)], axis=1)
    found = np.unique(keys[imaging], axis=0)
    varying = [len(np.unique(found[:, i])) > 1 for i in range(found.shape[1])]
    scans = []
    for key in found:
        parts = [
            f"{name}{value}"
            for name, value, v in zip(("encoding", *COUNTERS), key, varying, strict=True)
            if v
        ]
        name = "_".join([raw.path.stem, *([raw.label] if raw.label else []), *parts]) + raw.path.suffix
        scans.append(_scan(raw, name, key, (keys == key).all(axis=1), whitening, notes, options))
    return tuple(scans)


def _refuse_unsupported(raw: Raw, number: int, rows: NDArray[Any]) -> None:
    if number >= len(raw.encodings):
        raise ScanError(
            f"{raw.path}: readouts name encoding {number}, the header has {len(raw.encodings)}. Export it again."
        )
    encoding = raw.encodings[number]
    what = None
    if encoding.trajectory not in ("cartesian", "epi"):
        what = f"{encoding.trajectory} trajectory"
    elif len(np.unique(rows["partition"])) > 1:
        what = "3-D encoding (several partitions)"
    elif encoding.trajectory == "epi" and encoding.ramp_sampled:
        what = "EPI sampled on the gradient's ramps"
    elif encoding.trajectory == "epi" and not (raw.table["purpose"] == PHASE_CORRECTION).any():
        what = "EPI without correction data"
    if what is not None:
        raise ScanError(
            f"{raw.path}: {what} is not supported; only 2-D Cartesian scans are. Sort it with another tool."
        )


def _whitening(
    raw: Raw, n_coils: int, options: ReadOptions
) -> tuple[NDArray[np.complex64] | None, tuple[str, ...]]:
    """The matrix that makes the coils' noise uncorrelated and of equal size, from the noise readouts.

    Its scale is chosen to keep the mean noise power, so that intensities stay what they were.
    """
    rows = np.flatnonzero(raw.table["purpose"] == NOISE)
    if not len(rows):
        return None, ()
    if not options.prewhiten:
        return None, ("The noise scan was left out: k-space is as measured, its coils are not decorrelated.",)
    covariance = np.zeros((n_coils, n_coils), np.complex128)
    n_samples = 0
    for samples in raw.load(rows.tolist()):
        if samples.shape[0] == n_coils and np.isfinite(samples).all():
            noise = samples.astype(np.complex128)
            covariance += noise @ noise.conj().T
            n_samples += noise.shape[1]
    if n_samples < 2 * n_coils:
        return None, (f"The noise scan was left out: {n_samples} samples cannot tell {n_coils} coils apart.",)
    covariance /= n_samples
    try:
        whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    except np.linalg.LinAlgError:
        return None, ("The noise scan was left out: its coils depend on each other, or one of them is dead.",)
    whitening *= np.sqrt(np.trace(covariance).real / n_coils)
    return whitening.astype(np.complex64), ("The coils were decorrelated with the file's noise scan.",)


def _scan(
    raw: Raw,
    name: str,
    key: NDArray[Any],
    own: NDArray[np.bool_],
    whitening: NDArray[np.complex64] | None,
    notes: tuple[str, ...],
    options: ReadOptions,
) -> Scan:
    table, encoding = raw.table, raw.encodings[int(key[0])]
    imaging = own & np.isin(table["purpose"], (IMAGING, BOTH))
    joined, apart = _calibration(raw, own, encoding)
    height, width = encoding.matrix[0], encoding.matrix[1]
    kept = n_readout(encoding) if options.remove_oversampling else height
    slices = np.unique(table["slice"][imaging])
    ghosts = ghost_phases(raw, own, slices) if encoding.trajectory == "epi" else None

    def sorted_slices(rows: NDArray[np.bool_], preferred: NDArray[np.bool_]) -> SortedSlices:
        of_slices = tuple(
            _lines(raw, encoding, rows & (table["slice"] == s), preferred, name) for s in slices
        )
        return SortedSlices(
            raw.load,
            name,
            of_slices,
            (int(table["n_coils"][imaging][0]), height, width),
            kept,
            whitening,
            ghosts,
        )

    kspace = sorted_slices(imaging | joined, imaging)
    calibration = None
    if apart.any():
        calibration, more = _calibration_slices(sorted_slices, apart)
        notes = (*notes, *more)
    mask, padding, mask_notes = _sampled(kspace, width)
    header = _header(raw, encoding, int(key[0]), slices, imaging, kept, padding)
    return Scan(
        name=name,
        kspace=kspace,
        mask=mask,
        header=header,
        acquisition=raw.acquisition,
        calibration=calibration,
        n_coils_stored=kspace.shape[1],
        path=raw.path,
        notes=(*raw.notes, *notes, *mask_notes, *_left_out(table, encoding, kept, height)),
    )


def _calibration(
    raw: Raw, own: NDArray[np.bool_], encoding: Encoding
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Calibration readouts that join the image's k-space, and those that are for coil maps only.

    Where calibration was measured once for all repetitions, the file's serves those that have none.
    """
    table = raw.table
    only, any_of = table["purpose"] == CALIBRATION, np.isin(table["purpose"], (CALIBRATION, BOTH))
    nothing = np.zeros_like(own)
    if not encoding.separate_calibration and (own & any_of).any():
        return own & only, nothing
    candidates = only if encoding.separate_calibration else any_of
    # Lines of another field of view lie elsewhere in k-space.
    alike = [
        e.fov is None or encoding.fov is None or np.allclose(e.fov[:2], encoding.fov[:2])
        for e in raw.encodings
    ]
    candidates = candidates & np.array(alike)[np.clip(table["encoding"], 0, len(alike) - 1)]
    candidates &= table["n_coils"] == table["n_coils"][np.flatnonzero(own)[0]]
    return nothing, candidates & own if (candidates & own).any() else candidates


def _calibration_slices(
    sorted_slices: Callable[..., SortedSlices], rows: NDArray[np.bool_]
) -> tuple[SortedSlices | None, tuple[str, ...]]:
    try:
        found: SortedSlices = sorted_slices(rows, rows)
    except ScanError as error:
        return None, (f"The calibration lines were left out: {error}",)
    if not all(len(lines.rows) for lines in found.lines):
        return None, ("The calibration lines were left out: some slices have none.",)
    return found, ("Coil maps come from calibration lines that were measured apart.",)


def _left_out(table: NDArray[Any], encoding: Encoding, kept: int, height: int) -> tuple[str, ...]:
    notes = []
    n_other = int((table["purpose"] == OTHER).sum())
    if n_other:
        notes.append(f"{n_other} readouts are neither image, calibration nor noise; they were left out.")
    if kept < height:
        notes.append(f"The readout's oversampling was removed: {height} samples became {kept}.")
    return tuple(notes)


def _lines(
    raw: Raw, encoding: Encoding, rows: NDArray[np.bool_], preferred: NDArray[np.bool_], name: str
) -> LinesOfSlice:
    """Where the readouts of a slice go: column, first sample, and which are averaged."""
    table = raw.table
    height, width = encoding.matrix[0], encoding.matrix[1]
    chosen = np.flatnonzero(rows)
    centers = [e.matrix[1] // 2 if e.center is None else e.center for e in raw.encodings]
    center = centers[raw.encodings.index(encoding)]
    columns = width // 2 - np.array(centers)[table["encoding"][chosen]] + table["step"][chosen]
    # A calibration line on a column that was imaged too is not averaged with it: the image's own line counts.
    imaged = columns[preferred[chosen]]
    keep = preferred[chosen] | ~np.isin(columns, imaged)
    chosen, columns = chosen[keep], columns[keep]
    own = table[chosen]
    if len(columns) and (columns.min() < 0 or columns.max() >= width):
        wrong = int(own["step"][(columns < 0) | (columns >= width)][0])
        raise ScanError(
            f"{name}: line {wrong} lies outside the {width} columns that the header encodes (centre {center}). "
            "Its header and its readouts contradict each other: export it again."
        )
    # Writers that leave the centre out mean the middle.
    middle = np.where((own["center"] == 0) & (own["n_samples"] > 1), own["n_samples"] // 2, own["center"])
    starts = height // 2 - middle + own["discard_pre"]
    counts = own["n_samples"] - own["discard_pre"] - own["discard_post"]
    outside = (starts < 0) | (starts + counts > height) | (counts < 1)
    if outside.any():
        first = own[outside][0]
        raise ScanError(
            f"{name}: a readout of {first['n_samples']} samples with its centre at {first['center']} does not fit "
            f"the {height} that the header encodes. Its header and its readouts contradict each other: export it again."
        )
    measured, n_coils = int(own["n_samples"].sum()), int(own["n_coils"].max(initial=0))
    if implausible(8 * n_coils * height * width, 8 * n_coils * measured):
        raise ScanError(
            f"{name}: its header encodes {height} × {width} samples, {measured} were measured. "
            "Its header and its readouts contradict each other: export it again."
        )
    return LinesOfSlice(
        chosen,
        columns,
        starts,
        own["discard_pre"].copy(),
        counts,
        own["reverse"].copy(),
    )


def _sampled(
    kspace: SortedSlices, width: int
) -> tuple[NDArray[np.bool_] | None, tuple[int, int] | None, tuple[str, ...]]:
    """The mask if lines are missing inside, and the extent if they are missing outside."""
    acquired = np.zeros((len(kspace.lines), width), dtype=bool)
    for row, lines in zip(acquired, kspace.lines, strict=True):
        row[lines.columns] = True
    everywhere: NDArray[np.bool_] = np.asarray(acquired.all(axis=0))
    notes: tuple[str, ...] = ()
    if not everywhere.any():
        raise ScanError(
            f"{kspace.name}: no line was measured in every slice. The measurement is incomplete: leave it out."
        )
    if (acquired != everywhere).any():
        n_some = int((acquired.any(axis=0) & ~everywhere).sum())
        notes = (f"{n_some} lines were measured in some slices only; they count as not acquired.",)
    first, last = (int(i) for i in np.flatnonzero(everywhere)[[0, -1]])
    padding = (first, last + 1) if (first, last + 1) != (0, width) else None
    mask = everywhere if not everywhere[first : last + 1].all() or notes else None
    return mask, padding, notes


def _header(
    raw: Raw,
    encoding: Encoding,
    number: int,
    slices: NDArray[Any],
    imaging: NDArray[np.bool_],
    kept: int,
    padding: tuple[int, int] | None,
) -> Header:
    height, width, _ = encoding.matrix
    fov = encoding.fov
    recon = encoding.recon or (kept, width, 1)
    if fov is not None and encoding.recon_fov is not None:
        # The image in k-space's own pixels, as the recon matrix may be an interpolated one.
        sizes = (
            round(n * part / whole)
            for n, part, whole in zip((height, width), encoding.recon_fov, fov, strict=False)
        )
        recon = (*sizes, 1)  # type: ignore[assignment]
    recon = (min(recon[0], kept), min(recon[1], width), 1)
    if fov is not None:
        fov = (fov[0] * kept / height, fov[1], fov[2])
    positions, orientation = _place(raw.table, slices, imaging)
    left, right = padding or (0, width)
    limits = (width // 2 - left, right - left - 1) if left <= width // 2 < right else None
    matrix = (kept, width, 1)
    xml = None if raw.xml is None else rewrite_header(raw.xml, number, matrix, fov, recon, limits)
    return Header(matrix, recon, padding, xml, fov, encoding.recon_fov, positions, orientation)


def _place(
    table: NDArray[Any], slices: NDArray[Any], imaging: NDArray[np.bool_]
) -> tuple[tuple[Vector, ...] | None, tuple[Vector, Vector, Vector] | None]:
    """Positions and directions of the slices; None where the readouts hold nothing of the kind."""
    firsts = [int(np.flatnonzero(imaging & (table["slice"] == s))[0]) for s in slices]
    rows = table[firsts]
    directions = [rows[0][name] for name in ("read", "phase_dir", "normal")]
    gram = np.array(directions) @ np.array(directions).T
    if not np.isfinite(rows["position"]).all() or not np.allclose(gram, np.eye(3), atol=1e-2):
        return None, None
    read, phase, normal = (_vector(direction) for direction in directions)
    return tuple(_vector(row["position"]) for row in rows), (read, phase, normal)


def _vector(values: NDArray[Any]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
