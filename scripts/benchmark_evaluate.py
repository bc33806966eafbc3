#!/usr/bin/env python
"""Measure `mri-recon evaluate --reconstructions` against fastMRI's evaluate, as whole processes on the same files.

    scripts/benchmark_evaluate [--fastmri DIR] [--volumes 10] [--repeats 5] [-o results.json]

Writes volumes of 36 × 320 × 320 and images like them to a temporary folder, lets each program run once unmeasured,
then both in turn, and prints wall and processor seconds, their ratio and the largest difference between the means of
NMSE, PSNR and SSIM. Needs fastMRI 0.3.0 to be importable, or unpacked in DIR (``pip download --no-deps fastmri``).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEER = ROOT / "scripts" / "benchmarks" / "fastmri_evaluate.py"
METRICS = ("nmse", "psnr", "ssim")
SHAPE = (36, 320, 320)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fastmri", type=Path, metavar="DIR", help="folder that holds the package fastmri")
    parser.add_argument("--volumes", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images, targets = Path(folder) / "images", Path(folder) / "targets"
        write_volumes(images, targets, asked.volumes)
        ours = ["-m", "mri_recon", "evaluate", "--reconstructions", str(images), str(targets), "--json", "-q"]
        peer = [str(PEER), str(images), str(targets), "singlecoil"]
        paths = [str(ROOT), *([str(asked.fastmri)] if asked.fastmri else [])]
        told = {"ours": Runs(ours, paths), "fastmri": Runs(peer, paths)}
        for turn in range(asked.repeats + 1):
            for runs in told.values():
                runs.again(measured=turn > 0)
    means = {
        name: statistics.fmean(v[name] for v in json.loads(told["ours"].said)["volumes"]) for name in METRICS
    }
    theirs = {name: value["mean"] for name, value in json.loads(told["fastmri"].said).items()}
    result = {
        "volumes": asked.volumes,
        "shape": SHAPE,
        "processors": len(os.sched_getaffinity(0)),
        "wall": {name: runs.wall for name, runs in told.items()},
        "processor": {name: runs.processor for name, runs in told.items()},
        "ratio_wall": ratio(told["fastmri"].wall, told["ours"].wall),
        "ratio_processor": ratio(told["fastmri"].processor, told["ours"].processor),
        "difference": {name: abs(means[name] - theirs[name]) for name in METRICS},
    }
    print(json.dumps(result, indent=2))
    if asked.output:
        asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


class Runs:
    """Runs of one command, and how long they took."""

    def __init__(self, arguments: list[str], paths: list[str]) -> None:
        self._arguments = arguments
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
        self.wall: list[float] = []
        self.processor: list[float] = []
        self.said = ""

    def again(self, *, measured: bool) -> None:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, *self._arguments], capture_output=True, text=True, env=self._environment
        )
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(f"{' '.join(self._arguments)} failed: {done.stderr.strip()[-800:]}")
        self.said = done.stdout
        if measured:
            self.wall.append(wall)
            self.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def ratio(theirs: list[float], ours: list[float]) -> float:
    """How many times as long theirs take, by the medians."""
    return round(statistics.median(theirs) / statistics.median(ours), 2)


def write_volumes(images: Path, targets: Path, n_volumes: int) -> None:
    """Smooth anatomy-like volumes with noise, in fastMRI's layout; k-space is there and never read."""
    import h5py
    import numpy as np
    from scipy.ndimage import gaussian_filter

    images.mkdir()
    targets.mkdir()
    for i in range(n_volumes):
        rng = np.random.default_rng(i)
        smooth = gaussian_filter(rng.standard_normal(SHAPE, dtype=np.float32), (1, 6, 6))
        target = (np.abs(smooth) * 1e-4).astype(np.float32)
        noise = target.max() * 0.03 * rng.standard_normal(SHAPE, dtype=np.float32)
        with h5py.File(targets / f"file{i:07}.h5", "w") as file:
            file["reconstruction_esc"] = target
            file.create_dataset("kspace", (SHAPE[0], *SHAPE[1:]), np.complex64)[0] = 1
            file.attrs.update(acquisition="CORPD_FBK", max=target.max(), norm=np.linalg.norm(target))
        with h5py.File(images / f"file{i:07}.h5", "w") as file:
            file["reconstruction"] = np.abs(target + noise).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
