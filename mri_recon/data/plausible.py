"""How much a file may claim to hold: far more than any scan does, far less than fills the memory."""

from __future__ import annotations

LARGE = 64 * 2**20
"""Bytes up to which nobody is harmed by what a file claims."""

MOST_INFLATION = 200
"""Declared over stored. Deflate reaches 230 to 1030 on nothing but zeros; k-space undersampled 40× reaches about 50."""


def implausible(declared: int, stored: int) -> bool:
    """Whether so many bytes cannot honestly come from so few."""
    return declared > max(LARGE, MOST_INFLATION * stored)
