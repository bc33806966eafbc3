"""Commands killed at random moments, and on full disks: `scripts/measure_kills.py`, a few times over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from batch_files import command, contents, environment, write_folder
from helpers import ROOT

COMMANDS = ("reconstruct", "evaluate", "simulate", "convert", "train")


def measure(*arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "measure_kills.py"), "--json", *arguments],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.stdout, done.stderr
    return {result["command"]: result for result in json.loads(done.stdout)}


@pytest.mark.slow
def test_nothing_is_lost_in_a_few_kills_and_on_a_full_disk():
    pytest.importorskip("torch")
    found = measure("--kills", "1", "--full", "1", "--seed", "3")
    assert tuple(found) == COMMANDS
    for result in found.values():
        assert result["problems"] == []
        assert (result["kills"], result["full_disks"]) == (1, 1)


@pytest.mark.slow
def test_nothing_is_lost_in_fifty_kills_each():
    pytest.importorskip("torch")
    for name in COMMANDS:
        result = measure("--command", name)[name]
        assert result["problems"] == []
        assert result["kills"] == 50


@pytest.mark.slow
def test_a_full_disk_ends_in_one_line_and_keeps_what_is_there(tmp_path):
    """On a real file system without room: a small tmpfs, which only root can mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    scans = write_folder(tmp_path / "scans", [f"{i}.h5" for i in range(6)])
    try:
        (disk / "precious.txt").write_text("precious")
        for name, arguments, least in (
            ("reconstruct", [scans, "-o", disk / "out", "--method", "zero-filled", "-f", "cfl"], 1),
            ("simulate", ["-o", disk / "set", "--n-scans", 4, "--slices", 1, "--size", "32x32"], 1),
            ("convert", [scans / "0.h5", disk / "k.mrd"], 0),
            ("train", ["-o", disk / "run", "--device", "cpu", "--set", "generated.n_slices=2"], 0),
        ):
            done = subprocess.run(
                command(name, *arguments), env=environment(), capture_output=True, text=True
            )
            assert done.returncode in (1, 2), done.stderr
            assert "the disk is full. Free some space" in done.stderr
            assert "Traceback" not in done.stderr
            assert not list(disk.rglob("*.part"))
            written = [path for path in disk.rglob("*") if path.is_file() and path.name != "precious.txt"]
            assert len(written) >= least
        assert (disk / "precious.txt").read_text() == "precious"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_what_the_harness_calls_broken_is(tmp_path, monkeypatch):
    """The harness itself: a file cut short is found."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import measure_kills

    scans = write_folder(tmp_path / "scans", ["a.h5"])
    case = measure_kills.Case(lambda out: [], lambda out: [], measure_kills.judge_any, contents)
    assert measure_kills.look(case, scans) == []
    whole = (scans / "a.h5").read_bytes()
    (scans / "a.h5").write_bytes(whole[: len(whole) // 2])
    (scans / "b.json").write_text("[1, 2")
    (scans / "c.cfl").write_bytes(b"")
    (scans / ".hidden.part").write_text("half")
    found = measure_kills.look(case, scans)
    assert [Path(line.split()[0]).name for line in found] == ["a.h5", "b.json", "c.cfl"]
