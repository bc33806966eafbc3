"""Batches of slices for training, each slice with a mask of its own, and the volumes for validation.

Everything random about a slice comes from a generator seeded with (seed, epoch, index): the same stream whatever
the number of workers, and after a resumed run.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mri_recon.data.formats.registry import find_raw, read_scan
from mri_recon.data.phantom import sample_set
from mri_recon.data.scan import Scan
from mri_recon.errors import ScanError
from mri_recon.files import one_line
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.geometry import crop_readout
from mri_recon.physics.masks import Columns, draw_mask, generate_mask
from mri_recon.training.augmentation import augment
from mri_recon.training.config import DataSettings, MaskSettings, TrainingConfig
from mri_recon.training.progress import STOP_SIGNALS
from mri_recon.training.samples import (
    ORDER_STREAM,
    SAMPLE_STREAM,
    SPLIT_STREAM,
    FreshSlices,
    MixedSlices,
    PoolSlices,
    ScanSlices,
    Source,
    acquired_columns,
    fully_sampled,
    target_of,
)

Key = tuple[int, int]
"""Epoch and index of a slice."""


class Batch(NamedTuple):
    """Slices of one shape: k-space `(slice, coil, height, width)`, mask `(slice, 1, 1, width)`, and so on.

    `smaps` are shaped as k-space; None where the network needs none or there is one coil.
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor
    data_range: Tensor
    names: tuple[str, ...]
    smaps: Tensor | None = None

    @property
    def image_shape(self) -> tuple[int, int]:
        """(height, width) of the targets."""
        return self.target.shape[-2], self.target.shape[-1]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        # To "mps" torch goes on reading memory that was freed meanwhile (its issue 189690).
        at_once = device.type == "cuda"
        kspace, mask, target, data_range = (t.to(device, non_blocking=at_once) for t in self[:4])
        smaps = None if self.smaps is None else self.smaps.to(device, non_blocking=at_once)
        return Batch(kspace, mask, target, data_range, self.names, smaps)


class DrawnSlices(Dataset[Batch]):
    """Slices as the network meets them: augmented, and with a random mask, by (epoch, index).

    Parameters
    ----------
    smaps
        Estimate coil maps from each slice's centre lines, as a reconstruction would.
    """

    def __init__(
        self, source: Source, masks: MaskSettings, data: DataSettings, *, seed: int, smaps: bool = False
    ) -> None:
        self.source, self.masks, self.data, self.seed, self.smaps = source, masks, data, seed, smaps

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, SAMPLE_STREAM))
        sample = augment(self.source.sample(epoch, index), self.data, rng)
        mask_seed = int(rng.integers(2**32))
        kinds = self.masks.kinds
        mask = generate_mask(
            kinds[rng.integers(len(kinds))],
            sample.kspace.shape[-1],
            self.masks.accelerations,
            self.masks.center_fractions,
            seed=mask_seed,
        )
        mask &= sample.acquired
        kspace = np.array(sample.kspace)[None]  # a copy: the source reuses its memory
        return Batch(
            torch.from_numpy(kspace),
            torch.from_numpy(mask)[None, None, None],
            torch.from_numpy(np.ascontiguousarray(sample.target))[None],
            torch.tensor([sample.data_range], dtype=torch.float32),
            (sample.name,),
            maps_for_network(kspace, mask) if self.smaps else None,
        )


def maps_for_network(kspace: NDArray[np.complex64], columns: Columns) -> Tensor | None:
    """Coil maps as `mri_recon.reconstruct` would estimate them; None for one coil."""
    return torch.from_numpy(estimate_maps(kspace, columns)) if kspace.shape[1] > 1 else None


def batches(shapes: Sequence[tuple[int, ...]], batch_size: int, seed: int, epoch: int) -> list[list[Key]]:
    """One epoch in random order, as lists of (epoch, index); a batch holds slices of one shape only."""
    rng = np.random.default_rng((seed, epoch, ORDER_STREAM))
    buckets: dict[tuple[int, ...], list[int]] = {}
    for index in rng.permutation(len(shapes)).tolist():
        buckets.setdefault(shapes[index], []).append(index)
    chunks = [
        [(epoch, index) for index in bucket[start : start + batch_size]]
        for bucket in buckets.values()
        for start in range(0, len(bucket), batch_size)
    ]
    return [chunks[i] for i in rng.permutation(len(chunks))]


def steps(batch_lists: Sequence[list[Key]], n_batches: int) -> list[list[list[Key]]]:
    """The batches of an epoch, `n_batches` a step; the last step has what is left."""
    return [list(batch_lists[i : i + n_batches]) for i in range(0, len(batch_lists), n_batches)]


def loader(slices: DrawnSlices, batch_lists: Iterable[list[Key]], workers: int) -> Iterator[Batch]:
    """Prepare batches in the order given, by so many workers, or as many as there are processors."""
    workers = min(workers, _processors())
    made: DataLoader[Batch] = DataLoader(
        slices,
        batch_sampler=batch_lists,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_start_worker,
        pin_memory=workers > 0 and torch.cuda.is_available(),
        # Spawned, because forking a process that has run threads (FFTs, OpenMP) can lock up the child.
        multiprocessing_context="spawn" if workers else None,
    )
    return iter(made)


def _processors() -> int:
    """Processors that this process may use: torch warns of more workers, which would only be in each other's way."""
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) or 1


def _collate(samples: Sequence[Batch]) -> Batch:
    kspace, mask, target, data_range = (
        torch.cat(parts) for parts in zip(*(s[:4] for s in samples), strict=True)
    )
    maps = [s.smaps for s in samples if s.smaps is not None]  # of all or of none: a batch has one shape
    names = tuple(name for s in samples for name in s.names)
    return Batch(kspace, mask, target, data_range, names, torch.cat(maps) if maps else None)


def _start_worker(worker: int) -> None:
    """Leave signals to the parent, and the processors to the other workers and the training."""
    del worker
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"


def open_data(
    config: TrainingConfig, made: Callable[[int], None], *, smaps: bool = False
) -> tuple[DrawnSlices, Sequence[Scan]]:
    """The slices to train on and the scans to validate on.

    Parameters
    ----------
    made
        Called with the number of images generated so far.
    smaps
        Whether slices come with coil maps.

    Raises
    ------
    ScanError
        A folder without scans, or with scans that cannot be trained on.
    SettingsError
        Masks that cannot be drawn for the widths that there are.
    """
    seed, generated = config.training.seed, config.generated
    source: Source
    validation: Sequence[Scan]

    def refuse_masks(widths: set[int]) -> None:
        """Now rather than when, hours later, a slice draws what cannot be."""
        for width in sorted(widths):
            for kind in config.masks.kinds:
                draw_mask(kind, width, config.masks.accelerations, config.masks.center_fractions, seed=0)

    if config.data.folder:
        training_paths, validation_paths = split_folder(config.data, seed)
        source = ScanSlices(training_paths)
        if share := config.data.generated_share:
            n_generated = max(1, round(len(source.shapes) * share / (1 - share)))
            source = MixedSlices([source, FreshSlices(generated, seed, n_generated)])
        validation = [fully_sampled(read_scan(path)) for path in validation_paths]
    else:
        refuse_masks({width for _, width in generated.sizes})
        if generated.fresh:
            source = FreshSlices(generated, seed, generated.n_slices)
        else:
            source = PoolSlices(generated, seed, made)
        validation = list(sample_set("val", n_scans=generated.n_validation_scans))
    refuse_masks({shape[2] for shape in source.shapes} | {scan.shape[1] for scan in validation})
    return DrawnSlices(source, config.masks, config.data, seed=seed, smaps=smaps), validation


def split_folder(settings: DataSettings, seed: int) -> tuple[list[Path], list[Path]]:
    """Scans to train on and to validate on: `train` and `val` in the folder, else a random split of it."""
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise ScanError(f"{one_line(folder)} is not a folder of scans to train on.")
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        return find_raw([folder / "train"]), find_raw([folder / "val"])
    paths = find_raw([folder])
    if len(paths) < 2:
        raise ScanError(
            f"{folder} holds {len(paths)} scan(s); training needs one to learn from and another to validate "
            "on. Add scans, or give a folder with train/ and val/ inside."
        )
    order = np.random.default_rng((seed, SPLIT_STREAM)).permutation(len(paths))
    n_validation = min(max(1, round(len(paths) * settings.validation_fraction)), len(paths) - 1)
    chosen = set(order[:n_validation].tolist())
    return (
        [path for i, path in enumerate(paths) if i not in chosen],
        [path for i, path in enumerate(paths) if i in chosen],
    )


def validation_slice(
    scan: Scan, index: int, masks: MaskSettings, *, smaps: bool = False
) -> tuple[Tensor, Tensor, Tensor | None, NDArray[Any]]:
    """One slice for validation: k-space, the mask that its file name seeds, maps if asked for, and the target.

    Of several kinds of mask the file name picks one as well.
    """
    here = slice(index, index + 1)
    kind = masks.kinds[sum(map(ord, scan.name)) % len(masks.kinds)]
    mask = generate_mask(kind, scan.shape[1], masks.accelerations, masks.center_fractions, seed=scan.name)
    mask &= acquired_columns(scan)
    kspace = np.ascontiguousarray(crop_readout(np.asarray(scan.kspace[here]), scan.crop_shape[0]))
    maps = maps_for_network(kspace, mask) if smaps else None
    return torch.from_numpy(kspace), torch.from_numpy(mask)[None, None, None], maps, target_of(scan, here)
