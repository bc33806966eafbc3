"""Kill commands at random moments and see that nothing is lost; let the disk be full and see that it is said.

    python scripts/measure_kills.py --kills 50
    python scripts/measure_kills.py --command convert --command simulate --kills 5 --json

For each command: an undisturbed run on tiny inputs; then runs killed by SIGKILL at moments drawn over its duration,
each started again and held against the undisturbed one, byte by byte. After a kill no file may be under its final name
that is not whole; after the restart nothing may be left that the undisturbed run does not leave. A second part limits
the size of files (RLIMIT_FSIZE), which fails as a full disk does, at sizes drawn likewise.

The program is imported once and forked for each run, so that the moments fall on its work and not on its start.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CONFIG = """
[network]
channels = 4
levels = 2
[generated]
n_slices = 4
sizes = [[32, 32]]
n_coils = [1]
n_validation_scans = 1
[training]
epochs = 2
batch_size = 2
checkpoint_minutes = 0.0001
"""


@dataclass
class Case:
    """A command, and how its results are judged.

    `arguments` and `restart` are told the folder to write into. `judge` looks at one file under its final name, and
    raises or asserts if that is not whole. `compared` is what must equal the undisturbed run's, by name.
    """

    arguments: Callable[[Path], list[str]]
    restart: Callable[[Path], list[str]]
    judge: Callable[[Path], None]
    compared: Callable[[Path], dict[str, str]]


@dataclass
class Found:
    """Figures of one command."""

    command: str
    seconds: float
    kills: int = 0
    finished_before: int = 0
    left_overs_at_kill: int = 0
    full_disks: int = 0
    problems: list[str] = field(default_factory=list)


def hashes(folder: Path) -> dict[str, str]:
    """Hash of each file in a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def final_names(folder: Path) -> list[Path]:
    """Files that are not marked as unfinished."""
    hidden = lambda path: any(part.startswith(".") for part in path.relative_to(folder).parts)  # noqa: E731
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not hidden(path)]


def judge_any(path: Path) -> None:
    """Read a file to its end, by its suffix."""
    import h5py
    import numpy as np
    from PIL import Image

    if path.suffix == ".h5":
        with h5py.File(path) as file:
            file.visititems(lambda name, item: item[()] if isinstance(item, h5py.Dataset) else None)
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            json.loads(line)
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            assert all(arrays[name] is not None for name in arrays)
    elif path.suffix == ".cfl":
        size = 1
        for n in path.with_suffix(".hdr").read_text(encoding="ascii").split("\n")[1].split():
            size *= int(n)
        assert path.stat().st_size == 8 * size
    elif path.suffix == ".safetensors":
        from mri_recon.checkpoint import load_network

        load_network(path)
    elif path.suffix == ".pt":
        from mri_recon.checkpoint import load_state

        load_state(path)
    elif path.suffix == ".toml":
        from mri_recon.training.config import load_config

        load_config(path, {})
    else:
        assert path.suffix == ".hdr", f"unknown {path.name}"


def untimed(folder: Path) -> dict[str, str]:
    """The rows of results without their seconds, and the names of all files."""
    path = folder / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["volumes"] if path.exists() else []
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return dict.fromkeys(hashes(folder), "") | {"results.json": json.dumps(rows)}


def trained(folder: Path) -> dict[str, str]:
    """The weights, bit by bit, and the figures of each epoch; of other files their names."""
    kept = ("metrics.jsonl", "config.toml")
    found = {name: value if name in kept else "" for name, value in hashes(folder).items()}
    return found | {path.name: weights_hash(path) for path in folder.glob("*.safetensors")}


def weights_hash(path: Path) -> str:
    """Hash of the tensors and of what is said of them, which safetensors writes in any order."""
    from safetensors import safe_open

    digest = hashlib.sha256()
    with safe_open(path, "numpy") as file:
        digest.update(json.dumps(file.metadata(), sort_keys=True).encode())
        for name in sorted(file.keys()):  # not a dict
            digest.update(name.encode() + file.get_tensor(name).tobytes())
    return digest.hexdigest()


def cases(inputs: Path) -> dict[str, Case]:
    """The five commands on the inputs, which are made here."""
    from mri_recon.data.phantom import sample_scan
    from mri_recon.data.storage import write_scan

    scans = inputs / "scans"
    scans.mkdir(parents=True)
    for name in ("a.h5", "b.h5", "c.h5", "d.h5"):
        write_scan(scans / name, sample_scan(height=32, width=32, n_slices=2, n_coils=2, name=name))
    large = inputs / "large.h5"
    write_scan(large, sample_scan(height=64, width=64, n_slices=8, n_coils=4, name="large.h5"))
    config = inputs / "tiny.toml"
    config.write_text(CONFIG, encoding="utf-8")

    def same(arguments: Callable[[Path], list[str]], compared: Any = hashes) -> Case:
        return Case(arguments, arguments, judge_any, compared)

    def evaluate(out: Path) -> list[str]:
        return [
            "evaluate",
            f"{scans}",
            "--method",
            "zero-filled",
            "--method",
            "sense",
            "-o",
            f"{out}/results.json",
        ]

    def train(out: Path) -> list[str]:
        return ["train", f"{config}", "-o", f"{out}/run", "--device", "cpu"]

    def train_on(out: Path) -> list[str]:
        if (out / "run" / "resume.pt").exists():
            return ["train", "-o", f"{out}/run", "--resume", "--device", "cpu"]
        return [*train(out), "--overwrite"]

    iterations = ["--set", "tv_weight=0.01", "--set", "iterations=10"]
    size = ["--n-scans", "4", "--slices", "2", "--size", "32x32", "--coils", "2"]
    return {
        "reconstruct": same(lambda out: ["reconstruct", f"{scans}", "-o", f"{out}", *iterations]),
        "evaluate": same(evaluate, untimed),
        "simulate": same(lambda out: ["simulate", "-o", f"{out}", *size]),
        "convert": same(lambda out: ["convert", f"{large}", f"{out}/kspace.cfl"]),
        "train": Case(train, train_on, judge_any, lambda out: trained(out / "run")),
    }


class Run:
    """The program, forked; its messages, a few lines, wait in a pipe."""

    def __init__(self, arguments: list[str], prepare: Callable[[], None] = lambda: None) -> None:
        sys.stdout.flush()
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            return
        code = 99
        try:
            os.dup2(write, 1)
            os.dup2(write, 2)
            prepare()
            code = in_this_process(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def ended(self) -> tuple[int, str]:
        """Exit code, negative for a signal, and what was said."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with os.fdopen(self._read, encoding="utf-8", errors="replace") as messages:
            return code, messages.read().strip()


def in_this_process(arguments: list[str]) -> int:
    """Exit code of the program run here."""
    from mri_recon.cli.main import main

    sys.argv = ["mri-recon", *arguments]
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def look(case: Case, out: Path) -> list[str]:
    """What is under a final name and not whole."""
    found = []
    for path in final_names(out):
        try:
            if path.suffix != ".cfl" or path.with_suffix(".hdr").exists():
                case.judge(path)
            else:
                found.append(f"{path.name} without its hdr")
        except Exception as error:
            found.append(f"{path.name} is not whole: {type(error).__name__}: {error}")
    return found


def kill_at_random(name: str, case: Case, kills: int, rng: random.Random, place: Path) -> Found:
    """Undisturbed, then killed and started again, over and over."""
    out = place / "out"  # one name for all, as a run's configuration tells its folder
    out.mkdir(parents=True)
    in_this_process([*case.arguments(out), "--quiet"])  # so that all that is imported on the way is there
    times = []
    for _ in range(3 if kills >= 10 else 1):
        shutil.rmtree(out)
        out.mkdir()
        began = time.perf_counter()
        code, said = Run(case.arguments(out)).ended()
        times.append(time.perf_counter() - began)
        if code:
            raise SystemExit(f"{name} fails undisturbed: {said}")
    expected = case.compared(out)
    out.rename(place / "reference")
    found = Found(name, round(sorted(times)[len(times) // 2], 3))
    latest = found.seconds
    while found.kills < kills and found.finished_before < 4 * kills:
        out.mkdir()
        delay = rng.uniform(0, latest)
        running = Run(case.arguments(out))
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        if running.ended()[0] != -signal.SIGKILL:
            found.finished_before += 1
            # It was over by then: the machine is quicker than when the duration was taken, or was for once.
            latest = max(delay, 0.9 * latest)
            shutil.rmtree(out)
            continue
        found.kills += 1
        found.left_overs_at_kill += sum(path.name.endswith(".part") for path in out.rglob("*"))
        trouble = look(case, out)
        if name == "train" or case.compared(out) != expected:
            code, said = Run(case.restart(out)).ended()
            if code and "has done all of its" not in said:
                trouble.append(f"the restart ended with {code}: {said[-300:]}")
        got = case.compared(out)
        trouble += [
            f"{key} differs" for key in sorted(set(got) | set(expected)) if got.get(key) != expected.get(key)
        ]
        found.problems += [f"killed after {delay:.4f} s: {one}" for one in trouble]
        shutil.rmtree(out)
    return found


REPLACE = ("reconstruct", "evaluate", "simulate", "convert")
"""Commands whose `--overwrite` replaces file by file; that of `train` begins by removing the run."""


def fill_disk(name: str, case: Case, times: int, rng: random.Random, place: Path, found: Found) -> None:
    """Runs that may write no file above a size: they must say so, and leave what is whole.

    Every other one is to replace what an undisturbed run has left, which must stay as it is.
    """
    import resource

    reference = place / "reference"
    largest = max(path.stat().st_size for path in final_names(reference))
    out = place / "out"
    for time_of_many in range(times):
        limit = rng.randrange(1, largest)
        replacing = time_of_many % 2 == 0 and name in REPLACE
        if replacing:
            shutil.copytree(reference, out)
        else:
            out.mkdir()
        before = case.compared(out)

        def prepare(limit: int = limit) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        code, said = Run([*case.arguments(out), *(["--overwrite"] if replacing else [])], prepare).ended()
        trouble = look(case, out)
        after = case.compared(out)
        trouble += [
            f"{key} is not what it was" for key in before if replacing and after.get(key) != before[key]
        ]
        if code not in (1, 2) or "Traceback" in said or "Cannot write" not in said or "Unexpected" in said:
            trouble.append(f"exit code {code}, {said[-300:]!r}")
        trouble += [f"left {path.name}" for path in out.rglob("*") if path.name.endswith((".part", ".old"))]
        found.full_disks += 1
        found.problems += [f"no file above {limit} bytes: {one}" for one in trouble]
        shutil.rmtree(out)


def measure(names: list[str], kills: int, full: int, seed: int, folder: Path) -> list[Found]:
    """Figures of each command."""
    every = cases(folder / "inputs")
    results = []
    for name in names:
        rng = random.Random(f"{seed} {name}")
        result = kill_at_random(name, every[name], kills, rng, folder / name)
        fill_disk(name, every[name], full, rng, folder / name, result)
        print(
            f"{name}: {result.kills} kills over {result.seconds} s ({result.finished_before} came too late), "
            f"{result.left_overs_at_kill} half-written files hidden, {result.full_disks} full disks, "
            f"{len(result.problems)} problems",
            file=sys.stderr,
        )
        for problem in result.problems:
            print(f"  {problem}", file=sys.stderr)
        results.append(result)
    return results


def main() -> None:
    names = ["reconstruct", "evaluate", "simulate", "convert", "train"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--command", action="append", choices=names, help="repeatable; all by default")
    parser.add_argument("--kills", type=int, default=50, help="kills of each command (default: 50)")
    parser.add_argument("--full", type=int, default=10, help="full disks for each command (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON on standard output")
    chosen = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = (
            "1"  # before the libraries are imported, which read it: threads do not survive a fork
        )
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    with tempfile.TemporaryDirectory(prefix="mri-recon-kills-") as folder:
        results = measure(chosen.command or names, chosen.kills, chosen.full, chosen.seed, Path(folder))
    if chosen.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    sys.exit(1 if any(result.problems for result in results) else 0)


if __name__ == "__main__":
    main()
