"""Every command that reads files, run on bad inputs, and what is wrong with how it took them.

``python tests/bad_commands.py FOLDER --seed 0`` makes the corpus in FOLDER, runs all commands on all of it and prints
what it found. Commands run one after the other in a process of their own, which is watched from outside: its peak
memory, its time, whether it dies, and whether it opens the file that no other may make it open.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bad_inputs import Bad, write_corpus

ROOT = Path(__file__).parents[1]
SECONDS = 10.0
"""No command may take longer."""
MEBIBYTES = 1024
"""Nor have more resident at its peak, interpreter, torch and compiled kernels included."""
_GRACE = 30.0
"""Wall-clock seconds, as a multiple of `SECONDS` of processor time, until a process that waits is given up."""


@dataclass(frozen=True)
class Command:
    """A command line on a bad input; `output` is the folder where its results would be."""

    name: str
    arguments: tuple[str, ...]
    output: Path


@dataclass
class Outcome:
    """How a command ended."""

    code: int | None
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    peak: int = 0
    left: list[str] = field(default_factory=list)


def commands_on(bad: Bad, good: Path, work: Path) -> Iterator[Command]:
    """Every command that reads a file of that role; `good` is a sound scan, `work` a folder for results."""
    path, out = str(bad.path), work / "out"
    quick = ["--method", "zero-filled", "--no-preview", "-o", str(out)]

    def command(name: str, *arguments: str) -> Command:
        return Command(name, (name, *arguments), out)

    if bad.role == "scan":
        yield command("reconstruct", path, *quick)
        yield command("evaluate", path, "--method", "zero-filled", "-o", str(out / "results.json"))
        yield command("check", path, "--all-slices")
        yield command("convert", path, str(out / "scan.npy"))
    elif bad.role == "weights":
        yield command(
            "reconstruct", str(good), "--method", "unet", "--weights", path, "--no-preview", "-o", str(out)
        )
        yield command(
            "evaluate", str(good), "--method", "unet", "--weights", path, "-o", str(out / "results.json")
        )
    elif bad.role == "mask":
        yield command("reconstruct", str(good), "--mask-file", path, *quick)
        yield command(
            "evaluate", str(good), "--mask-file", path, "--method", "zero-filled", "-o", str(out / "r.json")
        )
    elif bad.role == "smaps":
        yield command(
            "reconstruct", str(good), "--smaps", path, "--method", "sense", "--no-preview", "-o", str(out)
        )
    elif bad.role == "config":
        place = ("--epochs", "1") if "[output]" in _text(bad) else ("-o", str(out / "run"))
        yield command("train", path, "-q", *place)
    elif bad.role == "state":
        yield Command("train", ("train", "--resume", "-o", path, "--epochs", "1", "-q"), out)
    elif bad.role == "volume":
        yield command("simulate", "--from", path, "--n-scans", "1", "--coils", "1", "-o", str(out))
        yield command("convert", path, str(out / "images.h5"))
    elif bad.role == "images":
        yield command("convert", path, str(out / "images.h5"))
    elif bad.role == "reconstructions":
        yield command("evaluate", "--reconstructions", path, str(good), "-o", str(out / "results.json"))
    elif bad.role == "results":
        yield command("evaluate", "--verify", path)


def _text(bad: Bad) -> str:
    return bad.path.read_text(encoding="utf-8", errors="replace") if bad.path.is_file() else ""


class Worker:
    """A process that runs command lines one after the other, started anew where one kills it."""

    def __init__(self, folder: Path, secret: Path | None = None) -> None:
        self.folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._watch = None if secret is None else _Watch(secret)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def run(self, command: Command) -> Outcome:
        """Run one command line, and look at what it left in its folder."""
        shutil.rmtree(command.output, ignore_errors=True)
        command.output.mkdir(parents=True)
        outcome = self._run(command.arguments)
        outcome.left = sorted(
            str(p.relative_to(command.output)) for p in command.output.rglob("*") if p.is_file()
        )
        return outcome

    def secret_opened(self) -> bool:
        """Whether the secret file was opened since this was last asked."""
        return self._watch is not None and self._watch.opened()

    def _run(self, arguments: Sequence[str]) -> Outcome:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        self._reset_peak(process.pid)
        before, started = _processor_seconds(process.pid), time.monotonic()
        process.stdin.write(json.dumps(list(arguments)) + "\n")
        process.stdin.flush()
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 0.2)
            peak = _status(process.pid, "VmHWM")
            used = _processor_seconds(process.pid) - before
            if ready:
                line = process.stdout.readline()
                if line:
                    told = json.loads(line)
                    return Outcome(told["code"], told["out"], told["err"], used, peak)
                process.wait()
                outcome = Outcome(None, err=f"died: {process.returncode}", seconds=used, peak=peak)
                self._process = None
                return outcome
            if used > SECONDS or time.monotonic() - started > _GRACE * SECONDS:
                self.stop()
                return Outcome(None, err="hangs", seconds=used, peak=peak)

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, cwd=self.folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return self._process

    @staticmethod
    def _reset_peak(pid: int) -> None:
        if sys.platform == "linux":
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def _status(pid: int, key: str) -> int:
    """Mebibytes that Linux states for a process; 0 elsewhere, or once it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(key)), 0)


def _processor_seconds(pid: int) -> float:
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Watch:
    """Tells whether a file was opened by anyone, by Linux's inotify."""

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        if sys.platform == "linux":
            library = ctypes.CDLL(None)
            self._descriptor = library.inotify_init1(os.O_NONBLOCK)
            library.inotify_add_watch(self._descriptor, os.fsencode(path), 0x20 | 0x1)  # opened, read

    def opened(self) -> bool:
        try:
            return self._descriptor >= 0 and bool(os.read(self._descriptor, 65536))
        except BlockingIOError:
            return False


def serve() -> None:
    """Run command lines that come in as JSON, one a line, and answer with how each ended."""
    import contextlib
    import io

    from mri_recon.cli.console import VERBOSITY
    from mri_recon.cli.main import main

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        sys.argv = ["mri-recon", *json.loads(line)]
        VERBOSITY.quiet = VERBOSITY.verbose = VERBOSITY.debug = False
        code: Any = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stopped:
                code = stopped.code or 0
            except BaseException as error:
                code = f"{type(error).__name__}: {error}"
        answers.write(
            json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()[-20000:]}) + "\n"
        )
        answers.flush()


def faults(bad: Bad, command: Command, outcome: Outcome) -> list[str]:
    """What a command did wrong with a bad input; empty where it did all as it should."""
    found = []
    if outcome.code is None:
        return [outcome.err]
    expected = bad.expected_of(command.name)
    if (
        "Traceback" in outcome.err + outcome.out
        or "Unexpected " in outcome.err
        or not isinstance(outcome.code, int)
    ):
        found.append("traceback")
    if outcome.seconds > SECONDS:
        found.append(f"took {outcome.seconds:.1f} s")
    if outcome.peak > MEBIBYTES:
        found.append(f"took {outcome.peak} MiB")
    if any(name.endswith((".part", ".old")) for name in outcome.left):
        found.append(f"left {outcome.left}")
    fine = (0, 1) if command.name == "check" or "--verify" in command.arguments else (0,)
    if outcome.code == 2:
        found += _of_refusal(bad, command, outcome)
        if expected == "accepted":
            found.append("refused")
    elif outcome.code in fine:
        if expected == "refused":
            found.append("accepted")
    else:
        found.append(f"exit code {outcome.code}")
    if (bad.path.parent / "ran").exists():
        found.append("ran code of the file")
        (bad.path.parent / "ran").unlink()
    return found


def _of_refusal(bad: Bad, command: Command, outcome: Outcome) -> list[str]:
    found = []
    lines = outcome.err.splitlines()
    if outcome.left:
        found.append(f"left {outcome.left}")
    if command.name != "check" and (len(lines) != 1 or not lines[0].startswith("Error: ")):
        found.append(f"{len(lines)} lines")
    # A mask was read before the scans were, and a folder that a configuration names is what is wrong.
    elsewhere = "mask of your own" in outcome.err or (bad.role == "config" and "folder" in _text(bad))
    if bad.path.stem not in outcome.err and not elsewhere:
        found.append("does not name the file")
    if any(len(line) > 1000 for line in lines) or not all(line.isprintable() for line in lines):
        found.append("a line that is too long or not printable")
    return found


@dataclass(frozen=True)
class Fault:
    """A command that took a bad input wrongly."""

    bad: Bad
    command: Command
    outcome: Outcome
    what: list[str]

    def __str__(self) -> str:
        said = f"{self.outcome.code}, {'; '.join(self.what)}\n    {self.outcome.err[:600]!r}"
        return f"{' '.join(self.command.arguments)} → {said}"


@dataclass
class Tally:
    """How often each command ended in each exit code, and the most that any took."""

    codes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    peak: int = 0

    def add(self, command: Command, outcome: Outcome) -> None:
        """Count one command."""
        self.codes[f"{command.name} {outcome.code}"] += 1
        self.seconds, self.peak = max(self.seconds, outcome.seconds), max(self.peak, outcome.peak)


def run_all(items: Sequence[Bad], folder: Path, tally: Tally, only: Sequence[str] = ()) -> Iterator[Fault]:
    """Run every command on every item; what was taken wrongly, as it is found."""
    secret = items[0].path.parent / "secret" / "secret.h5"
    good = folder / "good.h5"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(secret, good)
    with Worker(folder, secret) as worker:
        for bad in items:
            for command in commands_on(bad, good, folder):
                if only and command.name not in only:
                    continue
                worker.secret_opened()
                outcome = worker.run(command)
                what = faults(bad, command, outcome)
                if bad.role != "results" and worker.secret_opened():
                    what.append("opened another file")
                tally.add(command, outcome)
                if what:
                    yield Fault(bad, command, outcome, what)


def main() -> None:
    """Make the corpus, run everything, and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", default=[], help="only kinds whose name holds this")
    parser.add_argument("--command", action="append", default=[], help="only these commands")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    items = write_corpus(folder / "corpus", asked.seed)
    chosen = [item for item in items if not asked.kind or any(kind in item.kind for kind in asked.kind)]
    tally, n_faults = Tally(), 0
    for fault in run_all(chosen, folder / "work", tally, asked.command):
        n_faults += 1
        sys.stdout.write(f"{fault}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{len(chosen)} of {len(items)} bad inputs, {tally.codes.total()} commands: "
        f"{dict(sorted(tally.codes.items()))}; "
        f"{n_faults} faults; most: {tally.seconds:.1f} s of processor, {tally.peak} MiB\n"
    )
    sys.exit(bool(n_faults))


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main()
