"""No command needs a network: all of them run where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from functools import cache

import pytest
from helpers import ROOT
from small_scans import small_scan

from mri_recon.data.storage import write_scan

IN_ONE_PROCESS = """
import socket, sys

def refuse(*arguments, **named):
    raise BaseException(f"the network was used: {arguments}")

for name in ("connect", "connect_ex", "bind", "sendto"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)

from mri_recon.cli.main import main

for line in sys.argv[1].split(";"):
    sys.argv = ["mri-recon", *line.split()]
    try:
        main()
    except SystemExit as stopped:
        assert not stopped.code, line
print("all done")
"""

COMMANDS = (
    "simulate -o set --n-scans 1 --slices 1 --size 32x32 --coils 2",
    "check scan.h5 set",
    "mask --width 32",
    "reconstruct scan.h5 -o out/cs --method cs",
    "reconstruct scan.h5 -o out/unet --method unet",
    "evaluate set --method zero-filled --method unet --report report.html",
    "convert scan.h5 scan.npy",
    "train varnet -o run --epochs 1 --set generated.n_slices=2 --set generated.n_validation_scans=1 "
    "--set generated.sizes=[[32,32]] --set network.cascades=1 --set network.channels=4 --set network.levels=2",
)


@cache
def without_network() -> tuple[str, ...]:
    """What starts a program in a network namespace of its own, which has no interface, where that is allowed."""
    unshare = shutil.which("unshare")
    command = (unshare or "", "--map-root-user", "--net")
    works = unshare and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else ()


def run(folder, *arguments):
    done = subprocess.run(
        [*without_network(), sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_commands_run_without_a_network(tmp_path):
    write_scan(tmp_path / "scan.h5", small_scan("scan.h5", n_slices=1, n_coils=1))
    assert run(tmp_path, "-c", IN_ONE_PROCESS, ";".join(COMMANDS)).stdout.endswith("all done\n")
    for made in ("out/unet/scan.h5", "report.html", "run/best.safetensors"):
        assert (tmp_path / made).exists()


@pytest.mark.slow
def test_the_demo_runs_without_a_network(tmp_path):
    run(tmp_path, "-m", "mri_recon", "demo", "-o", "out")
    assert (tmp_path / "out" / "report.html").exists()


def test_the_tests_themselves_would_notice():
    with socket.socket() as there, pytest.raises(pytest.fail.Exception, match="without a network"):
        there.connect(("192.0.2.1", 80))
