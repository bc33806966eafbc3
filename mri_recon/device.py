"""Where arrays are worked on: numpy on a CPU, torch elsewhere."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from mri_recon.errors import SettingsError

Result = TypeVar("Result")

MOST_AT_ONCE = 16
"""Slices in a batch at most: more keep a GPU no busier."""

_OF_FREE_MEMORY = 0.8
"""Part of a GPU's free memory that a batch may take by estimate."""

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(name: str, *, learned: bool = False) -> str:
    """The device of that name: "auto" is a GPU where there is one, else "cpu".

    Classical methods stay on the CPU of a Mac under "auto": torch's complex arithmetic on "mps" is incomplete.

    Raises
    ------
    SettingsError
        No such device, or not on this machine.
    """
    kind, _, index = name.partition(":")
    if kind not in DEVICES or (index and not (kind == "cuda" and index.isdigit())):
        raise SettingsError(f"There is no device '{name}'. Use auto, cpu, cuda, cuda:1 … or mps.")
    if kind == "cpu" or (kind == "auto" and not _may_have_gpu(learned=learned)):
        return "cpu"
    import torch

    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if kind == "auto":
        return "cuda" if n_gpus else "mps" if has_mps and learned else "cpu"
    if (kind == "cuda" and int(index or 0) >= n_gpus) or (kind == "mps" and not has_mps):
        found = f"{n_gpus} CUDA devices" if n_gpus else "no GPU that torch can use"
        raise SettingsError(f"Device '{name}' is not here: found {found}. Use --device auto or cpu.")
    return name


def to_device(array: Any, device: str) -> Any:
    """A numpy array as it is on the CPU, as a torch tensor elsewhere."""
    if device == "cpu":
        return array
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def to_numpy(array: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A numpy array of what may be a torch tensor on a device."""
    return array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()


def in_batches(
    work: Callable[[tuple[int, int]], Result], slices: tuple[int, int], device: str
) -> Iterator[Result]:
    """Results of `work` for batches of slices that are as large as a GPU's free memory allows, in order.

    The first slice goes alone, and what it took says how many go together. Where memory runs out all the same, as
    another program takes some, the batch is halved.

    Raises
    ------
    SettingsError
        Not even one slice fits.
    """
    import torch

    at, stop = slices
    size, known = 1, False
    while at < stop:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        last = min(at + size, stop)
        try:
            result = work((at, last))
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            if last - at == 1:
                raise SettingsError(
                    f"One slice does not fit in the free memory of '{device}'. Use --device cpu, or end other programs "
                    "there."
                ) from error
            size = (last - at) // 2  # of those tried: near the end fewer than size
        else:
            yield result
            at = last
            if not known:
                size, known = _affordable(device, torch.cuda.max_memory_allocated(device) - before), True
            continue
        torch.cuda.empty_cache()  # out here the error no longer holds on to what the batch took


_NO_MEMORY = ("ALLOC_FAILED", "CUDA error: out of memory")
"""What CUDA's own libraries say, of Fourier transforms for one, which take memory beside torch's."""


def _out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _NO_MEMORY)


def _affordable(device: str, bytes_of_one: int) -> int:
    """Slices that fit in a GPU's free memory together."""
    import torch

    free = torch.cuda.mem_get_info(device)[0]
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(MOST_AT_ONCE, int(_OF_FREE_MEMORY * free / max(bytes_of_one, 1))))


def _may_have_gpu(*, learned: bool) -> bool:
    """Whether importing torch to look for a GPU is worth its second: its driver is a library of known name."""
    if sys.platform == "darwin":
        return learned
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(driver)
    except OSError:
        return False
    return True
