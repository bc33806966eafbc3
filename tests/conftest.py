"""What holds for every test: two threads at most, no display."""

from __future__ import annotations

import os

# Read when numpy, torch and matplotlib are first imported, so set before any test file is.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
