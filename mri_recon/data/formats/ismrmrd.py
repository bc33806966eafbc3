"""ISMRMRD (MRD) raw data in HDF5, read and written.

The layout is HDF5, so h5py reads it as it is: that needs no further package, leaves the XML to our own reader, which
refuses entities, and reads the headers of all readouts at once.

References
----------
.. [1] Inati et al. (2017), ISMRM Raw data format: A proposed standard for MRI raw datasets,
   Magn Reson Med 77:411-421.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.base import Format, ReadOptions, lost
from mri_recon.data.formats.readouts import (
    BOTH,
    CALIBRATION,
    COUNTERS,
    IMAGING,
    NOISE,
    OTHER,
    PHASE_CORRECTION,
    TABLE,
    Encoding,
    Raw,
    scans_of,
)
from mri_recon.data.header import build_header, find, number_of, read_xml, rewrite_header, text_of
from mri_recon.data.scan import Scan, Vector
from mri_recon.errors import OutputError, ScanError
from mri_recon.files import one_line

_FLAGS = {
    "first_in_slice": 7,
    "last_in_slice": 8,
    "noise": 19,
    "calibration": 20,
    "both": 21,
    "reverse": 22,
    "navigation": 23,
    "phase_correction": 24,
    "last_in_measurement": 25,
    "hp_feedback": 26,
    "dummy": 27,
    "rt_feedback": 28,
    "surface_coil": 29,
    "stabilization_reference": 30,
    "stabilization": 31,
}
"""Bits of a readout's flags, counted from one as the standard does."""

_BLOCK = 256
_YARDL = b"yardl"
"""What MRD version 2 begins with."""


class Ismrmrd(Format):
    """ISMRMRD raw data, one or several measurements a file."""

    name: ClassVar[str] = "mrd"
    suffix: ClassVar[str] = ".mrd"
    suffixes: ClassVar[tuple[str, ...]] = (".mrd",)

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start.startswith(_YARDL) or (start.startswith(b"\x89HDF\r\n\x1a\n") and bool(_groups(path)))

    @classmethod
    def read_scans(cls, path: Path, options: ReadOptions) -> tuple[Scan, ...]:
        with path.open("rb") as file:
            if file.read(len(_YARDL)) == _YARDL:
                raise ScanError(
                    f"{one_line(path)} is MRD version 2, which is not read; expected ISMRMRD's HDF5 (version 1). "
                    "Convert it with the tools that it comes with."
                )
        groups = _groups(path)
        found = [_read(path, group, group if len(groups) > 1 else "") for group in groups]
        return tuple(scan for raw in found for scan in scans_of(raw, options))

    @classmethod
    def write_scan(cls, path: Path, scan: Scan, *, overwrite: bool) -> tuple[str, ...]:
        _write(path, scan, overwrite)
        return lost(
            {
                "the target": scan.target,
                "the coil maps": scan.smaps,
                "the true image": scan.truth,
                "separate calibration lines": scan.calibration,
                "attributes": scan.attributes or None,
            }
        )


@dataclass(frozen=True)
class _Load:
    """Reads readouts of a file by their row, opening it anew each time."""

    path: Path
    dataset: str
    n_coils: tuple[int, ...]

    def __call__(self, rows: Sequence[int]) -> Iterator[NDArray[np.complex64]]:
        from mri_recon.data.hdf5 import explained, find_dataset, open_hdf5

        with open_hdf5(self.path) as file:
            data = find_dataset(file, self.path, self.dataset)
            if data is None or len(data) != len(self.n_coils):
                raise ScanError(f"{one_line(self.path)} has changed since it was opened. Open it again.")
            for run in _runs(rows):
                with explained(self.path, f"readouts {run.start} to {run.stop - 1}"):
                    samples = data.fields("data")[run.start : run.stop]
                for row, values in zip(run, samples, strict=True):
                    n_coils = max(self.n_coils[row], 1)
                    if values.dtype != np.float32 or values.size % (2 * n_coils) or not values.size:
                        raise ScanError(
                            f"{one_line(self.path)}: readout {row} holds {values.size} numbers, which its header's "
                            f"{n_coils} coils do not share. The file is damaged: export it again."
                        )
                    yield values.view(np.complex64).reshape(n_coils, -1)


def _runs(rows: Sequence[int]) -> Iterator[range]:
    """Rows as ranges of neighbours, none too long to be held."""
    start = stop = None
    for row in rows:
        if start is not None and stop is not None and (row != stop or row - start >= _BLOCK):
            yield range(start, stop)
            start = row
        start = row if start is None else start
        stop = row + 1
    if start is not None and stop is not None:
        yield range(start, stop)


def _groups(path: Path) -> list[str]:
    """Groups of the file that hold the header `xml` and the readouts `data`."""
    import h5py

    from mri_recon.data.hdf5 import explained, open_hdf5

    with open_hdf5(path) as file, explained(path, "the list of groups"):
        found = []
        for name in file:
            link = file.get(name, getlink=True) if isinstance(name, str) else None
            group = file[name] if isinstance(link, h5py.HardLink) else None
            if isinstance(group, h5py.Group) and {"xml", "data"} <= set(group):
                found.append(name)
        return found


def _read(path: Path, group: str, label: str) -> Raw:
    from mri_recon.data.hdf5 import explained, find_dataset, open_hdf5, read_text

    shown = f"{one_line(path)}: '{one_line(group)}/data'"
    with open_hdf5(path) as file:
        xml = read_text(file, path, f"{group}/xml") or ""
        data = find_dataset(file, path, f"{group}/data")
        fields = (data.dtype.names or ()) if data is not None else ()
        if data is None or not {"head", "data"} <= set(fields) or data.ndim != 1:
            raise ScanError(
                f"{shown} is no list of ISMRMRD readouts, expected 'head' and 'data'. Export it again."
            )
        with explained(path, "the readouts' headers"):
            heads = data.fields("head")[:]
    table = _table(heads, shown)
    encodings, notes, root = _encodings(xml, table, path)
    load = _Load(path.absolute(), f"{group}/data", tuple(int(n) for n in table["n_coils"]))
    protocol = text_of(root, "measurementInformation", "protocolName") if root is not None else ""
    return Raw(
        path, table, load, encodings, xml if root is not None else None, protocol or "unknown", notes, label
    )


def _table(heads: NDArray[Any], shown: str) -> NDArray[Any]:
    table = np.zeros(len(heads), TABLE)
    try:
        idx, flags = heads["idx"], heads["flags"].astype(np.uint64)
        for ours, theirs in (("step", "kspace_encode_step_1"), ("partition", "kspace_encode_step_2")):
            table[ours] = idx[theirs]
        for name in ("slice", "average", "segment", *COUNTERS):
            table[name] = idx[name]
        for ours, theirs in (
            ("encoding", "encoding_space_ref"),
            ("n_samples", "number_of_samples"),
            ("n_coils", "active_channels"),
            ("center", "center_sample"),
            ("discard_pre", "discard_pre"),
            ("discard_post", "discard_post"),
            ("position", "position"),
            ("read", "read_dir"),
            ("phase_dir", "phase_dir"),
            ("normal", "slice_dir"),
        ):
            table[ours] = heads[theirs]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ScanError(
            f"{shown}: its headers are not ISMRMRD's ({one_line(error)}). Export it with ISMRMRD 1."
        ) from error

    def flagged(*names: str) -> NDArray[np.bool_]:
        wanted = sum(1 << (_FLAGS[name] - 1) for name in names)
        return np.asarray((flags & np.uint64(wanted)) != 0)

    purpose = np.full(len(heads), IMAGING, np.uint8)
    purpose[flagged("calibration")] = CALIBRATION
    purpose[flagged("both")] = BOTH
    other = (
        "navigation",
        "hp_feedback",
        "dummy",
        "rt_feedback",
        "surface_coil",
        "stabilization_reference",
        "stabilization",
    )
    purpose[flagged(*other)] = OTHER
    purpose[flagged("phase_correction")] = PHASE_CORRECTION
    purpose[flagged("noise")] = NOISE
    table["purpose"], table["reverse"] = purpose, flagged("reverse")
    return table


def _encodings(
    xml: str, table: NDArray[Any], path: Path
) -> tuple[tuple[Encoding, ...], tuple[str, ...], ElementTree.Element | None]:
    """Encodings that the header tells of; without a usable one, what the readouts themselves show."""
    root, notes = read_xml(xml)
    found = (
        [e for e in root.iter() if str(e.tag).rpartition("}")[2] == "encoding"] if root is not None else []
    )
    if not found:
        imaging = table[np.isin(table["purpose"], (IMAGING, BOTH, CALIBRATION))]
        if not len(imaging):
            raise ScanError(
                f"{one_line(path)}: it holds no imaging readouts. Choose the file of the measurement itself."
            )
        matrix = (int(imaging["n_samples"].max()), int(imaging["step"].max()) + 1, 1)
        guess = "The header says nothing of the encoding: its size is taken from the readouts."
        n_encodings = int(imaging["encoding"].max()) + 1
        return (Encoding(matrix),) * n_encodings, (*notes, guess), None
    return tuple(_encoding(element, path) for element in found), notes, root


def _encoding(element: ElementTree.Element, path: Path) -> Encoding:
    matrix, recon = _matrix(element, "encodedSpace"), _matrix(element, "reconSpace")
    if matrix is None:
        raise ScanError(
            f"{one_line(path)}: its header states no encoded matrix size that could be used. Export it again."
        )
    center = number_of(element, "encodingLimits", "kspace_encoding_step_1", "center")
    mode = text_of(element, "parallelImaging", "calibrationMode").lower()
    ramps = [
        number_of(parameter, "value")
        for parameter in element.iter()
        if text_of(parameter, "name") in ("rampUpTime", "rampDownTime", "rampSampling")
    ]
    return Encoding(
        matrix=matrix,
        recon=recon,
        fov=_fov(element, "encodedSpace"),
        recon_fov=_fov(element, "reconSpace"),
        center=None if center is None else int(center),
        trajectory=text_of(element, "trajectory").lower() or "cartesian",
        separate_calibration=mode in ("separate", "external"),
        ramp_sampled=find(element, "trajectoryDescription") is not None and any(ramps),
    )


def _matrix(element: ElementTree.Element, space: str) -> tuple[int, int, int] | None:
    x, y, z = (number_of(element, space, "matrixSize", axis) for axis in "xyz")
    if x is None or y is None or not (1 <= x <= 65536 and 1 <= y <= 65536):
        return None
    return int(x), int(y), int(z or 1)


def _fov(element: ElementTree.Element, space: str) -> Vector | None:
    x, y, z = (number_of(element, space, "fieldOfView_mm", axis) for axis in "xyz")
    return (x, y, z or 0.0) if x and y and min(x, y) > 0 else None


_COUNTERS = [
    *(
        (name, "<u2")
        for name in ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast")
    ),
    *((name, "<u2") for name in ("phase", "repetition", "set", "segment")),
    ("user", "<u2", (8,)),
]
_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        *((name, "<u4") for name in ("measurement_uid", "scan_counter", "acquisition_time_stamp")),
        ("physiology_time_stamp", "<u4", (3,)),
        *((name, "<u2") for name in ("number_of_samples", "available_channels", "active_channels")),
        ("channel_mask", "<u8", (16,)),
        *((name, "<u2") for name in ("discard_pre", "discard_post", "center_sample", "encoding_space_ref")),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        *(
            (name, "<f4", (3,))
            for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
        ),
        ("idx", _COUNTERS),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)
"""The standard's header of a readout, version 1."""


def _write(path: Path, scan: Scan, overwrite: bool) -> None:
    import h5py

    from mri_recon.data.new_hdf5 import create_hdf5

    height, width = scan.shape
    if max(height, width, scan.n_slices) > 65535 or scan.n_coils > 1024:
        raise OutputError(
            f"Cannot write {one_line(path)}: ISMRMRD counts up to 65535 samples, lines and slices, and 1024 coils; "
            f"k-space is {tuple(scan.kspace.shape)}. Write another format."
        )
    left, right = scan.header.padding or (0, width)
    if not left <= width // 2 < right:
        left, right = 0, width
    inside = np.zeros(width, dtype=bool)
    inside[left:right] = True
    wanted = inside if scan.mask is None else inside & scan.mask
    slices = [
        np.flatnonzero(wanted | (scan.kspace[i : i + 1] != 0).any(axis=(0, 1, 2)))
        for i in range(scan.n_slices)
    ]
    if any(len(columns) and (columns[0] < left or columns[-1] >= right) for columns in slices):
        left, right = 0, width  # data where the header says padding: kept all the same
    vlen = h5py.vlen_dtype(np.dtype("<f4"))
    row = np.dtype([("head", _HEAD), ("traj", vlen), ("data", vlen)])
    n_rows = sum(map(len, slices))
    with create_hdf5(path, overwrite=overwrite) as file:
        xml = _xml(scan, (width // 2 - left, right - left - 1))
        file.put_whole("dataset/xml", np.array([xml.encode("utf-8")], dtype=h5py.string_dtype("ascii")))
        data = file.create("dataset/data", (n_rows,), row)
        done = 0
        for number, columns in enumerate(slices):
            kspace = np.asarray(scan.kspace[number : number + 1])[0]
            rows = np.empty(len(columns), row)
            rows["head"] = _heads(scan, number, columns - left, done, n_rows)
            for i, column in enumerate(columns):
                line = np.ascontiguousarray(kspace[:, :, column], dtype=np.complex64)
                rows["data"][i] = line.view(np.float32).ravel()
                rows["traj"][i] = np.empty(0, np.float32)
            file.put_rows(data, done, rows)
            done += len(columns)


def _heads(scan: Scan, number: int, steps: NDArray[Any], first: int, n_rows: int) -> NDArray[Any]:
    heads = np.zeros(len(steps), _HEAD)
    heads["version"], heads["measurement_uid"] = 1, 1
    heads["scan_counter"] = first + 1 + np.arange(len(steps))
    heads["number_of_samples"], heads["center_sample"] = scan.shape[0], scan.shape[0] // 2
    heads["available_channels"] = heads["active_channels"] = scan.n_coils
    for word in range(16):
        n_set = min(max(scan.n_coils - 64 * word, 0), 64)
        heads["channel_mask"][:, word] = np.uint64((1 << n_set) - 1)
    heads["idx"]["kspace_encode_step_1"], heads["idx"]["slice"] = steps, number
    heads["flags"][:1] |= np.uint64(1 << (_FLAGS["first_in_slice"] - 1))
    heads["flags"][-1:] |= np.uint64(1 << (_FLAGS["last_in_slice"] - 1))
    if first + len(steps) == n_rows:
        heads["flags"][-1:] |= np.uint64(1 << (_FLAGS["last_in_measurement"] - 1))
    if scan.header.positions is not None and scan.header.orientation is not None:
        heads["position"] = scan.header.positions[number]
        heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = scan.header.orientation
    return heads


def _xml(scan: Scan, limits: tuple[int, int]) -> str:
    from mri_recon.data.header import parse_header

    xml = scan.header.xml
    if xml is None or find(read_xml(xml)[0] or ElementTree.Element("none"), "encoding") is None:
        xml = build_header(scan)
    parsed, _ = parse_header(xml, scan.shape[1])
    recon = scan.header.recon or parsed.recon or (*scan.crop_shape, 1)
    return rewrite_header(
        xml,
        0,
        (*scan.shape, 1),
        scan.header.encoded_fov or parsed.encoded_fov,
        (recon[0], recon[1], 1),
        limits,
    )
