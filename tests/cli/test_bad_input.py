"""Bad input through the real command line: one line on what to do, exit code 2, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from command_line import assert_one_line, run
from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import read_reconstruction, write_scan


def text_file(path):
    path.write_text("This is no HDF5 file, whatever its name says.\n")


def empty_file(path):
    path.touch()


def truncated(path):
    write_scan(path, small_scan())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def stored(**changes):
    """A sound scan with some of its data sets replaced, or left out where the change is None."""

    def make(path):
        write_scan(path, small_scan())
        with h5py.File(path, "r+") as file:
            for name, value in changes.items():
                if name in file:
                    del file[name]
                if value is not None:
                    file[name] = value

    return make


def with_number(number):
    kspace = small_scan().kspace.copy()
    kspace[1, 0, 20, 20] = number
    return stored(kspace=kspace)


KSPACE = small_scan().kspace
FILES = {
    "text renamed": (text_file, "is not an HDF5 file"),
    "empty": (empty_file, "is empty (0 bytes)"),
    "truncated": (truncated, "is truncated"),
    "no kspace": (stored(kspace=None), "has no data set 'kspace'"),
    "two axes": (stored(kspace=KSPACE[0, 0]), "expected (slice, height, width)"),
    "five axes": (stored(kspace=KSPACE[None]), "has 5 axes"),
    "real": (stored(kspace=KSPACE.real), "expected complex64"),
    "NaN": (with_number(np.nan), "slice 1 of 'kspace' holds NaN, Inf"),
    "Inf": (with_number(np.inf), "slice 1 of 'kspace' holds NaN, Inf"),
    "no slices": (stored(kspace=KSPACE[:0]), "there is nothing in it"),
    "all zero": (stored(kspace=np.zeros_like(KSPACE)), "k-space is zero everywhere"),
    "mask too short": (stored(mask=np.ones(39, dtype=bool)), "expected (40,)"),
    "mask of nothing": (stored(mask=np.zeros(40, dtype=bool)), "marks none of 40 columns"),
}


@pytest.mark.parametrize("command", ["reconstruct", "evaluate"])
class TestScan:
    @pytest.mark.parametrize("kind", FILES)
    def test_that_is_none_or_unsound(self, capsys, tmp_path, command, kind):
        make, words = FILES[kind]
        scan, out = tmp_path / "scan.h5", tmp_path / "out"
        make(scan)
        output = ["-o", out] if command == "reconstruct" else ["-o", tmp_path / "out.json"]
        assert_one_line(run(capsys, command, scan, *output), words, "scan.h5")
        assert not (tmp_path / "out.json").exists()
        assert not out.exists() or not list(out.iterdir())

    def test_that_is_not_there(self, capsys, tmp_path, command, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for path, words in (("scan.h5", "Check the path"), ("no/scan.h5", "There is no folder no either")):
            assert_one_line(run(capsys, command, path), f"{path} does not exist. {words}")
        assert not list(tmp_path.iterdir())
        (tmp_path / "scan_1.h5").touch()
        assert_one_line(run(capsys, command, "scan1.h5"), "scan1.h5 does not exist. Did you mean scan_1.h5?")

    def test_folder_without_scans(self, capsys, tmp_path, command, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        assert_one_line(run(capsys, command, "folder"), "folder holds no scans (*.h5, *.hdf5")
        (tmp_path / "folder" / "scan.dat").touch()
        assert_one_line(run(capsys, command, "folder"), "folder holds no scans")
        assert [p.name for p in tmp_path.iterdir()] == ["folder"]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--acceleration", 0.5], "acceleration 0.5 is out of range"),
            (["--acceleration", 0], "use 1 (every line) to 40"),
            (["--acceleration", -4], "acceleration -4 is out of range"),
            (["--acceleration", "nan"], "acceleration nan is out of range"),
            (["--acceleration", "inf"], "acceleration inf is out of range"),
            (["--acceleration", 41], "acceleration 41 is out of range"),
            (["--acceleration", 8, "--center-fraction", 0.3], "Use center_fraction ≤ 0.125"),
            (["--center-fraction", 0], "center_fraction 0 is out of range"),
            (["--center-fraction", 1.5], "center_fraction 1.5 is out of range"),
            (["--center-fraction", 0.01], "leaves no centre line"),
            (["--mask-file", "short.npy"], "has 39 columns, k-space has 40"),
            (["--mask-file", "scan.h5"], "is not a NumPy .npy file"),
            (["--slices", "2"], "slices 2:3 are not all there"),
        ],
    )
    def test_that_cannot_be_sampled_so(self, capsys, tmp_path, command, arguments, words, monkeypatch):
        monkeypatch.chdir(tmp_path)
        write_scan(tmp_path / "scan.h5", small_scan())
        np.save(tmp_path / "short.npy", np.ones(39, dtype=bool))
        assert_one_line(run(capsys, command, "scan.h5", *arguments), words)
        left = [p.name for p in tmp_path.rglob("*") if p.is_file()]
        assert sorted(left) == ["scan.h5", "short.npy"]


class TestOutput:
    @pytest.fixture
    def scan(self, tmp_path):
        write_scan(tmp_path / "scan.h5", small_scan())
        return tmp_path / "scan.h5"

    def test_below_a_file(self, capsys, scan):
        for out in (scan, scan / "out", scan / "a" / "b"):
            outcome = run(capsys, "reconstruct", scan, "-o", out)
            assert_one_line(outcome, "file, not a folder")
        outcome = run(capsys, "evaluate", scan, "-o", scan / "out.csv")
        assert_one_line(outcome, "its folder does not exist")

    def test_that_is_a_folder(self, capsys, scan, tmp_path):
        (tmp_path / "out" / "scan.h5").mkdir(parents=True)
        outcome = run(
            capsys, "reconstruct", scan, "-o", tmp_path / "out", "--overwrite", "--method", "zero-filled"
        )
        assert_one_line(outcome, "it is a folder")
        (tmp_path / "r.csv").mkdir()
        assert_one_line(
            run(capsys, "evaluate", scan, "-o", tmp_path / "r.csv", "--overwrite"), "it is a folder"
        )

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
    def test_without_permission(self, capsys, scan, tmp_path):
        (tmp_path / "locked").mkdir(mode=0o500)
        for out in (tmp_path / "locked", tmp_path / "locked" / "out"):
            assert_one_line(run(capsys, "reconstruct", scan, "-o", out), "permission denied")

    @pytest.mark.parametrize(("size", "kept"), [("8k", []), ("24k", ["scan.h5"])])
    def test_on_a_full_disk(self, scan, tmp_path, size, kept):
        """No room for the images, or none for the picture: what is there is whole, and nothing half is."""
        write_scan(scan, replace(small_scan(), target=None), overwrite=True)
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        try:
            mounted = subprocess.run(mount, capture_output=True).returncode == 0
        except OSError:
            mounted = False
        if not mounted:
            pytest.skip("cannot mount a small disk here")
        try:
            arguments = ["reconstruct", str(scan), "-o", str(disk / "out"), "--method", "zero-filled"]
            done = subprocess.run(
                [sys.executable, "-m", "mri_recon", *arguments], capture_output=True, text=True, cwd=ROOT
            )
            left = sorted(p.name for p in Path(disk).rglob("*") if p.is_file())
            shapes = [read_reconstruction(path).shape for path in Path(disk).rglob("*.h5")]
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("Error: Cannot write ")
        assert "the disk is full. Free some space" in done.stderr
        assert left == kept
        assert shapes == [(2, 48, 40)] * len(kept)
