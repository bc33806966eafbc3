"""How much memory a process takes, and sizes as people write them."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from mri_recon.errors import SettingsError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def resident_bytes(pid: int) -> int:
    """Memory that a process has in use now; 0 where it has ended, or the system does not say."""
    return _told(pid, "VmRSS")


def peak_bytes() -> int:
    """The most memory that this process has had in use so far; 0 where the system does not say."""
    # getrusage would count what the process that started this one had in use.
    told = _told(os.getpid(), "VmHWM")
    if told or platform.system() != "Darwin":
        return told
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def can_watch() -> bool:
    """Whether the system tells how much memory another process has in use."""
    return resident_bytes(os.getpid()) > 0


def _told(pid: int, what: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    found = re.search(rf"^{what}:\s*(\d+) kB", status, flags=re.M)
    return int(found[1]) << 10 if found else 0


def parse_size(text: str) -> int:
    """Bytes of a size such as ``4G``, ``512M`` or ``1.5 GiB``; K, M, G and T are powers of 1024.

    Raises
    ------
    SettingsError
        It is none.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", text, flags=re.I)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise SettingsError(f"expected a size such as 4G or 512M, got '{text}'.")
    return size


def size_text(n_bytes: float) -> str:
    """Bytes as people write them, rounded to three digits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 999.5:  # which would be rounded to 1e+03
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.3g} TiB"
