"""BART's pairs, NumPy and MATLAB arrays: round trips, BART's own files, and errors that help."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import replace

import h5py
import numpy as np
import pytest
from helpers import assert_close, complex_normal
from raw_files import FORMATS
from small_scans import small_scan

from mri_recon import read_scan, read_scans, reconstruct
from mri_recon.data.formats.arrays import Mat, Npy, Npz
from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.cfl import Cfl
from mri_recon.data.formats.convert import convert
from mri_recon.data.formats.registry import find_raw, read_images
from mri_recon.data.smaps import given_maps
from mri_recon.data.storage import write_scan
from mri_recon.errors import OutputError, ScanError, SettingsError


def write_cfl(path, array, dims):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, dims))}\n")
    path.with_suffix(".cfl").write_bytes(np.asarray(array, np.complex64).tobytes(order="F"))
    return path.with_suffix(".cfl")


def complaint(path, *options):
    with pytest.raises((ScanError, SettingsError)) as caught:
        read_scans(path, *options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [Cfl, Npy, Npz, Mat], ids=lambda kind: kind.name)
@pytest.mark.parametrize("n_coils", [1, 3])
def test_round_trip(tmp_path, kind, n_coils):
    scan = small_scan(n_coils=n_coils)
    path = tmp_path / f"a{kind.suffix}"
    notes = kind.write_scan(path, scan, overwrite=False)
    back = read_scan(path)
    assert back.kspace[:].dtype == np.complex64
    assert np.array_equal(back.kspace[:], scan.kspace)
    assert np.array_equal(back.kspace[1:2], scan.kspace[1:2])
    if kind in (Npz, Mat):
        assert np.array_equal(back.target[:], scan.target)
    else:
        assert "the target" in notes[0]
    if kind is not Npy:
        assert np.array_equal(back.smaps[:], scan.smaps)
    with pytest.raises(OutputError, match="exists"):
        kind.write_scan(path, scan, overwrite=False)
    kind.write_scan(path, scan, overwrite=True)


@pytest.mark.parametrize("kind", [Npz, Mat], ids=lambda kind: kind.name)
def test_archives_keep_the_mask(tmp_path, kind):
    mask = np.arange(40) % 2 == 0
    kind.write_scan(tmp_path / f"a{kind.suffix}", replace(small_scan(), mask=mask), overwrite=False)
    assert np.array_equal(read_scan(tmp_path / f"a{kind.suffix}").mask, mask)


def test_bart_s_own_kspace_gives_bart_s_own_image():
    scan = read_scan(FORMATS / "kspace")
    image = reconstruct(scan, "zero-filled", acceleration=1).image
    assert_close(image, read_images(FORMATS / "image.cfl").pixels, 1e-6)
    maps = given_maps(FORMATS / "kspace_maps.cfl", scan)
    assert np.array_equal(maps, scan.smaps[:])
    assert np.abs(maps).max() > 0.1


@pytest.mark.parametrize("name", ["a", "a.cfl", "a.hdr"])
def test_a_pair_has_three_names(tmp_path, name):
    Cfl.write_scan(tmp_path / "a.cfl", small_scan(), overwrite=False)
    assert read_scan(tmp_path / name).name == "a.cfl"
    assert find_raw([tmp_path / name]) == [tmp_path / "a.cfl"]


def test_a_folder_lists_scans_not_maps(tmp_path):
    Cfl.write_scan(tmp_path / "a.cfl", small_scan(), overwrite=False)
    (tmp_path / "notes.dat").write_text("1 2 3\n" * 20)
    assert [path.name for path in find_raw([tmp_path])] == ["a.cfl"]


def test_bart_s_axes_of_several_scans(tmp_path):
    data = complex_normal(np.random.default_rng(0), (4, 6, 1, 2, 1, 3), np.complex64)
    write_cfl(tmp_path / "a.cfl", data, data.shape)
    scans = read_scans(tmp_path / "a.cfl")
    assert [scan.name for scan in scans] == ["a_echo0.cfl", "a_echo1.cfl", "a_echo2.cfl"]
    assert np.array_equal(scans[1].kspace[:][0], data[:, :, 0, :, 0, 1].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("dims", "header", "words"),
    [
        ((4, 4, 3, 2), None, "bart transpose 2 13"),
        ((4, 4, 1, 2, 2), None, "axis 4 has 2"),
        ((4, 4), "# Dimensions\n4 5\n", "holds 128 bytes, its hdr says 160"),
        ((4, 4), "# Dimensions\nfour\n", "states no dimensions"),
        ((4, 4), "# Dimensions\n0 4\n", "states no dimensions"),
        ((4, 4), "nothing", "not an HDF5 file"),
    ],
)
def test_pairs_that_cannot_be_used(tmp_path, dims, header, words):
    path = write_cfl(tmp_path / "a.cfl", np.ones(dims), dims)
    if header is not None:
        path.with_suffix(".hdr").write_text(header)
    assert words in complaint(path)


def test_half_a_pair_and_numbers_that_are_none(tmp_path):
    path = write_cfl(tmp_path / "a.cfl", np.full((4, 4), np.nan), (4, 4))
    with pytest.raises(ScanError, match="slice 0 holds NaN"):
        read_scan(path).kspace[:]
    path.with_suffix(".hdr").unlink()
    assert "belong together" in complaint(path)


def test_another_scan_s_maps_are_not_taken_over(tmp_path):
    with_maps = replace(small_scan(), smaps=small_scan().kspace[:])
    Cfl.write_scan(tmp_path / "a.cfl", with_maps, overwrite=False)
    other = replace(with_maps, smaps=None)
    with pytest.raises(OutputError, match=r"a_maps\.cfl would be taken for the coil maps"):
        Cfl.write_scan(tmp_path / "a.cfl", other, overwrite=True)
    Cfl.write_scan(tmp_path / "a.cfl", with_maps, overwrite=True)


def test_maps_that_do_not_fit_are_left_out_with_a_note(tmp_path):
    Cfl.write_scan(tmp_path / "a.cfl", small_scan(), overwrite=False)
    write_cfl(tmp_path / "a_maps.cfl", np.ones((4, 4)), (4, 4))
    scan = read_scan(tmp_path / "a.cfl")
    assert scan.smaps is None
    assert "coil maps were left out" in scan.notes[0]
    with pytest.raises(SettingsError, match="expected"):
        given_maps(tmp_path / "a_maps.cfl", scan)


def test_axes_say_what_an_array_is(tmp_path):
    kspace = complex_normal(np.random.default_rng(0), (5, 2, 4), np.complex128)
    np.save(tmp_path / "a.npy", kspace)
    axes = ReadOptions(axes=("width", "coil", "height"))
    scan = read_scan(tmp_path / "a.npy", axes)
    assert scan.kspace.shape == (1, 2, 4, 5)
    assert np.array_equal(scan.kspace[:][0], kspace.transpose(1, 2, 0).astype(np.complex64))
    assert "--axes coil,height,width" in complaint(tmp_path / "a.npy")
    assert "2 were named" in complaint(tmp_path / "a.npy", ReadOptions(axes=("height", "width")))


def test_more_axes_than_kspace_has_are_told_apart_from_unnamed_ones(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 1, 3, 4, 5), np.complex64))
    told = complaint(tmp_path / "a.npy")
    assert "5 axes" in told
    assert "numpy.squeeze" in told


@pytest.mark.parametrize(("shape", "expected"), [((3, 4, 5, 2), "a[..., 0] + 1j"), ((2, 4, 5), "a[0] + 1j")])
def test_real_and_imaginary_part_apart_are_told_how_to_join(tmp_path, shape, expected):
    np.save(tmp_path / "a.npy", np.ones(shape, np.float32))
    told = complaint(tmp_path / "a.npy")
    assert expected in told
    assert "--variable" not in told  # there is but one array


def test_a_magnitude_image_is_no_kspace(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 5), np.float32))
    assert "magnitude" in complaint(tmp_path / "a.npy")


def test_axes_taken_for_granted_that_make_no_likely_scan_are_doubted(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((1, 9, 8, 4), np.complex64))
    assert "9 coils of 8 × 4" in read_scan(tmp_path / "a.npy").notes[0]
    named = ReadOptions(axes=("slice", "coil", "height", "width"))
    assert read_scan(tmp_path / "a.npy", named).notes == ()


@pytest.mark.parametrize("axes", [("height",), ("height", "width", "width"), ("height", "width", "echo"), ()])
def test_axes_that_are_none(axes):
    with pytest.raises(SettingsError, match="slice,coil,height,width"):
        ReadOptions(axes=axes)


def test_the_array_that_is_kspace_is_found_or_asked_for(tmp_path):
    one, two = np.ones((4, 5), np.complex64), np.full((4, 5), 2j, np.complex64)
    np.savez(tmp_path / "a.npz", one=one, two=two, real=np.ones(3))
    assert "--variable" in complaint(tmp_path / "a.npz")
    assert "it has: one complex64 (4, 5)" in complaint(tmp_path / "a.npz", ReadOptions(variable="three"))
    assert np.array_equal(read_scan(tmp_path / "a.npz", ReadOptions(variable="two")).kspace[:][0, 0], two)
    np.savez(tmp_path / "b.npz", data=two, real=np.ones(3))
    assert np.array_equal(read_scan(tmp_path / "b.npz").kspace[:][0, 0], two)


def test_matlab_s_newer_files_are_hdf5_with_axes_reversed(tmp_path):
    kspace = complex_normal(np.random.default_rng(0), (1, 2, 4, 5), np.complex128)
    stored = np.zeros(kspace.T.shape, dtype=[("real", "<f8"), ("imag", "<f8")])
    stored["real"], stored["imag"] = kspace.T.real, kspace.T.imag
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["k"] = stored
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + content[512:])
    assert np.array_equal(read_scan(tmp_path / "a.mat").kspace[:], kspace.astype(np.complex64))


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.mat"])
def test_damaged_arrays_are_told_in_a_line(tmp_path, name):
    kind = {"a.npy": Npy, "a.npz": Npz, "a.mat": Mat}[name]
    kind.write_scan(tmp_path / name, small_scan(), overwrite=False)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert "cannot be read" in complaint(tmp_path / name)


def test_objects_and_real_numbers_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "cannot be read" in complaint(tmp_path / "o.npy")
    np.save(tmp_path / "r.npy", np.ones((4, 5)))
    assert "expected complex k-space" in complaint(tmp_path / "r.npy", ReadOptions(variable="array"))
    np.save(tmp_path / "n.npy", np.full((2, 4, 5, 3), np.inf + 0j))
    with pytest.raises(ScanError, match="slice 1 holds NaN, Inf"):
        read_scan(tmp_path / "n.npy").kspace[1:]


def test_content_decides_not_the_suffix(tmp_path):
    Npy.write_scan(tmp_path / "a.npy", small_scan(), overwrite=False)
    shutil.copy(tmp_path / "a.npy", tmp_path / "a.h5")
    assert np.array_equal(read_scan(tmp_path / "a.h5").kspace[:], small_scan().kspace)
    assert "Leave --axes" in complaint(FORMATS / "kspace.cfl", ReadOptions(axes=("height", "width")))


@pytest.mark.parametrize(("asked", "stem"), [("x.1", "x.1"), ("x", "x"), ("x.cfl", "x"), ("x.hdr", "x")])
def test_a_pair_is_written_where_it_is_said_to_be(tmp_path, asked, stem):
    """What stands behind a point need not be a suffix."""
    write_scan(tmp_path / "a.h5", small_scan("a.h5", n_slices=1))
    done = convert(tmp_path / "a.h5", tmp_path / asked, format="cfl")
    assert done.outputs == (tmp_path / f"{stem}.cfl",)
    pair = {path.name for path in tmp_path.iterdir()} - {"a.h5"}
    assert {f"{stem}.cfl", f"{stem}.hdr"} <= pair
    assert all(name.startswith(stem) for name in pair)
    np.testing.assert_array_equal(
        read_scan(done.outputs[0]).kspace[:], read_scan(tmp_path / "a.h5").kspace[:]
    )


@pytest.mark.parametrize("failing", range(1, 5))
def test_a_disk_that_fails_while_a_pair_is_replaced_leaves_no_halves_of_two(tmp_path, monkeypatch, failing):
    """At any of the moments at which something is flushed to it."""
    small, large = (
        replace(small_scan("a.h5", width=width, n_slices=1, n_coils=1), smaps=None) for width in (20, 40)
    )
    Cfl.write_scan(tmp_path / "a.cfl", small, overwrite=False)
    calls, fsync = [], os.fsync

    def fail(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with suppress(OutputError):
        Cfl.write_scan(tmp_path / "a.cfl", large, overwrite=True)
    assert len(calls) >= failing
    monkeypatch.undo()
    if (tmp_path / "a.hdr").exists():  # else there is no pair, and that is said
        assert Cfl.read_scans(tmp_path / "a.cfl", ReadOptions())[0].shape in (small.shape, large.shape)
    assert not list(tmp_path.glob(".*.part"))


def test_damaged_archives_that_are_compressed_or_encrypted_are_told_in_a_line(tmp_path):
    path, rng = tmp_path / "a.npz", np.random.default_rng(0)
    np.savez_compressed(path, kspace=complex_normal(rng, (1, 2, 8, 8), np.complex64))
    whole = path.read_bytes()
    assert read_scans(path)[0].kspace.shape == (1, 2, 8, 8)
    refused = []
    for place in rng.integers(len(whole), size=60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_scans(path)
        except ScanError as error:
            refused.append(str(error))
    assert len(refused) > 40
    assert all("a.npz" in text and "\n" not in text for text in refused)
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(encrypted)
    assert "encrypted" in complaint(path)
