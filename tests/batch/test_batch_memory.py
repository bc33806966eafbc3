"""``--max-memory``: fewer slices and workers at once, a refusal with the figure, and measured from outside."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from batch_files import contents, environment, write_folder
from command_line import assert_one_line, run
from helpers import ROOT
from small_scans import small_scan

from mri_recon.batch import run as batch_run
from mri_recon.batch.place import Place
from mri_recon.batch.run import _within
from mri_recon.batch.work import Item, Task, needed_bytes, work_on
from mri_recon.data.formats.base import ReadOptions, WriteOptions
from mri_recon.data.storage import write_scan
from mri_recon.errors import SettingsError
from mri_recon.reconstruct import make_method, reconstruct, slice_bytes, slices_at_once


def task_for(folder, **changes):
    place = Place(folder / "out", "h5", WriteOptions(), False, False)
    (folder / "out").mkdir(exist_ok=True)
    return replace(Task(place, make_method("zero-filled"), "zero-filled", ReadOptions(), True), **changes)


def test_as_many_slices_at_once_as_there_is_memory_for(monkeypatch):
    scan = small_scan("a.h5", n_slices=8)
    one = slice_bytes(scan)
    # The package's function of that name hides the module.
    monkeypatch.setattr(importlib.import_module("mri_recon.reconstruct"), "n_threads", lambda: 4)
    assert [slices_at_once(scan, 8, n * one) for n in (1, 2, 3, 9)] == [1, 2, 3, 4]
    assert slices_at_once(scan, 2, 9 * one) == 2
    whole = reconstruct(scan, "sense")
    np.testing.assert_array_equal(reconstruct(scan, "sense", working_bytes=one).image, whole.image)


def test_as_many_workers_as_there_is_memory_for(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_run, "resident_bytes", lambda pid: 100 << 20)
    task = task_for(tmp_path)
    program, _ = needed_bytes(task)
    for workers, n_programs, expected in ((4, 9.5, 4), (4, 2.5, 2), (4, 1.2, 1)):
        limit = (132 << 20) + int(n_programs * program)
        possible, each = _within(task, workers, limit)
        assert possible == expected
        assert (132 << 20) + possible * each <= limit < (132 << 20) + possible * (each + 1)
        assert each >= program
    assert _within(task, 3, None) == (3, None)
    with pytest.raises(
        SettingsError, match=r"--max-memory 200 MiB is too little: the program alone takes about 282 MiB"
    ):
        _within(task, 2, 200 << 20)


def test_a_scan_that_takes_more_is_refused_with_the_figure(tmp_path):
    write_scan(tmp_path / "a.h5", small_scan("a.h5"))
    task = task_for(tmp_path)
    scan = small_scan("a.h5")
    beside, of_slice = needed_bytes(task, scan)
    (outcome,) = work_on(replace(task, allowed_bytes=beside + of_slice - 1), Item(tmp_path / "a.h5"))
    assert outcome.status == "failed"
    assert outcome.needs_bytes == beside + of_slice
    assert re.search(
        r"a.h5: 3 coils, 48×40, takes about 15\d MiB of memory, and --max-memory leaves", str(outcome.error)
    )
    assert not list((tmp_path / "out").iterdir())
    (outcome,) = work_on(replace(task, allowed_bytes=beside + of_slice), Item(tmp_path / "a.h5"))
    assert outcome.status == "done"


def test_what_is_too_large_beside_others_is_done_alone(tmp_path, monkeypatch):
    """Without processes: two workers have half each, and a scan that needs more comes again with all of it."""
    rounds = []

    def shared_out(task, items, workers, most_bytes, ranks, on_start):
        rounds.append((workers, task.allowed_bytes, [item.path.name for item in items]))
        for item in items:
            needs = 5 if item.path.name == "large.h5" and workers > 1 else None
            yield item, batch_run.Outcome(item.path, "failed" if needs else "done", needs_bytes=needs)

    monkeypatch.setattr(batch_run, "_shared_out", shared_out)
    monkeypatch.setattr(batch_run, "resident_bytes", lambda pid: 0)
    paths = [tmp_path / name for name in ("a.h5", "large.h5", "b.h5")]
    found = batch_run.run(task_for(tmp_path), paths, workers=2, most_bytes=1 << 30)
    assert [(one.name, one.status) for one in found] == [(n, "done") for n in ("a.h5", "b.h5", "large.h5")]
    left = (1 << 30) - (32 << 20)
    assert rounds == [(2, left // 2, ["a.h5", "large.h5", "b.h5"]), (1, left, ["large.h5"])]


def test_on_the_command_line(capsys, tmp_path):
    scans = write_folder(tmp_path / "scans", ["a.h5", "b.h5"], n_slices=1)
    arguments = ["reconstruct", scans, "--method", "zero-filled", "--no-preview"]
    assert run(capsys, *arguments, "-o", tmp_path / "free", "-q").code == 0
    limited = run(capsys, *arguments, "-o", tmp_path / "limited", "--max-memory", "2G")
    assert limited.code == 0
    assert contents(tmp_path / "limited") == contents(tmp_path / "free")
    assert_one_line(
        run(capsys, *arguments, "-o", tmp_path / "no", "--max-memory", "20M"), "20 MiB is too little"
    )
    assert_one_line(run(capsys, *arguments, "--max-memory", "much"), "expected a size such as 4G", "'much'")


def measured(*arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "measure_batch.py"), *arguments],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_gibibyte_is_kept_for_a_large_volume():
    assert "(kept)" in measured("volume", "--slices", "36", "--max-memory", "1G", "--set", "tv_weight=0.01")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_over_a_folder():
    assert "(kept)" in measured(
        "folder", "--volumes", "200", "--max-memory", "600M", "--method", "zero-filled"
    )
    told = measured("long", "--volumes", "500", "--slices", "2", "--method", "sense")  # 1,000 slices
    assert abs(float(re.search(r"([+-][0-9.]+) MiB per 1,000 files", told)[1])) < 8
