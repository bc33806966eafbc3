"""Rows shared out among threads: the compiled kernels and FFTs that run on them release the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache


@lru_cache(maxsize=1)
def n_threads() -> int:
    """Threads to use: OMP_NUM_THREADS if set, else the processors this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_rows(work: Callable[[int, int], object], n_rows: int, chunk: int) -> None:
    """Call ``work(start, stop)`` for chunks of rows until all are done, on as many threads as may be used."""
    starts = range(0, n_rows, chunk)
    if n_threads() == 1 or len(starts) == 1:
        for start in starts:
            work(start, min(start + chunk, n_rows))
        return
    for _ in _pool().map(lambda start: work(start, min(start + chunk, n_rows)), starts):
        pass


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads(), thread_name_prefix="mri-recon")
