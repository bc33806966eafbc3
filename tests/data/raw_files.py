"""Raw ISMRMRD files for tests, written by the ismrmrd package, and the reference files of tests/golden/formats."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import GOLDEN

FORMATS = GOLDEN / "formats"


def unpacked(name: str, folder: Path) -> Path:
    """A compressed file of tests/golden/formats; scripts/make_format_files.py says which tool wrote it."""
    path = folder / name
    path.write_bytes(gzip.decompress((FORMATS / f"{name}.gz").read_bytes()))
    return path


def mrd_header(
    encoded=(16, 8, 1),
    recon=(8, 8, 1),
    encoded_fov=(480.0, 240.0, 5.0),
    recon_fov=(240.0, 240.0, 5.0),
    center: int | None = 4,
    maximum=7,
    trajectory="cartesian",
    calibration: str | None = None,
    more="",
) -> str:
    def space(name, matrix, fov):
        def sizes(tag, values):
            return (
                f"<{tag}>"
                + "".join(f"<{a}>{v}</{a}>" for a, v in zip("xyz", values, strict=True))
                + f"</{tag}>"
            )

        return f"<{name}>{sizes('matrixSize', matrix)}{sizes('fieldOfView_mm', fov)}</{name}>"

    limits = (
        ""
        if center is None
        else f"<kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>"
        "</kspace_encoding_step_1>"
    )
    parallel = (
        f"<parallelImaging><calibrationMode>{calibration}</calibrationMode></parallelImaging>"
        if calibration
        else ""
    )
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"{more}<experimentalConditions><H1resonanceFrequency_Hz>0</H1resonanceFrequency_Hz></experimentalConditions>"
        f"<encoding>{space('encodedSpace', encoded, encoded_fov)}{space('reconSpace', recon, recon_fov)}"
        f"<encodingLimits>{limits}</encodingLimits><trajectory>{trajectory}</trajectory>{parallel}</encoding>"
        "</ismrmrdHeader>"
    )


def readout(
    data: np.ndarray, step: int = 0, flags: tuple[str, ...] = (), center: int | None = None, **fields: Any
) -> Any:
    """An acquisition: `(coil, sample)`, its line, flags by their names in the standard, counters and geometry."""
    ismrmrd = pytest.importorskip("ismrmrd")
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data, dtype=np.complex64))
    made.center_sample = data.shape[1] // 2 if center is None else center
    made.idx.kspace_encode_step_1 = step
    for flag in flags:
        made.setFlag(getattr(ismrmrd, f"ACQ_{flag}"))
    for name, value in fields.items():
        if hasattr(made.idx, name):
            setattr(made.idx, name, value)
        elif name in ("position", "read_dir", "phase_dir", "slice_dir"):
            getattr(made, name)[:] = value
        else:
            setattr(made, name, value)
    return made


def write_mrd(path: Path, xml: str, readouts: list[Any], group: str = "dataset") -> Path:
    ismrmrd = pytest.importorskip("ismrmrd")
    dataset = ismrmrd.Dataset(str(path), group, create_if_needed=True)
    dataset.write_xml_header(xml)
    for one in readouts:
        dataset.append_acquisition(one)
    dataset.close()
    return path
