"""What holds for every test: few threads, no display, no network."""

from __future__ import annotations

import os
import signal
import socket

import pytest

# Read when numpy, torch and matplotlib are first imported, so set before any test file is. Processes that share
# the machine's cores compute with one thread each: they inherit what the one that started them was given.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Small matrices only, over which OpenBLAS threads on busy cores spin for seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits that: programs
# that are to be interrupted would go on for ever.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whatever a test runs in its own process: a connection to another machine is a failure."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _only_here(getattr(socket.socket, name)))


def _only_here(connect):
    def checked(self, address):
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("localhost", "127.0.0.1", "::1"):
            pytest.fail(f"a connection to {address}: mri-recon is to work without a network")
        return connect(self, address)

    return checked
