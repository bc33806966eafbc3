"""``mri-recon reconstruct`` shared among workers: the same bytes, and a worker that dies costs its file alone."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime

import pytest
from batch_files import contents, write_folder
from command_line import assert_one_line, run
from small_scans import small_scan

from mri_recon.batch import run as batch_run
from mri_recon.batch.work import work_on
from mri_recon.data.storage import write_scan
from mri_recon.leftovers import temporary_name

METHOD = ["--set", "tv_weight=0.01", "--set", "iterations=5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three sound scans and a broken one, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("batch")
    write_folder(folder / "scans")
    (folder / "scans" / "bad.h5").write_text("k-space")
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    from mri_recon.batch.place import Place
    from mri_recon.batch.work import Item, Task
    from mri_recon.data.formats.base import ReadOptions, WriteOptions
    from mri_recon.reconstruct import make_method

    made = make_method("cs", {"tv_weight": 0.01, "iterations": 5})
    (folder / "alone").mkdir()
    task = Task(Place(folder / "alone", "h5", WriteOptions(), False, True), made, "cs", ReadOptions(), True)
    for name in ("a", "b", "c"):
        (outcome,) = work_on(task, Item(folder / "scans" / f"{name}.h5"))
        assert outcome.status == "done"
    return contents(folder / "alone")


def test_two_workers_write_what_one_process_does_and_a_log(capsys, folder, alone, tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"cut short')  # by a job before, which was killed
    arguments = ["reconstruct", folder / "scans", "-o", tmp_path / "out", *METHOD, "--log-file", log]
    outcome = run(capsys, *arguments, "--workers", 2, "--json")
    assert outcome.code == 1
    assert contents(tmp_path / "out") == alone
    assert [entry["file"][-4:] for entry in json.loads(outcome.out)] == ["a.h5", "b.h5", "c.h5"]
    assert "Warning: " in outcome.err
    assert "1 of 4 failed: bad.h5" in outcome.err
    assert "a.h5: 2 slices in " in outcome.err

    first, *lines = log.read_text().splitlines()
    assert first == '{"cut short'
    told = [json.loads(line) for line in lines]
    assert all(datetime.fromisoformat(line["time"]).tzinfo for line in told)
    begun = {line["file"][-5:] for line in told if line["event"] == "begin"}
    assert begun == {"/a.h5", "/b.h5", "/c.h5", "ad.h5"}
    done = {line["file"][-4:]: line for line in told if line["event"] == "done"}
    assert sorted(done) == ["a.h5", "b.h5", "c.h5"]
    assert done["a.h5"]["result"]["iterations"] == [5, 5]
    assert done["a.h5"]["peak_bytes"] > 20 << 20
    assert done["a.h5"]["seconds"] > 0
    (failed,) = (line for line in told if line["event"] == "failed")
    assert "is not an HDF5 file" in failed["error"]

    again = run(capsys, *arguments, "--workers", 2, "-v")
    assert "a.h5 exists, kept" in again.err
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()[-6:]].count("kept") == 3


def test_a_worker_that_dies_costs_its_file_alone(capsys, folder, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_run, "all_of", _killed_over_b)
    arguments = ["reconstruct", folder / "scans", "-o", tmp_path / "out", *METHOD]
    outcome = run(capsys, *arguments, "--workers", 2)
    assert outcome.code == 1
    assert "Warning: b.h5: its worker process was killed (SIGKILL)" in outcome.err
    assert "2 of 4 failed: b.h5, bad.h5" in outcome.err
    whole = {name: sha for name, sha in alone.items() if not name.startswith("b.")}
    assert contents(tmp_path / "out") == whole  # nothing half-written either
    again = run(capsys, *arguments)
    assert "1 of 4 failed: bad.h5" in again.err
    assert contents(tmp_path / "out") == alone


def _killed_over_b(task, item):
    if item.path.name == "b.h5":
        temporary_name(task.place.folder / "b.h5").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    return list(work_on(task, item))


def test_a_preview_that_is_missing_is_drawn(capsys, folder, alone, tmp_path):
    """As when the process was killed between images and preview."""
    arguments = ["reconstruct", folder / "scans", "-o", tmp_path / "out", *METHOD]
    assert run(capsys, *arguments, "-q").code == 1
    (tmp_path / "out" / "b.png").unlink()
    assert run(capsys, *arguments, "-q").code == 1
    assert contents(tmp_path / "out") == alone


def test_a_log_that_cannot_be_written(capsys, folder, tmp_path):
    arguments = [
        "reconstruct",
        folder / "scans",
        "-o",
        tmp_path / "out",
        "--log-file",
        tmp_path / "no" / "log",
    ]
    assert_one_line(run(capsys, *arguments), "no/log", "Create the folder first")


def test_a_surprise_in_one_file_does_not_cost_the_others(capsys, folder, tmp_path, monkeypatch):
    from mri_recon.batch import work

    def surprised(scan, *others, **keywords):
        raise ZeroDivisionError("in b") if scan.name == "b.h5" else MemoryError

    monkeypatch.setattr(work, "reconstruct", surprised)
    outcome = run(capsys, "reconstruct", folder / "scans", "-o", tmp_path / "out")
    assert outcome.code == 2
    assert "Warning: a.h5: out of memory. Use fewer --workers" in outcome.err
    assert "Warning: b.h5: unexpected ZeroDivisionError: in b" in outcome.err
    assert "4 of 4 failed" in outcome.err


def test_what_many_files_share_is_said_three_times(capsys, tmp_path):
    from dataclasses import replace

    scan = small_scan("x.h5", height=32, width=32, n_coils=1, n_slices=1)
    (tmp_path / "scans").mkdir()
    for number in range(6):
        mask = [i % 4 == 0 or 12 < i < 20 for i in range(32)]
        write_scan(tmp_path / "scans" / f"{number}.h5", replace(scan, name=f"{number}.h5", mask=mask))
    outcome = run(
        capsys, "reconstruct", tmp_path / "scans", "-o", tmp_path / "out", "--method", "zero-filled"
    )
    assert outcome.code == 0
    assert outcome.err.count("it is used as acquired") == 4
    assert "The same of 3 more: The scan carries a mask" in outcome.err
    assert "0.h5: 1 slice in " in outcome.err
