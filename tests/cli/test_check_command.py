"""``mri-recon check``."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from command_line import run
from small_scans import small_scan

from mri_recon.data.storage import write_scan


@pytest.fixture
def folder(tmp_path):
    """A sound scan, one with a scaled target, and a broken one."""
    scan = small_scan(height=96, width=80, n_slices=1)
    write_scan(tmp_path / "a_sound.h5", scan)
    write_scan(tmp_path / "b_scaled.h5", dataclasses.replace(scan, target=scan.target * np.float32(1.5)))
    (tmp_path / "c_broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    return tmp_path


def test_a_line_a_file_and_the_worst_decides(capsys, folder):
    outcome = run(capsys, "check", folder)
    assert (outcome.code, outcome.out) == (2, "")
    first, second, third, summary = outcome.err.splitlines()
    assert first.split()[:3] == ["sound", "a_sound.h5", "1×3×96×80"]
    assert second.split()[:2] == ["warning", "b_scaled.h5"]
    assert second.endswith("target-mismatch")
    assert third.split()[:2] == ["unusable", "c_broken.h5"]
    assert summary.startswith("3 scans: 1 sound, 1 with warnings, 1 unusable")


def test_an_array_s_axes_can_be_named(capsys, folder):
    kspace = small_scan(height=96, width=80, n_slices=1).kspace[0]
    np.save(folder / "mine.npy", kspace.transpose(2, 0, 1))
    outcome = run(capsys, "check", folder / "mine.npy")
    assert outcome.code == 2
    assert outcome.err.count("mine.npy") == 1
    assert "--axes" in outcome.err
    outcome = run(capsys, "check", folder / "mine.npy", "--axes", "width,coil,height")
    assert outcome.code == 0
    assert "1×3×96×80" in outcome.err


def test_exit_codes(capsys, folder):
    assert run(capsys, "check", folder / "a_sound.h5").code == 0
    assert run(capsys, "check", folder / "b_scaled.h5").code == 1
    assert run(capsys, "check", folder / "c_broken.h5", folder / "a_sound.h5").code == 2


def test_quiet_tells_only_what_is_wrong(capsys, folder):
    assert run(capsys, "check", "-q", folder / "a_sound.h5").err == ""
    assert run(capsys, "check", "-q", folder).err.count("\n") == 2


def test_a_page_with_verbose(capsys, folder):
    text = run(capsys, "check", "-v", folder / "b_scaled.h5").err
    for words in (
        "1 slice, 3 coils, 96 × 80", "80 of 80 columns", "it was scaled", "estimates", "SNR", "no sign of", "PHANTOM",
        "format", "slice 0 of 1",
    ):  # fmt: skip
        assert words in text


def test_json_has_all_files_and_nothing_else(capsys, folder):
    outcome = run(capsys, "check", "--json", "-q", folder)
    assert (outcome.code, outcome.err) == (2, "")
    told = json.loads(outcome.out)
    assert [entry["status"] for entry in told] == ["sound", "warning", "unusable"]
    assert [c["crime"] for c in told[1]["crimes"] if c["found"]] == ["target-mismatch"]
    assert told[2]["reason"]


def test_what_is_not_there_is_a_line_and_the_rest_goes_on(capsys, folder):
    outcome = run(capsys, "check", folder / "nothing.h5", folder / "a_sound.h5")
    assert outcome.code == 2
    lines = outcome.err.splitlines()
    assert lines[0].startswith("unusable")
    assert "does not exist" in lines[0]
    assert lines[1].startswith("sound")


def test_all_slices(capsys, tmp_path):
    scan = small_scan(height=64, width=48, n_slices=5, n_coils=1)
    target = scan.target.copy()
    target[0] *= 3
    write_scan(tmp_path / "scan.h5", dataclasses.replace(scan, target=target))
    told = json.loads(run(capsys, "check", "--json", "--all-slices", tmp_path / "scan.h5").out)
    assert told[0]["slices_looked_at"] == [0, 1, 2, 3, 4]
    told = json.loads(run(capsys, "check", "--json", tmp_path / "scan.h5").out)
    assert told[0]["slices_looked_at"] == [1, 2, 3]


def test_many_files_are_looked_at_in_the_middle(capsys, tmp_path):
    scan = small_scan(height=48, width=40, n_slices=3, n_coils=1)
    for i in range(21):
        write_scan(tmp_path / f"{i:02d}.h5", scan)
    told = json.loads(run(capsys, "check", "--json", tmp_path).out)
    assert [entry["file"] for entry in told] == [f"{i:02d}.h5" for i in range(21)]
    assert {tuple(entry["slices_looked_at"]) for entry in told} == {(1,)}
