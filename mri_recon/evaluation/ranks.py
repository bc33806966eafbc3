"""The processes that torchrun started, on one machine or several, if it did.

torchrun --nproc-per-node 2 -m mri_recon evaluate scans/ -o results.json
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """As the environment says."""
        size = os.environ.get("WORLD_SIZE", "")
        if "RANK" not in os.environ or not size.isdigit() or int(size) < 2:
            return cls()
        return cls(int(os.environ["RANK"]), int(size))

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def gather(self, value: Value) -> list[Value]:
        """The values of all ranks, to each of them, in order of rank."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        found: list[Value | None] = [None] * self.size
        dist.all_gather_object(found, value)
        return [one for one in found if one is not None]


@contextmanager
def joined() -> Iterator[Ranks]:
    """Ranks that can hear each other meanwhile."""
    ranks = Ranks.here()
    if ranks.size == 1:
        yield ranks
        return
    import torch
    import torch.distributed as dist

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    # One rank may be at work on large scans for days after another has finished.
    dist.init_process_group("gloo", timeout=timedelta(days=14))
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
