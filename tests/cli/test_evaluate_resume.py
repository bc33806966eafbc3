"""``mri-recon evaluate -o``, killed and run again; shared among processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from command_line import run
from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import write_scan

METHODS = ["--method", "zero-filled", "--method", "sense", "--set", "iterations=3"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scans").mkdir()
    for name in ("a.h5", "b.h5", "c.h5"):
        write_scan(tmp_path / "scans" / name, small_scan(name))
    return tmp_path / "scans"


def untimed(path):
    rows = json.loads(path.read_text())["volumes"]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_killed_and_run_again(capsys, folder, tmp_path):
    output, journal = tmp_path / "results.json", tmp_path / "results.json.journal"
    command = [sys.executable, "-m", "mri_recon", "evaluate", str(folder), *METHODS, "-o", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while not list(journal.glob("*.json")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not output.exists()
    n_finished = len(list(journal.glob("*.json")))
    assert 1 <= n_finished < 6

    outcome = run(capsys, "evaluate", folder, *METHODS, "-o", output, "-v")
    assert outcome.code == 0
    assert outcome.err.startswith(f"Going on: what was finished before is taken from {journal}")
    assert outcome.err.count("kept from before") == n_finished
    assert not journal.exists()
    run(capsys, "evaluate", folder, *METHODS, "-o", tmp_path / "whole.json", "--workers", 2)
    assert untimed(output) == untimed(tmp_path / "whole.json")


def test_what_failed_alone_is_done_again(capsys, folder, tmp_path):
    output, journal = tmp_path / "results.csv", tmp_path / "results.csv.journal"
    whole = (folder / "b.h5").read_bytes()
    (folder / "b.h5").write_bytes(b"cut short")
    assert run(capsys, "evaluate", folder, *METHODS, "-o", output).code == 1
    assert journal.is_dir()
    (folder / "b.h5").write_bytes(whole)
    outcome = run(capsys, "evaluate", folder, *METHODS, "-o", output, "--overwrite", "-v")
    assert outcome.code == 0
    assert outcome.err.count("kept from before") == 4
    assert "b.h5" in output.read_text()
    assert not journal.exists()
