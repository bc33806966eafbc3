"""The scans of an evaluation shared out: in this process, among several of them, or among torchrun's ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_recon.data.scan import Scan
from mri_recon.evaluation.plan import Plan
from mri_recon.evaluation.work import Event, Outcome, work_on
from mri_recon.sharing.ranks import Ranks
from mri_recon.sharing.workers import Died, share_out, threads_each
from mri_recon.solvers.threads import n_threads

Sources = Sequence[Path | Scan]


def events(sources: Sources, plan: Plan, workers: int, ranks: Ranks) -> Iterator[tuple[int, Event]]:
    """What happens to each scan, with its index: in order for one scan, in any order among scans."""
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
    # How a network sums depends on the threads, so for its digits' sake they stay as many.
    threads = n_threads() if any(m.learned for m in plan.methods) else max(1, n_threads() // workers)
    with threads_each(threads):
        for number, found in share_out(_all_of, [sources[i] for i in indices], plan, workers):
            source = sources[indices[number]]
            if isinstance(found, Died):
                reason = f"{source.name}: its worker process {found.reason}. Use fewer --workers, or check the file."
                found = [Outcome(source.name, failure=reason, cells=plan.cells)]
            for event in found:
                yield indices[number], event


def _all_of(plan: Plan, source: Path | Scan) -> list[Event]:
    return list(work_on(source, plan))
