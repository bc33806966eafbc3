"""``mri-recon reconstruct`` by several ranks: volumes shared out, or slices of them, and the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from batch_files import as_ranks, contents, environment, write_folder
from command_line import assert_one_line, run

from mri_recon.batch.parts import share_of
from mri_recon.batch.run import items_of, merged
from mri_recon.batch.work import Outcome
from mri_recon.errors import ScanError
from mri_recon.sharing.ranks import Ranks

METHOD = ["--set", "tv_weight=0.01", "--set", "iterations=3"]


@pytest.mark.parametrize(("n_files", "size"), [(7, 2), (2, 2), (3, 7), (1, 4), (0, 3)])
def test_every_file_or_slice_is_somebodys(n_files, size):
    paths = [Path(f"{i}.h5") for i in range(n_files)]
    items = [item for rank in range(size) for item in items_of(paths, Ranks(rank, size))]
    for path in paths:
        shares = sorted(item.share for item in items if item.path == path)
        assert shares == [(k, len(shares)) for k in range(len(shares))]
    assert len(items) == (max(n_files, size) if n_files else 0)
    for n_slices in (1, 2, 5, 36):
        for n in (1, 2, 3, 7):
            edges = [share_of((4, 4 + n_slices), k, n) for k in range(n)]
            made = [i for first, stop in edges for i in range(first, stop)]
            assert made == list(range(4, 4 + n_slices))
            assert max(b - a for a, b in edges) - min(b - a for a, b in edges) <= 1


def test_of_ranks_that_shared_a_file_the_best_counts():
    a, b, c = Path("a.h5"), Path("b.h5"), Path("c.h5")
    part, done, kept, failed = (
        Outcome(a, "part", Path("out/a.h5")),
        Outcome(a, "done", Path("out/a.h5"), {"file": "a.h5"}),
        Outcome(b, "kept", Path("out/b.h5")),
        Outcome(c, "failed", error=ScanError("c")),
    )
    others = [Outcome(b, "done", Path("out/b.h5"), {}), Outcome(c, "part", Path("out/c.h5"))]
    found = merged([part, failed, kept, done, *others], [a, b, c])
    assert [(one.name, one.status) for one in found] == [
        ("a.h5", "done"),
        ("b.h5", "done"),
        ("c.h5", "failed"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    write_folder(folder / "scans", n_slices=3)
    return folder


@pytest.fixture
def alone(capsys, folder):
    if not (folder / "alone").exists():
        assert run(capsys, "reconstruct", folder / "scans", "-o", folder / "alone", *METHOD, "-q").code == 0
    return contents(folder / "alone")


def test_two_ranks_share_the_volumes_and_exchange_what_they_found(folder, alone, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "scans").mkdir()
    for path in (folder / "scans").iterdir():
        (tmp_path / "scans" / path.name).symlink_to(path)
    (tmp_path / "scans" / "bad.h5").write_text("k-space")
    log = tmp_path / "log.jsonl"
    arguments = [
        "reconstruct",
        tmp_path / "scans",
        "-o",
        tmp_path / "out",
        *METHOD,
        "--json",
        "--log-file",
        log,
    ]
    (code0, out0, err0), (code1, out1, err1) = as_ranks(2, arguments)
    assert (code0, code1) == (1, 1), (err0, err1)
    assert contents(tmp_path / "out") == alone
    assert [Path(entry["file"]).name for entry in json.loads(out0)] == ["a.h5", "b.h5", "c.h5"]
    assert out1 == ""
    assert "rank 0: a.h5 begun" in err0
    assert "rank 1: c.h5 begun" in err1
    assert "Warning: rank 0: bad.h5 is not an HDF5" in err0.replace(f"{tmp_path / 'scans'}/", "")
    assert "1 of 4 failed: bad.h5" in err0
    other = [json.loads(line) for line in (tmp_path / "log.rank1.jsonl").read_text().splitlines()]
    assert {line["rank"] for line in other} == {1}
    assert [line["event"] for line in other] == ["begin", "done", "begin", "done"]
    assert log.read_text().count('"failed"') == 1


def test_slices_of_one_volume_are_shared_and_a_rerun_makes_what_is_missing(
    capsys, folder, alone, tmp_path, monkeypatch
):
    """Two jobs of an array, one after the other: no rank waits for another."""
    scan, out = folder / "scans" / "b.h5", tmp_path / "out"
    whole = {name: sha for name, sha in alone.items() if name.startswith("b.")}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    arguments = ["reconstruct", scan, "-o", out, *METHOD]
    first = run(capsys, *arguments)
    assert first.code == 0
    assert "rank 1: b.h5: slices 1 to 2 are done; others are not yet" in first.err
    (part,) = (out / ".b.h5.slices").iterdir()
    with np.load(part) as kept:
        assert kept["image"].shape == (2, 32, 32)
    stamp = part.stat().st_mtime_ns
    assert run(capsys, *arguments, "-q").code == 0
    assert part.stat().st_mtime_ns == stamp  # not made again
    part.with_name(part.name.replace("-1-3", "-0-1")).write_bytes(part.read_bytes()[:-7])  # cut short
    monkeypatch.setenv("RANK", "0")
    assert run(capsys, *arguments, "-q").code == 0
    assert contents(out) == whole
    assert_one_line(run(capsys, *arguments, "--json"), "--json prints one list", "Use --log-file")
    monkeypatch.setenv("RANK", "2")
    assert_one_line(run(capsys, *arguments), "RANK 2 of WORLD_SIZE 2", "expected 0 to 1")


def test_other_settings_or_another_scan_do_not_take_over_parts(folder, tmp_path):
    from mri_recon.batch.parts import Parts
    from mri_recon.data.formats.base import ReadOptions
    from mri_recon.data.storage import read_scan
    from mri_recon.reconstruct import make_method

    scan, target = read_scan(folder / "scans" / "b.h5"), tmp_path / "b.h5"

    def key_of(settings=None, reading=None, **keywords):
        keywords = {"seed": None, "device": "cuda:0"} | keywords
        return Parts.of(
            target, scan, make_method("cs", settings), "cs", reading or ReadOptions(), keywords
        ).key

    key = key_of()
    assert key_of() == key
    assert key_of(device="cuda:1") == key  # each rank's own GPU
    assert key_of(device="cpu") != key
    assert key_of(seed=1) != key
    assert key_of({"tv_weight": 0.1}) != key
    assert key_of(reading=ReadOptions(axes=("slice", "coil", "width", "height"))) != key
    before = scan.path.stat().st_mtime_ns
    os.utime(scan.path, ns=(before, before + 1))
    assert key_of() != key
    os.utime(scan.path, ns=(before, before))


DIES = """
import os, signal
from mri_recon.batch import run
from mri_recon.batch.work import work_on
def all_of(task, item):
    if item.path.name == "b.h5":
        os.kill(os.getppid() if os.environ["WHO"] == "rank" else os.getpid(), signal.SIGKILL)
    return list(work_on(task, item))
run.all_of = all_of
if __name__ == "__main__":
    from mri_recon.cli.main import main
    main()
"""


def under_torchrun(size, program, arguments, cwd, **more):
    """Exit code and messages under torchrun itself."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    done = subprocess.run(
        [*command, *program, *map(str, arguments)],
        capture_output=True, text=True, env=environment(**more), cwd=cwd,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("who", ["rank", "worker"])
def test_a_rank_that_dies_fails_the_job_and_a_rerun_does_the_rest(capsys, folder, alone, tmp_path, who):
    pytest.importorskip("torch")
    program = tmp_path / "program.py"
    program.write_text(DIES)
    arguments = ["reconstruct", folder / "scans", "-o", tmp_path / "out", *METHOD]
    code, messages = under_torchrun(2, [str(program)], arguments, tmp_path, WHO=who)
    assert code != 0
    assert "rank 1: b.h5 begun" in messages
    if who == "worker":
        assert "rank 1: b.h5: its worker process was killed (SIGKILL)" in messages
        assert "1 of 3 failed: b.h5" in messages
    else:
        assert "Signal 9 (SIGKILL)" in messages  # torchrun names the rank, we its file
    kept = contents(tmp_path / "out")
    assert {name: sha for name, sha in alone.items() if name in kept and not name.startswith(".")} == {
        name: sha for name, sha in kept.items() if not name.startswith(".")
    }
    assert "b.h5" not in kept
    code, messages = under_torchrun(2, ["-m", "mri_recon"], arguments, tmp_path)
    assert code == 0, messages
    assert contents(tmp_path / "out") == alone


@pytest.mark.slow
def test_four_ranks_share_three_volumes(folder, alone, tmp_path):
    pytest.importorskip("torch")
    arguments = ["reconstruct", folder / "scans", "-o", tmp_path / "out", *METHOD]
    code, messages = under_torchrun(4, ["-m", "mri_recon"], arguments, tmp_path)
    assert code == 0, messages
    assert contents(tmp_path / "out") == alone
