"""What becomes of scans when something goes wrong beside them: nothing that failed is called done, kept or left out."""

from __future__ import annotations

import json
from dataclasses import replace
from io import FileIO

import numpy as np
import pytest
from batch_files import contents, write_folder
from command_line import assert_one_line, run
from small_scans import small_scan

from mri_recon.batch import run as batch_run
from mri_recon.batch import work
from mri_recon.batch.log import Log
from mri_recon.batch.place import Place
from mri_recon.data.storage import write_scan
from mri_recon.errors import OutputError
from mri_recon.report import figures

METHOD = ["--method", "zero-filled"]


def reads(monkeypatch, answer):
    """Let files be read by `answer(path)`; None stands for the usual reader."""
    usual = work.read_scans
    monkeypatch.setattr(work, "read_scans", lambda path, options: answer(path) or usual(path, options))


def two_scans(path):
    """Raw data of two contrasts, the second of which cannot be used."""
    good = small_scan("b_1.h5", height=32, width=32, n_slices=1, n_coils=1)
    return good, replace(good, name="b_2.h5", kspace=np.full_like(good.kspace[:], np.nan))


@pytest.mark.parametrize("names", [["b.h5"], ["a.h5", "b.h5"]])
def test_a_scan_that_fails_beside_another_of_its_file_is_told(capsys, tmp_path, monkeypatch, names):
    scans, out = write_folder(tmp_path / "scans", names, n_slices=1), tmp_path / "out"
    reads(monkeypatch, lambda path: two_scans(path) if path.name == "b.h5" else None)
    outcome = run(capsys, "reconstruct", scans, "-o", out, *METHOD)
    assert outcome.code == 1
    assert (out / "b_1.h5").exists()
    assert not (out / "b_2.h5").exists()
    assert f"1 of {len(names) + 1} failed: b.h5" in outcome.err


def test_a_surprise_while_a_file_is_read_does_not_cost_the_others(capsys, tmp_path, monkeypatch):
    scans, out = write_folder(tmp_path / "scans", n_slices=1), tmp_path / "out"

    def surprised(path):
        if path.name == "b.h5":
            raise ZeroDivisionError("in the reader")

    reads(monkeypatch, surprised)
    outcome = run(capsys, "reconstruct", scans, "-o", out, *METHOD, "--no-preview")
    assert outcome.code == 1
    assert "b.h5: unexpected ZeroDivisionError: in the reader Run it alone" in outcome.err
    assert sorted(contents(out)) == ["a.h5", "c.h5"]
    assert (
        "Unexpected ZeroDivisionError" in run(capsys, "reconstruct", scans / "b.h5", "-o", out, *METHOD).err
    )


def test_a_preview_that_cannot_be_written_is_told_until_it_is_there(capsys, tmp_path, monkeypatch):
    scans, out = write_folder(tmp_path / "scans", ["a.h5", "b.h5"], n_slices=1), tmp_path / "out"
    usual = figures.write_preview

    def full(path, *others, **keywords):
        if path.name == "b.png":
            raise OutputError(f"Cannot write {path}: the disk is full. Free some space.")
        usual(path, *others, **keywords)

    monkeypatch.setattr(figures, "write_preview", full)
    for _ in range(2):  # a run that finds the images there does not find the preview
        outcome = run(capsys, "reconstruct", scans, "-o", out, *METHOD)
        assert outcome.code == 1
        assert "b.png: the disk is full" in outcome.err
        assert "1 of 2 failed: b.h5" in outcome.err
        assert sorted(contents(out)) == ["a.h5", "a.png", "b.h5"]
    monkeypatch.setattr(figures, "write_preview", usual)
    assert run(capsys, "reconstruct", scans, "-o", out, *METHOD).code == 0
    assert (out / "b.png").exists()


def test_a_rank_that_comes_late_keeps_what_others_put_together(capsys, tmp_path, monkeypatch):
    """One volume, ranks that cannot hear each other."""
    scan, out = write_folder(tmp_path / "scans", ["a.h5"], n_slices=2) / "a.h5", tmp_path / "out"
    arguments = ["reconstruct", scan, "-o", out, *METHOD, "-v"]
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert run(capsys, *arguments).code == 0
    before = contents(out)
    assert sorted(before) == ["a.h5", "a.png"]
    monkeypatch.setenv("RANK", "0")
    outcome = run(capsys, *arguments)
    assert outcome.code == 0
    assert "a.h5 exists, kept" in outcome.err
    assert contents(out) == before


def test_of_two_ranks_that_put_a_volume_together_at_once_the_second_keeps_it(capsys, tmp_path, monkeypatch):
    scan, out = write_folder(tmp_path / "scans", ["a.h5"], n_slices=2) / "a.h5", tmp_path / "out"
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(batch_run, "all_of", _second)
    outcome = run(capsys, "reconstruct", scan, "-o", out, *METHOD, "-v")
    assert outcome.code == 0
    assert "Warning" not in outcome.err
    assert "a.h5 exists, kept" in outcome.err
    assert sorted(contents(out)) == ["a.h5", "a.png"]


def test_a_rank_whose_shares_another_put_together_meanwhile_leaves_none(capsys, tmp_path, monkeypatch):
    scan, out = write_folder(tmp_path / "scans", ["a.h5"], n_slices=2) / "a.h5", tmp_path / "out"
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(batch_run, "all_of", _overtaken)
    outcome = run(capsys, "reconstruct", scan, "-o", out, *METHOD, "-v")
    assert outcome.code == 0
    assert "a.h5 exists, kept" in outcome.err
    assert sorted(contents(out)) == ["a.h5", "a.png"]
    assert [path.name for path in out.iterdir() if path.is_dir()] == []


def _overtaken(task, item):
    """In a worker: after this rank has looked for the result, another finds all shares, writes it and removes them."""
    share = work._share

    def late(task, scan, target, keywords, k, n):
        task.place.write(
            target, scan, work.reconstruct(scan, task.method, **keywords), work.asked_of(keywords)
        )
        return share(task, scan, target, keywords, k, n)

    work._share = late
    return list(work.work_on(task, item))


def _second(task, item):
    """In a worker: all shares are there, and another rank gives the result its name just before this one."""
    write = Place.write

    def twice(*arguments):
        write(*arguments)
        return write(*arguments)

    Place.write = twice
    work._share = lambda task, scan, target, keywords, k, n: work.reconstruct(scan, task.method, **keywords)
    return list(work.work_on(task, item))


@pytest.mark.parametrize("arguments", [["evaluate", "-q"], ["train", "-q", "-o", "run"]])
def test_ranks_that_do_not_know_where_they_meet_are_told(capsys, tmp_path, monkeypatch, arguments):
    """As srun starts them, for commands whose ranks must hear each other."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert_one_line(run(capsys, *arguments), "WORLD_SIZE is 2", "Start them with torchrun, or unset")
    assert not list(tmp_path.iterdir())


def test_a_line_of_the_log_is_written_whole_on_a_disk_that_takes_parts(tmp_path):
    class Parts(FileIO):
        def write(self, content):
            return super().write(bytes(content)[:7])

    with Parts(tmp_path / "log.jsonl", "ab+") as file:
        log = Log(tmp_path / "log.jsonl", file, rank=3)
        log.began(tmp_path / "a.h5")
        log.began(tmp_path / "b.h5")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["rank"], line["file"][-4:]) for line in lines] == [(3, "a.h5"), (3, "b.h5")]


def test_results_of_another_sampling_are_not_kept_for_this_one(capsys, tmp_path):
    scans, out = write_folder(tmp_path / "scans", ["a.h5", "b.h5"], n_slices=2), tmp_path / "out"
    np.save(tmp_path / "mask.npy", np.arange(32) % 2 == 0)
    arguments = ["reconstruct", scans, "-o", out, *METHOD, "--no-preview"]
    assert run(capsys, *arguments).code == 0
    before = contents(out)
    for other, words in (
        (["--acceleration", 8], "a.h5 was made with accelerations [4.0], not [8.0]; use --overwrite"),
        (["--mask", "equispaced"], 'a.h5 was made with mask "random", not "equispaced"'),
        (["--seed", 1], "a.h5 was made with seed its default, not 1"),
        (["--slices", "0:1"], "a.h5 was made with slices its default, not [0, 1]"),
        (["--mask-file", tmp_path / "mask.npy"], 'a.h5 was made with mask "random", not "file"'),
    ):
        outcome = run(capsys, *arguments, *other)
        assert outcome.code == 2
        assert words in outcome.err
    assert contents(out) == before
    # The defaults, said.
    assert (
        run(capsys, *arguments, "--acceleration", 4, "--center-fraction", 0.08, "--mask", "random").code == 0
    )


def test_a_scan_with_a_mask_of_its_own_is_kept_whatever_was_to_be_drawn(capsys, tmp_path):
    scan = small_scan("a.h5", height=32, width=32, n_coils=1, n_slices=2)
    mask = np.arange(32) % 4 == 0
    mask[12:20] = True
    (tmp_path / "scans").mkdir()
    for name in ("a.h5", "b.h5"):
        write_scan(tmp_path / "scans" / name, replace(scan, name=name, mask=mask))
    arguments = ["reconstruct", tmp_path / "scans", "-o", tmp_path / "out", *METHOD, "--no-preview"]
    assert run(capsys, *arguments).code == 0
    again = run(capsys, *arguments, "--acceleration", 8)
    assert again.code == 0
    assert "2 of 2 were there already and kept" in again.err
    assert "was made with slices" in run(capsys, *arguments, "--slices", 1).err


def test_a_rank_without_a_slice_says_so(capsys, tmp_path, monkeypatch):
    scan = write_folder(tmp_path / "scans", ["a.h5"], n_slices=1) / "a.h5"
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    outcome = run(capsys, "reconstruct", scan, "-o", tmp_path / "out", *METHOD)
    assert outcome.code == 0
    assert "a.h5: there are too few slices for this rank; others are not yet" in outcome.err
