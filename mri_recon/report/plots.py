"""Strip plots as plain geometry, which the page's template draws as inline SVG.

A page has few of them and each has few marks, so they are drawn at one scale of their own: text stays readable on a
phone, colours follow the page into the dark, and no plotting library is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mri_recon.report.measures import Measure

WIDTH, MARGIN, ROW, HEAD, FOOT = 360.0, 16.0, 42.0, 4.0, 24.0

LEAST_FOR_QUARTILES = 4


@dataclass(frozen=True)
class Dot:
    """One volume in a plot."""

    x: float
    y: float
    title: str


@dataclass(frozen=True)
class Strip:
    """One method's volumes: a dot each, quartiles and median where there are enough."""

    label: str
    color: int
    y: float
    dots: tuple[Dot, ...]
    quartiles: tuple[float, float, float] | None
    left_out: int
    text: str


@dataclass(frozen=True)
class StripPlot:
    """A plot of one figure, a strip a method."""

    title: str
    axis: str
    strips: tuple[Strip, ...]
    ticks: tuple[tuple[float, str], ...]

    @property
    def width(self) -> float:
        """Of the drawing, in its own unit."""
        return WIDTH

    @property
    def height(self) -> float:
        """Of the drawing, in its own unit."""
        return HEAD + ROW * len(self.strips) + FOOT

    @property
    def description(self) -> str:
        """What the plot shows, for those who cannot see it."""
        return f"{self.title}, {self.axis}. " + " ".join(strip.text for strip in self.strips)


def strip_plot(
    title: str, measure: Measure, values: Mapping[str, Sequence[tuple[str, float]]], colors: Mapping[str, int]
) -> StripPlot | None:
    """Lay out a plot; None where no value is finite.

    Parameters
    ----------
    values
        For each method, the volumes' names and values.
    colors
        Number of each method's colour.
    """
    finite = {
        method: [(name, v) for name, v in of if math.isfinite(v) and (v > 0 or not measure.log)]
        for method, of in values.items()
    }
    everything = [v for of in finite.values() for _, v in of]
    if not everything:
        return None
    low, high, ticks = axis_ticks(min(everything), max(everything), log=measure.log)

    def x(value: float) -> float:
        a, b, v = (math.log10(u) if measure.log else u for u in (low, high, value))
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (v - a) / (b - a), 1)

    strips = []
    for row, (method, of) in enumerate(finite.items()):
        y = HEAD + ROW * row + 29
        spread = _spread(len(of))
        dots = tuple(
            Dot(x(v), round(y + spread[i], 1), f"{name}: {measure.show(v)}") for i, (name, v) in enumerate(of)
        )
        quartiles = None
        text = f"{method}: " + (f"{len(of)} volumes" if of else "no volume")
        if of:
            cuts = [float(q) for q in np.quantile([v for _, v in of], [0.25, 0.5, 0.75])]
            text += f", median {measure.show(cuts[1])}"
            if len(of) >= LEAST_FOR_QUARTILES:
                quartiles = (x(cuts[0]), x(cuts[1]), x(cuts[2]))
                text += f", middle half from {measure.show(cuts[0])} to {measure.show(cuts[2])}"
        left_out = len(values[method]) - len(of)
        text += f", {left_out} not drawable." if left_out else "."
        strips.append(Strip(method, colors[method], y, dots, quartiles, left_out, text))
    return StripPlot(title, measure.heading, tuple(strips), tuple((x(v), text) for v, text in ticks))


def _spread(n: int) -> list[float]:
    """Offsets across the strip that keep neighbours apart, the same each time."""
    if n < 2:
        return [0.0] * n
    return [6 * (((i * 0.618) % 1) - 0.5) for i in range(n)]


def axis_ticks(
    least: float, most: float, *, log: bool = False
) -> tuple[float, float, list[tuple[float, str]]]:
    """Ends of an axis, and round numbers on it with their text."""
    if log:
        low, high = least / 1.15, most * 1.15
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        decades = [10.0**e for e in exponents]
        for factors in ((1,), (1, 3), (1, 2, 5)):
            ticks = [f * d for d in decades for f in factors if low <= f * d <= high]
            if len(ticks) >= 3:
                break
        return low, high, [(t, f"{t:g}") for t in ticks]
    span = (most - least) or abs(most) or 1.0
    low, high = least - 0.06 * span, most + 0.06 * span
    rough = (high - low) / 5
    step = 10.0 ** math.floor(math.log10(rough))
    step *= next(f for f in (1, 2, 5, 10) if f * step >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    places = np.arange(math.ceil(low / step), math.floor(high / step) + 1)
    values = [round(float(p * step), digits) for p in places]
    return low, high, [(v, f"{v:.{digits}f}".replace("-", "−")) for v in values]
