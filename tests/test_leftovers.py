"""What killed processes left is removed by the next that writes there, and nothing else is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mri_recon.files import atomic_folder, atomic_output
from mri_recon.leftovers import clear_leftovers, here, temporary_name


@pytest.fixture(scope="module")
def dead():
    """Number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_those_of_dead_processes_of_this_machine_go(tmp_path, dead):
    running = temporary_name(tmp_path / "running.h5")
    gone = tmp_path / f".gone.h5.{here()}-{dead}-01234567.part"
    others = [
        running,
        tmp_path / f".far.h5.00000000-{dead}-01234567.part",
        tmp_path / f".gone.h5.{here()}-{dead}-01234567.part.txt",
        tmp_path / ".mine.part",
        tmp_path / "gone.h5.part",
    ]
    for path in (gone, *others):
        path.write_text("half")
    folder = tmp_path / f".series.{here()}-{dead}-01234567.part"
    (folder / "below").mkdir(parents=True)
    with atomic_output(tmp_path / "new.txt") as part:
        part.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "new.txt"])
    gone.write_text("half")
    assert clear_leftovers(tmp_path) == [gone]


def test_a_folder_whose_exchange_was_cut_off_is_put_back(tmp_path, dead):
    for name in ("lost", "there"):
        old = tmp_path / f".{name}.{here()}-{dead}-01234567.old"
        old.mkdir()
        (old / "1.dcm").write_text("old")
    (tmp_path / "there").mkdir()
    with atomic_folder(tmp_path / "new", suffix=".dcm") as part:
        (part / "1.dcm").write_text("new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lost", "new", "there"]
    assert (tmp_path / "lost" / "1.dcm").read_text() == "old"
    assert not list((tmp_path / "there").iterdir())
