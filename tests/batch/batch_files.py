"""A folder of scans for batches, what a run made of it, and runs in processes of their own."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import write_scan


def write_folder(folder: Path, names: Sequence[str] = ("a.h5", "b.h5", "c.h5"), **sizes: Any) -> Path:
    """Small scans, made anew under each name."""
    folder.mkdir(parents=True)
    for name in names:
        write_scan(folder / name, small_scan(name, height=32, width=32, n_coils=2, **sizes))
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file in a folder, hidden ones and those of folders in it too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(*arguments: Any) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "mri_recon", *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """Its environment."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def as_ranks(size: int, arguments: Sequence[Any], *, meet: bool = True) -> list[tuple[int, str, str]]:
    """Exit code, output and messages of each rank; without torchrun, whose own start takes as long as theirs."""
    more = {"WORLD_SIZE": str(size)}
    if meet:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            more |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    running = [
        subprocess.Popen(
            command(*arguments),
            env=environment(**more, RANK=str(rank), LOCAL_RANK=str(rank)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    said = [one.communicate() for one in running]
    return [(one.returncode, out, err) for one, (out, err) in zip(running, said, strict=True)]
