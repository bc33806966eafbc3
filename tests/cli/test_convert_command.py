"""``mri-recon convert``, and ``reconstruct`` from and to every format, as pipelines that end in a number."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise

import numpy as np
import pytest
from command_line import assert_one_line, run
from helpers import GOLDEN, assert_close
from PIL import Image
from small_scans import small_scan

from mri_recon import read_scan, read_scans, reconstruct
from mri_recon.catalog import FORMATS
from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.registry import all_formats, read_images
from mri_recon.data.storage import read_reconstruction, write_scan

RAW = ReadOptions(remove_oversampling=False, prewhiten=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_scan(tmp_path / "scan.h5", small_scan("scan.h5"))
    for name in ("full.mrd", "accelerated.mrd"):
        (tmp_path / name).write_bytes(gzip.decompress((GOLDEN / "formats" / f"{name}.gz").read_bytes()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestConvert:
    def test_kspace_survives_every_format_in_turn(self, capsys, folder):
        expected = read_scan("full.mrd", RAW).kspace[:]
        chain = ["full.mrd", *(f"a{f.suffix}" for f in all_formats() if FORMATS[f.name].kspace), "b.mrd"]
        for source, output in pairwise(chain):
            outcome = run(capsys, "convert", source, output)
            assert outcome.code == 0, outcome
            assert np.array_equal(read_scan(output, RAW).kspace[:], expected), output
        assert len(chain) == 8

    @pytest.mark.parametrize(
        ("option", "words"),
        [
            ("--keep-identity", "is for DICOM"),
            ("--prewhiten", "scanners' raw data"),
            ("--remove-oversampling", "scanners' raw data"),
        ],
    )
    def test_options_that_would_do_nothing_are_refused(self, capsys, folder, option, words):
        outcome = run(capsys, "convert", "scan.h5", "scan.npy", option)
        assert_one_line(outcome, words)
        assert not (folder / "scan.npy").exists()

    def test_it_says_what_is_lost(self, capsys, folder):
        outcome = run(capsys, "convert", "scan.h5", "scan.mrd", "--json")
        told = json.loads(outcome.out)
        assert (told["input_format"], told["format"], told["what"]) == ("h5", "mrd", "k-space")
        assert told["outputs"] == ["scan.mrd"]
        assert "the target" in " ".join(told["notes"])
        assert "the target" in outcome.err

    def test_repetitions_become_files(self, capsys, folder):
        outcome = run(capsys, "convert", "accelerated.mrd", "out.cfl")
        assert outcome.code == 0
        assert (folder / "out_repetition0.cfl").exists()
        assert "not decorrelated" in outcome.err
        direct = read_scans("accelerated.mrd", RAW)[1].kspace[:]
        assert np.array_equal(read_scan("out_repetition1").kspace[:], direct)

    def test_whitening_and_oversampling_are_done_if_asked(self, capsys, folder):
        assert (
            run(capsys, "convert", "accelerated.mrd", "a.h5", "--prewhiten", "--remove-oversampling").code
            == 0
        )
        direct = read_scans("accelerated.mrd")[0]
        made = read_scan("a_repetition0.h5")
        assert np.array_equal(made.kspace[:], direct.kspace[:])
        assert np.array_equal(made.mask, direct.mask)
        assert made.crop_shape == (16, 16)

    def test_converted_scans_reconstruct_to_the_same_image(self, capsys, folder):
        run(capsys, "convert", "full.mrd", "full.h5")
        images = [
            reconstruct(read_scan(name), "zero-filled", acceleration=1).image
            for name in ("full.mrd", "full.h5")
        ]
        assert_close(images[0], images[1], 1e-6)

    def test_targets_and_reconstructions_become_images(self, capsys, folder):
        pytest.importorskip("nibabel")
        outcome = run(capsys, "convert", "scan.h5", "scan.nii")
        assert "k-space was not reconstructed" in outcome.err
        assert_close(read_images("scan.nii").pixels, small_scan().target, 1e-7)
        run(capsys, "reconstruct", "scan.h5", "--method", "zero-filled")
        assert run(capsys, "convert", "out/scan.h5", "made.nii.gz").code == 0
        found = read_images("made.nii.gz")
        assert np.array_equal(found.pixels, read_reconstruction(folder / "out/scan.h5"))
        assert found.attributes["method"] == "zero-filled"

    def test_raw_data_may_be_called_h5_and_only_what_can_be_written_is_offered(self, capsys, folder):
        assert run(capsys, "convert", "scan.h5", "raw.h5", "-f", "mrd").code == 0
        assert_close(read_scan("raw.h5").kspace[:], small_scan().kspace, 0)
        assert "twix" not in run(capsys, "convert", "scan.h5", "out.xyz").err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["scan.h5", "out.xyz"], ["does not say which format", "-f"]),
            (["scan.h5", "scan.h5"], ["is the file that is to be converted"]),
            (["absent.h5", "out.mrd"], ["absent.h5 does not exist"]),
            (["full.mrd", "out.nii"], ["holds k-space", "Reconstruct it"]),
            (["scan.h5", "out.dat"], ["twix is read, not written"]),
            (["scan.h5", "full.mrd"], ["exists", "--overwrite"]),
            (["scan.h5", "no/out.mrd"], ["its folder does not exist"]),
            (["scan.h5", "out.mrd", "--axes", "height,width"], ["Leave --axes"]),
            (["scan.h5", "out.mrd", "--axes", "up,down"], ["slice,coil,height,width"]),
            (["scan.h5", "out.png"], ["has 2 slices", "-f png"]),
            (["scan.h5", "out", "-f", "twix"], ["'twix' is not one of"]),
            (["scan.h5", "out.mrd", "-f", "nifti"], ["out.mrd is named as mrd", "-f says nifti"]),
            (["scan.h5", "out.nii.gz", "-f", "cfl"], ["out.nii.gz is named as nifti"]),
        ],
    )
    def test_mistakes_are_one_line(self, capsys, folder, arguments, words):
        before = sorted(path.name for path in folder.iterdir())
        assert_one_line(run(capsys, "convert", *arguments), *words)
        assert sorted(path.name for path in folder.iterdir()) == before


class TestReconstruct:
    def test_a_scanner_s_file_becomes_nifti_in_one_command(self, capsys, folder):
        nibabel = pytest.importorskip("nibabel")
        outcome = run(capsys, "reconstruct", "accelerated.mrd", "-f", "nifti", "--method", "zero-filled")
        assert outcome.code == 0, outcome
        for number, scan in enumerate(read_scans("accelerated.mrd")):
            image = nibabel.load(folder / f"out/accelerated_repetition{number}.nii.gz")
            expected = reconstruct(scan, "zero-filled").image
            assert np.array_equal(image.get_fdata(dtype=np.float32)[..., 0], expected[0])
            assert image.header.get_zooms() == (18.75, 18.75, 6.0)
            assert (folder / f"out/accelerated_repetition{number}.png").exists()
        again = run(capsys, "reconstruct", "accelerated.mrd", "-f", "nifti", "--method", "zero-filled")
        assert "2 of 2 were there already" in again.err

    @pytest.mark.parametrize("name", [name for name, entry in FORMATS.items() if entry.images])
    def test_every_image_format(self, capsys, folder, name):
        if name in ("nifti", "dicom"):
            pytest.importorskip({"nifti": "nibabel", "dicom": "pydicom"}[name])
        outcome = run(capsys, "reconstruct", "scan.h5", "-f", name, "--method", "zero-filled", "--json")
        assert outcome.code == 0, outcome
        (told,) = json.loads(outcome.out)
        output = folder / told["output"]
        assert output.is_dir() == (name in ("dicom", "png"))
        expected = reconstruct(read_scan("scan.h5"), "zero-filled").image
        if name in ("h5", "cfl", "nifti"):
            assert_close(read_images(output).pixels, expected, 1e-6)
        elif name == "tiff":
            with Image.open(output) as picture:
                assert np.array_equal(np.asarray(picture), expected[0])
        elif name == "npy":
            assert np.array_equal(np.load(output), expected)
        elif name == "dicom":
            import pydicom

            ds = pydicom.dcmread(output / "0002.dcm")
            values = ds.pixel_array * float(ds.RescaleSlope)
            assert np.corrcoef(values.ravel(), expected[1].ravel())[0, 1] > 0.999999
        assert_one_line(
            run(capsys, "reconstruct", "scan.h5", "-f", name, "--method", "zero-filled"), "exists"
        )

    @pytest.mark.parametrize("suffix", [".mrd", ".cfl", ".npz", ".mat", ".npy"])
    def test_every_kspace_format(self, capsys, folder, suffix):
        run(capsys, "convert", "scan.h5", f"copy{suffix}")
        outcome = run(
            capsys,
            "reconstruct",
            f"copy{suffix}",
            "--method",
            "zero-filled",
            "--acceleration",
            1,
            "--no-preview",
        )
        assert outcome.code == 0, outcome
        expected = reconstruct(read_scan("scan.h5"), "zero-filled", acceleration=1).image
        assert_close(read_reconstruction(folder / "out/copy.h5"), expected, 1e-6)

    def test_axes_are_told_on_the_command_line(self, capsys, folder):
        np.save("a.npy", small_scan().kspace[0].transpose(1, 2, 0))
        line = ("reconstruct", "a.npy", "--method", "zero-filled", "--acceleration", 1)
        assert_one_line(run(capsys, *line), "--axes coil,height,width")
        assert run(capsys, *line, "--axes", "height,width,coil").code == 0
        whole = reconstruct(small_scan(), "zero-filled", acceleration=1).image[:1]
        assert_close(read_reconstruction(folder / "out/a.h5"), whole, 1e-6)

    def test_bart_s_maps_are_used(self, capsys, folder):
        run(capsys, "convert", "scan.h5", "scan.cfl")
        outcome = run(capsys, "reconstruct", "scan.cfl", "--method", "sense", "--smaps", "scan_maps.cfl")
        assert outcome.code == 0, outcome
        expected = reconstruct(read_scan("scan.cfl"), "sense", smaps=small_scan().smaps).image
        assert_close(read_reconstruction(folder / "out/scan.h5"), expected, 1e-5)

    def test_a_broken_file_among_others_is_named(self, capsys, folder):
        (folder / "bad.mrd").write_bytes((folder / "full.mrd").read_bytes()[:5000])
        outcome = run(capsys, "reconstruct", "bad.mrd", "full.mrd", "--method", "zero-filled")
        assert outcome.code == 1
        assert "bad.mrd is truncated" in outcome.err
        assert (folder / "out/full.h5").exists()

    def test_geometry_goes_through_fastmri_s_layout(self, capsys, folder):
        pytest.importorskip("nibabel")
        run(capsys, "convert", "full.mrd", "full.h5")
        for name in ("full.mrd", "full.h5"):
            run(
                capsys,
                "reconstruct",
                name,
                "-f",
                "nifti",
                "--method",
                "zero-filled",
                "-o",
                name.split(".")[1],
            )
        direct, converted = (read_images(f"{where}/full.nii.gz") for where in ("mrd", "h5"))
        assert direct.placed.voxel == converted.placed.voxel == (18.75, 18.75, 6.0)
