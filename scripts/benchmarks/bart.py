"""BART as a contestant: its files, its commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.problem import Complex, mirrored
from benchmarks.process import measure


def version() -> str | None:
    """Of the program `bart` on the path; None where there is none."""
    if shutil.which("bart") is None:
        return None
    done = subprocess.run(["bart", "version"], capture_output=True, text=True)
    return (done.stdout or done.stderr).strip() or "unknown"


def write_cfl(path: Path, coils: Complex) -> None:
    """Write `(coil, height, width)`, mirrored, in BART's layout.

    Sizes must be even: for odd ones `pics` (unlike `fft`) does not centre as we do, and minimises something else.
    """
    array = mirrored(coils).transpose(1, 2, 0)[:, :, None, :]
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> Complex:
    """Read `(coil, height, width)` and mirror it back."""
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    array = np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F")
    array = array.reshape(shape[0], shape[1], -1)
    return np.ascontiguousarray(mirrored(array.transpose(2, 0, 1)))


def pics(kspace: Path, maps: Path, image: Path, weight: float, rho: float, iterations: int) -> float:
    """Seconds of a process that minimises our objective: ``-w 1`` keeps the scale that k-space came in."""
    options = ["-w", "1", "-R", f"T:7:0:{weight}", "-u", str(rho), "-i", str(iterations)]
    return measure(["bart", "pics", *options, str(kspace), str(maps), str(image)]).seconds


def ecalib(kspace: Path, maps: Path, n_center: int) -> float:
    """Seconds of a process that estimates one set of maps, with defaults where there are lines enough."""
    # The default kernel of 6 needs at least 12 lines.
    small = [] if n_center >= 12 else [f"-k{max(2, min(6, n_center // 2))}", f"-r{n_center}"]
    return measure(["bart", "ecalib", "-m1", *small, str(kspace), str(maps)]).seconds
