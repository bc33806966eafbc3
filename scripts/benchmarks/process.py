"""Whole processes: how long they take and how much memory they hold."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LAUNCH = Path(__file__).with_name("launch.py")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int = 0


@cache
def _byte_compile() -> None:
    """Compile the package's files, as pip does when it installs one: no process is to do it again and again."""
    compileall.compile_dir(ROOT / "mri_recon", quiet=1)


def measure(command: list[str]) -> Run:
    """Run a command to its end, with the threads that this process was told; its output is thrown away."""
    _byte_compile()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    launched = [sys.executable, "-I", "-S", str(_LAUNCH), *command]
    done = subprocess.run(launched, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
    told = json.loads(done.stdout)
    return Run(told["seconds"], told["bytes"])
