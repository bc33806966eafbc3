"""``mri-recon mask``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import assert_one_line, run
from PIL import Image

from mri_recon.catalog import MASKS
from mri_recon.physics.masks import generate_mask

KNEE = ["mask", "--mask", "random", "--width", 368, "--acceleration", 4, "--center-fraction", 0.08]
KNEE += ["--name", "file1000000.h5"]


def test_the_json_of_the_contract(capsys):
    outcome = run(capsys, *KNEE, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    told = json.loads(outcome.out)
    columns = told.pop("columns")
    sha256 = told.pop("sha256")
    assert told == {
        "mask": "random",
        "width": 368,
        "lines": 88,
        "n_center_lines": 29,
        "effective_acceleration": 4.18,
    }
    assert list(json.loads(outcome.out)) == [
        "mask",
        "width",
        "lines",
        "n_center_lines",
        "effective_acceleration",
        "columns",
        "sha256",
    ]
    assert columns[:2] == [4, 9]
    assert len(columns) == 88
    assert sha256 == "c814b1134c27f1ffe5dd0e8bb8e18a21db2ade8ff93ceb6969abfe5b5ea53656"


@pytest.mark.parametrize("kind", MASKS)
def test_the_columns_are_those_of_generate_mask(capsys, kind):
    seeds = {"--name": "file1000001.h5", "--seed": 5}
    for option, seed in seeds.items():
        outcome = run(capsys, "mask", "--mask", kind, "--width", 320, option, seed, "--json")
        expected = generate_mask(kind, 320, 4, 0.08, seed=seed)
        assert json.loads(outcome.out)["columns"] == np.flatnonzero(expected).tolist()


def test_pairs_and_the_usual_centre(capsys):
    pairs = ["--acceleration", 4, "--acceleration", 8]
    centers = ["--center-fraction", 0.08, "--center-fraction", 0.04]
    for arguments in (pairs, pairs + centers):
        outcome = run(capsys, "mask", "--width", 372, "--name", "file1000000.h5", *arguments, "--json")
        told = json.loads(outcome.out)
        assert told["lines"] == 45
        assert told["sha256"].startswith("663f0901771b1460")


def test_the_picture_in_letters(capsys):
    outcome = run(capsys, *KNEE)
    columns = generate_mask("random", 368, 4, 0.08, seed="file1000000.h5")
    picture = "".join("|" if c else "." for c in columns)
    assert outcome.out == ""
    assert outcome.err == f"random 4×: 88 of 368 lines (4.18×), 29 in the centre\n{picture}\n"
    assert run(capsys, *KNEE, "-q").err == ""


def test_seed_zero_is_told_and_a_name_seeds_without_its_folder(capsys):
    assert "Drawn with seed 0" in run(capsys, "mask", "--width", 368).err
    assert "Drawn with seed 0" not in run(capsys, "mask", "--width", 368, "--seed", 0).err
    arguments = ("mask", "--width", 368, "--json", "--name")
    plain = run(capsys, *arguments, "file1000000.h5")
    assert run(capsys, *arguments, "dir/file1000000.h5").out == plain.out
    assert run(capsys, *arguments, "file1000001.h5").out != plain.out


def test_written_as_columns_and_as_a_picture(capsys, tmp_path):
    columns, picture = tmp_path / "mask.npy", tmp_path / "mask.png"
    for path in (columns, picture):
        outcome = run(capsys, *KNEE, "-o", path)
        assert outcome.code == 0
        assert f"Wrote {path}" in outcome.err
    np.testing.assert_array_equal(
        np.load(columns, allow_pickle=False), generate_mask("random", 368, 4, 0.08, seed="file1000000.h5")
    )
    with Image.open(picture) as opened:
        assert opened.format == "PNG"
    for path in (columns, picture):
        before = path.read_bytes()
        assert_one_line(run(capsys, *KNEE, "-o", path), f"{path} exists", "--overwrite")
        assert path.read_bytes() == before
    outcome = run(capsys, "mask", "--width", 40, "--acceleration", 1, "-o", columns, "--overwrite")
    assert outcome.code == 0
    assert np.load(columns).tolist() == [True] * 40
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.npy", "mask.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--acceleration", 16],
            "center_fraction 0.08 alone needs 29 of 368 lines; acceleration 16 allows 23",
        ),
        (["--acceleration", 0.5], "acceleration 0.5 is out of range"),
        (["--acceleration", "nan"], "acceleration nan is out of range"),
        (["--center-fraction", 0], "center_fraction 0 is out of range"),
        (["--mask", "magic", "--acceleration", 4.5], "--mask magic_fraction"),
        (["--name", "a.h5", "--seed", 1], "give one of them"),
        (["-o", "mask.jpg"], "expected a name ending in .npy (columns) or .png"),
        (["-o", "no/mask.npy"], "its folder does not exist"),
        (["-o", "no/mask.png"], "its folder does not exist"),
    ],
)
def test_mistakes(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    centre = [] if "--center-fraction" in arguments else ["--center-fraction", 0.08]
    assert_one_line(run(capsys, "mask", "--width", 368, *centre, *arguments), words)
    assert not list(tmp_path.iterdir())
