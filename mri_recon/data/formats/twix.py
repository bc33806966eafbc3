"""Siemens raw data (TWIX, ``meas_*.dat``), VB and VD/VE: headers by twixtools, lines sorted as ISMRMRD's are."""

from __future__ import annotations

import contextlib
import ctypes
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.base import Format, ReadOptions, extra
from mri_recon.data.formats.readouts import (
    BOTH,
    CALIBRATION,
    IMAGING,
    NOISE,
    OTHER,
    PHASE_CORRECTION,
    TABLE,
    Encoding,
    Raw,
    scans_of,
)
from mri_recon.data.scan import Scan
from mri_recon.errors import ScanError
from mri_recon.files import one_line

_BUFFERS = (b"Config", b"Meas", b"Dicom", b"Phoenix", b"Spice")
_NO_IMAGE = (
    "RTFEEDBACK", "HPFEEDBACK", "REFPHASESTABSCAN", "PHASESTABSCAN", "SLICE_ACCEL_REFSCAN", "SLICE_ACCEL_PHASCOR",
    "PACE", "RETRO_DUMMYSCAN", "B1_CONTROLLOOP", "noname60",
)  # fmt: skip
_IN_PLACE = (1, 2, 16, 32, 64, 128)
"""Modes of reference lines (`ucRefScanMode`) that belong to the image: none, in place, shared by averages, repetitions
or phases, and of the image's own echo train. All others are measured apart, or in another measurement."""
_TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral", 8: "propeller"}


class Twix(Format):
    """Siemens raw data."""

    name: ClassVar[str] = "twix"
    suffix: ClassVar[str] = ".dat"
    suffixes: ClassVar[tuple[str, ...]] = (".dat",)

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        if len(start) < 32:
            return False
        first, second = (int(n) for n in np.frombuffer(start, "<u4", 2))
        if first < 10000 and 1 <= second <= 64:  # VD, VE: a list of measurements, each from a multiple of 512
            offset = int(np.frombuffer(start, "<u8", 1, 16)[0])
            return offset % 512 == 0 and 8 <= offset < path.stat().st_size
        return start[8:].startswith(_BUFFERS)

    @classmethod
    def read_scans(cls, path: Path, options: ReadOptions) -> tuple[Scan, ...]:
        extra("twixtools", "twixtools", path)
        return scans_of(_read(path), options)


@dataclass(frozen=True)
class _Load:
    """Reads readouts by their row: where each begins, and how it is laid out."""

    path: Path
    offsets: NDArray[np.int64]
    n_coils: NDArray[np.integer]
    n_samples: NDArray[np.integer]
    before: int
    before_each: int

    def __call__(self, rows: Sequence[int]) -> Iterator[NDArray[np.complex64]]:
        with self.path.open("rb") as file:
            for row in rows:
                n = int(self.n_samples[row])
                line = np.dtype([("header", f"V{self.before_each}"), ("data", "<c8", (n,))])
                size = int(self.n_coils[row]) * line.itemsize
                file.seek(int(self.offsets[row]) + self.before)
                content = file.read(size)
                if len(content) < size:
                    raise ScanError(
                        f"{one_line(self.path)} is truncated within readout {row}. Copy it again."
                    )
                yield np.ascontiguousarray(np.frombuffer(content, line)["data"])


def _read(path: Path) -> Raw:
    import twixtools
    from twixtools import mdh_def

    try:
        # It prints what it finds odd, which does not belong into our output.
        with contextlib.redirect_stdout(io.StringIO()):
            found = twixtools.read_twix(
                str(path), parse_data=False, parse_pmu=False, parse_geometry=False, verbose=False
            )
    except MemoryError:
        raise
    except Exception as error:  # what a damaged header raises depends on the byte that is damaged
        raise ScanError(
            f"{one_line(path)}: its header cannot be read as Siemens raw data ({one_line(error)[:120]}). Copy it again."
        ) from error
    if not found:
        raise ScanError(f"{one_line(path)} holds no measurement. Copy it again.")
    newer = "raidfile_hdr" in found[0]
    header: Any = mdh_def.Scan_header if newer else mdh_def.VB17_header
    each = ctypes.sizeof(mdh_def.Channel_header) if newer else ctypes.sizeof(header)
    before = ctypes.sizeof(header) if newer else 0
    tables, offsets = [], []
    for number, measurement in enumerate(found):
        start = int(measurement["raidfile_hdr"]["off_"]) if newer else 0
        headers, places = _walk(
            path, start + len(measurement["hdr_str"]), np.dtype(header), before, each, mdh_def
        )
        table = _table(headers, mdh_def)
        if number < len(found) - 1:
            # Measurements before the last are adjustments: of those, only noise is of use.
            table, places = table[table["purpose"] == NOISE], places[table["purpose"] == NOISE]
        tables.append(table)
        offsets.append(places)
    table, places = np.concatenate(tables), np.concatenate(offsets)
    load = _Load(path.absolute(), places, table["n_coils"].copy(), table["n_samples"].copy(), before, each)
    encoding, notes = _encoding(found[-1].get("hdr", {}), headers, table, path)
    return Raw(path, table, load, (encoding,), None, _protocol(found[-1]), notes)


def _walk(
    path: Path, start: int, header: np.dtype[Any], before: int, each: int, mdh_def: Any
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Headers of all readouts of a measurement, and where they begin; it ends with the readout that says so."""
    end = 1 << mdh_def.mask_dict["ACQEND"]
    sync = 1 << mdh_def.mask_dict["SYNCDATA"]
    size = path.stat().st_size
    headers, places, position = [], [], start
    with path.open("rb") as file:
        while True:
            file.seek(position)
            content = file.read(header.itemsize)
            if len(content) < header.itemsize:
                raise ScanError(
                    f"{one_line(path)} is truncated: it ends at byte {size} without its last readout. Copy it again."
                )
            one = np.frombuffer(content, header)[0]
            flags = int(one["EvalInfoMask"])
            if flags & end:
                break
            stated = int(one["FlagsAndDMALength"]) % 2**25
            length = before + int(one["UsedChannels"]) * (each + 8 * int(one["SamplesInScan"]))
            if not flags & sync:
                headers.append(one)
                places.append(position)
            position += stated if flags & sync else length
            if (stated if flags & sync else length) <= before or position > size:
                raise ScanError(
                    f"{one_line(path)} is damaged or truncated: the readout at byte {position} does not fit the file's "
                    f"{size} bytes. Copy it again."
                )
    return np.array(headers, dtype=header), np.array(places, dtype=np.int64)


def _table(headers: NDArray[Any], mdh_def: Any) -> NDArray[Any]:
    table = np.zeros(len(headers), TABLE)
    if not len(headers):
        return table
    counter, flags = headers["Counter"], headers["EvalInfoMask"].astype(np.uint64)
    names = {
        "step": "Lin", "partition": "Par", "slice": "Sli", "average": "Ave", "segment": "Seg",
        "contrast": "Eco", "phase": "Phs", "repetition": "Rep", "set": "Set",
    }  # fmt: skip
    for ours, theirs in names.items():
        table[ours] = counter[theirs]
    table["n_samples"], table["n_coils"] = headers["SamplesInScan"], headers["UsedChannels"]
    table["center"] = headers["CenterCol"]
    table["discard_pre"], table["discard_post"] = headers["CutOff"]["Pre"], headers["CutOff"]["Post"]

    def flagged(*of: str) -> NDArray[np.bool_]:
        wanted = sum(1 << mdh_def.mask_dict[name] for name in of if name in mdh_def.mask_dict)
        return np.asarray((flags & np.uint64(wanted)) != 0)

    purpose = np.full(len(headers), IMAGING, np.uint8)
    purpose[flagged("PATREFSCAN")] = CALIBRATION
    purpose[flagged("PATREFANDIMASCAN")] = BOTH
    purpose[flagged(*_NO_IMAGE)] = OTHER
    purpose[flagged("PHASCOR")] = PHASE_CORRECTION
    # Calibration of EPI brings correction lines of its own, of another echo train than the image's.
    purpose[flagged("PHASCOR") & flagged("PATREFSCAN") & ~flagged("PATREFANDIMASCAN")] = OTHER
    purpose[flagged("NOISEADJSCAN")] = NOISE
    table["purpose"], table["reverse"] = purpose, flagged("REFLECT")
    position = headers["SliceData"]["SlicePos"]
    table["position"] = np.stack([position[axis] for axis in ("Sag", "Cor", "Tra")], axis=1)
    directions = np.array([_directions(q) for q in headers["SliceData"]["Quaternion"]])
    table["phase_dir"], table["read"], table["normal"] = (
        directions[:, :, 0],
        directions[:, :, 1],
        directions[:, :, 2],
    )
    return table


def _directions(quaternion: NDArray[Any]) -> NDArray[np.float64]:
    """Rotation matrix of a quaternion, real part first: its columns are phase, readout and slice direction."""
    r, i, j, k = (float(q) for q in quaternion)
    return np.array(
        [
            [1 - 2 * (j * j + k * k), 2 * (i * j - k * r), 2 * (i * k + j * r)],
            [2 * (i * j + k * r), 1 - 2 * (i * i + k * k), 2 * (j * k - i * r)],
            [2 * (i * k - j * r), 2 * (j * k + i * r), 1 - 2 * (i * i + j * j)],
        ]
    )


def _encoding(
    header: dict[str, Any], headers: NDArray[Any], table: NDArray[Any], path: Path
) -> tuple[Encoding, tuple[str, ...]]:
    """Sizes from the protocol; what it does not say, from the readouts."""
    own = table[-len(headers) :] if len(headers) else table[:0]
    imaging = np.isin(own["purpose"], (IMAGING, BOTH))
    if not imaging.any():
        raise ScanError(
            f"{one_line(path)}: it holds no imaging readouts. Choose the file of the measurement itself."
        )
    rows = own[imaging]
    center, last = int(headers["CenterLin"][imaging][0]), int(rows["step"].max())
    middle = np.where(rows["center"] > 0, rows["center"], rows["n_samples"] // 2)
    n_samples = 2 * int(np.maximum(middle, rows["n_samples"] - middle).max())
    base = _number(header, "MeasYaps", "sKSpace", "lBaseResolution")
    lines = int(_number(header, "MeasYaps", "sKSpace", "lPhaseEncodingLines") or 0)
    oversampling = 2 if base and n_samples > 1.5 * base else 1
    fits = center <= lines // 2 and last + 1 - center <= (lines + 1) // 2
    matrix = (
        max(int(base or 0) * oversampling, n_samples),
        lines if fits else 2 * max(center, last + 1 - center),
        1,
    )
    view = [_slice(header, name) for name in ("dReadoutFOV", "dPhaseFOV", "dThickness")]
    more = _number(header, "MeasYaps", "sKSpace", "dPhaseOversamplingForDialog") or 0.0
    dimension = _number(header, "MeasYaps", "sKSpace", "ucDimension")
    trajectory = int(_number(header, "MeasYaps", "sKSpace", "ucTrajectory") or 1)
    planned = None not in view
    read, phase, thickness = (float(v or 0) for v in view)
    notes = () if planned else ("The protocol states no field of view: sizes are taken from the readouts.",)
    if dimension == 4:
        raise ScanError(
            f"{one_line(path)}: 3-D encoding is not supported; only 2-D Cartesian scans are. Sort it with another tool."
        )
    if trajectory == 1 and not rows["step"].any():
        raise ScanError(
            f"{one_line(path)}: a scan without phase encoding (spectroscopy, or a single line) is not supported; only "
            "2-D Cartesian scans are. Use a tool for spectroscopy."
        )
    references = int(_number(header, "MeasYaps", "sPat", "ucRefScanMode") or 1)
    factor = _number(header, "MeasYaps", "sFastImaging", "lEPIFactor") or 1
    corrected = (own["purpose"] == PHASE_CORRECTION).any()
    epi = bool(rows["reverse"].any() and (factor > 1 or corrected))
    return Encoding(
        matrix=matrix,
        recon=(int(base), matrix[1], 1) if base else None,
        fov=(read * matrix[0] / base, phase * (1 + more), thickness) if planned and base else None,
        recon_fov=(read, phase, thickness) if planned and base else None,
        center=center,
        trajectory="epi" if epi else _TRAJECTORIES.get(trajectory, f"number {trajectory}"),
        separate_calibration=references not in _IN_PLACE,
        ramp_sampled=epi and int(_number(header, "Meas", "alRegridMode") or 1) > 1,
    ), notes


def _number(header: dict[str, Any], *names: str) -> float | None:
    value: Any = header
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    # Twixtools reads an array of the protocol as a list; its first is the image's.
    if isinstance(value, list):
        value = value[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _slice(header: dict[str, Any], name: str) -> float | None:
    try:
        first = header["MeasYaps"]["sSliceArray"]["asSlice"][0]
    except (KeyError, IndexError, TypeError):
        return None
    return _number(first, name) if isinstance(first, dict) else None


def _protocol(measurement: dict[str, Any]) -> str:
    for part, name in (
        ("MeasYaps", "tProtocolName"),
        ("Meas", "tProtocolName"),
        ("Config", "SequenceDescription"),
    ):
        value = measurement.get("hdr", {}).get(part, {})
        value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and value.strip(' "'):
            return value.strip(' "')
    return "unknown"
