"""Memory that is freed is kept for the next tensor."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # <malloc.h>
_LARGEST_ON_HEAP = 32 << 20  # glibc takes no more


def keep_freed_memory() -> bool:
    """Have glibc's malloc keep what is freed, for the whole process; False where there is no glibc.

    A training step frees hundreds of tensors of many megabytes and asks for as many. By default the memory goes back
    to the system in between, which zeroes every page of it before it gives it out again: a tenth of a step on a CPU.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_MMAP_THRESHOLD, _LARGEST_ON_HEAP))
