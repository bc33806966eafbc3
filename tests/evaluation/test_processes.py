"""Processes share the scans, and nobody can tell from the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import write_scan
from mri_recon.errors import SettingsError
from mri_recon.evaluation import processes
from mri_recon.evaluation.run import evaluate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sound scans, the largest first so that it ends last, one without a target and one that is broken."""
    folder = tmp_path_factory.mktemp("scans")
    write_scan(folder / "a.h5", small_scan("a.h5", n_slices=3))
    write_scan(folder / "b.h5", small_scan("b.h5", n_coils=1))
    write_scan(folder / "c.h5", replace(small_scan("c.h5"), target=None))
    write_scan(folder / "d.h5", small_scan("d.h5", n_slices=1))
    (folder / "e.h5").write_text("k-space")
    return folder


def untimed(told):
    volumes = [{k: v for k, v in row.items() if k != "seconds"} for row in told["volumes"]]
    return {**told, "volumes": volumes}


@pytest.fixture(scope="module")
def alone(folder):
    return evaluate(folder, ["zero-filled", "sense"], metrics=["residual"])


def test_two_workers_find_what_one_does(folder, alone):
    environment = dict(os.environ)
    images, progress = [], []
    found = evaluate(
        folder,
        ["zero-filled", "sense"],
        metrics=["residual"],
        workers=2,
        on_volume=lambda done, total, scan, result: images.append((scan.name, result)),
        on_progress=lambda done, total, outcome: progress.append((done, total)),
    )
    assert untimed(json.loads(found.json())) == untimed(json.loads(alone.json()))
    assert [v.file for v in found.volumes] == ["a.h5", "a.h5", "b.h5", "b.h5", "d.h5", "d.h5"]
    assert [file for file, _ in found.failures] == ["c.h5", "e.h5"]
    assert sorted((name, r.method) for name, r in images) == sorted((v.file, v.method) for v in found.volumes)
    assert all(np.isfinite(r.image).all() and r.image.size for _, r in images)
    assert progress[-1] == (10, 10)
    assert dict(os.environ) == environment


def test_a_worker_that_is_killed_is_an_error_that_says_what_to_do(folder, monkeypatch):
    monkeypatch.setattr(processes, "_all_of", _die)
    with pytest.raises(SettingsError, match="Use fewer --workers"):
        evaluate(folder, ["zero-filled"], workers=2)


def _die(source, plan):
    os._exit(9)


def test_torchruns_ranks_make_one_table(folder, alone, tmp_path):
    """Two gloo processes, each with its part of the scans; the first one writes all of it."""
    pytest.importorskip("torch")
    output = tmp_path / "results.json"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mri_recon",
        "evaluate", str(folder), "--method", "zero-filled", "--method", "sense", "-o", str(output),
        "--report", str(tmp_path / "report.html"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    # One scan is broken: each rank ends with code 1, for which torchrun has a report of its own.
    assert done.returncode == 1, done.stderr
    told = json.loads(output.read_text())
    expected = json.loads(evaluate(folder, ["zero-filled", "sense"]).json())
    for name in ("volumes", "failures", "notes"):
        assert untimed(told)[name] == untimed(expected)[name]
    assert [file["file"] for file in told["manifest"]["files"]] == ["a.h5", "b.h5", "d.h5"]
    assert done.stderr.count("Warning: c.h5") == 1
    assert (tmp_path / "report.html").exists()
