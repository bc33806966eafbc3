"""Small HDF5 files for the tests of reading and writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def random_kspace(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def make_file(path: Path, attributes: dict[str, Any] | None = None, **data: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in data.items():
            file[name] = value
        file.attrs.update(attributes or {})
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
