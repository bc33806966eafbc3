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

pytest.importorskip("twixtools")
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
