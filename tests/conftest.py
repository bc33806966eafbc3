"""What holds for every test: few threads, no display."""

from __future__ import annotations

import os

# Read when numpy, torch and matplotlib are first imported, so set before any test file is. Processes that share
# the machine's cores compute with one thread each: they inherit what the one that started them was given.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Small matrices only, over which OpenBLAS threads on busy cores spin for seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
