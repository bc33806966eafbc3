"""How a report names and writes the figures of merit."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One figure of a volume: its field in results, its heading, its digits and which way is better."""

    key: str
    label: str
    digits: int
    higher_is_better: bool
    unit: str = ""
    log: bool = False

    @property
    def heading(self) -> str:
        """Label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def show(self, value: float | None) -> str:
        """The value as text; a dash where there is none."""
        if value is None or math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        return f"{value:.{self.digits}f}".replace("-", "−")


SSIM = Measure("ssim", "SSIM", 4, higher_is_better=True)
PSNR = Measure("psnr", "PSNR", 2, higher_is_better=True, unit="dB")
NMSE = Measure("nmse", "NMSE", 4, higher_is_better=False, log=True)
SECONDS = Measure("seconds", "Time", 2, higher_is_better=False, unit="s", log=True)

SCORES = (SSIM, PSNR, NMSE)
