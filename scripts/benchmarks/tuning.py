"""Which settings each contestant is timed with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.comparison import Comparison
from benchmarks.problem import Quality
from mri_recon.methods.tv import TotalVariation

RHOS = (0.01, 0.03, 0.1, 0.3, 1.0)
SCAN_AT = 100
LADDER = (30, 50, 70, 100, 140, 200, 400)
GOOD_GAP = 1e-2
SIGMAS = (1.0, 0.1, 0.01)
SIGPY_SCAN_AT = 60
SIGPY_LADDER = (25, 50, 100, 200, 400)


@dataclass(frozen=True)
class Point:
    """A setting of a peer, tried once; `parameter` is BART's ρ (-u) or SigPy's σ."""

    parameter: float
    iterations: int
    seconds: float
    gap: float
    psnr: float


@dataclass(frozen=True)
class Tuned:
    best: Point
    by_psnr: Point
    points: list[Point]

    def curve(self) -> list[Point]:
        """The points at the parameter of the last ladder, in order of iterations."""
        parameter = self.points[-1].parameter
        return sorted((p for p in self.points if p.parameter == parameter), key=lambda p: p.iterations)

    def as_dict(self) -> dict[str, Any]:
        return {
            "best": asdict(self.best),
            "by_psnr": asdict(self.by_psnr),
            "points": [asdict(p) for p in self.points],
        }

    @classmethod
    def of(cls, kept: dict[str, Any]) -> Tuned:
        return cls(Point(**kept["best"]), Point(**kept["by_psnr"]), [Point(**p) for p in kept["points"]])


def quickest(points: list[Point], optimum_psnr: float) -> Point:
    """The quickest whose gap is at most `GOOD_GAP`, or 1.1 times the smallest that any reaches where that is more, and
    whose PSNR is within 0.02 dB of the best of these, a PSNR above the optimum's own counting as the optimum's.
    """
    enough = max(GOOD_GAP, 1.1 * min(p.gap for p in points))
    return quickest_by_psnr([p for p in points if p.gap <= enough], optimum_psnr)


def quickest_by_psnr(points: list[Point], optimum_psnr: float) -> Point:
    """The same whatever its gap: it may be an unfinished image that is on its way past that PSNR."""
    psnr = min(max(p.psnr for p in points), optimum_psnr) - 0.02
    return min((p for p in points if p.psnr >= psnr), key=lambda p: p.seconds)


def tune_bart(comparison: Comparison, *, quick: bool) -> Tuned:
    """Every ρ at `SCAN_AT` iterations, and beyond them where the last is the best; then half of `LADDER` at the ρ of
    the best PSNR and all of it at that of the smallest gap.
    """
    points: list[Point] = []
    rhos = list(RHOS[1::2] if quick else RHOS)

    def add(rho: float, iterations: int) -> None:
        if not any((p.parameter, p.iterations) == (rho, iterations) for p in points):
            seconds = comparison.bart_pics(rho, iterations)
            points.append(Point(rho, iterations, seconds, **asdict(comparison.bart_quality())))

    def least_gap() -> float:
        return min(points, key=lambda p: p.gap).parameter

    for rho in rhos:
        add(rho, SCAN_AT)
    while not quick and 1e-4 < least_gap() < 100 and least_gap() in (rhos[0], rhos[-1]):
        low = least_gap() == rhos[0]
        rhos.insert(0 if low else len(rhos), float(f"{least_gap() * (0.3 if low else 3):.1g}"))
        add(rhos[0 if low else -1], SCAN_AT)
    by_gap, by_psnr = least_gap(), max(points, key=lambda p: p.psnr).parameter
    for rho, counts in ((by_psnr, LADDER[:-1]), (by_gap, LADDER)):
        for iterations in LADDER[1:4:2] if quick else counts:
            add(rho, iterations)
    cap = comparison.best_psnr(*comparison.bart_problems())
    ladder = [p for p in points if p.parameter == by_gap]
    # Last, for `curve`.
    points = [p for p in points if p.parameter != by_gap] + ladder
    return Tuned(quickest(points, cap), quickest_by_psnr(points, cap), points)


def retried(comparison: Comparison, tuned: Tuned) -> Tuned:
    """The settings that were best elsewhere, timed and judged on this comparison."""

    def again(point: Point) -> Point:
        seconds = comparison.bart_pics(point.parameter, point.iterations)
        return replace(point, seconds=seconds, **asdict(comparison.bart_quality()))

    best, by_psnr = again(tuned.best), again(tuned.by_psnr)
    return Tuned(best, by_psnr, [by_psnr, best])


def tune_sigpy(comparison: Comparison, *, isotropic: bool, quick: bool) -> Tuned:
    """Every dual step σ, then a ladder of iterations at the best: by gap, or its own objective by PSNR alone."""
    # With many coils an iteration takes as many times longer.
    most = 50 if quick else 200 if comparison.smaps is not None else 400
    points: list[Point] = []

    def add(sigma: float, counts: list[int]) -> None:
        curve = comparison.sigpy_curve(sigma, counts, isotropic=isotropic)
        points.extend(Point(sigma, n, s, q.gap, q.psnr) for n, s, q in curve)

    for sigma in SIGMAS:
        add(sigma, [min(SIGPY_SCAN_AT, most)])
    sigma = min(points, key=lambda p: p.gap if isotropic else -p.psnr).parameter
    add(sigma, [n for n in SIGPY_LADDER if n <= most])
    cap = comparison.best_psnr(comparison.problems, "given")
    by_psnr = quickest_by_psnr(points, cap)
    return Tuned(quickest(points, cap) if isotropic else by_psnr, by_psnr, points)


def choose_ours(
    comparison: Comparison, rival: Quality | None, optimum_psnr: float
) -> list[tuple[str, dict[str, Any], Quality, bool]]:
    """What ours is run with: name, settings, quality, and whether gap and PSNR are equal to the rival's or better.

    A PSNR of the rival's above the optimum's own counts as the optimum's: nobody has it in the end.
    Its defaults, with `tolerance` tightened if they do not do; and beside them the loosest tolerance that does.
    """
    default = TotalVariation(tv_weight=comparison.weight).tolerance_for(
        several_coils=comparison.scan.n_coils > 1
    )

    def tried(tolerance: float) -> tuple[dict[str, Any], Quality, bool]:
        settings = {} if tolerance == default else {"tolerance": float(f"{tolerance:.3g}")}
        quality = comparison.our_quality(settings)
        # Two decimals of a decibel are what the table prints.
        enough = -math.inf if rival is None else min(rival.psnr, optimum_psnr) - 0.005
        equal = rival is None or (quality.gap <= rival.gap and quality.psnr >= enough)
        return settings, quality, equal

    first = tried(default)
    if not first[2]:
        for factor in (1.5, 2, 3, 5, 10, 30, 100):
            tighter = tried(default / factor)
            if tighter[2]:
                return [("mri-recon", *tighter)]
        return [("mri-recon", *first)]
    found = [("mri-recon", *first)]
    if rival is not None:
        for factor in (1.5, 2, 3, 5, 10, 30, 100):
            looser = tried(default * factor)
            if not looser[2]:
                break
            found[1:] = [("mri-recon, as good as BART", *looser)]
    return found
