"""The slices a network is trained on, and the volumes it is validated on.

A slice is drawn by (epoch, index), and everything random about it comes from a generator seeded with
(seed, epoch, index): the same stream whatever the number of workers, and after a resumed run.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mri_recon.data.phantom import random_slice, sample_set
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans, read_scan
from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import ScanError
from mri_recon.physics.coils import rss
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import Columns, generate_mask
from mri_recon.solvers.threads import n_threads
from mri_recon.training.config import DataSettings, GeneratedSettings, MaskSettings, TrainingConfig

_SPLIT_STREAM, _POOL_STREAM, _ORDER_STREAM, _SAMPLE_STREAM = range(4)
"""Last word of a seed: what the numbers are drawn for."""


class Sample(NamedTuple):
    """One fully sampled slice.

    `kspace` `(coil, height, width)`; `acquired` `(width,)` bool, False for padding columns; `target`
    `(h, w)`; `data_range` the maximum of the volume's target; `name` for messages.
    """

    kspace: NDArray[np.complex64]
    acquired: NDArray[np.bool_]
    target: NDArray[np.float32]
    data_range: float
    name: str


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
        kspace, mask, target, data_range = (t.to(device, non_blocking=True) for t in self[:4])
        smaps = None if self.smaps is None else self.smaps.to(device, non_blocking=True)
        return Batch(kspace, mask, target, data_range, self.names, smaps)


class Source(Protocol):
    """Fully sampled slices by index."""

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """What must agree within a batch, for every slice: k-space's shape, and the target's."""

    def __getitem__(self, index: int, /) -> Sample: ...


class GeneratedSlices:
    """Slices of generated heads with analytic k-space, of synthetic images, or both, kept in memory.

    Parameters
    ----------
    made
        Called with the number of slices made so far.
    """

    def __init__(self, settings: GeneratedSettings, seed: int, made: Callable[[int], None]) -> None:
        def make(index: int) -> Sample:
            rng = np.random.default_rng((seed, index, _POOL_STREAM))
            height, width = settings.sizes[rng.integers(len(settings.sizes))]
            n_coils = settings.n_coils[rng.integers(len(settings.n_coils))]
            noise = float(np.exp(rng.uniform(*np.log(settings.noise))))
            # A draw from "mixed" alone, so that heads by themselves are what they are without it.
            heads = settings.images == "heads" or (settings.images == "mixed" and rng.random() < 0.5)
            slice_of = random_slice if heads else synthetic_slice
            kspace, target = slice_of(rng, height, width, n_coils, noise)
            acquired = np.ones(width, dtype=bool)
            return Sample(kspace, acquired, target, float(target.max()), f"generated slice {index}")

        self.samples: list[Sample] = []
        with ThreadPoolExecutor(n_threads()) as pool:
            try:
                for sample in pool.map(make, range(settings.n_slices)):
                    self.samples.append(sample)
                    made(len(self.samples))
            finally:
                pool.shutdown(cancel_futures=True)  # those not begun, if `made` stops the run

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """K-space's shape, and the target's."""
        return [(*s.kspace.shape, *s.target.shape) for s in self.samples]

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


class ScanSlices:
    """Slices of scans on disk, read one at a time.

    Raises
    ------
    ScanError
        A scan that is not fully sampled: there is nothing to learn from it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.slices: list[tuple[Path, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        for path in paths:
            scan = fully_sampled(read_scan(path))
            self.slices += [(path, index) for index in range(scan.n_slices)]
            self.shapes += [(scan.n_coils, *scan.shape, *scan.crop_shape)] * scan.n_slices

    def __getitem__(self, index: int) -> Sample:
        path, slice_index = self.slices[index]
        scan = read_scan(path)
        here = slice(slice_index, slice_index + 1)
        kspace = np.asarray(scan.kspace[here][0])
        target = target_of(scan, here)[0]
        data_range = (_volume_maximum(path) if scan.target is not None else float(target.max())) or 1.0
        return Sample(kspace, acquired_columns(scan), target, data_range, f"{path} slice {slice_index}")


@lru_cache(maxsize=4096)
def _volume_maximum(path: Path) -> float:
    target = read_scan(path).target
    return 0.0 if target is None else float(target[:].max())


def fully_sampled(scan: Scan) -> Scan:
    """The scan itself, if a network can be trained on it.

    Raises
    ------
    ScanError
        It was acquired undersampled: its mask says so, or empty columns between others do.
    """
    middle = np.asarray(scan.kspace[scan.n_slices // 2 : scan.n_slices // 2 + 1])
    measured = np.flatnonzero(middle.any(axis=(0, 1, 2)) if scan.mask is None else scan.mask)
    if measured.size and measured[-1] - measured[0] + 1 > measured.size:
        raise ScanError(
            f"{scan.path or scan.name} is undersampled ({measured.size} of {scan.shape[1]} lines), and "
            "training needs fully sampled k-space. Take it out of the training data."
        )
    return scan


def acquired_columns(scan: Scan) -> NDArray[np.bool_]:
    """`(width,)` bool: False for the columns that the header says were never measured."""
    columns = np.zeros(scan.shape[1], dtype=bool)
    start, stop = scan.header.padding or (0, columns.size)
    columns[max(start, 0) : stop] = True
    return columns


def target_of(scan: Scan, slices: slice) -> NDArray[np.float32]:
    """Target of some slices: the file's, else the RSS of the fully sampled k-space, cropped."""
    if scan.target is not None:
        return np.asarray(scan.target[slices], dtype=np.float32)
    images = rss(ifftc(np.asarray(scan.kspace[slices])))
    return np.asarray(center_crop(images, scan.crop_shape), dtype=np.float32)


class DrawnSlices(Dataset[Batch]):
    """Slices as the network meets them: flipped, and with a random mask, by (epoch, index).

    Parameters
    ----------
    smaps
        Estimate coil maps from each slice's centre lines, as a reconstruction would.
    """

    def __init__(
        self, source: Source, masks: MaskSettings, *, flips: bool, seed: int, smaps: bool = False
    ) -> None:
        self.source, self.masks, self.flips, self.seed, self.smaps = source, masks, flips, seed, smaps

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index, _SAMPLE_STREAM))
        sample = self.source[index]
        for axis in (-2, -1):
            if self.flips and rng.integers(2):
                sample = flip(sample, axis)
        mask = generate_mask(
            self.masks.kind,
            sample.kspace.shape[-1],
            self.masks.accelerations,
            self.masks.center_fractions,
            seed=int(rng.integers(2**32)),
        )
        mask &= sample.acquired
        kspace = np.ascontiguousarray(sample.kspace)[None]
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


def flip(sample: Sample, axis: int) -> Sample:
    """The slice with its image reversed along one axis, done to k-space.

    Left as it is where the target cannot be reversed to match: when the crop to its size is off centre by
    half a pixel.
    """
    n, n_target = sample.kspace.shape[axis], sample.target.shape[axis]
    if (n - n_target) % 2:
        return sample
    # Reversing k-space about its centre mirrors the image about pixel n // 2; for even n a shift by one
    # pixel, a phase ramp, makes of that a plain reversal.
    shift = 1 - n % 2
    kspace = np.roll(np.flip(sample.kspace, axis), shift, axis)
    ramp = np.exp(2j * np.pi * shift * (np.arange(n) - n // 2) / n).astype(np.complex64)
    kspace = kspace * (ramp[:, None] if axis == -2 else ramp)
    acquired = np.roll(sample.acquired[::-1], shift) if axis == -1 else sample.acquired
    return sample._replace(kspace=kspace, acquired=acquired, target=np.flip(sample.target, axis))


def batches(
    shapes: Sequence[tuple[int, ...]], batch_size: int, seed: int, epoch: int
) -> list[list[tuple[int, int]]]:
    """One epoch in random order, as lists of (epoch, index); a batch holds slices of one shape only."""
    rng = np.random.default_rng((seed, epoch, _ORDER_STREAM))
    buckets: dict[tuple[int, ...], list[int]] = {}
    for index in rng.permutation(len(shapes)).tolist():
        buckets.setdefault(shapes[index], []).append(index)
    chunks = [
        [(epoch, index) for index in bucket[start : start + batch_size]]
        for bucket in buckets.values()
        for start in range(0, len(bucket), batch_size)
    ]
    return [chunks[i] for i in rng.permutation(len(chunks))]


def loader(
    slices: DrawnSlices, batch_lists: Iterable[list[tuple[int, int]]], workers: int
) -> Iterator[Batch]:
    """Prepare batches in the order given."""
    made: DataLoader[Batch] = DataLoader(
        slices,
        batch_sampler=batch_lists,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_leave_signals_to_parent,
        # Spawned, because forking a process that has run threads (FFTs, OpenMP) can lock up the child.
        multiprocessing_context="spawn" if workers else None,
    )
    return iter(made)


def _collate(samples: Sequence[Batch]) -> Batch:
    kspace, mask, target, data_range = (
        torch.cat(parts) for parts in zip(*(s[:4] for s in samples), strict=True)
    )
    maps = [s.smaps for s in samples if s.smaps is not None]  # of all or of none: a batch has one shape
    names = tuple(name for s in samples for name in s.names)
    return Batch(kspace, mask, target, data_range, names, torch.cat(maps) if maps else None)


def _leave_signals_to_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
    """
    seed = config.training.seed
    source: Source
    validation: Sequence[Scan]
    if config.data.folder:
        training_paths, validation_paths = split_folder(config.data, seed)
        source = ScanSlices(training_paths)
        validation = [fully_sampled(read_scan(path)) for path in validation_paths]
    else:
        source = GeneratedSlices(config.generated, seed, made)
        validation = list(sample_set("val", n_scans=config.generated.n_validation_scans))
    slices = DrawnSlices(source, config.masks, flips=config.data.flips, seed=seed, smaps=smaps)
    return slices, validation


def split_folder(settings: DataSettings, seed: int) -> tuple[list[Path], list[Path]]:
    """Scans to train on and to validate on: `train` and `val` in the folder, else a random split of it."""
    folder = Path(settings.folder)
    if not folder.is_dir():
        raise ScanError(f"{folder} is not a folder of scans to train on.")
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        return find_scans([folder / "train"]), find_scans([folder / "val"])
    paths = find_scans([folder])
    if len(paths) < 2:
        raise ScanError(
            f"{folder} holds {len(paths)} scan(s); training needs one to learn from and another to validate "
            "on. Add scans, or give a folder with train/ and val/ inside."
        )
    order = np.random.default_rng((seed, _SPLIT_STREAM)).permutation(len(paths))
    n_validation = min(max(1, round(len(paths) * settings.validation_fraction)), len(paths) - 1)
    chosen = set(order[:n_validation].tolist())
    return (
        [path for i, path in enumerate(paths) if i not in chosen],
        [path for i, path in enumerate(paths) if i in chosen],
    )


def validation_slice(
    scan: Scan, index: int, masks: MaskSettings, *, smaps: bool = False
) -> tuple[Tensor, Tensor, Tensor | None, NDArray[Any]]:
    """One slice for validation: k-space, the mask that its file name seeds, maps if asked for, and the target."""
    here = slice(index, index + 1)
    width = scan.shape[1]
    mask = generate_mask(masks.kind, width, masks.accelerations, masks.center_fractions, seed=scan.name)
    mask &= acquired_columns(scan)
    kspace = np.ascontiguousarray(scan.kspace[here])
    maps = maps_for_network(kspace, mask) if smaps else None
    return torch.from_numpy(kspace), torch.from_numpy(mask)[None, None, None], maps, target_of(scan, here)
