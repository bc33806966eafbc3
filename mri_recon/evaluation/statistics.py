"""Statistics over volumes: mean, standard deviation and bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def summary_of(group: Sequence[VolumeScore], metric: str) -> Summary:
    """Mean, spread and interval of one metric over volumes."""
    """Mean, spread and interval of a metric over volumes."""
    values = np.array([getattr(volume, metric) for volume in group], dtype=float)
    low, high = bootstrap_interval(values)
    std = float(values.std(ddof=1)) if values.size > 1 and np.isfinite(values).all() else float("nan")
    return Summary(float(values.mean()), std, low, high)


def bootstrap_interval(values: NDArray[np.floating], *, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over volumes, by resampling them with a fixed seed.

    Not a number where there are fewer than two values, of which no interval can be known.
    """
    if values.size < 2 or not np.isfinite(values).all():
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    means = values[rng.integers(values.size, size=(draws, values.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def summarise(volumes: Sequence[VolumeScore]) -> tuple[SummaryRow, ...]:
    """Per method, acceleration and acquisition, and over all acquisitions where there are several."""
    groups: dict[tuple[str, str, str], list[VolumeScore]] = {}
    for volume in volumes:
        for acquisition in (volume.acquisition, ALL):
            groups.setdefault((volume.method, acceleration_text(volume), acquisition), []).append(volume)
    acquisitions = [*dict.fromkeys(volume.acquisition for volume in volumes), ALL]
    return tuple(
        SummaryRow(method, acceleration, acquisition, len(group), *(summary_of(group, m) for m in METRICS))
        for wanted in acquisitions
        for (method, acceleration, acquisition), group in groups.items()
        if acquisition == wanted and (acquisition != ALL or len(acquisitions) > 2)
    )
