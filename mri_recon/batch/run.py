"""The files of a batch shared out: in this process, among workers of it, among the ranks of a job on many machines.

Ranks need not hear each other while they work: which files are whose follows from the environment (RANK and
WORLD_SIZE). Each hands its files to a worker process, so that what takes that one down costs a file and not the job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mri_recon.batch.work import Item, Outcome, Progress, Task, all_of, needed_bytes, work_on
from mri_recon.device import resolve_device
from mri_recon.errors import ScanError, SettingsError
from mri_recon.leftovers import clear_leftovers
from mri_recon.sharing.memory import resident_bytes, size_text
from mri_recon.sharing.ranks import Ranks
from mri_recon.sharing.workers import Died, share_out, threads_each
from mri_recon.solvers.threads import n_threads

OnStart = Callable[[Path], None]

_GROWS_BY = 32 << 20
"""What the process that hands out the files may yet take more than it does at the start."""


def run(
    task: Task,
    paths: Sequence[Path],
    *,
    workers: int = 1,
    most_bytes: int | None = None,
    ranks: Ranks | None = None,
    on_start: OnStart | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """What becomes of each scan of the files, as it is finished.

    Parameters
    ----------
    workers
        Processes among which the files of this rank are shared; the images do not depend on it.
    most_bytes
        Memory that all processes may take together; fewer of them work where they would take more.
    ranks
        This process among those of a job.
    on_start
        Called with a file that is begun.
    progress
        Called with the number of slices done and to do where the files are worked on in this process.

    Raises
    ------
    SettingsError
        No work at all can be done within `most_bytes`.
    """
    ranks = ranks or Ranks()
    items = items_of(paths, ranks)
    if not items:
        return
    workers = min(workers, len(items))
    if most_bytes is None and workers == 1 and ranks.size == 1:
        for item in items:
            if on_start is not None:
                on_start(item.path)
            yield from work_on(task, item, progress)
        return
    if ranks.size > 1:
        task = replace(task, keywords={**task.keywords, "device": _device_of(task)})
    workers, each = _within(task, workers, most_bytes)
    waiting: list[Item] = []
    for item, outcome in _shared_out(
        replace(task, allowed_bytes=each), items, workers, most_bytes, ranks, on_start
    ):
        if outcome.needs_bytes is not None and workers > 1:
            waiting.append(item)
        else:
            yield outcome
    if waiting:  # what is too large beside others may fit alone
        _, each = _within(task, 1, most_bytes)
        alone = replace(task, allowed_bytes=each)
        for _, outcome in _shared_out(alone, waiting, 1, most_bytes, ranks, on_start):
            yield outcome


def items_of(paths: Sequence[Path], ranks: Ranks) -> list[Item]:
    """This rank's files; its share of the slices of one where there are fewer files than ranks."""
    if ranks.size <= len(paths):
        return [Item(path) for path in paths[ranks.rank :: ranks.size]]
    if not paths:
        return []
    k, own = divmod(ranks.rank, len(paths))
    sharing = len(range(own, ranks.size, len(paths)))
    return [Item(paths[own], (k, sharing))]


def _within(task: Task, workers: int, most_bytes: int | None) -> tuple[int, int | None]:
    """Workers for which there is memory, and how much each may take."""
    if most_bytes is None:
        return workers, None
    left = most_bytes - resident_bytes(os.getpid()) - _GROWS_BY
    program, _ = needed_bytes(task)
    possible = min(workers, left // program)
    if possible < 1:
        least = size_text(most_bytes - left + program)
        raise SettingsError(
            f"--max-memory {size_text(most_bytes)} is too little: the program alone takes about {least}. Allow more."
        )
    return possible, left // possible


def _shared_out(
    task: Task,
    items: Sequence[Item],
    workers: int,
    most_bytes: int | None,
    ranks: Ranks,
    on_start: OnStart | None,
) -> Iterator[tuple[Item, Outcome]]:
    # How a network sums depends on the threads, so for its digits' sake they stay as many.
    threads = n_threads() if task.method.learned else max(1, n_threads() // workers)

    def begin(index: int) -> None:
        if on_start is not None:
            on_start(items[index].path)

    died = False
    with threads_each(threads):
        for index, found in share_out(all_of, items, task, workers, most_bytes=most_bytes, on_start=begin):
            path = items[index].path
            if isinstance(found, Died):
                died = True
                advice = "Allow more memory, or use fewer --workers; or check the file."
                error = ScanError(f"{path.name}: its worker process {found.reason}. {advice}")
                found = [Outcome(path, "failed", error=error)]
            for outcome in found:
                yield items[index], replace(outcome, rank=ranks.rank)
    if died:
        clear_leftovers(task.place.folder.resolve())


def _device_of(task: Task) -> str:
    """The GPU of this rank's number on its machine, where there are some."""
    device = resolve_device(str(task.keywords.get("device", "auto")), learned=task.method.learned)
    if device != "cuda":
        return device
    import torch

    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def merged(outcomes: Sequence[Outcome], order: Sequence[Path]) -> list[Outcome]:
    """The outcomes of all ranks in the order of the files, one of each scan: the best where several ranks shared it."""
    rank_of = {"done": 0, "failed": 1, "kept": 2, "part": 3}
    place = {path: number for number, path in enumerate(order)}
    best: dict[tuple[Path, Path | None], Outcome] = {}
    for outcome in sorted(outcomes, key=lambda one: (place[one.path], rank_of[one.status])):
        made = any(path == outcome.path and one.status == "done" for (path, _), one in best.items())
        if outcome.target is None and made:
            continue
        best.setdefault((outcome.path, outcome.target), outcome)
    failed = {path for (path, target), one in best.items() if one.status == "failed" and target is None}
    return [one for one in best.values() if one.status != "part" or one.path not in failed]
