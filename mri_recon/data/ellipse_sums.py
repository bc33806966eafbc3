"""The transform of many ellipses at once: large ones everywhere, small ones at few frequencies and interpolated.

Of ellipses within a strip of the field of view the transform hardly changes from one row, or column, to the next, but
for the wave of the strip's place: without it, it is computed at every few, and interpolated to the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

Floats = NDArray[np.float64]

_kernels = Kernels("mri_recon.data.ellipse_kernels")

_EVERY, _TAPS, _BAND = 4, 12, 0.15
"""Rows from one that is computed to the next; how many of them a row between is made of, and cycles a row that these
resolve."""

_FEWEST = 3, 2
"""Ellipses from which on a strip of rows, and one of columns, is worth it."""

_BLOCK = 16
"""Columns that are computed at once."""

_FEWEST_ROWS = 48
"""Rows from twice which on two threads share them."""


class Strip(NamedTuple):
    """Ellipses whose ends are near one another, moved so that the middle between these is at zero."""

    middle: float
    ellipses: Floats


def ellipse_planes(k_height: Floats, k_width: Floats, ellipses: Floats) -> NDArray[np.float32]:
    """Transform of a sum of ellipses, as `mri_recon.data.ellipses.ellipse_transform` takes them.

    Each is summed on a grid as coarse as it allows: in a strip of rows, of columns, in a tile of both or in neither.

    Returns
    -------
    NDArray[np.float32]
        `(len(k_height), 2, columns)`, planes of the real and the imaginary part. There are more columns than were asked
        for, the frequencies that would come next.
    """
    k_width = _lengthened(k_width)
    few_rows, few_columns = _few(k_height), _lengthened(_few(k_width))
    alone, flat = strips(k_height, ellipses, 0)
    everywhere, tall = strips(k_width, alone, 1)
    parts = [strips(k_width, strip.ellipses, 1) for strip in flat]
    # All that share a grid are prepared together: there are many tiles of few ellipses.
    rests = _Sums(few_rows, k_width, [rest for rest, _ in parts])
    tiles = _Sums(few_rows, few_columns, [tile.ellipses for _, within in parts for tile in within])
    # While strips are added up, columns lie side by side with those that are interpolated alike.
    order = len(k_height), 2, _EVERY, len(k_width) // _EVERY
    total = np.zeros(order, np.float32)
    _add_columns(total, k_width, tall, _Sums(k_height, few_columns, [strip.ellipses for strip in tall]))
    turns = turned(k_height, np.array([strip.middle for strip in flat]))
    done = 0
    for n, (rest, within) in enumerate(parts):
        coarse = np.zeros((len(few_rows), *order[1:]), np.float32)
        if len(rest):
            coarse += rests.planes(n).reshape(len(few_rows), 2, -1, _EVERY).swapaxes(2, 3)
        _add_columns(coarse, k_width, within, tiles, done)
        _add_rows(total, coarse, turns[n])
        done += len(within)
    whole = total.swapaxes(2, 3).reshape(len(k_height), 2, -1)
    if len(everywhere):
        whole += _Sums(k_height, k_width, [everywhere]).planes(0)
    return whole


def strips(k: Floats, ellipses: Floats, axis: int) -> tuple[Floats, list[Strip]]:
    """Ellipses that are in no strip across an axis, and strips of several."""
    steps = np.diff(k)
    if len(k) < 4 * _EVERY or np.ptp(steps) > 1e-9 * np.abs(steps).max():
        return ellipses, []
    semi_1, semi_2, angle = ellipses[:, 2:5].T
    c, s = np.cos(angle), np.sin(angle)
    reach = np.hypot(semi_1 * c, semi_2 * s) if axis == 0 else np.hypot(semi_1 * s, semi_2 * c)
    low, high = ellipses[:, axis] - reach, ellipses[:, axis] + reach
    widest = 2 * _BAND / (_EVERY * abs(steps[0]))
    alone, found = np.ones(len(ellipses), bool), []
    rest = np.argsort(low)
    rest = rest[high[rest] - low[rest] <= widest]
    while len(rest):
        within = high[rest] <= low[rest[0]] + widest
        members, rest = rest[within], rest[~within]
        if len(members) >= _FEWEST[axis]:
            alone[members] = False
            moved, middle = ellipses[members], float(low[members].min() + high[members].max()) / 2
            moved[:, axis] -= middle
            found.append(Strip(middle, moved))
    return ellipses[alone], found


class _Sums:
    """Groups of ellipses on one grid of frequencies."""

    def __init__(self, k_height: Floats, k_width: Floats, groups: Sequence[Floats]) -> None:
        self._k = np.ascontiguousarray(k_height, np.float64)
        self._ends = np.cumsum([0, *map(len, groups)]).tolist()
        height, width, semi_1, semi_2, angle, intensity = np.concatenate([np.zeros((0, 6)), *groups]).T
        ramp, spacing = _ramp(k_width)
        c, s = np.cos(angle), np.sin(angle)
        # Cycles along each semi-axis are linear in the frequencies.
        by_width = semi_1 * s, semi_2 * c
        columns = [
            semi_1 * c,
            -semi_2 * s,
            *(k_width[0] * by for by in by_width),
            *(spacing * by for by in by_width),
        ]
        self._shapes = np.stack([*columns, 2 * np.pi * semi_1 * semi_2 * intensity], axis=-1)
        self._turns, self._waves = turned(k_height, height), turned(k_width, width)
        self._ramp = np.ascontiguousarray(ramp, np.float32)
        self._even = int(np.array_equal(ramp, np.arange(len(ramp))))

    def planes(self, group: int) -> NDArray[np.float32]:
        """Transform of a group as planes (row, 2, column) of its real and imaginary part."""
        begin, end = self._ends[group : group + 2]
        n_rows, n_columns = len(self._k), len(self._ramp)
        planes = np.empty((n_rows, 2, n_columns), np.float32)

        def work(start: int, stop: int) -> None:
            jinc = np.zeros(n_columns, np.float32)
            arrays = (self._k, self._shapes, self._turns, self._ramp, self._waves, jinc, planes)
            numbers = (n_rows, begin, end, self._even, _BLOCK, n_columns, start, stop)
            _kernels.add_ellipses(*map(address, arrays), *numbers)

        share(work, ranges(n_rows, least=_FEWEST_ROWS))
        return planes


def _add_rows(total: NDArray[np.float32], coarse: NDArray[np.float32], turns: NDArray[np.float32]) -> None:
    """Add the transform of a strip of rows to planes (row, 2, …)."""
    n_rows, n_columns = len(total), total[0, 0].size

    def work(start: int, stop: int) -> None:
        sums = np.empty(2 * n_columns, np.float32)
        given = map(address, (coarse, _taps(), turns, sums, total))
        _kernels.add_interpolated_rows(*given, n_rows, _EVERY, n_columns, start, stop)

    share(work, ranges(n_rows, least=_FEWEST_ROWS))


def _add_columns(
    total: NDArray[np.float32], k_width: Floats, strips: Sequence[Strip], sums: _Sums, first: int = 0
) -> None:
    """Add the transforms of strips of columns, groups from the first on of sums, to planes (row, 2, every, step)."""
    n_rows, _, _, steps = total.shape
    turns = turned(k_width.reshape(-1, _EVERY).T.reshape(-1), np.array([strip.middle for strip in strips]))
    for n in range(len(strips)):
        coarse = sums.planes(first + n)

        def work(start: int, stop: int, coarse: Any = coarse, turns: Any = turns[n]) -> None:
            given = map(address, (coarse, _taps(), turns, total))
            _kernels.add_interpolated_columns(*given, _EVERY, coarse.shape[2], steps, start, stop)

        share(work, ranges(n_rows, least=_FEWEST_ROWS))


@lru_cache(maxsize=1)
def _taps() -> NDArray[np.float32]:
    """Weights of `_TAPS` neighbours for each of the rows between two, that are best on the band, `(_EVERY, _TAPS)`.

    Waves of up to `_BAND` cycles a row come out right to 2e-8.
    """
    band = _BAND * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    neighbours = np.exp(2j * np.pi * np.outer(band, np.arange(_TAPS) - (_TAPS // 2 - 1)))
    wanted = np.exp(2j * np.pi * np.outer(band, np.arange(_EVERY) / _EVERY))
    taps, *_ = np.linalg.lstsq(
        np.concatenate([neighbours.real, neighbours.imag]),
        np.concatenate([wanted.real, wanted.imag]),
        rcond=1e-12,
    )
    return np.ascontiguousarray(taps.T, np.float32)


def _few(k: Floats) -> Floats:
    """Every few of evenly spaced frequencies, and those beyond both ends that interpolation takes."""
    spacing = k[1] - k[0] if len(k) > 1 else 1.0
    n = (len(k) - 1) // _EVERY + _TAPS
    return np.asarray(k[0] + _EVERY * spacing * (np.arange(n) - (_TAPS // 2 - 1)))


def _lengthened(k: Floats) -> Floats:
    """Frequencies, and some that follow, so that they fill whole blocks."""
    _, spacing = _ramp(k)
    return np.concatenate([k, k[-1] + spacing * np.arange(1, -len(k) % _BLOCK + 1)])


def _ramp(k: Floats) -> tuple[Floats, float]:
    """Frequencies as multiples of the least distance of two from the first, and that distance with its sign."""
    steps = np.diff(k)
    spacing = float(steps[np.abs(steps).argmin()]) if len(steps) else 1.0
    ramp = (k - k[0]) / spacing
    whole = np.rint(ramp)
    return np.where(np.abs(ramp - whole) < 1e-6, whole, ramp), spacing


def turned(k: Floats, positions: Floats) -> NDArray[np.float32]:
    """exp(-2πi k r), `(position, 2, k)`, of real and imaginary part; in single precision, k times r in double."""
    k, positions = np.ascontiguousarray(k, np.float64), np.ascontiguousarray(positions, np.float64)
    out = np.empty((len(positions), 2, len(k)), np.float32)
    if out.size:
        _kernels.turn(address(k), address(positions), address(out), len(positions), len(k))
    return out
