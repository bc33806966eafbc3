"""Statistics over volumes: mean, standard deviation, bootstrap intervals, and methods held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.evaluation.scores import METRICS, VolumeScore, acceleration_text

ALL = "all"


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and 95 % interval of one metric over volumes."""

    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class SummaryRow:
    """All metrics of one method at one acceleration, for one acquisition or for all together."""

    method: str
    acceleration: str
    acquisition: str
    volumes: int
    nmse: Summary
    psnr: Summary
    ssim: Summary
    others: dict[str, Summary] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """Its columns, those of other definitions last."""
        row = asdict(self)
        others: dict[str, Any] = row.pop("others")
        return row | others


@dataclass(frozen=True)
class DifferenceRow(SummaryRow):
    """`method` minus `than` on the same volumes under the same masks: mean of the differences, and its interval.

    An interval that holds no zero is a difference that this many volumes show.
    """

    than: str = ""


Group = tuple[str, str]
"""Acceleration and acquisition."""


def summarise(volumes: Sequence[VolumeScore]) -> tuple[SummaryRow, ...]:
    """Per method, acceleration and acquisition, and over all acquisitions where there are several."""
    methods = dict.fromkeys(volume.method for volume in volumes)
    rows = []
    for (acceleration, acquisition), group in _groups(volumes):
        for method in methods:
            own = [volume for volume in group if volume.method == method]
            if own:
                rows.append(SummaryRow(method, acceleration, acquisition, len(own), *_summaries(own)))
    return tuple(rows)


def differences(volumes: Sequence[VolumeScore]) -> tuple[DifferenceRow, ...]:
    """Each method against each that was named before it, volume by volume; grouped as `summarise` does."""
    methods = dict.fromkeys(volume.method for volume in volumes)
    rows = []
    for (acceleration, acquisition), group in _groups(volumes):
        by_method = {method: _by_volume(group, method) for method in methods}
        for than, method in combinations(methods, 2):
            both = [key for key in by_method[method] if key in by_method[than]]
            if both:
                pairs = [(by_method[method][key], by_method[than][key]) for key in both]
                rows.append(
                    DifferenceRow(method, acceleration, acquisition, len(both), *_paired(pairs), than)
                )
    return tuple(rows)


def summary_of(values: NDArray[np.floating]) -> Summary:
    """Mean, spread and interval of one metric over volumes."""
    low, high = bootstrap_interval(values)
    std = float(values.std(ddof=1)) if values.size > 1 and np.isfinite(values).all() else float("nan")
    return Summary(float(values.mean()), std, low, high)


def bootstrap_interval(values: NDArray[np.floating], *, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over volumes, by resampling them with a fixed seed: the percentile method [1]_.

    Not a number where there are fewer than two values, of which no interval can be known.

    References
    ----------
    .. [1] Efron & Tibshirani (1993), An introduction to the bootstrap, chapter 13.
    """
    if values.size < 2 or not np.isfinite(values).all():
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    means = values[rng.integers(values.size, size=(draws, values.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _groups(volumes: Sequence[VolumeScore]) -> list[tuple[Group, list[VolumeScore]]]:
    """Volumes by acceleration and acquisition; those of all acquisitions last, where there are several."""
    acquisitions = list(dict.fromkeys(volume.acquisition for volume in volumes))
    accelerations = list(dict.fromkeys(map(acceleration_text, volumes)))
    found = []
    for acquisition in [*acquisitions, *([ALL] if len(acquisitions) > 1 else [])]:
        for acceleration in accelerations:
            group = [
                volume
                for volume in volumes
                if acquisition in (volume.acquisition, ALL) and acceleration_text(volume) == acceleration
            ]
            if group:
                found.append(((acceleration, acquisition), group))
    return found


def _by_volume(group: Sequence[VolumeScore], method: str) -> dict[tuple[str, str, int], VolumeScore]:
    """Volumes of a method by file and mask; folders may hold files of one name, which are told by their order."""
    found: dict[tuple[str, str, int], VolumeScore] = {}
    for volume in group:
        if volume.method == method:
            nth = sum(1 for file, mask, _ in found if (file, mask) == (volume.file, volume.mask_sha256))
            found[volume.file, volume.mask_sha256, nth] = volume
    return found


def _summaries(group: Sequence[VolumeScore]) -> tuple[Summary, Summary, Summary, dict[str, Summary]]:
    columns = {name: np.array([getattr(v, name) for v in group], dtype=float) for name in METRICS}
    others = {name: np.array([v.others.get(name) for v in group], dtype=float) for name in group[0].others}
    nmse, psnr, ssim = (summary_of(columns[name]) for name in METRICS)
    return nmse, psnr, ssim, {name: summary_of(values) for name, values in others.items()}


def _paired(
    pairs: Sequence[tuple[VolumeScore, VolumeScore]],
) -> tuple[Summary, Summary, Summary, dict[str, Summary]]:
    nmse, psnr, ssim = (
        summary_of(np.array([_minus(getattr(a, name), getattr(b, name)) for a, b in pairs]))
        for name in METRICS
    )
    names = pairs[0][0].others
    return (
        nmse,
        psnr,
        ssim,
        {
            name: summary_of(np.array([_minus(a.others.get(name), b.others.get(name)) for a, b in pairs]))
            for name in names
        },
    )


def _minus(one: float | None, other: float | None) -> float:
    """A difference: not a number where a score does not exist, zero of equal ones, infinite ones too."""
    if one is None or other is None:
        return float("nan")
    return 0.0 if one == other else one - other
