"""``mri-recon reconstruct``."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from command_line import assert_one_line, run
from PIL import Image
from small_scans import small_scan

from mri_recon.batch.place import Place
from mri_recon.data.formats.base import WriteOptions
from mri_recon.data.storage import read_reconstruction, read_scan, write_scan
from mri_recon.physics.masks import generate_mask
from mri_recon.reconstruct import reconstruct


@pytest.fixture
def folder(tmp_path):
    """Two scans, the second without a target, and where to put the results."""
    (tmp_path / "scans").mkdir()
    write_scan(tmp_path / "scans" / "a.h5", small_scan("a.h5"))
    write_scan(tmp_path / "scans" / "b.h5", replace(small_scan("b.h5", n_coils=1), target=None))
    return tmp_path


def test_a_mistake_leaves_no_folder(capsys, folder):
    scan, out = folder / "scans" / "a.h5", folder / "for" / "results"
    assert_one_line(run(capsys, "reconstruct", scan, "-o", out, "--slices", "99"), "within 0:", code=2)
    assert not out.parent.exists()


def test_a_folder_that_was_there_stays(capsys, folder):
    scan, out = folder / "scans" / "a.h5", folder / "out"
    out.mkdir()
    assert_one_line(run(capsys, "reconstruct", scan, "-o", out, "--slices", "99"), "within 0:", code=2)
    assert out.is_dir()


def test_a_folder_that_another_job_took_away_is_made_again(folder):
    scan = read_scan(folder / "scans" / "a.h5")
    place = Place(folder / "gone", "h5", WriteOptions(), overwrite=False, preview=False)
    place.write(place.target("a.h5"), scan, reconstruct(scan, "zero-filled"), {})
    assert read_reconstruction(folder / "gone" / "a.h5").shape == scan.target.shape


def test_one_scan_becomes_images_a_picture_and_metrics(capsys, folder):
    scan, out = folder / "scans" / "a.h5", folder / "out"
    outcome = run(capsys, "reconstruct", scan, "-o", out, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    (told,) = json.loads(outcome.out)
    expected = reconstruct(read_scan(scan), "cs")
    assert told["file"] == str(scan)
    assert told["output"] == str(out / "a.h5")
    assert (told["method"], told["settings"]) == ("cs", dict(expected.settings))
    assert told["lines"] == expected.mask.n_lines
    assert told["seconds"] > 0
    assert (told["nmse"], told["psnr"], told["ssim"]) == pytest.approx(
        tuple(expected.metrics.as_dict().values()), rel=1e-9
    )
    assert told["iterations"] == [c.iterations for c in expected.convergence]
    assert told["converged"] is True

    assert sorted(p.name for p in out.iterdir()) == ["a.h5", "a.png"]
    with h5py.File(out / "a.h5") as file:
        assert list(file) == ["reconstruction"]
        assert file["reconstruction"].dtype == np.float32
        np.testing.assert_array_equal(file["reconstruction"][:], expected.image)
        assert file.attrs["method"] == "cs"
        assert json.loads(file.attrs["settings"]) == dict(expected.settings)
        assert file.attrs["lines"] == expected.mask.n_lines
        assert file.attrs["mask_sha256"] == expected.mask.sha256
    with Image.open(out / "a.png") as picture:
        assert picture.format == "PNG"


def test_a_folder_is_a_batch_and_a_second_run_skips_what_is_done(capsys, folder):
    out = folder / "out"
    first = run(capsys, "reconstruct", folder / "scans", "-o", out, "--method", "zero-filled", "--json")
    assert first.code == 0
    a, b = json.loads(first.out)
    assert [(e["nmse"] is None, e["psnr"] is None, e["ssim"] is None) for e in (a, b)] == [
        (False,) * 3,
        (True,) * 3,
    ]
    (out / "b.h5").unlink()
    stamp = (out / "a.h5").stat().st_mtime_ns
    other = run(capsys, "reconstruct", folder / "scans", "-o", out, "--json", "-v")
    # What is there is zero-filled: it is named, not taken for what was asked.
    assert other.code != 0
    assert "a.h5 was made by another method or settings" in other.err
    assert "b.png exists. Replace it with --overwrite" in other.err
    assert not (out / "b.h5").exists()
    (out / "b.png").unlink()
    again = ("reconstruct", folder / "scans", "-o", out, "--method", "zero-filled", "--json", "-v")
    second = run(capsys, *again)
    assert second.code == 0
    assert [(e["file"], e["method"]) for e in json.loads(second.out)] == [
        (str(folder / "scans" / "b.h5"), "zero-filled")
    ]
    assert "a.h5 exists, kept" in second.err
    assert "1 of 2 were there already and kept" in second.err
    assert (out / "a.h5").stat().st_mtime_ns == stamp
    third = run(capsys, "reconstruct", folder / "scans", "-o", out, "--overwrite", "--json", "-q")
    assert (third.code, third.err) == (0, "")
    assert [e["method"] for e in json.loads(third.out)] == ["cs", "cs"]
    with h5py.File(out / "a.h5") as file:
        assert file.attrs["method"] == "cs"


def test_options_reach_the_reconstruction(capsys, folder):
    scan = folder / "scans" / "a.h5"
    np.save(folder / "mask.npy", generate_mask("equispaced", 40, 2, 0.2, seed=9))
    sampling = ["--mask", "equispaced", "--acceleration", 5, "--center-fraction", 0.1, "--seed", 2]
    for number, (arguments, keywords) in enumerate(
        [
            (sampling, {"mask": "equispaced", "acceleration": 5, "center_fraction": 0.1, "seed": 2}),
            (["--mask-file", folder / "mask.npy"], {"mask": folder / "mask.npy"}),
            (["--acceleration", 1], {"acceleration": 1}),
            (["--acceleration", 8, "--acceleration", 4, "--seed", 1], {"acceleration": (8, 4), "seed": 1}),
            (
                ["--slices", "1", "--method", "cs", "--set", "tv_weight=0.02", "--set", "iterations=5"],
                {"slices": (1, 2), "method": "cs", "settings": {"tv_weight": 0.02, "iterations": 5}},
            ),
            (["--slices", "0:2", "--device", "cpu"], {}),
        ]
    ):
        out = folder / f"out{number}"
        method = [] if "--method" in arguments else ["--method", "zero-filled"]
        outcome = run(capsys, "reconstruct", scan, "-o", out, "--json", *method, *arguments)
        assert outcome.code == 0, outcome
        expected = reconstruct(read_scan(scan), **{"method": "zero-filled"} | keywords)
        np.testing.assert_array_equal(read_reconstruction(out / "a.h5"), expected.image)
        assert json.loads(outcome.out)[0]["lines"] == expected.mask.n_lines


def test_what_was_assumed_is_said_and_what_did_not_converge_is_warned_of(capsys, folder):
    scan = small_scan("acquired.h5")
    columns = generate_mask("random", 40, 4, 0.08, seed=1)
    write_scan(folder / "acquired.h5", replace(scan, kspace=scan.kspace * columns, mask=columns))
    arguments = ["-o", folder / "out", "--acceleration", 8, "--set", "iterations=2"]
    outcome = run(capsys, "reconstruct", folder / "acquired.h5", *arguments)
    assert outcome.code == 0
    assert "acquired.h5: The scan carries a mask: it is used as acquired" in outcome.err
    assert "Warning: Some slices stopped before they converged; raise --set iterations=" in outcome.err
    assert outcome.out == ""
    header, row = (line.split("\t") for line in outcome.err.splitlines() if "\t" in line)
    told = dict(zip(header, row, strict=True))
    assert told["lines"] == str(columns.sum())
    assert float(told["PSNR (dB)"]) > 0


def test_a_broken_scan_among_good_ones_is_named_and_the_others_are_done(capsys, folder):
    (folder / "scans" / "broken.h5").write_text("not k-space")
    outcome = run(capsys, "reconstruct", folder / "scans", "-o", folder / "out", "--method", "zero-filled")
    assert outcome.code == 1
    assert "Warning: " in outcome.err
    assert "broken.h5 is not an HDF5 file" in outcome.err
    assert "1 of 3 failed: broken.h5" in outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.h5", "a.png", "b.h5", "b.png"]
    for name in ("a.h5", "b.h5"):
        (folder / "scans" / name).write_text("broken too")
    outcome = run(capsys, "reconstruct", folder / "scans", "-o", folder / "out2")
    assert outcome.code == 2
    assert "3 of 3 failed" in outcome.err
    assert not (folder / "out2").exists()


class TestNothingIsLost:
    def test_an_existing_result_is_kept_unless_told(self, capsys, folder):
        out = folder / "out"
        out.mkdir()
        (out / "a.h5").write_text("precious")
        scan = folder / "scans" / "a.h5"
        assert_one_line(run(capsys, "reconstruct", scan, "-o", out), f"{out / 'a.h5'} exists", "--overwrite")
        assert (out / "a.h5").read_text() == "precious"
        assert [p.name for p in out.iterdir()] == ["a.h5"]
        assert run(capsys, "reconstruct", scan, "-o", out, "--overwrite", "-q").code == 0
        assert read_reconstruction(out / "a.h5").shape == (2, 48, 40)

    @pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
    @pytest.mark.parametrize("batch", [True, False])
    def test_a_scan_is_never_replaced_by_its_images(self, capsys, folder, batch, overwrite):
        scans = folder / "scans"
        before = (scans / "a.h5").read_bytes()
        named = scans if batch else scans / "a.h5"
        outcome = run(capsys, "reconstruct", named, "-o", scans, *overwrite)
        assert_one_line(outcome, "is the scan itself and would be replaced")
        assert (scans / "a.h5").read_bytes() == before
        assert sorted(p.name for p in scans.iterdir()) == ["a.h5", "b.h5"]

    def test_scans_of_one_name_do_not_take_each_others_place(self, capsys, folder):
        (folder / "more").mkdir()
        write_scan(folder / "more" / "a.hdf5", small_scan("a.hdf5"))
        outcome = run(capsys, "reconstruct", folder / "scans", folder / "more", "-o", folder / "out")
        assert_one_line(outcome, str(folder / "more" / "a.hdf5"), "would both be written to")
        assert not (folder / "out").exists()


class TestMapsOfOnesOwn:
    def test_they_are_used(self, capsys, folder, tmp_path):
        """The scan's own maps, for every slice or one for all, give what the Python call gives."""
        scan, out = folder / "scans" / "a.h5", folder / "out"
        maps = small_scan("a.h5").smaps.astype(np.complex64)
        for name, array in (("every.npy", maps), ("one.npy", maps[:1]), ("flat.npy", maps[0])):
            np.save(tmp_path / name, array)
            arguments = ["--set", "tv_weight=0.01", "--smaps", tmp_path / name, "--overwrite"]
            outcome = run(capsys, "reconstruct", scan, "-o", out, *arguments)
            assert outcome.code == 0
            expected = reconstruct(read_scan(scan), "cs", settings={"tv_weight": 0.01}, smaps=array)
            np.testing.assert_array_equal(read_reconstruction(out / "a.h5"), expected.image)
        estimated = reconstruct(read_scan(scan), "cs", settings={"tv_weight": 0.01})
        assert np.abs(estimated.image - expected.image).max() > 0

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (np.ones((5, 3, 48, 40), np.complex64), ["expected coil maps (2, 3, 48, 40)", "(5, 3, 48, 40)"]),
            (np.ones((2, 3, 48, 41), np.complex64), ["(2, 3, 48, 41)"]),
            (np.ones((2, 3, 48, 40), np.float32), ["complex", "float32"]),
            (b"no array", ["cannot be read as coil maps", "numpy.save"]),
            (None, ["cannot be read as coil maps"]),
        ],
    )
    def test_what_cannot_be_maps(self, capsys, folder, tmp_path, content, words):
        path = tmp_path / "maps.npy"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.save(path, content)
        outcome = run(capsys, "reconstruct", folder / "scans" / "a.h5", "-o", folder / "out", "--smaps", path)
        assert_one_line(outcome, "maps.npy", *words)


def test_maps_for_a_method_without_are_refused(capsys, folder, tmp_path):
    np.save(tmp_path / "maps.npy", small_scan("a.h5").smaps)
    arguments = ["--method", "zero-filled", "--smaps", tmp_path / "maps.npy", "-o", folder / "out"]
    assert_one_line(run(capsys, "reconstruct", folder / "scans" / "a.h5", *arguments), "uses no coil maps")


def test_without_previews(capsys, folder):
    outcome = run(capsys, "reconstruct", folder / "scans", "-o", folder / "out", "--no-preview")
    assert outcome.code == 0
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.h5", "b.h5"]


def test_the_weight_that_was_chosen_is_told(capsys, folder):
    scan, out = folder / "scans" / "a.h5", folder / "out"
    (auto,) = json.loads(run(capsys, "reconstruct", scan, "-o", out, "--json").out)
    assert auto["settings"]["tv_weight"] == "auto"
    assert len(auto["weight"]) == 2
    assert all(0 < weight < 1 for weight in auto["weight"])
    (given,) = json.loads(
        run(capsys, "reconstruct", scan, "-o", out, "--overwrite", "--json", "--set", "tv_weight=0.01").out
    )
    assert given["weight"] is None


@pytest.mark.parametrize("n", [1, 2])
def test_threads_are_limited_and_change_nothing(folder, n):
    """The bytes do not depend on them, and one is one: no more processor time than time passes."""
    out = folder / f"threads-{n}"
    scan = folder / "scans" / "a.h5"
    options = ["--threads", str(n), "--no-preview", "--quiet", "--set", "tv_weight=0.01"]
    code = (
        "import os, sys, threading; from mri_recon.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(os.environ['OMP_NUM_THREADS'], sum('mri-recon' in t.name for t in threading.enumerate()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "reconstruct", str(scan), "-o", str(out), *options],
        capture_output=True,
        text=True,
        check=True,
    )
    told, running = done.stdout.split()
    assert told == str(n)
    assert int(running) == 0 if n == 1 else int(running) <= n
    expected = reconstruct(read_scan(scan), "cs", settings={"tv_weight": 0.01})
    np.testing.assert_array_equal(read_reconstruction(out / "a.h5"), expected.image)


def test_an_identity_is_kept_in_dicom_only(capsys, folder):
    outcome = run(capsys, "reconstruct", folder / "scans" / "a.h5", "-o", folder / "out", "--keep-identity")
    assert_one_line(outcome, "--keep-identity is for DICOM")
