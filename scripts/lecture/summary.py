"""What the runs amount to: means over seeds, the best rate of each arm, differences with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from lecture.plan import Run, Study
from lecture.running import Outcome


@dataclass(frozen=True)
class Cell:
    """An arm at one rate in one panel: its runs, a seed each, in the order of the seeds."""

    panel: str
    arm: str
    rate: float
    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]

    def values(self, name: str) -> np.ndarray:
        """A figure after the last epoch, by seed; NaN where the run broke down."""
        return np.array([outcome.last(name) for outcome in self.outcomes])

    def mean(self, name: str) -> float:
        return float(self.values(name).mean())

    def spread(self, name: str) -> float:
        """Standard deviation over the seeds; NaN of a single one."""
        values = self.values(name)
        return float(values.std(ddof=1)) if len(values) > 1 else math.nan

    @property
    def n_broken(self) -> int:
        """Runs whose loss became something that is no number."""
        return sum(bool(outcome.stopped) for outcome in self.outcomes)


def cells(results: Iterable[tuple[Run, Outcome]]) -> list[Cell]:
    """Results of one study by panel, arm and rate, in the order of the plan."""
    grouped: dict[tuple[str, str, float], list[tuple[int, Outcome]]] = {}
    for run, outcome in results:
        grouped.setdefault((run.panel, run.arm, run.rate), []).append((run.seed, outcome))
    return [
        Cell(*where, tuple(seed for seed, _ in sorted_), tuple(outcome for _, outcome in sorted_))
        for where, found in grouped.items()
        for sorted_ in [sorted(found, key=lambda pair: pair[0])]
    ]


def best(found: Sequence[Cell], panel: str, arm: str, score: str = "ssim") -> Cell:
    """The rate of highest mean score, of those tried with the most seeds; one at which a run broke down only if there
    is no other.
    """
    tried = [cell for cell in found if (cell.panel, cell.arm) == (panel, arm)]
    most = max(len(cell.seeds) for cell in tried)
    tried = [cell for cell in tried if len(cell.seeds) == most]
    return max(tried, key=lambda cell: (-cell.n_broken, np.nan_to_num(cell.mean(score), nan=-np.inf)))


@dataclass(frozen=True)
class Difference:
    """Mean over the seeds of what one cell is above another with the same seed, ± its 95 % interval (Student's t)."""

    mean: float
    half_width: float

    @property
    def clear(self) -> bool:
        """Zero lies outside the interval."""
        return abs(self.mean) > self.half_width

    def text(self, digits: int) -> str:
        if math.isnan(self.mean):
            return "broke down"
        width = "?" if math.isnan(self.half_width) else f"{self.half_width:.{digits}f}"
        return f"{self.mean:+.{digits}f} ± {width}"


def difference(cell: Cell, reference: Cell, name: str) -> Difference:
    """Paired by seed: runs of one seed have the data, the masks and their order in common."""
    shared = [seed for seed in cell.seeds if seed in reference.seeds]
    ours, theirs = (dict(zip(c.seeds, c.values(name), strict=True)) for c in (cell, reference))
    gaps = np.array([ours[seed] - theirs[seed] for seed in shared])
    if len(gaps) < 2:
        return Difference(float(gaps.mean()) if len(gaps) else math.nan, math.nan)
    error = gaps.std(ddof=1) / math.sqrt(len(gaps))
    return Difference(float(gaps.mean()), float(student.ppf(0.975, len(gaps) - 1) * error))


def grid_table(found: Sequence[Cell]) -> str:
    """Every cell: PSNR and SSIM, mean ± standard deviation over the seeds; the best rate of an arm is bold."""
    rows = [["", "arm", "rate", "PSNR (dB)", "SSIM", "broke down"]]
    for cell in found:
        chosen = cell is best(found, cell.panel, cell.arm)
        psnr, ssim = (_with_spread(cell, name, digits) for name, digits in (("psnr", 2), ("ssim", 4)))
        mark = "**" if chosen else ""
        broken = f"{cell.n_broken} of {len(cell.seeds)}" if cell.n_broken else ""
        rows.append([cell.panel, cell.arm, f"{mark}{cell.rate:g}{mark}", psnr, ssim, broken])
    return markdown(rows)


def best_table(study: Study, found: Sequence[Cell]) -> str:
    """Each arm at its best rate, beside zero-filled, and how far it is from the reference."""
    rows = [
        ["", "arm", "rate", "PSNR (dB)", "SSIM", f"PSNR − {study.reference}", f"SSIM − {study.reference}"]
    ]
    for panel in study.panels:
        reference = best(found, panel.name, study.reference)
        zero_filled = [reference.values(f"zero_filled_{name}")[0] for name in ("psnr", "ssim")]
        rows.append([panel.name, "zero-filled", "", f"{zero_filled[0]:.2f}", f"{zero_filled[1]:.4f}", "", ""])
        for arm in study.arms:
            cell = best(found, panel.name, arm.name)
            row = [
                panel.name,
                arm.name,
                f"{cell.rate:g}",
                _with_spread(cell, "psnr", 2),
                _with_spread(cell, "ssim", 4),
            ]
            for name, digits in (("psnr", 2), ("ssim", 4)):
                gap = "" if arm.name == study.reference else difference(cell, reference, name).text(digits)
                row.append(gap)
            rows.append(row)
    return markdown(rows)


def at_the_edge(study: Study, found: Sequence[Cell]) -> list[str]:
    """Arms whose best rate is the least or greatest tried: a better one may lie beyond."""
    said = []
    for panel in study.panels:
        for arm in study.arms:
            rate = best(found, panel.name, arm.name).rate
            if len(arm.rates) > 1 and rate in (min(arm.rates), max(arm.rates)):
                said.append(f"{arm.name} ({panel.name}) is best at {rate:g}, the edge of its grid.")
    return said


def _with_spread(cell: Cell, name: str, digits: int) -> str:
    mean, spread = cell.mean(name), cell.spread(name)
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" if math.isnan(spread) else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row the heading."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
