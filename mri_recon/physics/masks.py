"""Sampling masks: which phase-encode columns are acquired.

The five kinds draw the same columns as fastMRI's mask functions for the same file name: one legacy
`numpy.random.RandomState` stream, seeded with the code points of the file name, from which first the
(center_fraction, acceleration) pair and then the columns are drawn.

References
----------
.. [1] Zbontar et al. (2018), fastMRI: an open dataset and benchmarks, arXiv:1811.08839.
.. [2] Defazio (2019), Offset sampling improves deep learning based accelerated MRI, arXiv:1912.01101.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mri_recon.catalog import MASKS, look_up
from mri_recon.errors import SettingsError

Columns = NDArray[np.bool_]

Seed = int | str | tuple[int, ...]
"""An integer, a file name (its code points are the seed, as in fastMRI), or a tuple of integers."""


@dataclass(frozen=True)
class SamplingMask:
    """A drawn mask and how it came about.

    Parameters
    ----------
    columns
        `(width,)`, True where acquired.
    n_center_lines
        Columns of the fully sampled centre that was asked for.
    acceleration, center_fraction
        The pair that was drawn, nominal; None for a mask that came from a file.
    """

    kind: str
    columns: Columns
    n_center_lines: int
    acceleration: float | None = None
    center_fraction: float | None = None

    @property
    def n_lines(self) -> int:
        """Columns acquired."""
        return int(self.columns.sum())

    @property
    def effective_acceleration(self) -> float:
        """Width over columns acquired."""
        return self.columns.size / max(self.n_lines, 1)

    @property
    def sha256(self) -> str:
        """Hash of the columns, one byte 0 or 1 each."""
        return hashlib.sha256(self.columns.astype(np.uint8).tobytes()).hexdigest()


class ColumnMask(ABC):
    """A kind of mask: draws columns around a fully sampled centre."""

    name: ClassVar[str]

    def center_lines(self, width: int, center_fraction: float, acceleration: float) -> int:
        """Number of fully sampled centre columns."""
        del acceleration
        n_center = round(width * center_fraction)
        if n_center < 1:
            raise SettingsError(
                f"center_fraction {center_fraction:g} of {width} columns leaves no centre line. "
                f"Use center_fraction ≥ {1 / width:.2g}."
            )
        return n_center

    def check_room(self, width: int, n_center: int, center_fraction: float, acceleration: float) -> None:
        """Refuse a centre that leaves no room for other lines, or a fraction where lines are counted off."""
        return

    @abstractmethod
    def outer_lines(
        self, width: int, n_center: int, acceleration: float, rng: np.random.RandomState
    ) -> Columns:
        """Columns acquired besides the centre; the only draws from `rng`."""

    def draw(
        self,
        width: int,
        accelerations: Sequence[float],
        center_fractions: Sequence[float],
        seed: Seed,
    ) -> SamplingMask:
        """Draw one mask.

        Parameters
        ----------
        width
            Number of phase-encode columns.
        accelerations, center_fractions
            Pairs, equally long; where there are several, the seed picks one.

        Raises
        ------
        SettingsError
            A combination that cannot be drawn; the message holds one that can.
        """
        pairs = check_pairs(width, accelerations, center_fractions)
        for acceleration, center_fraction in pairs:
            if acceleration != 1:
                n_center = self.center_lines(width, center_fraction, acceleration)
                self.check_room(width, n_center, center_fraction, acceleration)
        rng = np.random.RandomState(_seed_words(seed))
        acceleration, center_fraction = pairs[rng.randint(len(pairs)) if len(pairs) > 1 else 0]
        if acceleration == 1:
            # Every line, whatever centre was asked for.
            n_center, columns = round(width * center_fraction), np.ones(width, dtype=bool)
        else:
            n_center = self.center_lines(width, center_fraction, acceleration)
            columns = centered_columns(width, n_center)
            columns |= self.outer_lines(width, n_center, acceleration, rng)
        return SamplingMask(self.name, columns, n_center, acceleration, center_fraction)


class RandomMask(ColumnMask):
    """Every column outside the centre with one probability, so that R is met on average [1]_."""

    name = "random"

    def check_room(self, width: int, n_center: int, center_fraction: float, acceleration: float) -> None:
        _check_room(width, n_center, center_fraction, acceleration, n_most=int(width / acceleration))

    def outer_lines(
        self, width: int, n_center: int, acceleration: float, rng: np.random.RandomState
    ) -> Columns:
        probability = (width / acceleration - n_center) / (width - n_center)
        drawn: Columns = rng.uniform(size=width) < probability
        return drawn


class EquispacedMask(ColumnMask):
    """Every R-th column from a random start; with the centre, more than 1 in R is acquired [1]_."""

    name = "equispaced"

    def check_room(self, width: int, n_center: int, center_fraction: float, acceleration: float) -> None:
        _whole(acceleration, self.name, "equispaced_fraction")

    def outer_lines(
        self, width: int, n_center: int, acceleration: float, rng: np.random.RandomState
    ) -> Columns:
        step = round(acceleration)
        return _every(width, rng.randint(0, step), step)


class EquispacedFractionMask(ColumnMask):
    """Equally spaced columns, the spacing widened so that centre and rest together meet R [1]_."""

    name = "equispaced_fraction"

    def check_room(self, width: int, n_center: int, center_fraction: float, acceleration: float) -> None:
        n_most = math.ceil(width / acceleration) - 1
        _check_room(width, n_center, center_fraction, acceleration, n_most=n_most)

    def outer_lines(
        self, width: int, n_center: int, acceleration: float, rng: np.random.RandomState
    ) -> Columns:
        spacing = acceleration * (n_center - width) / (n_center * acceleration - width)
        offset = rng.randint(0, round(spacing))
        columns = np.zeros(width, dtype=bool)
        columns[np.around(np.arange(offset, width - 1, spacing)).astype(int)] = True
        return columns


class MagicMask(ColumnMask):
    """Equispaced with different offsets on either side of the centre, against conjugate symmetry [2]_."""

    name = "magic"

    def check_room(self, width: int, n_center: int, center_fraction: float, acceleration: float) -> None:
        _whole(acceleration, self.name, "magic_fraction")

    def outer_lines(
        self, width: int, n_center: int, acceleration: float, rng: np.random.RandomState
    ) -> Columns:
        return self._two_sided(width, round(acceleration), rng)

    @staticmethod
    def _two_sided(width: int, step: int, rng: np.random.RandomState) -> Columns:
        offset = rng.randint(0, step)
        positive, negative = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
        right = _every((width + 1) // 2, positive, step)
        left = _every(width // 2, negative, step)[::-1]
        return np.fft.fftshift(np.concatenate([right, left]))


class MagicFractionMask(MagicMask):
    """Magic, with the spacing widened so that centre and rest together meet R [2]_."""

    name = "magic_fraction"

    def center_lines(self, width: int, center_fraction: float, acceleration: float) -> int:
        n_lines = round(width / acceleration)
        return max(min(round(width * center_fraction), n_lines), 1)

    def check_room(self, width: int, n_center: int, center_fraction: float, acceleration: float) -> None:
        n_most = round(width / acceleration) - 1
        n_asked = max(n_center, round(width * center_fraction))
        _check_room(width, n_asked, center_fraction, acceleration, n_most=n_most)

    def outer_lines(
        self, width: int, n_center: int, acceleration: float, rng: np.random.RandomState
    ) -> Columns:
        n_lines = round(width / acceleration)
        return self._two_sided(width, round(width / (n_lines - n_center)), rng)


def generate_mask(
    kind: str,
    width: int,
    accelerations: float | Sequence[float] = 4,
    center_fractions: float | Sequence[float] = 0.08,
    *,
    seed: Seed,
) -> Columns:
    """Draw the columns of a mask, `(width,)` bool; see `draw_mask` for how they came about."""
    return draw_mask(kind, width, accelerations, center_fractions, seed=seed).columns


def draw_mask(
    kind: str,
    width: int,
    accelerations: float | Sequence[float] = 4,
    center_fractions: float | Sequence[float] = 0.08,
    *,
    seed: Seed,
) -> SamplingMask:
    """Draw a mask of the kind that `mri_recon.catalog.MASKS` lists under a name.

    Raises
    ------
    SettingsError
        An unknown kind, or a combination that cannot be drawn.
    """
    accelerations = [accelerations] if isinstance(accelerations, int | float) else list(accelerations)
    center_fractions = (
        [center_fractions] if isinstance(center_fractions, int | float) else list(center_fractions)
    )
    mask: ColumnMask = look_up("mask", MASKS, kind)()
    return mask.draw(width, accelerations, center_fractions, seed)


def check_pairs(
    width: int, accelerations: Sequence[float], center_fractions: Sequence[float]
) -> list[tuple[float, float]]:
    """Pair accelerations with center fractions, refusing what no mask can be made of."""
    if width < 1:
        raise SettingsError(f"A mask needs at least one column, not {width}.")
    if not accelerations or len(accelerations) != len(center_fractions):
        raise SettingsError(
            f"{len(accelerations)} accelerations came with {len(center_fractions)} center fractions; "
            "they are used as pairs, so give as many of one as of the other."
        )
    for acceleration in accelerations:
        if not 1 <= acceleration <= width:
            raise SettingsError(
                f"acceleration {acceleration:g} is out of range: it divides the number of columns, "
                f"so use 1 (every line) to {width} (one line)."
            )
    for center_fraction in center_fractions:
        if not 0 < center_fraction <= 1:
            raise SettingsError(
                f"center_fraction {center_fraction:g} is out of range: it is the fully sampled part of the "
                "columns, above 0 and at most 1; 0.08 at 4× and 0.04 at 8× are usual."
            )
    return list(zip(accelerations, center_fractions, strict=True))


def centered_columns(width: int, n_center: int) -> Columns:
    """`n_center` columns about the centre of `width`, starting at ``(width - n_center + 1) // 2``."""
    columns = np.zeros(width, dtype=bool)
    start = (width - n_center + 1) // 2
    columns[start : start + n_center] = True
    return columns


def center_run(columns: Columns) -> tuple[int, int]:
    """Start and stop of the unbroken run of acquired columns around the centre column.

    Empty (start == stop) where the centre column ``width // 2`` itself was not acquired.
    """
    center = columns.size // 2
    if not columns[center]:
        return center, center
    missing = np.flatnonzero(~columns)
    below, above = missing[missing < center], missing[missing > center]
    start = int(below[-1]) + 1 if below.size else 0
    stop = int(above[0]) if above.size else columns.size
    return start, stop


def _seed_words(seed: Seed) -> int | tuple[int, ...]:
    words = tuple(map(ord, seed)) if isinstance(seed, str) else seed
    numbers = words if isinstance(words, tuple) else (words,)
    if not numbers or not all(0 <= number < 2**32 for number in numbers):
        raise SettingsError(f"seed {seed!r} is out of range: use a whole number from 0 to {2**32 - 1}.")
    return words


def _every(length: int, start: int, step: int) -> Columns:
    columns = np.zeros(length, dtype=bool)
    columns[start::step] = True
    return columns


def _whole(acceleration: float, kind: str, instead: str) -> int:
    if acceleration != round(acceleration):
        raise SettingsError(
            f"A mask of kind '{kind}' needs a whole acceleration, not {acceleration:g}. "
            f"Use {round(acceleration)}, or --mask {instead}, which takes fractions."
        )
    return round(acceleration)


def _check_room(
    width: int, n_center: int, center_fraction: float, acceleration: float, *, n_most: int
) -> None:
    if n_center <= n_most:
        return
    # Rounded down, so that the number offered works when it is typed in.
    fraction = math.floor(n_most / width * 1e4) / 1e4
    fix = f"center_fraction ≤ {fraction:g}" if n_most else f"acceleration ≤ {width // 2}"
    raise SettingsError(
        f"center_fraction {center_fraction:g} alone needs {n_center} of {width} lines; "
        f"acceleration {acceleration:g} allows {n_most}. Use {fix}."
    )
