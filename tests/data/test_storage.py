"""Reading scans: what comes out of sound files, however little they hold, and that it comes lazily."""

from __future__ import annotations

import pickle
import shutil
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import real_data
from scan_files import make_file, random_kspace

import mri_recon.data.hdf5 as hdf5
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans, read_scan, write_scan
from mri_recon.errors import ScanError
from mri_recon.physics.fourier import ifftc

# --- what comes out -------------------------------------------------------------------------------------


def test_kspace_alone_is_enough(tmp_path):
    kspace = random_kspace(2, 3, 6, 5)
    scan = read_scan(make_file(tmp_path / "file1000000.h5", kspace=kspace))
    assert scan.name == "file1000000.h5"
    assert (scan.n_slices, scan.n_coils, scan.shape, scan.n_coils_stored) == (2, 3, (6, 5), 3)
    assert (scan.target, scan.mask, scan.smaps, scan.truth) == (None, None, None, None)
    assert (scan.acquisition, dict(scan.attributes), scan.notes) == ("unknown", {}, ())
    assert (scan.header.recon, scan.header.padding, scan.crop_shape) == (None, None, (6, 5))
    assert np.array_equal(scan.kspace[:], kspace)


@pytest.mark.parametrize("stored", [(3, 7, 5), (3, 1, 7, 5)])
def test_one_coil_gets_a_coil_axis_and_how_it_was_stored_is_kept(tmp_path, stored):
    kspace = random_kspace(*stored)
    scan = read_scan(make_file(tmp_path / "a.h5", kspace=kspace))
    assert scan.kspace.shape == (3, 1, 7, 5)
    assert scan.n_coils_stored == len(stored) - 3
    assert np.array_equal(scan.kspace[1:], kspace.reshape(3, 1, 7, 5)[1:])


def test_complex_numbers_arrive_as_complex64_however_stored(tmp_path):
    kspace = random_kspace(2, 2, 4, 3).astype(np.complex128)
    for fields in [("real", "imag"), ("Re", "Im")]:
        for part in ("<f4", ">f8"):
            compound = np.empty(kspace.shape, [(fields[0], part), (fields[1], part)])
            compound[fields[0]], compound[fields[1]] = kspace.real, kspace.imag
            read = read_scan(make_file(tmp_path / "a.h5", kspace=compound)).kspace[:]
            assert read.dtype == np.complex64
            assert np.array_equal(read, kspace)
    for dtype in ("<c16", ">c8"):
        read = read_scan(make_file(tmp_path / "a.h5", kspace=kspace.astype(dtype))).kspace[:]
        assert read.dtype == np.complex64
        assert np.array_equal(read, kspace)


@pytest.mark.parametrize(
    ("coils", "present", "expected"),
    [
        (2, "rss esc", "rss"),
        (1, "rss esc", "esc"),
        (1, "rss", "rss"),
        (2, "esc", "esc"),
    ],
)
def test_target_is_rss_for_many_coils_and_esc_for_one(tmp_path, coils, present, expected):
    images = {
        f"reconstruction_{n}": np.full((2, 4, 4), i + 1.0)
        for i, n in enumerate(("rss", "esc"))
        if n in present
    }
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(2, coils, 6, 5), **images)
    target = read_scan(path).target
    assert target.shape == (2, 4, 4)
    assert target[1:2].dtype == np.float32
    assert (target[:] == images[f"reconstruction_{expected}"]).all()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (np.ones((3, 6, 5)), ["(3, 6, 5)", "(2, 2, 6, 5)", "2 slices"]),
        (np.ones((6, 5)), ["(6, 5)", "(2, 2, 6, 5)"]),
        (np.ones((2, 7, 5)), ["(2, 7, 5)", "larger", "interpolated"]),
        (np.ones((2, 6, 6)), ["(2, 6, 6)", "larger", "interpolated"]),
        (np.ones((2, 6, 5), "c8"), ["complex64", "real"]),
        (np.ones((2, 0, 5)), ["(2, 0, 5)", "nothing"]),
    ],
)
def test_a_target_that_contradicts_kspace_is_left_out_with_a_note(tmp_path, target, words):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(2, 2, 6, 5), reconstruction_rss=target)
    scan = read_scan(path)
    assert scan.target is None
    (note,) = scan.notes
    assert all(word in note for word in ["reconstruction_rss", "left out", *words])


def test_the_second_target_serves_where_the_first_does_not_fit(tmp_path):
    path = make_file(
        tmp_path / "a.h5",
        kspace=random_kspace(2, 2, 6, 5),
        reconstruction_rss=np.ones((9, 6, 5)),
        reconstruction_esc=np.ones((2, 6, 5)),
    )
    scan = read_scan(path)
    assert scan.target.shape == (2, 6, 5)
    assert "reconstruction_rss" in scan.notes[0]


def test_slices_that_may_be_coils_are_pointed_out(tmp_path):
    path = make_file(
        tmp_path / "a.h5", kspace=random_kspace(8, 6, 5), reconstruction_rss=np.ones((1, 6, 5), "f4")
    )
    assert "(1, 8, 6, 5)" in read_scan(path).notes[0]


@pytest.mark.parametrize(
    "mask",
    [
        np.array([True, False, True, True, False]),
        np.array([1, 0, 1, 1, 0], "u1"),
        np.array([0.5, 0, 1, -1, 0], "f8").reshape(1, 5, 1),
        np.array([1, 0, 1, 1, 0], "i8").reshape(1, 1, 1, 5),
    ],
)
def test_mask_is_bool_per_column_however_stored(tmp_path, mask):
    scan = read_scan(make_file(tmp_path / "a.h5", kspace=random_kspace(2, 6, 5), mask=mask))
    assert scan.mask.dtype == bool
    assert scan.mask.tolist() == [True, False, True, True, False]


def test_attributes_are_plain_python_and_broken_text_does_no_harm(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(2, 6, 5))
    with h5py.File(path, "a") as file:
        file.attrs["acquisition"] = np.bytes_(b"CORPD_FBK")
        file.attrs["max"] = np.float32(0.5)
        file.attrs["num_low_frequency"] = np.array([8])
        file.attrs["list"] = np.arange(3)
        file.attrs["flag"] = np.bool_(True)
        file.attrs["fixed"] = np.bytes_(b"K\xfcspace")
        file.attrs.create("variable", b"K\xfcspace", dtype=h5py.string_dtype("utf-8"))
        file.attrs["nothing"] = h5py.Empty("f4")
    scan = read_scan(path)
    assert scan.acquisition == "CORPD_FBK"
    assert dict(scan.attributes) == {
        "max": 0.5,
        "num_low_frequency": 8,
        "list": [0, 1, 2],
        "flag": True,
        "fixed": "K\N{REPLACEMENT CHARACTER}space",
        "variable": "K\N{REPLACEMENT CHARACTER}space",
    }
    assert {type(scan.attributes[k]) for k in ("max", "num_low_frequency", "flag")} == {float, int, bool}
    assert "nothing" in scan.notes[0]
    "".join(map(str, scan.attributes.values())).encode()


@pytest.mark.parametrize(
    "stored",
    [
        lambda xml: xml.encode(),
        lambda xml: np.bytes_(xml.encode()),
        lambda xml: np.array([xml.encode()], dtype=object),
        lambda xml: np.frombuffer(xml.encode(), np.uint8),
        lambda xml: xml,
    ],
)
def test_header_is_read_however_its_text_is_stored(tmp_path, stored):
    xml = (
        "<ismrmrdHeader><encoding><encodedSpace><matrixSize><x>6</x><y>8</y><z>1</z></matrixSize></encodedSpace>"
        "<reconSpace><matrixSize><x>4</x><y>5</y><z>1</z></matrixSize></reconSpace></encoding></ismrmrdHeader>"
    )
    scan = read_scan(make_file(tmp_path / "a.h5", kspace=random_kspace(1, 6, 8), ismrmrd_header=stored(xml)))
    assert (scan.header.encoded, scan.header.recon, scan.header.xml) == ((6, 8, 1), (4, 5, 1), xml)
    assert scan.crop_shape == (4, 5)


@pytest.mark.parametrize("header", [3.5, b"<unclosed", np.arange(4.0)])
def test_a_header_that_is_none_is_ignored_with_a_note(tmp_path, header):
    scan = read_scan(make_file(tmp_path / "a.h5", kspace=random_kspace(1, 6, 8), ismrmrd_header=header))
    assert scan.header.xml is None
    assert "header was ignored" in scan.notes[0]


def test_known_maps_and_truth_are_read_and_left_out_where_they_do_not_fit(tmp_path):
    kspace = random_kspace(2, 3, 6, 5)
    maps, truth = random_kspace(2, 3, 6, 5, seed=1), random_kspace(2, 6, 5, seed=2)
    scan = read_scan(make_file(tmp_path / "a.h5", kspace=kspace, sensitivity_maps=maps, truth=truth))
    assert np.array_equal(scan.smaps[1:2], maps[1:2])
    assert np.array_equal(scan.truth[:], truth)
    wrong = read_scan(
        make_file(tmp_path / "b.h5", kspace=kspace, sensitivity_maps=maps[:, :1], truth=abs(truth))
    )
    assert (wrong.smaps, wrong.truth) == (None, None)
    assert [note.split("'")[1] for note in wrong.notes] == ["sensitivity_maps", "truth"]


def test_copies_of_a_scan_read_alike(tmp_path):
    # A user block moves everything in the file; MATLAB writes one.
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["kspace"] = random_kspace(1, 4, 4)
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.mat")
    assert np.array_equal(read_scan(tmp_path / "b.mat").kspace[:], random_kspace(1, 1, 4, 4))


# --- laziness ---------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """What is read out of data sets, as (name, index)."""
    seen: list[tuple[str, Any]] = []
    item, direct = h5py.Dataset.__getitem__, h5py.Dataset.read_direct

    def recorded(self, args, *more, **options):
        seen.append((self.name, args))
        return item(self, args, *more, **options)

    def recorded_directly(self, out, source, *more):
        seen.append((self.name, source))
        return direct(self, out, source, *more)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", recorded)
    monkeypatch.setattr(h5py.Dataset, "read_direct", recorded_directly)
    return seen


def test_only_the_slices_asked_for_are_read(tmp_path, reads):
    path = make_file(
        tmp_path / "a.h5", kspace=random_kspace(6, 2, 4, 4), reconstruction_rss=np.ones((6, 4, 4), "f4")
    )
    scan = read_scan(path)
    assert reads == []
    scan.kspace[2:4]
    scan.target[-1:]
    assert reads == [("/kspace", 2), ("/kspace", 3), ("/reconstruction_rss", 5)]


@pytest.mark.parametrize(
    "index", [slice(None), slice(1, 99), slice(-2, None), slice(None, None, -2), slice(3, 3)]
)
def test_indexing_is_that_of_an_array(tmp_path, index):
    kspace = random_kspace(5, 2, 4, 3)
    stored = read_scan(make_file(tmp_path / "a.h5", kspace=kspace)).kspace
    assert np.array_equal(stored[index], kspace[index])
    assert np.array_equal(np.asarray(stored), kspace)


def test_an_index_that_would_drop_the_slice_axis_is_refused(tmp_path):
    stored = read_scan(make_file(tmp_path / "a.h5", kspace=random_kspace(5, 2, 4, 3))).kspace
    with pytest.raises(TypeError, match=r"\[3:4\]"):
        stored[3]


def test_slices_are_read_into_memory_that_is_there(tmp_path):
    path = tmp_path / "scan.h5"
    make_file(path, kspace=random_kspace(4, 2, 6, 5))
    kspace = read_scan(path).kspace
    assert isinstance(kspace, hdf5.StoredSlices)
    out = np.zeros((2, 2, 6, 5), np.complex64)
    kspace.read_into(np.s_[1:3], out)
    np.testing.assert_array_equal(out, kspace[1:3])
    strided = np.zeros((1, 2, 6, 10), np.complex64)[..., ::2]
    kspace.read_into(np.s_[3:4], strided)
    np.testing.assert_array_equal(strided, kspace[3:4])
    with pytest.raises(ValueError, match=r"expected an array of \(1, 2, 6, 5\) complex64"):
        kspace.read_into(np.s_[0:1], out)
    with pytest.raises(ValueError, match=r"got .* complex128"):
        kspace.read_into(np.s_[1:3], out.astype(complex))


def test_no_handle_stays_open(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(2, 4, 4))
    scan = read_scan(path)
    scan.kspace[:]
    with h5py.File(path, "a") as file:  # HDF5 refuses to write to what it holds open for reading
        file.attrs["acquisition"] = "AXT2"
    assert read_scan(path).acquisition == "AXT2"


def test_a_file_held_open_with_locks_can_be_read(tmp_path):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(2, 4, 4))
    with h5py.File(path, "r"):
        assert read_scan(path).kspace[:].shape == (2, 1, 4, 4)


def test_reading_takes_no_lock(tmp_path, monkeypatch):
    path = make_file(tmp_path / "a.h5", kspace=random_kspace(2, 4, 4))
    options = []
    original = h5py.File

    def recorded(*args, **kwargs):
        options.append(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr(hdf5.h5py, "File", recorded)
    read_scan(path).kspace[:]
    assert options == [{"locking": False}] * 2


def test_a_scan_survives_pickling_and_a_change_of_folder(tmp_path, monkeypatch):
    kspace = random_kspace(2, 3, 4, 4)
    make_file(tmp_path / "a.h5", kspace=kspace, reconstruction_rss=np.ones((2, 4, 4), "f4"))
    monkeypatch.chdir(tmp_path)
    scan = pickle.loads(pickle.dumps(read_scan("a.h5")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert isinstance(scan, Scan)
    assert np.array_equal(scan.kspace[:], kspace)
    assert (scan.target[:] == 1).all()
    with pytest.raises(AttributeError):
        scan.kspace.shape = (1,)


# --- lists of scans -----------------------------------------------------------------------------------------


def test_folders_give_their_scans_sorted_and_files_are_kept(tmp_path):
    for name in ("b.h5", "a.HDF5", "c.txt", ".hidden.h5", ".b.h5.1-2.part", "d.h5.part"):
        (tmp_path / name).touch()
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "folder.h5" / "deep.h5").touch()
    listed = [tmp_path / "a.HDF5", tmp_path / "b.h5"]
    assert find_scans([tmp_path]) == listed
    assert find_scans(str(tmp_path)) == listed
    assert find_scans([tmp_path / "c.txt", tmp_path]) == [tmp_path / "c.txt", *listed]
    again = tmp_path / "folder.h5" / ".." / "b.h5"
    assert find_scans([tmp_path / "b.h5", again, tmp_path]) == [tmp_path / "b.h5", tmp_path / "a.HDF5"]


def test_links_of_different_names_are_different_scans(tmp_path):
    # The name seeds the mask and names the result.
    (tmp_path / "a.h5").touch()
    (tmp_path / "b.h5").symlink_to(tmp_path / "a.h5")
    assert len(find_scans([tmp_path])) == 2


def test_what_is_not_there_is_an_error_with_the_fix(tmp_path):
    (tmp_path / "below").mkdir()
    cases = {
        "does not exist": [tmp_path / "absent.h5"],
        "holds no scans": [tmp_path],
        "No scans were named": [],
    }
    for words, paths in cases.items():
        with pytest.raises(ScanError, match=words) as error:
            find_scans(paths)
        assert "\n" not in str(error.value)
    (tmp_path / "below" / "a.h5").touch()
    with pytest.raises(ScanError, match="Its folder 'below' has some"):
        find_scans([tmp_path])


# --- measured scans -----------------------------------------------------------------------------------------

MEASURED = {
    "ankara_phantom_4ch": ((1, 4, 256, 256), 4, (256, 256)),
    "larson_t1sag_1ch": ((1, 1, 256, 256), 0, (256, 256)),
    "midas_brain_7ch": ((1, 7, 256, 216), 7, (256, 216)),
    "pulseq_brain_16ch": ((1, 16, 128, 128), 16, (128, 128)),
    "pulseq_brain_body2ch": ((1, 2, 128, 128), 2, (128, 128)),
    "pulseq_phantom_16ch": ((1, 16, 128, 128), 16, (128, 128)),
    "pulseqtut_phantom_1ch_a": ((1, 1, 256, 256), 0, (256, 256)),
    "twixtools_phantom_2ch": ((1, 2, 320, 160), 2, (160, 160)),
}


@pytest.mark.parametrize("name", MEASURED)
def test_measured_scans(name, tmp_path):
    shape, n_coils_stored, crop_shape = MEASURED[name]
    path = real_data(f"kspace/{name}.h5")
    scan = read_scan(path)
    assert (scan.kspace.shape, scan.n_coils_stored, scan.crop_shape) == (shape, n_coils_stored, crop_shape)
    assert (scan.header.encoded, scan.header.recon) == ((*shape[2:], 1), (*crop_shape, 1))
    assert (scan.header.padding, scan.notes) == (None, ())
    # The files' own `max` is of single precision; their target is the RSS of their k-space's image.
    target = scan.target[:]
    assert np.isclose(target.max(), scan.attributes["max"], rtol=1e-6)
    images = ifftc(scan.kspace[:])
    top = (shape[2] - crop_shape[0]) // 2
    rss = np.sqrt((abs(images) ** 2).sum(axis=1))[:, top : top + crop_shape[0]]
    assert np.abs(rss - target).max() < 1e-4 * target.max()

    write_scan(tmp_path / path.name, scan)
    again = read_scan(tmp_path / path.name)
    assert np.array_equal(again.kspace[:], scan.kspace[:])
    assert np.array_equal(again.target[:], target)
    assert again.header == scan.header
    assert again.attributes.keys() == scan.attributes.keys()
