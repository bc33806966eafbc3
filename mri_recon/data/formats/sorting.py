"""Slices of k-space put together from readouts when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import ScanError

if TYPE_CHECKING:
    from mri_recon.data.formats.readouts import Encoding


@dataclass(frozen=True)
class LinesOfSlice:
    """Readouts of one slice: `rows` of the file, and for each its column, where its samples start, how many count."""

    rows: NDArray[np.intp]
    columns: NDArray[np.integer]
    starts: NDArray[np.integer]
    skipped: NDArray[np.integer]
    counts: NDArray[np.integer]
    reverse: NDArray[np.bool_]


@dataclass(frozen=True)
class SortedSlices:
    """K-space `(slice, coil, height, width)` that is sorted when indexed by a slice.

    Readouts on the same column are averaged sample by sample; what none covers is zero.

    Parameters
    ----------
    encoded
        (coil, height, width) as measured, the oversampled readout included.
    kept
        Height that is left when the readout is cut to its field of view.
    whitening
        `(coil, coil)`, applied to each sample's coils.
    ghosts
        Slope and offset in radians of the phase that reversed lines have over the others, for each slice.
    """

    load: Callable[..., Any]
    name: str
    lines: tuple[LinesOfSlice, ...]
    encoded: tuple[int, int, int]
    kept: int
    whitening: NDArray[np.complex64] | None = None
    ghosts: tuple[tuple[float, float], ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole volume."""
        return (len(self.lines), self.encoded[0], self.kept, self.encoded[2])

    def __len__(self) -> int:
        return len(self.lines)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, index: slice, /) -> NDArray[np.complex64]:
        """Sort slices.

        Raises
        ------
        ScanError
            A readout is damaged, or not finite; the message names the slice.
        """
        if not isinstance(index, slice):
            raise TypeError(f"expected a slice such as [3:4], got {index!r}")
        wanted = range(len(self.lines))[index]
        try:
            out = np.empty((len(wanted), *self.shape[1:]), np.complex64)
            for position, number in enumerate(wanted):
                out[position] = self._sorted(number)
        except MemoryError as error:
            raise ScanError(
                f"{self.name}: slices {(len(wanted), *self.shape[1:])} do not fit in memory. Read fewer at a time."
            ) from error
        return out

    def _sorted(self, number: int) -> NDArray[np.complex64]:
        from mri_recon.data.formats.epi import corrected
        from mri_recon.physics.fourier import fftc, ifftc

        lines = self.lines[number]
        kspace = np.zeros(self.encoded, np.complex64)
        times = np.zeros(self.encoded[1:], np.int32)
        for i, samples in enumerate(self.load(lines.rows.tolist())):
            if samples.shape[0] != self.encoded[0] or not np.isfinite(samples).all():
                raise ScanError(
                    f"{self.name}, slice {number}: a readout holds NaN or Inf, or another number of coils than the "
                    "rest. Export it again, or leave that slice out."
                )
            if lines.reverse[i]:
                samples = samples[:, ::-1]
                if self.ghosts is not None:
                    samples = corrected(samples, self.ghosts[number])
            skipped, count, start = int(lines.skipped[i]), int(lines.counts[i]), int(lines.starts[i])
            place = np.s_[start : start + count], lines.columns[i]
            kspace[:, place[0], place[1]] += samples[:, skipped : skipped + count]
            times[place] += 1
        if times.max(initial=0) > 1:
            kspace /= np.maximum(times, 1)
        if self.whitening is not None:
            kspace = np.einsum("ij,jhw->ihw", self.whitening, kspace, optimize=True)
        if self.kept < self.encoded[1]:
            # The centre of the field of view stays pixel n // 2, for odd sizes too.
            first = self.encoded[1] // 2 - self.kept // 2
            image = ifftc(kspace, axes=(-2,))[:, first : first + self.kept]
            kspace = fftc(np.ascontiguousarray(image), axes=(-2,))
        return kspace.astype(np.complex64, copy=False)


def n_readout(encoding: Encoding) -> int:
    """Readout samples that are left when the oversampling is removed, as the fields of view say; else the matrices."""
    height = encoding.matrix[0]
    if encoding.fov is not None and encoding.recon_fov is not None:
        kept = round(height * encoding.recon_fov[0] / encoding.fov[0])
    else:
        kept = encoding.recon[0] if encoding.recon is not None else height
    return max(1, min(kept, height))
