"""Processes share the scans, and nobody can tell from the results."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import write_scan
from mri_recon.evaluation import processes, work
from mri_recon.evaluation.run import evaluate
from mri_recon.evaluation.work import work_on


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


def test_a_worker_that_is_killed_costs_its_scan_alone(folder, alone, monkeypatch):
    monkeypatch.setattr(processes, "_all_of", _die_over_b)
    found = evaluate(folder, ["zero-filled", "sense"], metrics=["residual"], workers=2)
    assert [v.file for v in found.volumes] == ["a.h5", "a.h5", "d.h5", "d.h5"]
    kept = [row for row in json.loads(alone.json())["volumes"] if row["file"] != "b.h5"]
    assert untimed(json.loads(found.json()))["volumes"] == untimed({"volumes": kept})["volumes"]
    reasons = dict(found.failures)
    assert list(reasons) == ["b.h5", "c.h5", "e.h5"]
    assert "its worker process was killed (SIGKILL)" in reasons["b.h5"]
    assert "Use fewer --workers" in reasons["b.h5"]


def _die_over_b(plan, source):
    if source.name == "b.h5":
        os.kill(os.getpid(), signal.SIGKILL)
    return list(work_on(source, plan))


def under_torchrun(arguments, cwd):
    """Exit code and messages of `mri-recon` as torchrun starts it."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "mri_recon",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, cwd=cwd)
    return done.returncode, done.stderr


def as_two_ranks(arguments, cwd):
    """The same without torchrun, whose own start takes as long as theirs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "mri_recon", *arguments],
            env={**os.environ, **common, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [one.communicate() for one in running]
    assert said[1] == ("", "")  # the first rank speaks for both
    assert len({one.returncode for one in running}) == 1
    return running[0].returncode, said[0][1]


@pytest.mark.parametrize("start", [as_two_ranks, pytest.param(under_torchrun, marks=pytest.mark.slow)])
def test_two_ranks_make_one_table(folder, tmp_path, start):
    """Two gloo processes, each with its part of the scans; the first one writes all of it."""
    pytest.importorskip("torch")
    output = tmp_path / "results.json"
    methods = ["--method", "zero-filled", "--method", "sense"]
    report = ["--report", str(tmp_path / "report.html")]
    code, messages = start(["evaluate", str(folder), *methods, "-o", str(output), *report], tmp_path)
    assert code == 1, messages  # two of the scans cannot be scored
    told = json.loads(output.read_text())
    expected = json.loads(evaluate(folder, ["zero-filled", "sense"]).json())
    for name in ("volumes", "summary", "differences", "failures", "notes"):
        assert untimed(told)[name] == untimed(expected)[name]
    assert [file["file"] for file in told["manifest"]["files"]] == ["a.h5", "b.h5", "d.h5"]
    assert messages.count("Warning: c.h5") == 1
    assert "a.h5" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("where", ["reconstruct", "read_scan"])
def test_a_file_that_fills_the_memory_does_not_cost_the_others(folder, monkeypatch, where):
    usual = getattr(work, where)

    def full(scan, *others, **keywords):
        if scan.name == "b.h5":
            raise MemoryError
        return usual(scan, *others, **keywords)

    monkeypatch.setattr(work, where, full)
    found = evaluate(folder, ["zero-filled"])
    assert [v.file for v in found.volumes] == ["a.h5", "d.h5"]
    assert dict(found.failures)["b.h5"] == (
        "Out of memory. Use fewer --workers or --slices, or a larger machine."
    )
