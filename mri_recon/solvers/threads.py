"""Rows shared out among threads: the compiled kernels and FFTs that run on them release the interpreter."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_local = threading.local()


@lru_cache(maxsize=1)
def _all_threads() -> int:
    """OMP_NUM_THREADS if set, else the processors this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def n_threads() -> int:
    """Threads that work in this thread may be shared among: OMP_NUM_THREADS, or the processors there are."""
    return int(getattr(_local, "n_threads", 0)) or _all_threads()


@contextmanager
def limited_threads(n: int) -> Iterator[None]:
    """Let work begun in this thread use `n` threads and no more."""
    before = getattr(_local, "n_threads", 0)
    _local.n_threads = n
    try:
        yield
    finally:
        _local.n_threads = before


def ranges(n_rows: int, *, least: int = 1) -> list[tuple[int, int]]:
    """Row ranges, one a thread, of at least `least` rows."""
    n = max(1, min(n_threads(), n_rows // least))
    return [(n_rows * i // n, n_rows * (i + 1) // n) for i in range(n)]


def share(work: Callable[[int, int], object], parts: list[tuple[int, int]]) -> None:
    """Call ``work(start, stop)`` for each part at once, the last one in this thread."""
    *others, last = parts
    running = [_pool().submit(_alone, work, *part) for part in others]
    try:
        _alone(work, *last)
    finally:
        # Whatever happens here: the others work on memory that must not be given back under them.
        wait(running)
    for one in running:
        one.result()


def share_rows(work: Callable[[int, int], object], n_rows: int, chunk: int) -> None:
    """Call ``work(start, stop)`` for chunks of rows, in order, on as many threads as may be used."""

    def run(first: int, last: int) -> None:
        for start in range(first, last, chunk):
            work(start, min(start + chunk, last))

    share(run, [(a * chunk, min(b * chunk, n_rows)) for a, b in ranges(-(-n_rows // chunk))])


def in_order(work: Callable[[Item], Result], items: Sequence[Item], at_once: int) -> Iterator[Result]:
    """Results of `work` for each item, in order, `at_once` of them being worked on with threads shared evenly."""
    if at_once <= 1:
        yield from map(work, items)
        return
    each = max(1, n_threads() // at_once)

    def limited(item: Item) -> Result:
        with limited_threads(each):
            return work(item)

    # A pool of its own: what is shared out further goes to the common one, which must not wait for itself.
    with ThreadPoolExecutor(at_once, thread_name_prefix="mri-recon-slice") as pool:
        running: deque[Future[Result]] = deque()
        rest = iter(items)
        try:
            for item in itertools.islice(rest, at_once + 1):
                running.append(pool.submit(limited, item))
            while running:
                yield running.popleft().result()
                for item in itertools.islice(rest, 1):
                    running.append(pool.submit(limited, item))
        finally:
            for one in running:
                one.cancel()


def _alone(work: Callable[[int, int], object], start: int, stop: int) -> None:
    with limited_threads(1):
        work(start, stop)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_all_threads(), thread_name_prefix="mri-recon")
