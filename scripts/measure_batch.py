"""Measure from outside what a batch takes: the memory of all its processes, and whether a long run stays as it began.

    python scripts/measure_batch.py volume --slices 36 --max-memory 1G
    python scripts/measure_batch.py folder --volumes 200 --max-memory 600M
    python scripts/measure_batch.py long --volumes 2000

`volume` reconstructs one volume of 15 coils, 640×368; `folder` many small ones; `long` prints throughput, processor
time and memory for each quarter of a long run. Memory is the sum of the resident sets of the command and its workers,
looked at every 20 ms; pages that they share are counted for each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mri_recon.data.new_hdf5 import create_hdf5  # noqa: E402
from mri_recon.data.phantom import sample_scan  # noqa: E402
from mri_recon.data.storage import write_scan  # noqa: E402
from mri_recon.sharing.memory import parse_size, resident_bytes, size_text  # noqa: E402


@dataclass
class Watched:
    """What a command and its workers took: seconds since the start, bytes, processor seconds at each look."""

    began: float = 0.0
    code: int = 0
    seconds: float = 0.0
    looks: list[tuple[float, int, float]] = field(default_factory=list)

    @property
    def peak(self) -> int:
        return max((n_bytes for _, n_bytes, _ in self.looks), default=0)


def watch(arguments: list[str]) -> Watched:
    """Run the command and look at it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found, began = Watched(time.time()), time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "mri_recon", *arguments], env=environment)
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            family = [process.pid, *children(process.pid)]
            took = sum(resident_bytes(pid) for pid in family), sum(processor_seconds(pid) for pid in family)
            found.looks.append((time.perf_counter() - began, *took))

    looking = threading.Thread(target=look)
    looking.start()
    found.code = process.wait()
    ended.set()
    looking.join()
    found.seconds = time.perf_counter() - began
    return found


def children(pid: int) -> list[int]:
    """Processes that a process started, and those that these started."""
    try:
        own = [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*own, *(below for child in own for below in children(child))]


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def large_volume(path: Path, n_slices: int) -> None:
    """K-space of the size of fastMRI's knee volumes, written slice by slice: a head's, and noise in more coils."""
    rng = np.random.default_rng(0)
    one = np.asarray(sample_scan(height=640, width=368, n_slices=1, n_coils=4, name="one.h5").kspace[:])[0]
    with create_hdf5(path, overwrite=False) as file:
        data = file.create("kspace", (n_slices, 15, 640, 368), np.complex64)
        for index in range(n_slices):
            noise = rng.standard_normal((15, 640, 368, 2), np.float32).view(np.complex64)[..., 0]
            file.put(data, index, one[np.arange(15) % 4] + 0.003 * np.abs(one).max() * noise)


def small_volumes(folder: Path, n: int, size: int, n_slices: int) -> None:
    """The same small head under many names, which seed other masks."""
    folder.mkdir()
    scan = sample_scan(height=size, width=size, n_slices=n_slices, n_coils=2, name="small.h5")
    first = folder / "00000.h5"
    write_scan(first, scan)
    for index in range(1, n):
        (folder / f"{index:05d}.h5").write_bytes(first.read_bytes())


def report_memory(found: Watched, limit: str) -> int:
    kept = found.peak <= parse_size(limit)
    print(
        f"exit code {found.code}, peak {size_text(found.peak)} of {limit} allowed ({'kept' if kept else 'NOT KEPT'}), "
        f"{found.looks[-1][2]:.0f} s of processor time in {found.seconds:.0f} s"
    )
    return 0 if kept and found.code == 0 else 1


def quarters(found: Watched, log: Path) -> None:
    """Throughput, processor time and memory for each quarter of the files."""
    done = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    times = [datetime.fromisoformat(line["time"]).timestamp() for line in done if line["event"] == "done"]
    at = np.array(times) - found.began
    looks = np.array([look for look in found.looks if look[0] <= at[-1]])
    print("| files | files a second | processor ms a file | resident, mean | resident, most |")
    print("|---|---|---|---|---|")
    edges = [len(at) * i // 4 for i in range(5)]
    for first, stop in pairwise(edges):
        start, end = at[first], at[stop - 1]
        part = looks[(looks[:, 0] >= start) & (looks[:, 0] <= end)]
        if len(part) < 2:
            continue
        n, busy = stop - first, part[-1, 2] - part[0, 2]
        print(
            f"| {first}–{stop - 1} | {n / (end - start):.1f} | {1000 * busy / n:.1f} | {size_text(part[:, 1].mean())} "
            f"| {size_text(part[:, 1].max())} |"
        )
    half = looks[looks[:, 0] >= at[len(at) // 2]]
    slope = np.polyfit(np.interp(half[:, 0], at, np.arange(len(at))), half[:, 1], 1)[0]
    print(f"slope over the second half: {slope * 1000 / 2**20:+.2f} MiB per 1,000 files")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("volume", "folder", "long"))
    parser.add_argument(
        "--slices", type=int, default=36, help="of the volume, or of each small one (default: 36; 2)"
    )
    parser.add_argument("--volumes", type=int, default=200)
    parser.add_argument(
        "--size", type=int, default=32, help="height and width of small volumes (default: 32)"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--max-memory", default=None)
    parser.add_argument("--method", default="cs")
    parser.add_argument("--set", action="append", default=[], help="a setting of the method")
    chosen = parser.parse_args()
    settings = [word for one in chosen.set for word in ("--set", one)]
    with tempfile.TemporaryDirectory(prefix="mri-recon-batch-") as name:
        folder = Path(name)
        scans, log = folder / "scans", folder / "log.jsonl"
        if chosen.what == "volume":
            scans.mkdir()
            large_volume(scans / "large.h5", chosen.slices)
        else:
            small_volumes(scans, chosen.volumes, chosen.size, min(chosen.slices, 2))
        arguments = [
            "reconstruct",
            str(scans),
            "-o",
            str(folder / "out"),
            "--method",
            chosen.method,
            *settings,
        ]
        arguments += ["--workers", str(chosen.workers), "--log-file", str(log), "--quiet"]
        limit = chosen.max_memory or ("1G" if chosen.what == "volume" else "600M")
        if chosen.what != "long" or chosen.max_memory:
            arguments += ["--max-memory", limit]
        found = watch(arguments)
        if chosen.what == "long":
            quarters(found, log)
            return found.code
        return report_memory(found, limit)


if __name__ == "__main__":
    sys.exit(main())
