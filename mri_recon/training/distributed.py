"""Several processes that train one network, as torchrun starts them.

    torchrun --nproc-per-node 4 -m mri_recon train configs/unet.toml

Each process takes its share of every step's batches; gradients are summed over the processes, so all of them
take the same step. Without torchrun's environment there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from mri_recon.errors import MriReconError
from mri_recon.sharing.ranks import refuse_deaf

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and talks."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, all in one exchange."""
        if self.world == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    def gather(self, value: Value) -> list[Value]:
        """The value of every process, by rank."""
        if self.world == 1:
            return [value]
        values: list[Value | None] = [None] * self.world
        dist.all_gather_object(values, value)
        return [v for v in values if v is not None]

    def once(self, work: Callable[[], Value]) -> Value:
        """What `work` returns in the first process, in all of them.

        Raises
        ------
        MriReconError
            It was raised there.
        """
        if self.world == 1:
            return work()
        done: list[Value | MriReconError | None] = [None]
        if self.first:
            try:
                done = [work()]
            except MriReconError as error:
                done = [error]
        dist.broadcast_object_list(done, src=0)
        if isinstance(done[0], MriReconError):
            raise done[0]
        return done[0]  # type: ignore[return-value]  # what `work` returned


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started; each GPU process takes the GPU of its number on its machine.

    Raises
    ------
    SettingsError
        They do not know where they meet.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes(), device
        return
    refuse_deaf()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), world), device
    finally:
        dist.destroy_process_group()
