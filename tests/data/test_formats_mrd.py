"""ISMRMRD: lines land where their counters say, and what comes out goes back in."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from helpers import ROOT, assert_close, complex_normal
from raw_files import mrd_header, readout, unpacked, write_mrd
from small_scans import small_scan

from mri_recon import read_scan, read_scans, reconstruct
from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.ismrmrd import Ismrmrd
from mri_recon.data.scan import Header
from mri_recon.errors import ScanError
from mri_recon.physics.fourier import fftc, ifftc

RAW = ReadOptions(remove_oversampling=False, prewhiten=False)


@pytest.fixture
def kspace(rng=0):
    """(coil, 16 samples, 8 lines)."""
    return complex_normal(np.random.default_rng(rng), (2, 16, 8), np.complex64)


def lines(kspace, steps=range(8), **fields):
    return [readout(kspace[:, :, step], step, **fields) for step in steps]


def opened(tmp_path, readouts, options=RAW, **header):
    return read_scans(write_mrd(tmp_path / "raw.mrd", mrd_header(**header), readouts), options)


def test_lines_are_sorted_by_their_counters(tmp_path, kspace):
    other = 2 * kspace
    shuffled = [*lines(kspace, (3, 0, 7, 5), slice=1), *lines(other, (6, 1, 0, 2, 3, 4, 5, 7), slice=0)]
    (scan,) = opened(tmp_path, [*shuffled, *lines(kspace, (1, 2, 4, 6), slice=1)])
    assert scan.name == "raw.mrd"
    assert np.array_equal(scan.kspace[:], np.stack([other, kspace]))
    assert np.array_equal(scan.kspace[1:2], kspace[None])
    assert (scan.mask, scan.header.padding) == (None, None)


def test_averages_are_averaged(tmp_path, kspace):
    (scan,) = opened(tmp_path, [*lines(kspace, average=0), *lines(3 * kspace, range(4), average=1)])
    expected = np.concatenate([2 * kspace[:, :, :4], kspace[:, :, 4:]], axis=2)
    assert_close(scan.kspace[:], expected[None], 1e-6)


def test_reversed_lines_are_turned(tmp_path, kspace):
    backwards = [readout(kspace[:, ::-1, s], s, ("IS_REVERSE",)) for s in range(1, 8, 2)]
    (scan,) = opened(tmp_path, [*lines(kspace, range(0, 8, 2)), *backwards])
    assert np.array_equal(scan.kspace[:], kspace[None])


def test_asymmetric_echo_and_discarded_samples_are_zero_filled_at_their_side(tmp_path, kspace):
    short = [readout(kspace[:, 5:, s], s, center=3) for s in range(8)]
    (scan,) = opened(tmp_path, short)
    expected = kspace.copy()
    expected[:, :5] = 0
    assert np.array_equal(scan.kspace[:], expected[None])
    discarded = [readout(kspace[:, :, s], s, discard_pre=2, discard_post=3) for s in range(8)]
    (scan,) = read_scans(write_mrd(tmp_path / "discarded.mrd", mrd_header(), discarded), RAW)
    expected = kspace.copy()
    expected[:, :2] = expected[:, 13:] = 0
    assert np.array_equal(scan.kspace[:], expected[None])


def test_partial_fourier_leaves_the_missing_side_empty(tmp_path, kspace):
    """Line counters start at 0 with the first line that was measured; the header's centre tells where that is."""
    measured = [readout(kspace[:, :, 3 + s], s) for s in range(5)]
    (scan,) = opened(tmp_path, measured, center=1, maximum=4)
    assert np.array_equal(scan.kspace[:][0, :, :, 3:], kspace[:, :, 3:])
    assert not scan.kspace[:][..., :3].any()
    assert (scan.mask, scan.header.padding) == (None, (3, 8))


def test_oversampling_is_removed_in_the_image(tmp_path, kspace):
    (scan,) = opened(tmp_path, lines(kspace), ReadOptions())
    expected = ifftc(kspace, axes=(-2,))[:, 4:12]
    assert_close(ifftc(scan.kspace[:], axes=(-2,)), expected[None], 1e-5)
    assert scan.header.encoded == (8, 8, 1)
    assert scan.header.encoded_fov == (240.0, 240.0, 5.0)
    assert "16 samples became 8" in " ".join(scan.notes)
    whole = reconstruct(read_scan(scan.path, RAW), "zero-filled", acceleration=1)
    cut = reconstruct(scan, "zero-filled", acceleration=1)
    assert_close(cut.image, whole.image, 1e-5)


def test_the_crop_is_the_field_of_view_not_the_interpolated_matrix(tmp_path, kspace):
    """Phase oversampling, and a recon matrix twice as fine as what was measured."""
    (scan,) = opened(
        tmp_path, lines(kspace), ReadOptions(), recon=(16, 16, 1), encoded_fov=(480.0, 320.0, 5.0)
    )
    assert scan.shape == (8, 8)
    assert scan.crop_shape == (8, 6)


def test_noise_scans_whiten_the_coils(tmp_path):
    rng = np.random.default_rng(1)
    mixing = np.array([[1.0, 0.0], [0.8 + 0.5j, 2.0]])
    noise = mixing @ complex_normal(rng, (2, 4096))
    kspace = np.einsum("ij,jhw->ihw", mixing, complex_normal(rng, (2, 16, 8)))
    (scan,) = opened(
        tmp_path, [readout(noise, 0, ("IS_NOISE_MEASUREMENT",), center=0), *lines(kspace)], ReadOptions()
    )
    whitened = read_scan(scan.path, ReadOptions(remove_oversampling=False)).kspace[:][0].reshape(2, -1)
    covariance = whitened @ whitened.conj().T / whitened.shape[1]
    power = np.trace(mixing @ mixing.conj().T).real / 2
    assert_close(covariance / (2 * power), np.eye(2), 0.25)
    before = kspace.reshape(2, -1)
    correlated = abs(np.vdot(before[0], before[1])) / np.linalg.norm(before[0]) / np.linalg.norm(before[1])
    left = abs(np.vdot(whitened[0], whitened[1])) / np.linalg.norm(whitened[0]) / np.linalg.norm(whitened[1])
    assert left < 0.15 < 0.35 < correlated
    assert "decorrelated" in " ".join(scan.notes)
    assert np.array_equal(read_scan(scan.path, RAW).kspace[:][0], kspace.astype(np.complex64))


def test_calibration_lines_are_used_beside_the_image(tmp_path, kspace):
    """On a line that was imaged too, the image's own counts."""
    image = lines(kspace, range(0, 8, 2))
    calibration = lines(5 * kspace, (3, 4, 5), flags=("IS_PARALLEL_CALIBRATION",))
    (scan,) = opened(tmp_path, [*calibration, *image], calibration="embedded")
    expected = kspace.copy()
    expected[:, :, [1, 7]] = 0
    expected[:, :, [3, 5]] *= 5
    assert np.array_equal(scan.kspace[:], expected[None])
    assert scan.mask.tolist() == [True, False, True, True, True, True, True, False]
    assert scan.calibration is None


@pytest.mark.parametrize("mode", ["separate", "external"])
def test_calibration_measured_apart_gives_maps_only(tmp_path, mode):
    whole = small_scan(n_slices=1)
    kspace = whole.kspace[0]
    apart = [readout(3 * kspace[:, :, s], s, ("IS_PARALLEL_CALIBRATION",)) for s in range(10, 30)]
    image = [readout(kspace[:, :, s], s) for s in range(0, 40, 2)]
    header = {
        "encoded": (48, 40, 1),
        "recon": (48, 40, 1),
        "encoded_fov": (240.0,) * 3,
        "recon_fov": (240.0,) * 3,
    }
    (scan,) = opened(tmp_path, [*apart, *image], center=20, maximum=39, calibration=mode, **header)
    assert scan.mask.sum() == 20
    assert np.array_equal(scan.calibration[:][0, :, :, 10:30], 3 * kspace[:, :, 10:30])
    blind = replace(scan, calibration=None)
    truth = reconstruct(replace(whole, target=None), "sense", acceleration=1).image
    errors = [
        np.linalg.norm(reconstruct(s, "sense").image - truth) / np.linalg.norm(truth) for s in (scan, blind)
    ]
    assert errors[0] < 0.1 < errors[1]


def test_repetitions_and_contrasts_become_scans_of_their_own(tmp_path, kspace):
    readouts = [
        one
        for contrast in (0, 1)
        for repetition in (0, 2)
        for one in lines((1 + contrast + 10 * repetition) * kspace, contrast=contrast, repetition=repetition)
    ]
    scans = opened(tmp_path, readouts)
    found = {scan.name: scan.kspace[:] for scan in scans}
    assert list(found) == [f"raw_contrast{c}_repetition{r}.mrd" for c in (0, 1) for r in (0, 2)]
    assert np.array_equal(found["raw_contrast1_repetition2.mrd"][0], 22 * kspace)
    with pytest.raises(ScanError, match="holds 4 scans"):
        read_scan(tmp_path / "raw.mrd")


def test_lines_that_some_slices_lack_do_not_count(tmp_path, kspace):
    (scan,) = opened(tmp_path, [*lines(kspace, slice=0), *lines(kspace, (0, 1, 2, 4, 5, 6, 7), slice=1)])
    assert np.flatnonzero(~scan.mask).tolist() == [3]
    assert "in some slices only" in " ".join(scan.notes)


def test_geometry_comes_from_the_readouts(tmp_path, kspace):
    place = {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0), "slice_dir": (0, 0, 1)}
    readouts = [one for s in (0, 1) for one in lines(kspace, slice=s, position=(1, 2, 3 + 6 * s), **place)]
    (scan,) = opened(tmp_path, readouts)
    assert scan.header.positions == ((1.0, 2.0, 3.0), (1.0, 2.0, 9.0))
    assert scan.header.orientation == ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))


def test_echo_planar_lines_lose_their_ghost(tmp_path, kspace):
    """Reversed lines carry a phase that is linear in the image; three correction lines tell which."""
    clean = kspace.copy()
    x = np.arange(16) - 8
    shape = np.exp(-((x - 1.3) ** 2) / 12)[None] * np.array([[1.0], [0.5j]])

    def ghosted(line):
        image = ifftc(line.astype(np.complex128), axes=(-1,)) * np.exp(1j * (0.21 * x - 0.7))
        return fftc(image, axes=(-1,))[:, ::-1]

    reference = fftc(shape, axes=(-1,))
    correction = [
        readout(reference, 0, ("IS_PHASECORR_DATA",)),
        readout(ghosted(reference), 0, ("IS_PHASECORR_DATA", "IS_REVERSE")),
        readout(reference, 0, ("IS_PHASECORR_DATA",)),
    ]
    image = [
        readout(ghosted(clean[:, :, s]), s, ("IS_REVERSE",)) if s % 2 else readout(clean[:, :, s], s)
        for s in range(8)
    ]
    (scan,) = opened(tmp_path, [*correction, *image], trajectory="epi")
    assert_close(scan.kspace[:], clean[None], 1e-4)


@pytest.mark.parametrize(
    ("header", "fields", "words"),
    [
        ({"trajectory": "radial"}, {}, "radial trajectory is not supported"),
        ({"trajectory": "spiral"}, {}, "spiral trajectory is not supported"),
        ({"trajectory": "epi"}, {}, "EPI without correction data is not supported"),
        ({}, {"kspace_encode_step_2": 1}, "3-D encoding"),
        ({"center": 7}, {}, "contradict each other"),
        ({"encoded": (8, 8, 1)}, {}, "does not fit the 8"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, kspace, header, fields, words):
    readouts = [*lines(kspace, range(4)), *lines(kspace, range(4, 8), **fields)]
    with pytest.raises(ScanError, match=words) as caught:
        opened(tmp_path, readouts, **header)
    assert "\n" not in str(caught.value)


def test_no_image_and_different_coils_are_refused(tmp_path, kspace):
    with pytest.raises(ScanError, match="no imaging readouts"):
        opened(tmp_path, lines(kspace, flags=("IS_NAVIGATION_DATA",)))
    with pytest.raises(ScanError, match="1, 2 coils"):
        read_scans(write_mrd(tmp_path / "b.mrd", mrd_header(), [*lines(kspace), *lines(kspace[:1])]), RAW)


def test_the_other_version_is_refused_by_name(tmp_path):
    (tmp_path / "a.mrd").write_bytes(b"yardl\x01\x00\x00\x00" + bytes(300))
    with pytest.raises(ScanError, match="MRD version 2"):
        read_scans(tmp_path / "a.mrd")


def test_damage_is_told_in_a_line(tmp_path, kspace):
    path = write_mrd(tmp_path / "a.mrd", mrd_header(), lines(kspace))
    content = path.read_bytes()
    (tmp_path / "short.mrd").write_bytes(content[: len(content) // 2])
    with pytest.raises(ScanError, match="truncated"):
        read_scans(tmp_path / "short.mrd")
    with h5py.File(path, "r+") as file:
        row = file["dataset/data"][3]
        row["data"] = row["data"][:-3]
        file["dataset/data"][3] = row
    with pytest.raises(ScanError, match="readout 3 holds 61 numbers"):
        read_scan(path, RAW).kspace[:]
    bad = kspace.copy()
    bad[0, 0, 5] = np.nan
    (scan,) = read_scans(write_mrd(tmp_path / "nan.mrd", mrd_header(), lines(bad)), RAW)
    with pytest.raises(ScanError, match="slice 0: a readout holds NaN"):
        scan.kspace[:]


def test_a_header_that_is_none_or_hostile_costs_the_geometry_only(tmp_path, kspace):
    for xml in ("<!DOCTYPE x [<!ENTITY a 'b'>]><ismrmrdHeader/>", "not xml"):
        (scan,) = read_scans(write_mrd(tmp_path / f"{len(xml)}.mrd", xml, lines(kspace)))
        assert np.array_equal(scan.kspace[:], kspace[None])
        assert "taken from the readouts" in " ".join(scan.notes)


@pytest.mark.parametrize("n_coils", [1, 3])
@pytest.mark.parametrize("kind", ["full", "undersampled", "padded", "placed"])
def test_what_is_written_reads_back_the_same(tmp_path, kind, n_coils):
    scan = replace(small_scan(n_coils=n_coils), target=None, smaps=None, truth=None, attributes={})
    columns = np.ones(40, dtype=bool)
    if kind == "undersampled":
        columns = np.arange(40) % 3 == 2
        scan = replace(scan, mask=columns)
    if kind == "padded":
        columns = np.arange(40) >= 7
        scan = replace(scan, header=Header(padding=(7, 40)))
    if kind == "placed":
        placed = Header(
            encoded_fov=(240.0, 200.0, 4.0),
            positions=((1.0, 2.0, 3.5), (1.0, 2.0, 8.5)),
            orientation=((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
        )
        scan = replace(scan, header=placed)
    scan = replace(scan, kspace=np.where(columns, scan.kspace[:], 0).astype(np.complex64))
    Ismrmrd.write_scan(tmp_path / "a.mrd", scan, overwrite=False)
    back = read_scan(tmp_path / "a.mrd", RAW)
    assert np.array_equal(back.kspace[:], scan.kspace)
    assert (back.mask is None) == (scan.mask is None)
    if scan.mask is not None:
        assert np.array_equal(back.mask, scan.mask)
    else:
        assert back.header.padding == scan.header.padding
    for name in ("positions", "orientation", "encoded_fov"):
        assert getattr(back.header, name) == getattr(scan.header, name)


def test_the_ismrmrd_package_reads_what_is_written(tmp_path):
    ismrmrd = pytest.importorskip("ismrmrd")
    scan = small_scan()
    assert "the target" in Ismrmrd.write_scan(tmp_path / "a.h5", scan, overwrite=False)[0]
    dataset = ismrmrd.Dataset(str(tmp_path / "a.h5"), "dataset", create_if_needed=False)
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    assert header.encoding[0].encodedSpace.matrixSize.y == 40
    last = dataset.read_acquisition(dataset.number_of_acquisitions() - 1)
    assert last.isFlagSet(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    assert (last.idx.slice, last.idx.kspace_encode_step_1, last.center_sample) == (1, 39, 24)
    assert np.array_equal(last.data, scan.kspace[1, :, :, 39])
    dataset.close()


def test_the_generator_s_file_gives_the_image_of_ismrmrd_s_own_reconstruction(tmp_path):
    path = unpacked("full.mrd", tmp_path)
    with h5py.File(path) as file:
        expected = np.squeeze(file["dataset/cpp/data"][()]).T
    image = reconstruct(read_scan(path), "zero-filled", acceleration=1).image[0]
    assert_close(image / image.max(), expected / expected.max(), 1e-6)


def test_the_generator_s_accelerated_file_becomes_two_scans(tmp_path):
    scans = read_scans(unpacked("accelerated.mrd", tmp_path))
    assert [scan.name for scan in scans] == ["accelerated_repetition0.mrd", "accelerated_repetition1.mrd"]
    assert [int(scan.mask.sum()) for scan in scans] == [12, 12]
    assert scans[0].mask[4:12].all()
    assert not (scans[0].mask & scans[1].mask)[[0, 1, 2, 3, 12, 13, 14, 15]].any()


def test_reading_needs_no_package_beyond_the_usual(tmp_path):
    path = unpacked("full.mrd", tmp_path)
    code = (
        "import sys; sys.modules.update({n: None for n in ('ismrmrd', 'nibabel', 'pydicom', 'twixtools')})\n"
        f"from mri_recon import read_scan; print(read_scan({str(path)!r}).kspace[:].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "(1, 2, 16, 16)"
