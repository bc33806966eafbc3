"""Files of other formats that are damaged or absurd: one error that names them, no warning beside it."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import replace

import h5py
import numpy as np
import pytest
from small_scans import small_scan

from mri_recon import read_scans, reconstruct
from mri_recon.data.formats.ismrmrd import Ismrmrd
from mri_recon.data.formats.registry import read_images
from mri_recon.data.magnitudes import find_volumes
from mri_recon.data.sampling import read_mask
from mri_recon.errors import ScanError, SettingsError


def npy_claiming(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def of_shape(shape: str) -> bytes:
    return npy_claiming("{'descr': '<c8', 'fortran_order': False, 'shape': " + shape + ", }")


@pytest.mark.parametrize(
    "content", [of_shape("(2, -3, 24)"), of_shape("(4611686018427387904, 4, 4)"), npy_claiming("(" * 50)]
)
def test_npy_headers(tmp_path, content, recwarn):
    """numpy parses a header as Python, whose errors are of many kinds, and warns of sizes that overflow."""
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(ScanError, match=r"a\.npy cannot be read as a NumPy array"):
        read_scans(path)
    with pytest.raises(SettingsError, match=r"a\.npy is not a NumPy"):
        read_mask(path)
    assert not list(recwarn)


def test_npz_of_other_things(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", b"text")
    with pytest.raises(ScanError, match="no array could be k-space"):
        read_scans(tmp_path / "a.npz")


def test_npz_that_inflates(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kspace.npy", bytes(70 * 2**20))
    with pytest.raises(ScanError, match="fill the memory"):
        read_scans(tmp_path / "b.npz")


def test_cfl_header_of_thousands_of_digits(tmp_path):
    (tmp_path / "a.cfl").write_bytes(bytes(64))
    (tmp_path / "a.hdr").write_text("# Dimensions\n" + "9" * 5000 + "\n")
    with pytest.raises(ScanError, match="its hdr says"):
        read_scans(tmp_path / "a.cfl")


def test_ismrmrd_header_that_encodes_far_more_than_was_measured(tmp_path):
    path = tmp_path / "a.mrd"
    Ismrmrd.write_scan(path, small_scan(), overwrite=False)
    with h5py.File(path, "a") as file:
        xml = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = xml.replace("<x>48</x>", "<x>65536</x>").replace("<y>40</y>", "<y>65536</y>")
    with pytest.raises(ScanError, match=r"its header encodes 65536 × 65536 samples, .* were measured"):
        read_scans(path)


def nifti(tmp_path, place: int, kind: str, *values: float):
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2), np.float32), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    changed = struct.pack(f"<{kind}", *values)
    content[place : place + len(changed)] = changed
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "kind", "values"),
    [(40, "8h", (3, 32767, 32767, 32767, 1, 1, 1, 1)), (40, "8h", (3, 0, 4, 2, 1, 1, 1, 1))],
)
def test_nifti_of_absurd_sizes(tmp_path, recwarn, place, kind, values):
    path = nifti(tmp_path, place, kind, *values)
    with pytest.raises(ScanError, match=r"a\.nii"):
        read_images(path)
    with pytest.raises(ScanError, match=r"a\.nii"):
        find_volumes(path)[0].read()
    assert not list(recwarn)


def test_png_of_four_gigapixels(tmp_path):
    header = struct.pack(">IIBBBBB", 65535, 65535, 8, 0, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    with pytest.raises(ScanError, match=r"a\.png cannot be read as PNG"):
        find_volumes(tmp_path)[0].read()


def test_a_dicom_file_cut_short_is_one_error_without_warnings(tmp_path, recwarn):
    pytest.importorskip("pydicom")
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 512)
    with pytest.raises(ScanError, match=r"a\.dcm cannot be read as a DICOM image"):
        read_images(tmp_path)
    assert not list(recwarn)


def test_a_mask_of_nothing_is_refused_by_its_file(tmp_path):
    np.save(tmp_path / "mask.npy", np.zeros(40))
    with pytest.raises(SettingsError, match=r"mask\.npy marks none of 40 columns"):
        read_mask(tmp_path / "mask.npy")
    np.save(tmp_path / "mask.npy", np.ones(39))
    with pytest.raises(SettingsError, match=r"the mask file .*mask\.npy has 39 columns"):
        reconstruct(small_scan(), "zero-filled", mask=tmp_path / "mask.npy")


def test_coil_maps_that_are_not_finite_are_refused_by_their_file(tmp_path):
    np.save(tmp_path / "maps.npy", np.full((1, 3, 48, 40), np.nan, np.complex64))
    with pytest.raises(SettingsError, match=r"maps\.npy: coil maps that hold NaN"):
        reconstruct(small_scan(), "sense", smaps=tmp_path / "maps.npy")


def test_numbers_whose_squares_overflow_are_one_error(recwarn):
    scan = small_scan()
    kspace = (scan.kspace[:] / np.abs(scan.kspace[:]).max() * np.float32(1e30)).astype(np.complex64)
    with pytest.raises(ScanError, match="not finite"):
        reconstruct(replace(scan, kspace=kspace, target=None), "zero-filled")
    assert not list(recwarn)
