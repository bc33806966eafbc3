"""What holds for every test: two threads at most, no display."""

from __future__ import annotations

import os

# Read when numpy, torch and matplotlib are first imported, so set before any test file is.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Small matrices only, over which OpenBLAS threads on busy cores spin for seconds.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
