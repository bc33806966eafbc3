"""Where fully sampled slices come from: scans on disk, generated images, or both.

A slice is had by (epoch, index); what is random about it comes from a generator seeded with these and the run's
seed, so that it does not matter which process makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.registry import read_scan
from mri_recon.data.hdf5 import StoredSlices
from mri_recon.data.phantom import random_slice
from mri_recon.data.scan import Scan
from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import ScanError
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop, crop_readout
from mri_recon.solvers.threads import n_threads
from mri_recon.training.config import GeneratedSettings

SPLIT_STREAM, POOL_STREAM, ORDER_STREAM, SAMPLE_STREAM, FRESH_STREAM = range(5)
"""Last word of a seed: what the numbers are drawn for."""

Shape = tuple[int, ...]


class Sample(NamedTuple):
    """One fully sampled slice.

    `kspace` `(coil, height, width)`, valid until the next slice is asked for; `acquired` `(width,)` bool, False
    for padding columns; `target` `(h, w)`; `data_range` the maximum of the volume's target; `name` for messages.
    """

    kspace: NDArray[np.complex64]
    acquired: NDArray[np.bool_]
    target: NDArray[np.float32]
    data_range: float
    name: str


class Source(Protocol):
    """Fully sampled slices by epoch and index."""

    @property
    def shapes(self) -> Sequence[Shape]:
        """What must agree within a batch, for every slice: k-space's shape, and the target's."""

    def sample(self, epoch: int, index: int, /) -> Sample:
        """One slice."""


class PoolSlices:
    """Slices of generated heads with analytic k-space, of synthetic images, or both, kept in memory.

    Parameters
    ----------
    made
        Called with the number of slices made so far.
    """

    def __init__(self, settings: GeneratedSettings, seed: int, made: Callable[[int], None]) -> None:
        def make(index: int) -> Sample:
            rng = np.random.default_rng((seed, index, POOL_STREAM))
            return _generated(settings, rng, _shape(settings, rng), f"generated slice {index}")

        self.samples: list[Sample] = []
        with ThreadPoolExecutor(n_threads()) as pool:
            try:
                for sample in pool.map(make, range(settings.n_slices)):
                    self.samples.append(sample)
                    made(len(self.samples))
            finally:
                pool.shutdown(cancel_futures=True)  # those not begun, if `made` stops the run

    @property
    def shapes(self) -> list[Shape]:
        """K-space's shape, and the target's."""
        return [(*s.kspace.shape, *s.target.shape) for s in self.samples]

    def sample(self, epoch: int, index: int, /) -> Sample:
        """The slice that was made at the start, whatever the epoch."""
        del epoch
        return self.samples[index]


class FreshSlices:
    """Generated slices made when they are asked for, other ones in each epoch.

    A slice keeps its shape over the epochs, so that every epoch has as many batches.
    """

    def __init__(self, settings: GeneratedSettings, seed: int, n_slices: int) -> None:
        self.settings, self.seed = settings, seed
        rngs = (np.random.default_rng((seed, index, POOL_STREAM)) for index in range(n_slices))
        self.drawn = [_shape(settings, rng) for rng in rngs]

    @property
    def shapes(self) -> list[Shape]:
        """K-space's shape, and the target's."""
        return [(*shape, *shape[1:]) for shape in self.drawn]

    def sample(self, epoch: int, index: int, /) -> Sample:
        """A slice that is made now."""
        rng = np.random.default_rng((self.seed, epoch, index, FRESH_STREAM))
        name = f"generated slice {index} of epoch {epoch + 1}"
        return _generated(self.settings, rng, self.drawn[index], name)


def _shape(settings: GeneratedSettings, rng: np.random.Generator) -> tuple[int, int, int]:
    """(coil, height, width) of a generated slice."""
    height, width = settings.sizes[rng.integers(len(settings.sizes))]
    return settings.n_coils[rng.integers(len(settings.n_coils))], height, width


def _generated(
    settings: GeneratedSettings, rng: np.random.Generator, shape: tuple[int, int, int], name: str
) -> Sample:
    n_coils, height, width = shape
    noise = float(np.exp(rng.uniform(*np.log(settings.noise))))
    # A draw from "mixed" alone, so that heads by themselves are what they are without it.
    heads = settings.images == "heads" or (settings.images == "mixed" and rng.random() < 0.5)
    kspace, target = (random_slice if heads else synthetic_slice)(rng, height, width, n_coils, noise)
    return Sample(kspace, np.ones(width, dtype=bool), target, float(target.max()), name)


class ScanSlices:
    """Slices of scans on disk, read one at a time, each into the memory of the one before.

    What a scan's file says of itself is read once. Readout oversampling is taken out of k-space, which changes no
    pixel of the target's region.

    Raises
    ------
    ScanError
        A scan that is not fully sampled: there is nothing to learn from it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.scans: list[Scan] = []
        self.slices: list[tuple[int, int]] = []
        self.shapes: list[Shape] = []
        for number, path in enumerate(paths):
            scan = fully_sampled(read_scan(path))
            # Thousands of headers are a lot to keep, and to send to every worker.
            self.scans.append(replace(scan, header=replace(scan.header, xml=None), attributes={}, notes=()))
            self.slices += [(number, index) for index in range(scan.n_slices)]
            shape = (scan.n_coils, scan.crop_shape[0], scan.shape[1], *scan.crop_shape)
            self.shapes += [shape] * scan.n_slices
        self._maxima: dict[int, float] = {}
        self._buffer = np.empty(0, np.complex64)

    def sample(self, epoch: int, index: int, /) -> Sample:
        """A slice read from its file, the same in every epoch."""
        del epoch
        number, slice_index = self.slices[index]
        scan = self.scans[number]
        here = slice(slice_index, slice_index + 1)
        kspace = self._read(scan, here)
        target = _target(scan, here, kspace)[0]
        data_range = self._maximum(number) if scan.target is not None else float(target.max())
        name = f"{scan.path} slice {slice_index}"
        kspace = crop_readout(kspace[0], scan.crop_shape[0])
        return Sample(kspace, acquired_columns(scan), target, data_range or 1.0, name)

    def _read(self, scan: Scan, here: slice) -> NDArray[np.complex64]:
        """K-space `(1, coil, height, width)`, in one buffer that only grows.

        Memory that is asked for anew for every slice, of many sizes, is given back to the system late or never:
        over hours a worker would hold many times what it uses.
        """
        if not isinstance(scan.kspace, StoredSlices):
            return np.asarray(scan.kspace[here])
        shape = (1, *scan.kspace.shape[1:])
        size = int(np.prod(shape))
        if self._buffer.size < size:
            self._buffer = np.empty(size, np.complex64)
        kspace = self._buffer[:size].reshape(shape)
        scan.kspace.read_into(here, kspace)
        return kspace

    def _maximum(self, number: int) -> float:
        """Largest value of a scan's target."""
        if number not in self._maxima:
            target = self.scans[number].target
            self._maxima[number] = 0.0 if target is None else float(target[:].max())
        return self._maxima[number]

    def __getstate__(self) -> dict[str, object]:
        """Sent to a worker without the buffer."""
        return {**self.__dict__, "_buffer": np.empty(0, np.complex64)}


class MixedSlices:
    """The slices of several sources, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.shapes: list[Shape] = [shape for source in sources for shape in source.shapes]

    def sample(self, epoch: int, index: int, /) -> Sample:
        """A slice of the source whose turn the index is."""
        for source in self.sources:
            if index < len(source.shapes):
                return source.sample(epoch, index)
            index -= len(source.shapes)
        raise IndexError(f"slice {index} beyond the last of {len(self.shapes)}")


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
    return _target(scan, slices, None)


def _target(scan: Scan, slices: slice, kspace: NDArray[np.complex64] | None) -> NDArray[np.float32]:
    """`target_of`, from k-space that was read already if need be."""
    if scan.target is not None:
        return np.asarray(scan.target[slices], dtype=np.float32)
    images = rss(ifftc(np.asarray(scan.kspace[slices]) if kspace is None else kspace))
    return np.asarray(center_crop(images, scan.crop_shape), dtype=np.float32)
