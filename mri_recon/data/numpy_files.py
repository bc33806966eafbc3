"""NumPy's own files, opened so that nothing in them runs and nothing damaged in them gets past as another error."""

from __future__ import annotations

from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np

NUMPY_ERRORS = (
    OSError, ValueError, EOFError, OverflowError, TypeError, KeyError, AttributeError, SyntaxError, TokenError,
    RecursionError, MemoryError, NotImplementedError,
)  # fmt: skip
"""What numpy raises for a damaged file: it parses the header as Python, whose errors come through."""


def load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """What `numpy.load` makes of a file without pickles; raises one of `NUMPY_ERRORS`."""
    with np.errstate(over="ignore"):  # of a shape that is absurd, as the error that follows says
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
