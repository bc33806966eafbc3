"""Simulated sets: reproducible, resumable, of the noise and the geometry asked for, and honest about what they are."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from helpers import assert_close
from PIL import Image

from mri_recon.data import simulate as module
from mri_recon.data.simulate import KINDS, Simulation, plan, simulate, simulated_scan
from mri_recon.data.storage import find_scans, read_scan
from mri_recon.errors import MriReconError, OutputError, ScanError, SettingsError
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.reconstruct import reconstruct
from mri_recon.solvers.threads import limited_threads

SMALL = {"size": (40, 36), "n_slices": 2, "n_coils": 2}


@pytest.fixture
def volumes(tmp_path):
    """Two volumes of three PNG slices each, 48 × 44."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            picture = np.zeros((48, 44), np.uint8)
            picture[8:40, 10:34] = rng.integers(60, 256, (32, 24))
            Image.fromarray(picture).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def bytes_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.h5"))}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_whatever_the_threads(tmp_path, kind):
    settings = Simulation(kind, **SMALL, snr=(20, 80), maps=True)
    counts = {"train": 2, "val": 1, "test": 1}
    for n in (1, 3):
        with limited_threads(n):
            simulate(settings, tmp_path / str(n), counts)
    found = bytes_of(tmp_path / "1")
    assert found == bytes_of(tmp_path / "3")
    assert list(found) == [
        f"{s}/{s}_{kind}_{i:05d}.h5" for s, i in (("test", 0), ("train", 0), ("train", 1), ("val", 0))
    ]
    with limited_threads(2):
        simulate(Simulation(kind, **SMALL, snr=(20, 80), maps=True, seed=1), tmp_path / "other", counts)
    scans = [read_scan(p).kspace[:] for n in ("1", "other") for p in sorted((tmp_path / n).rglob("*.h5"))]
    # Each scan is another one, in each split and for each seed.
    for i, one in enumerate(scans):
        assert all(np.abs(one - other).max() > 0.01 for other in scans[:i])


def test_a_run_that_was_stopped_goes_on(tmp_path, monkeypatch):
    settings = Simulation(**SMALL)
    whole = simulate(settings, tmp_path / "whole", {"train": 3})
    write, heard = module.write_scan, []

    def stopped(path, scan, **keywords):
        if path.name == "head_00001.h5":
            raise KeyboardInterrupt
        write(path, scan, **keywords)

    monkeypatch.setattr(module, "write_scan", stopped)
    with limited_threads(1), pytest.raises(KeyboardInterrupt):
        simulate(settings, tmp_path / "set", {"train": 3})
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["head_00000.h5"]
    before = (tmp_path / "set" / "head_00000.h5").stat().st_mtime_ns
    monkeypatch.setattr(module, "write_scan", write)
    simulate(settings, tmp_path / "set", {"train": 3}, on_scan=lambda *told: heard.append(told))
    assert (tmp_path / "set" / "head_00000.h5").stat().st_mtime_ns == before
    assert bytes_of(tmp_path / "set") == bytes_of(tmp_path / "whole")
    assert [(done, of, path.name, new) for done, of, path, new in heard] == [
        (i + 1, 3, path.name, i > 0) for i, path in enumerate(whole.files)
    ]


def test_files_made_otherwise_are_not_taken_for_the_set(tmp_path):
    simulate(Simulation(**SMALL), tmp_path, {"train": 1})
    before = bytes_of(tmp_path)
    with pytest.raises(OutputError, match=r"made with other settings.*--overwrite"):
        simulate(Simulation(**SMALL, seed=1), tmp_path, {"train": 1})
    assert bytes_of(tmp_path) == before
    simulate(Simulation(**SMALL, seed=1), tmp_path, {"train": 1}, overwrite=True)
    assert bytes_of(tmp_path) != before
    (tmp_path / "head_00000.h5").write_text("something else")
    with pytest.raises(OutputError, match="no scan of this set"):
        simulate(Simulation(**SMALL), tmp_path, {"train": 1})


def test_scans_of_an_image_that_was_changed_are_not_taken_up(tmp_path, volumes):
    settings = Simulation(source=volumes / "a", n_slices=1, n_coils=2)
    (path,) = simulate(settings, tmp_path / "set", {"train": 1}).files
    before = path.read_bytes()
    assert simulate(settings, tmp_path / "set", {"train": 1}).made == []
    picture = np.asarray(Image.open(volumes / "a" / "1.png")).copy()
    picture[20, 20] ^= 1
    Image.fromarray(picture).save(volumes / "a" / "1.png")
    with pytest.raises(OutputError, match="made with other settings"):
        simulate(settings, tmp_path / "set", {"train": 1})
    assert path.read_bytes() == before


def test_scans_of_another_generator_are_not_taken_up(tmp_path, monkeypatch):
    simulate(Simulation(**SMALL), tmp_path, {"train": 1})
    monkeypatch.setattr(module, "GENERATOR", module.GENERATOR + 1)
    with pytest.raises(OutputError, match="made with other settings"):
        simulate(Simulation(**SMALL), tmp_path, {"train": 1})


@pytest.mark.parametrize("kind", ["head", "synthetic"])
@pytest.mark.parametrize("snr", [5.0, 30.0])
def test_the_ratio_of_signal_to_noise_is_the_one_asked_for(kind, snr):
    options = {"size": (64, 60), "n_slices": 2, "n_coils": 3}
    noisy = simulated_scan(Simulation(kind, **options, snr=(snr, snr)), "train", 0, "a.h5")
    clean = simulated_scan(Simulation(kind, **options, snr=(math.inf, math.inf)), "train", 0, "a.h5")
    np.testing.assert_array_equal(noisy.target, clean.target)
    np.testing.assert_allclose(clean.target, rss(ifftc(clean.kspace)), atol=1e-5)
    noise = ifftc(noisy.kspace - clean.kspace)
    signal = clean.target[clean.target > 0.1 * clean.target.max()].mean()
    for part in (noise.real, noise.imag):
        assert signal / part.std() == pytest.approx(snr, rel=0.03)


def test_a_range_of_ratios_is_drawn_from():
    found = [
        simulated_scan(Simulation(**SMALL, snr=(5, 50)), "test", i, "a.h5").attributes["snr"]
        for i in range(12)
    ]
    assert 5 < min(found) < 15 < 25 < max(found) < 50
    assert len(set(found)) == 12


@pytest.mark.parametrize("size", [(40, 36), (33, 37)])
@pytest.mark.parametrize("kind", ["head", "synthetic"])
def test_an_oversampled_readout_is_the_same_image_in_a_larger_field_of_view(kind, size):
    options = {"size": size, "n_slices": 1, "n_coils": 2, "snr": (math.inf, math.inf), "maps": True}
    once, twice = (
        simulated_scan(Simulation(kind, **options, oversampling=n), "train", 3, "a.h5") for n in (1, 2)
    )
    height, width = size
    assert twice.kspace.shape == twice.smaps.shape == (1, 2, 2 * height, width)
    assert twice.truth.shape == (1, 2 * height, width)
    assert twice.target.shape == once.target.shape == (1, *size)
    assert twice.crop_shape == size
    assert twice.header.recon == (*size, 1)
    np.testing.assert_allclose(twice.target, center_crop(rss(ifftc(twice.kspace)), size), atol=1e-5)
    # Every second row is the scan without oversampling: whole cycles per field of view.
    first = height % 2
    rows = twice.kspace[:, :, first::2] * np.sqrt(2)
    assert_close(rows[:, :, :height], once.kspace, 2e-5)
    # Maps cover the larger field of view with the same middle.
    middle = height - height // 2
    assert_close(twice.smaps[:, :, middle : middle + height], once.smaps, 1e-5)


def test_partial_fourier_leaves_out_lines_and_says_so(tmp_path):
    settings = Simulation(size=(40, 48), n_slices=1, n_coils=2, partial_fourier=0.75)
    (path,) = simulate(settings, tmp_path, {"train": 1}).files
    scan = read_scan(path)
    assert scan.header.padding == (12, 48)
    kspace = scan.kspace[:]
    assert not kspace[..., :12].any()
    assert (np.abs(kspace[..., 12:]).max(axis=(0, 1, 2)) > 0).all()
    result = reconstruct(scan, "zero-filled", acceleration=1)
    assert result.mask.n_lines == 36
    whole = simulated_scan(Simulation(size=(40, 48), n_slices=1, n_coils=2), "train", 0, "a.h5")
    np.testing.assert_array_equal(scan.target[:], whole.target)


@pytest.mark.parametrize("kind", ["head", "synthetic"])
def test_maps_explain_the_coil_images(kind):
    """Coil images are the truth under the maps, but for ringing at edges."""
    settings = Simulation(kind, size=(96, 90), n_slices=1, n_coils=4, snr=(math.inf, math.inf), maps=True)
    scan = simulated_scan(settings, "train", 1, "a.h5")
    error = np.abs(ifftc(scan.kspace) - scan.smaps * scan.truth[:, None])
    assert np.median(error) < 5e-3 * scan.target.max()
    assert np.linalg.norm(error) < 0.05 * np.linalg.norm(scan.target)


def test_every_file_says_what_it_is(tmp_path, volumes):
    (drawn,) = simulate(Simulation(**SMALL), tmp_path / "set", {"test": 1}).files
    settings = Simulation(source=volumes, n_slices=None)
    taken = simulate(settings, tmp_path / "images_set", {"train": 1, "val": 1}).files
    assert [p.name for p in taken] == ["train_a.h5", "val_b.h5"]
    for path, crime in ((drawn, False), *((p, True) for p in taken)):
        scan = read_scan(path)
        assert scan.notes == ()
        said = scan.attributes
        assert said["provenance"].startswith("simulated: ")
        assert ("Data crime" in said["data_crime"]) == crime
        assert said["patient_id"] == path.stem
        assert scan.acquisition == ("SIMULATED_IMAGE" if crime else "SIMULATED_HEAD")
        stamp = json.loads(said["simulation"])
        assert (stamp["split"], stamp["seed"]) == (path.parent.name, 0)
    assert "'a'" in read_scan(taken[0]).attributes["provenance"]
    assert len(find_scans(tmp_path / "images_set" / "val")) == 1


class TestImages:
    def test_at_their_own_size_they_come_back(self, volumes):
        settings = Simulation(source=volumes, n_slices=None, n_coils=4, snr=(math.inf, math.inf))
        one = plan(settings, "out", {"train": 1})[0]
        scan = simulated_scan(settings, "train", 0, "a.h5", one.volume)
        assert scan.kspace.shape == (3, 4, 48, 44)
        images = np.stack([np.asarray(Image.open(p), dtype=float) for p in sorted((volumes / "a").iterdir())])
        assert_close(np.abs(scan.truth), images / images.max(), 1e-5)
        assert_close(scan.target, rss(ifftc(scan.kspace)), 1e-5)
        assert np.angle(scan.truth[np.abs(scan.truth) > 0.2]).std() > 0.05

    def test_reduced_they_keep_their_field_of_view_and_brightness(self, volumes):
        settings = Simulation(source=volumes, n_slices=1, size=(24, 22), n_coils=1, snr=(math.inf, math.inf))
        scan = simulated_scan(settings, "train", 0, "a.h5", plan(settings, "out", {"train": 1})[0].volume)
        assert scan.kspace.shape == (1, 1, 24, 22)
        image = np.asarray(Image.open(volumes / "a" / "1.png"), dtype=float)  # the middle one
        within = np.abs(scan.truth[0])[6:18, 7:15].mean()
        assert within == pytest.approx(image[12:36, 14:30].mean() / 255, rel=0.1)

    def test_they_are_never_enlarged_or_used_twice(self, volumes):
        settings = Simulation(source=volumes, size=(64, 44))
        with pytest.raises(SettingsError, match=r"48×44.*never enlarged"):
            simulated_scan(settings, "train", 0, "a.h5", plan(settings, "out", {"train": 1})[0].volume)
        with pytest.raises(SettingsError, match=r"3 scans .* 2 volume"):
            plan(settings, "out", {"train": 2, "test": 1})

    def test_nifti_is_turned_as_it_is_looked_at(self, tmp_path):
        nibabel = pytest.importorskip("nibabel")
        values = np.zeros((20, 24, 3), np.float32)
        values[15, 20, 1] = 1  # right, anterior
        values[4, 10, 2] = 0.5
        for name, affine in (("ras.nii.gz", np.eye(4)), ("lps.nii", np.diag([-1, -1, 1, 1]))):
            stored = values if name == "ras.nii.gz" else values[::-1, ::-1]
            nibabel.save(nibabel.Nifti1Image(stored, affine), tmp_path / name)
        for volume in module.find_volumes(tmp_path):
            images = volume.read()
            assert images.shape == (3, 24, 20)
            assert images[1, 3, 4] == 1  # up, and on the left
            assert images[2, 13, 15] == 0.5
        (tmp_path / "broken.nii").write_bytes(b"no image")
        with pytest.raises(ScanError, match="cannot be read as NIfTI"):
            module.find_volumes(tmp_path / "broken.nii")[0].read()

    def test_complex_nifti_counts_by_its_magnitude(self, tmp_path):
        nibabel = pytest.importorskip("nibabel")
        values = np.full((20, 24, 2), 3 + 4j, np.complex64)
        values[:10] = 5j
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
        assert_close(module.find_volumes(tmp_path)[0].read(), np.ones((2, 24, 20)), 1e-6)

    def test_what_cannot_be_used_is_said(self, tmp_path, volumes):
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.txt").write_text("x")
        (tmp_path / "zero").mkdir()
        Image.new("L", (20, 20)).save(tmp_path / "zero" / "0.png")
        Image.new("L", (20, 21), 3).save(volumes / "b" / "z.png")
        (volumes / "a" / "0.png").write_bytes(b"\x89PNG broken")
        for path, words in (
            (tmp_path / "nowhere", "does not exist"),
            (tmp_path / "empty", "holds no volumes"),
            (tmp_path / "text.txt", "no NIfTI file"),
            (tmp_path / "zero", "zero everywhere"),
            (volumes / "b", "48×44"),
            (volumes / "a", "cannot be read as PNG"),
        ):
            with pytest.raises(ScanError, match=words) as caught:
                module.find_volumes(path)[0].read()
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "heads"}, "Did you mean 'head'?"),
        ({"size": (8, 320)}, "16 pixels or more"),
        ({"n_slices": 0}, "at least one slice"),
        ({"n_coils": 0}, "at least one coil"),
        ({"snr": (0, 5)}, "low end first"),
        ({"snr": (50, 5)}, "low end first"),
        ({"snr": (math.nan, 5)}, "low end first"),
        ({"partial_fourier": 0.5}, "above 0.5"),
        ({"oversampling": 3}, "use 1 or 2"),
        ({"seed": -1}, "negative"),
    ],
)
def test_settings_out_of_range_are_one_line(settings, words):
    with pytest.raises(SettingsError) as caught:
        Simulation(**settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_scans_are_an_error(tmp_path):
    with pytest.raises(MriReconError, match="at least one"):
        simulate(Simulation(), tmp_path, {"train": 0})
