"""What a detector found: a number, the limit it is held against, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """The outcome of one detector on one scan.

    Parameters
    ----------
    crime
        Short name, a key of `mri_recon.inspection.find.CRIMES`.
    value, limit
        The evidence, and the value from which on it counts.
    measure
        What the evidence is, with its unit.
    text
        What was found and what it does to a number measured on this scan, for somebody who reads images rather
        than code; empty where nothing was found.
    """

    crime: str
    value: float
    limit: float
    measure: str
    text: str = ""

    @property
    def found(self) -> bool:
        """Whether the evidence is beyond the limit."""
        return bool(self.text)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; the evidence to four digits."""
        return {
            "crime": self.crime,
            "found": self.found,
            "evidence": float(f"{self.value:.4g}"),
            "limit": self.limit,
            "measure": self.measure,
            "text": self.text,
        }
