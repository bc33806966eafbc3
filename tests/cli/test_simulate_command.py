"""``mri-recon simulate``: a set that the other commands take."""

from __future__ import annotations

import json

import numpy as np
from command_line import assert_one_line, run
from PIL import Image

from mri_recon.cli.simulate import _KINDS
from mri_recon.data.simulate import KINDS
from mri_recon.data.storage import find_scans, read_scan
from mri_recon.training.data import ScanSlices

SMALL = ["--slices", 1, "--size", "40x36", "--coils", 2]


def test_a_set_that_the_other_commands_take(capsys, tmp_path):
    options = [*SMALL, "--n-scans", 2, "--val", 1, "--snr", "30:60", "--oversampling", 2, "--maps"]
    outcome = run(capsys, "simulate", "-o", tmp_path / "set", *options, "--json")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    assert [t["made"] for t in told] == [True] * 3
    assert [p["file"] for p in told] == [
        str(tmp_path / "set" / s / f"{s}_head_{i:05d}.h5")
        for s, i in (("train", 0), ("train", 1), ("val", 0))
    ]
    assert "Wrote 3 simulated scans" in outcome.err
    assert read_scan(told[0]["file"]).smaps.shape == (1, 2, 80, 36)
    again = run(capsys, "simulate", "-o", tmp_path / "set", *options, "-v")
    assert "Wrote 0 simulated scans" in again.err
    assert "kept 3 that were there" in again.err
    scored = run(capsys, "evaluate", tmp_path / "set" / "val", "--method", "zero-filled", "--json")
    volumes = json.loads(scored.out)["volumes"]
    assert [v["acquisition"] for v in volumes] == ["SIMULATED_HEAD"]
    whole = run(
        capsys, "evaluate", tmp_path / "set" / "val", "--method", "zero-filled", "--acceleration", 1, "--json"
    )
    assert json.loads(whole.out)["volumes"][0]["psnr"] > volumes[0]["psnr"] + 5
    slices = ScanSlices(find_scans(tmp_path / "set" / "train"))
    # Training cuts the oversampled readout off.
    assert slices.shapes == [(2, 40, 36, 40, 36)] * 2
    sample = slices.sample(0, 1)
    assert sample.target.max() == sample.data_range


def test_images_are_warned_of_and_options_reach_the_scan(capsys, tmp_path):
    (tmp_path / "images").mkdir()
    picture = np.zeros((40, 40), np.uint8)
    picture[8:32, 8:32] = 200
    for name in ("0.png", "1.png"):
        Image.fromarray(picture).save(tmp_path / "images" / name)
    arguments = [
        "--from",
        tmp_path / "images",
        "--partial-fourier",
        0.75,
        "--coils",
        1,
        "--snr",
        "inf",
        "--seed",
        4,
    ]
    outcome = run(capsys, "simulate", "-o", tmp_path / "set", *arguments)
    assert outcome.code == 0, outcome.err
    assert "Warning: this k-space was made of processed images" in outcome.err
    scan = read_scan(tmp_path / "set" / "images.h5")
    assert (scan.kspace.shape, scan.n_coils_stored, scan.header.padding) == ((2, 1, 40, 40), 0, (10, 40))
    assert json.loads(scan.attributes["simulation"])["seed"] == 4
    assert scan.attributes["noise"] == 0


def test_a_volume_that_cannot_be_used_does_not_stop_the_others(capsys, tmp_path):
    for name, level in (("dark", 0), ("sound", 200)):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("L", (32, 32), level).save(tmp_path / "images" / name / "0.png")
    outcome = run(
        capsys, "simulate", "-o", tmp_path / "set", "--from", tmp_path / "images", "--coils", 2, "--json"
    )
    assert outcome.code == 1
    assert [t["file"] for t in json.loads(outcome.out)] == [str(tmp_path / "set" / "sound.h5")]
    assert "Warning: dark.h5 was not made: " in outcome.err
    assert "zero everywhere" in outcome.err


def test_mistakes_are_one_line(capsys, tmp_path):
    for options, words in (
        (["--size", "320"], "expected height and width such as 320x256"),
        (["--snr", "high"], "a range such as 20:80"),
        (["--kind", "brain"], "'brain' is not one of"),
        (["--partial-fourier", "0.3"], "above 0.5"),
        (["--n-scans", 0], "at least one"),
        (["--from", tmp_path / "nowhere"], "does not exist"),
    ):
        assert_one_line(run(capsys, "simulate", "-o", tmp_path / "set", *options), words)
    assert not (tmp_path / "set").exists()


def test_the_command_lists_the_kinds_there_are():
    assert _KINDS == KINDS


def test_a_kind_is_not_for_images_that_are_given(capsys, tmp_path):
    outcome = run(capsys, "simulate", "-o", tmp_path / "set", "--from", tmp_path, "--kind", "head")
    assert_one_line(outcome, "--kind says what to generate")
    assert not (tmp_path / "set").exists()
