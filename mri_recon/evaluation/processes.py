"""The scans of an evaluation shared out: in this process, among several of them, or among torchrun's ranks."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from pathlib import Path

from mri_recon.data.scan import Scan
from mri_recon.errors import SettingsError
from mri_recon.evaluation.plan import Plan
from mri_recon.evaluation.ranks import Ranks
from mri_recon.evaluation.work import Event, work_on
from mri_recon.solvers.threads import n_threads

Sources = Sequence[Path | Scan]


def events(sources: Sources, plan: Plan, workers: int, ranks: Ranks) -> Iterator[tuple[int, Event]]:
    """What happens to each scan, with its index: in order for one scan, in any order among scans.

    Raises
    ------
    SettingsError
        A worker process came to its end.
    """
    if ranks.size == 1:
        yield from _own(sources, range(len(sources)), plan, workers)
        return
    mine = range(ranks.rank, len(sources), ranks.size)
    # Images are passed on in rounds, so that no more of them are held than are being worked on.
    step = max(workers, 1) if plan.images else max(len(sources), 1)
    for begin in range(0, -(-len(sources) // ranks.size), step):
        for part in ranks.gather(list(_own(sources, mine[begin : begin + step], plan, workers))):
            yield from part


def _own(sources: Sources, indices: Sequence[int], plan: Plan, workers: int) -> Iterator[tuple[int, Event]]:
    if workers <= 1 or len(indices) < 2:
        for index in indices:
            for event in work_on(sources[index], plan):
                yield index, event
        return
    workers = min(workers, len(indices))
    rest = iter(indices)
    running: dict[Future[list[Event]], int] = {}
    with (
        # How a network sums depends on the threads, so for its digits' sake they stay as many.
        nullcontext()
        if any(m.learned for m in plan.methods)
        else _threads_each(max(1, n_threads() // workers)),
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool,
    ):
        try:
            for index in rest:
                running[pool.submit(_all_of, sources[index], plan)] = index
                if len(running) > workers:  # one waits, so that none idles; more would only take memory
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        except BrokenProcessPool as error:
            raise SettingsError(
                f"One of {workers} worker processes was ended from outside, as a system short of memory does. Use "
                "fewer --workers; what was finished is kept where -o names a file."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(running: dict[Future[list[Event]], int]) -> Iterator[tuple[int, Event]]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        index = running.pop(future)
        for event in future.result():
            yield index, event


def _all_of(source: Path | Scan, plan: Plan) -> list[Event]:
    return list(work_on(source, plan))


@contextmanager
def _threads_each(n: int) -> Iterator[None]:
    """Let processes that are started meanwhile compute with `n` threads: they inherit the environment."""
    names = ("OMP_NUM_THREADS",)
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(n)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
