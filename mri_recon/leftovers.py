"""Names of files that are being written, and what a process that was killed left of them.

A temporary name says which machine and which process writes it. Whoever writes into a folder next removes those of
processes of this machine that are no more; those of other machines, which cannot be asked, stay. They are hidden, end
in ``.part``, and no command takes them for a scan.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

_LONGEST = 50
_NAME = re.compile(
    r"\.(?P<of>.+)\.(?P<here>[0-9a-f]{8})-(?P<pid>[0-9]+)-[0-9a-f]{8}\.(?P<kind>part|old)", re.S
)

_cleared: set[tuple[int, Path]] = set()
"""Folders, and by which process: one that was forked looks for itself."""


def temporary_name(final: Path) -> Path:
    """A new hidden name beside `final`, for what is to become it."""
    unique = f"{here()}-{os.getpid()}-{secrets.token_hex(4)}"
    return final.with_name(f".{final.name[:_LONGEST]}.{unique}.part")


@cache
def here() -> str:
    """What stands for this machine, or container, in a name: within it a process has its number to itself."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/etc/machine-id").read_text(encoding="ascii", errors="replace"))
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()[:8]


def clear_leftovers(folder: Path) -> list[Path]:
    """Remove what killed processes of this machine left half-written in a folder, and return it.

    A folder that was being replaced when its process was killed gets its earlier content back.
    """
    _cleared.add((os.getpid(), folder))
    if os.name != "posix":
        return []  # elsewhere a process cannot be asked whether it is there without ending it
    removed = []
    with suppress(OSError):
        for path in list(folder.iterdir()):
            found = _NAME.fullmatch(path.name)
            if found and found["here"] == here() and not _runs(int(found["pid"])):
                _remove(path, found["of"], found["kind"])
                removed.append(path)
    return removed


def clear_leftovers_once(folder: Path) -> None:
    """The same, the first time that this process writes there: a folder may be long, and far away."""
    if (os.getpid(), folder) not in _cleared:
        clear_leftovers(folder)


def _remove(path: Path, of: str, kind: str) -> None:
    final = path.with_name(of)
    with suppress(OSError):
        if kind == "old" and not os.path.lexists(final):
            if len(of) < _LONGEST:  # else its name may be longer than what is left of it
                path.rename(final)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
