"""The errors mri-recon raises on purpose.

Each message says what was expected, what came, where, and what to do about it, on one line: the
command line prints it as it stands and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MriReconError(Exception):
    """Anything the user can put right; the parent of every error raised on purpose."""


class ScanError(MriReconError):
    """A file that is not a scan, or not a sound one."""


class SettingsError(MriReconError):
    """A setting, option or combination of them that cannot work."""


class WeightsError(MriReconError):
    """A weights file or checkpoint that cannot be used."""


class OutputError(MriReconError):
    """A result that could not be written."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Name the closest known word, or all of them, as the end of an error message."""
    known = sorted(known)
    if not known:
        return "There are none."
    lower = {name.lower(): name for name in reversed(known)}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return f"Did you mean '{lower[close[0]]}'?" if close else f"Known: {', '.join(known)}."
