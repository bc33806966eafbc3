"""Which library an array belongs to: numpy, torch or another that speaks the Array API."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any


def array_namespace(*arrays: Array) -> ModuleType:
    """The module whose functions work on `arrays`.

    NumPy 2 speaks the Array API itself. array-api-compat's wrapper of it loads every corner of numpy, which
    takes longer than reconstructing a slice, so it is asked about other libraries alone.
    """
    if all(isinstance(array, np.ndarray | np.generic) for array in arrays):
        return np
    import array_api_compat

    namespace: ModuleType = array_api_compat.array_namespace(*arrays)
    return namespace


def device(array: Array) -> Any:
    """Where the array lies, to be given to functions that make arrays."""
    if isinstance(array, np.ndarray):
        return "cpu"
    import array_api_compat

    return array_api_compat.device(array)


def has_kernels(array: Array) -> bool:
    """Whether compiled kernels take the array: complex, single precision, numpy's. Others go the plain way."""
    return isinstance(array, np.ndarray) and array.dtype == np.complex64
