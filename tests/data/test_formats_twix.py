"""Siemens raw data, as twixtools writes it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close
from raw_files import unpacked

from mri_recon import read_scan, read_scans
from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.registry import format_of
from mri_recon.errors import ScanError

twixtools = pytest.importorskip("twixtools")
RAW = ReadOptions(remove_oversampling=False, prewhiten=False)


def samples():
    """What scripts/make_format_files.py drew: noise, then six lines of either slice."""
    rng = np.random.default_rng(0)

    def draw(n):
        return (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n))).astype(np.complex64)

    draw(64)
    kspace = np.zeros((2, 2, 16, 8), np.complex64)
    for number in (1, 0):
        for line in (6, 4, 5, 2, 3, 7):
            kspace[number, :, :, line] = draw(16)
    return kspace


def test_lines_land_where_their_counters_say(tmp_path):
    scan = read_scan(unpacked("meas.dat", tmp_path), RAW)
    assert np.array_equal(scan.kspace[:], samples())
    assert scan.header.padding == (2, 8)
    assert scan.acquisition == "gre"


def test_geometry_and_oversampling(tmp_path):
    scan = read_scan(unpacked("meas.dat", tmp_path))
    assert scan.kspace[:].shape == (2, 2, 8, 8)
    assert scan.header.encoded_fov == (240.0, 240.0, 5.0)
    assert scan.header.positions == ((1.0, 2.0, 3.0), (1.0, 2.0, 9.0))
    phase = (np.cos(np.pi / 6), 0.5, 0)
    assert_close(np.array(scan.header.orientation), np.array([(-0.5, phase[0], 0), phase, (0, 0, 1)]), 1e-6)


def test_it_is_known_by_its_content(tmp_path):
    path = unpacked("meas.dat", tmp_path).rename(tmp_path / "anything.bin")
    assert format_of(path).name == "twix"


@pytest.mark.parametrize("keep", [300, 10300, 12000, -600])
def test_truncated_files_are_told_in_a_line(tmp_path, keep):
    path = unpacked("meas.dat", tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ScanError) as caught:
        read_scans(path)
    assert "\n" not in str(caught.value)


def test_a_readout_without_length_does_not_hang(tmp_path):
    path = unpacked("meas.dat", tmp_path)
    content = bytearray(path.read_bytes())
    start = 10240 + int.from_bytes(content[10240:10244], "little")
    content[start : start + 192] = bytes(192)
    path.write_bytes(bytes(content))
    with pytest.raises(ScanError, match="damaged"):
        read_scans(path)


def written(tmp_path, lines, meas="", **protocol):
    """A file of `lines`, `(line, flags)` each; the protocol's settings, and the text of its other part."""
    settings = {
        "sKSpace.lBaseResolution": 8,
        "sKSpace.lPhaseEncodingLines": 8,
        "sKSpace.ucDimension": "0x2",
        "sKSpace.ucTrajectory": "0x1",
        **{name.replace("__", "."): value for name, value in protocol.items()},
    }
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    parts = {"MeasYaps": f"### ASCCONV BEGIN ###\n{text}### ASCCONV END ###\n", "Meas": meas}
    buffers = b"".join(
        name.encode() + b"\x00" + len(part).to_bytes(4, "little") + part.encode()
        for name, part in parts.items()
    )
    header = (8 + len(buffers)).to_bytes(4, "little") + len(parts).to_bytes(4, "little") + buffers
    rng = np.random.default_rng(3)
    readouts = []
    for line, flags in lines:
        draw = rng.standard_normal((2, 2, 16))
        readout = twixtools.mdb.Mdb_local((draw[0] + 1j * draw[1]).astype(np.complex64))
        readout.mdh.CenterCol, readout.mdh.CenterLin, readout.mdh.Counter.Lin = 8, 4, line
        for flag in flags:
            readout.add_flag(flag)
        readouts.append(readout)
    path = tmp_path / "made.dat"
    path.unlink(missing_ok=True)  # twixtools does not overwrite
    twixtools.write_twix({"hdr_str": np.frombuffer(header, "S1"), "mdb": readouts}, str(path))
    return path


def echo_train(*more):
    """Correction lines of both directions, then eight lines of which every other is reversed."""
    lines = [(line, ["REFLECT"] if line % 2 else []) for line in range(8)]
    return [(4, ["PHASCOR", *more]), (4, ["PHASCOR", "REFLECT", *more]), *lines]


@pytest.mark.parametrize(("mode", "apart"), [("0x2", False), ("0x80", False), ("0x4", True), ("0x100", True)])
def test_reference_lines_join_the_image_where_the_protocol_has_them_in_place(tmp_path, mode, apart):
    lines = [*((line, []) for line in (0, 2, 4, 6)), *((line, ["PATREFSCAN"]) for line in (3, 5))]
    scan = read_scan(written(tmp_path, lines, sPat__ucRefScanMode=mode), RAW)
    assert (scan.calibration is not None) == apart
    assert np.flatnonzero(scan.mask).tolist() == ([0, 2, 4, 6] if apart else [0, 2, 3, 4, 5, 6])


def test_epi_sampled_on_ramps_is_refused_where_the_protocol_lists_its_regridding(tmp_path):
    ramps = '<ParamLong."alRegridMode"> { 2 1 1 1 }\n'
    with pytest.raises(ScanError, match="ramps"):
        read_scans(written(tmp_path, echo_train(), ramps))
    even = '<ParamLong."alRegridMode"> { 1 1 1 1 }\n'
    assert read_scan(written(tmp_path, echo_train(), even)).shape[-1] == 8


def test_epi_without_correction_lines_is_refused_by_its_factor(tmp_path):
    with pytest.raises(ScanError, match="EPI without correction data"):
        read_scans(written(tmp_path, echo_train()[2:], sFastImaging__lEPIFactor=8))


def test_correction_lines_of_the_calibration_do_not_correct_the_image(tmp_path):
    with pytest.raises(ScanError, match="EPI without correction data"):
        read_scans(written(tmp_path, echo_train("PATREFSCAN"), sFastImaging__lEPIFactor=8))


def test_spectroscopy_is_refused_by_name(tmp_path):
    with pytest.raises(ScanError, match="spectroscopy"):
        read_scans(written(tmp_path, [(0, []), (0, [])]))
