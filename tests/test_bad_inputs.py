"""Broken, absurd and hostile files: refused in one line or used, never a traceback, a hang or half a result."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from bad_commands import Tally, Worker, commands_on, faults, run_all
from bad_inputs import Bad, write_corpus
from command_line import run
from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import write_scan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")

SLOW_ROLES = ("weights", "state")
"""Their commands import torch: the slow test runs them."""

KINDS = {
    "bits flipped fastMRI", "truncated fastMRI", "bits flipped ISMRMRD", "truncated ISMRMRD", "wrong dtype",
    "wrong rank",
    "zero length", "huge shape", "compression bomb", "kept in another file", "loop of links", "header", "attribute",
    "not finite", "tiny or large numbers", "all zero", "dead coil", "mask", "target", "pickle with code",
    "truncated weights", "lying safetensors", "configuration", "npy", "npz", "mat", "cfl", "twix", "NIfTI",
    "results",
    "training state", "reconstruction",
}  # fmt: skip
"""Those that must be there; there are more."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Bad]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def told(found: list[object]) -> str:
    return "\n".join(map(str, found))


def test_the_corpus_has_every_kind(corpus):
    assert len(corpus) >= 300
    assert {item.kind for item in corpus} >= KINDS
    assert len({item.path for item in corpus}) == len(corpus)
    assert all(item.path.exists() or item.role == "scan" for item in corpus)


def test_two_of_each_kind(corpus, tmp_path):
    """By one command each, which the number of the file picks."""
    chosen, seen = [], {}
    for item in corpus:
        seen[item.kind] = seen.get(item.kind, 0) + 1
        if item.role not in SLOW_ROLES and seen[item.kind] in (1, 4):
            chosen.append(item)
    good, secret = tmp_path / "good.h5", corpus[0].path.parent / "secret" / "secret.h5"
    good.write_bytes(secret.read_bytes())
    found = []
    with Worker(tmp_path, secret) as worker:
        for number, bad in enumerate(chosen):
            commands = list(commands_on(bad, good, tmp_path))
            command = commands[number % len(commands)]
            outcome = worker.run(command)
            what = faults(bad, command, outcome)
            if bad.role != "results" and worker.secret_opened():
                what.append("opened another file")
            if what:
                found.append((command.arguments, outcome, what))
        good.write_bytes(secret.read_bytes())
        assert worker.secret_opened()  # so that the watch is known to work
    assert len(chosen) > 60
    assert not found, told(found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_on_every_bad_input(corpus, tmp_path):
    tally = Tally()
    found = list(run_all(corpus, tmp_path, tally))
    assert tally.codes.total() > 1000
    assert not found, told(found)


def test_a_bad_file_among_good_ones_costs_only_itself(corpus, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.h5", "z.h5"):
        write_scan(folder / name, small_scan(name))
    kinds = ("truncated fastMRI", "huge shape", "kept in another file", "wrong dtype", "all zero")
    for number, kind in enumerate(kinds):
        bad = next(item for item in corpus if item.kind == kind)
        (folder / f"bad{number}.h5").write_bytes(bad.path.read_bytes())
    out = tmp_path / "out"
    outcome = run(capsys, "reconstruct", folder, "--method", "zero-filled", "--no-preview", "-o", out)
    assert outcome.code == 1
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == ["a.h5", "z.h5"]
    for number in range(len(kinds)):
        assert f"bad{number}.h5" in outcome.err
    outcome = run(capsys, "evaluate", folder, "--method", "zero-filled", "-o", tmp_path / "results.json")
    assert outcome.code == 1
    assert (tmp_path / "results.json").exists()
    assert run(capsys, "check", folder).code == 2


@pytest.mark.slow
@pytest.mark.parametrize("target", ["header", "hdf5"])
def test_the_fuzzer_starts(tmp_path, target):
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_readers.py"), target, str(tmp_path), "-runs=200"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(Path(tmp_path).glob("crash-*"))
