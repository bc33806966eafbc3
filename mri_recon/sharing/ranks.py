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

from mri_recon.errors import SettingsError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    @classmethod
    def here(cls) -> Ranks:
        """As the environment says.

        Raises
        ------
        SettingsError
            RANK is not below WORLD_SIZE.
        """
        size = os.environ.get("WORLD_SIZE", "")
        rank = os.environ.get("RANK", "")
        if not rank.isdigit() or not size.isdigit() or int(size) < 2:
            return cls()
        if int(rank) >= int(size):
            raise SettingsError(
                f"RANK {rank} of WORLD_SIZE {size}: expected 0 to {int(size) - 1}. Correct it, or unset both where one "
                "process does all."
            )
        return cls(int(rank), int(size))

    @property
    def hear_each_other(self) -> bool:
        """Whether they can exchange values: torchrun says where they meet."""
        return self.size > 1 and "MASTER_ADDR" in os.environ

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


def refuse_deaf() -> None:
    """Refuse ranks that do not know where they meet.

    Raises
    ------
    SettingsError
        No MASTER_ADDR.
    """
    if "MASTER_ADDR" not in os.environ:
        raise SettingsError(
            f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, and no MASTER_ADDR says where these processes meet. Start "
            "them with torchrun, or unset WORLD_SIZE where one process does all."
        )


@contextmanager
def joined() -> Iterator[Ranks]:
    """Ranks that can hear each other meanwhile.

    Raises
    ------
    SettingsError
        They cannot.
    """
    ranks = Ranks.here()
    if ranks.size == 1:
        yield ranks
        return
    refuse_deaf()
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
