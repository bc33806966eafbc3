"""One file of a batch: its scans reconstructed and written, and what became of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mri_recon.batch.parts import Parts, joined_parts, share_of
from mri_recon.batch.place import Place, asked_of
from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.registry import read_scans
from mri_recon.data.scan import Scan
from mri_recon.errors import MriReconError, OutputError, ScanError, SettingsError
from mri_recon.methods.base import Method
from mri_recon.reconstruct import Reconstruction, check_slices, reconstruct, slice_bytes
from mri_recon.sharing.memory import peak_bytes, size_text

Progress = Callable[[int, int], None]
Status = Literal["done", "kept", "failed", "part"]


@dataclass(frozen=True)
class Task:
    """What is to be done with each file; it can be sent to another process.

    Parameters
    ----------
    several
        Whether the file is one of many: one that is done already is then kept, and one that fails does not stop the
        others.
    keywords
        Arguments of `mri_recon.reconstruct.reconstruct` beside scan and method.
    allowed_bytes
        Memory that the process may take.
    """

    place: Place
    method: Method
    method_name: str
    reading: ReadOptions
    several: bool
    keywords: dict[str, Any] = field(default_factory=dict)
    allowed_bytes: int | None = None


@dataclass(frozen=True)
class Item:
    """A file, or the k-th of n shares of the slices of its scans."""

    path: Path
    share: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """What became of a scan.

    Parameters
    ----------
    status
        "part" where only some slices were asked for, and the others are not there yet.
    entry
        Figures of the reconstruction, ready for JSON.
    needs_bytes
        Memory that it takes, where it was refused because that is more than is allowed.
    """

    path: Path
    status: Status
    target: Path | None = None
    entry: dict[str, Any] | None = None
    error: MriReconError | None = None
    notes: tuple[str, ...] = ()
    alone: bool = False
    needs_bytes: int | None = None
    seconds: float = 0.0
    peak_bytes: int = 0
    rank: int = 0

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def reason(self) -> str:
        """Why it failed, the file named."""
        text = str(self.error)
        return text if self.name in text else f"{self.name}: {text}"


def work_on(task: Task, item: Item, progress: Progress | None = None) -> Iterator[Outcome]:
    """Reconstruct and write the scans of a file; whatever goes wrong is an outcome."""
    started = time.perf_counter()
    for outcome in _outcomes(task, item, progress):
        now = time.perf_counter()
        yield replace(outcome, seconds=now - started, peak_bytes=peak_bytes())
        started = now


def all_of(task: Task, item: Item) -> list[Outcome]:
    """The outcomes of a file, for another process."""
    return list(work_on(task, item))


def _outcomes(task: Task, item: Item, progress: Progress | None) -> Iterator[Outcome]:
    path, place = item.path, task.place
    alone = not task.several
    try:
        # A scan that is done already need not be one that can still be read.
        done = task.several and not place.overwrite and place.target(path.name).exists()
        scans: tuple[Scan | None, ...] = (None,) if done else read_scans(path, task.reading)
    except Exception as error:
        yield _failed(path, error, alone=alone)
        return
    alone = alone and len(scans) == 1
    for scan in scans:
        target = place.target(path.name if scan is None else scan.name)
        try:
            yield _one(task, item, scan, target, progress, alone=alone)
        except Exception as error:
            yield _failed(path, error, target, alone=alone)


def _failed(path: Path, error: Exception, target: Path | None = None, *, alone: bool) -> Outcome:
    """The outcome of an error; one that nobody thought of is raised again where the scan is the only one."""
    needs_bytes = error.needs_bytes if isinstance(error, _TooLarge) else None
    if isinstance(error, MemoryError):
        error = ScanError(
            f"{path.name}: out of memory. Use fewer --workers or --slices, or a larger machine."
        )
    if not isinstance(error, MriReconError):
        if alone:
            raise error
        # One file's surprise must not cost the others of a long run their results.
        error = MriReconError(
            f"{path.name}: unexpected {type(error).__name__}: {' '.join(str(error).split())} Run it alone with "
            "--debug and report what it shows."
        )
    return Outcome(path, "failed", target, error=error, alone=alone, needs_bytes=needs_bytes)


def _one(
    task: Task, item: Item, scan: Scan | None, target: Path, progress: Progress | None, *, alone: bool
) -> Outcome:
    path, place = item.path, task.place
    k, n = item.share
    # Another rank that shares the slices may be the one that puts them together.
    alone = alone and n == 1
    if not alone and not place.overwrite and target.exists():
        return _kept(task, path, target)
    if scan is None:  # it was there when it was looked for, and has gone since
        raise OutputError(f"{target} was removed meanwhile. Run the command again.")
    place.refuse_existing(target)
    keywords = task.keywords
    if task.allowed_bytes is not None:
        keywords = {**keywords, "working_bytes": _working_bytes(task, scan)}
    if n == 1:
        result: Reconstruction | None = reconstruct(scan, task.method, **keywords, progress=progress)
    else:
        result = _share(task, scan, target, keywords, k, n)
    if (
        result is None and not place.overwrite and target.exists()
    ):  # put together, and the shares removed, meanwhile
        _parts(task, scan, target).remove()
        return _kept(task, path, target)
    if result is None:
        first, stop = share_of(check_slices(scan, keywords.get("slices")), k, n)
        own = (
            f"slices {first} to {stop - 1} are done"
            if first < stop
            else "there are too few slices for this rank"
        )
        note = f"{own}; others are not yet"
        return Outcome(path, "part", target, notes=(note,), alone=alone)
    try:
        notes = place.write(target, scan, result, asked_of(keywords))
    except OutputError:
        if alone or place.overwrite or not target.exists():
            raise
        return _kept(task, path, target)  # another job was quicker
    place.draw(target, result)
    if n > 1:
        _parts(task, scan, target).remove()
    return Outcome(path, "done", target, _entry(result, path, target, notes), None, notes, alone)


def _kept(task: Task, path: Path, target: Path) -> Outcome:
    task.place.refuse_other(target, task.method, task.method_name, asked_of(task.keywords))
    task.place.add_missing_preview(target, path)
    return Outcome(path, "kept", target)


def _share(
    task: Task, scan: Scan, target: Path, keywords: dict[str, Any], k: int, n: int
) -> Reconstruction | None:
    """Make one share of the slices; the whole, if that was the last one missing."""
    parts = _parts(task, scan, target)
    whole = check_slices(scan, keywords.get("slices"))
    own = share_of(whole, k, n)
    if own[0] < own[1] and parts.find(own) is None:
        parts.keep(reconstruct(scan, task.method, **keywords, part=own))
    found = [parts.find(some) for i in range(n) if (some := share_of(whole, i, n))[0] < some[1]]
    there = [part for part in found if part is not None]
    return joined_parts(scan, there) if len(there) == len(found) else None


def _parts(task: Task, scan: Scan, target: Path) -> Parts:
    return Parts.of(target, scan, task.method, task.method_name, task.reading, task.keywords)


class _TooLarge(SettingsError):
    """A scan that takes more memory than is allowed."""

    def __init__(self, message: str, needs_bytes: int = 0) -> None:
        super().__init__(message)
        self.needs_bytes = needs_bytes


_PROGRAM_BYTES = 150 << 20
"""A worker with the libraries that it loads."""

_TORCH_BYTES = 350 << 20
"""What torch adds to them."""

_NETWORK = 4
"""How many times what a classical method takes of a slice a network takes."""


def needed_bytes(task: Task, scan: Scan | None = None) -> tuple[int, int]:
    """Memory that a worker takes beside the slices it works on, and for each of these; an estimate."""
    program = _PROGRAM_BYTES + (_TORCH_BYTES if task.method.learned else 0)
    if scan is None:
        return program, 0
    h, w = scan.crop_shape
    images = 4 * 4 * scan.n_slices * h * w  # image, target, and what scoring copies of them
    return program + images, slice_bytes(scan) * (_NETWORK if task.method.learned else 1)


def _working_bytes(task: Task, scan: Scan) -> int:
    allowed = task.allowed_bytes or 0
    beside, of_slice = needed_bytes(task, scan)
    if allowed < beside + of_slice:
        size = f"{scan.n_coils} coils, {scan.shape[0]}×{scan.shape[1]}"
        raise _TooLarge(
            f"{scan.name}: {size}, takes about {size_text(beside + of_slice)} of memory, "
            f"and --max-memory leaves a process {size_text(allowed)}. Raise it, or use fewer --workers.",
            beside + of_slice,
        )
    return allowed - beside


def _entry(result: Reconstruction, path: Path, target: Path, notes: tuple[str, ...]) -> dict[str, Any]:
    metrics = result.metrics.as_dict() if result.metrics else {"nmse": None, "psnr": None, "ssim": None}
    return {
        "file": str(path),
        "output": str(target),
        "method": result.method,
        "settings": dict(result.settings),
        "mask": result.mask.kind,
        "lines": result.mask.n_lines,
        "effective_acceleration": round(result.mask.effective_acceleration, 2),
        "slices": len(result.image),
        "seconds": round(result.seconds, 3),
        **{name: v if v is None or math.isfinite(v) else None for name, v in metrics.items()},
        "weight": _weights(result),
        "iterations": [c.iterations for c in result.convergence if c.iterations is not None] or None,
        "residual": max(c.residual for c in result.convergence) if result.convergence else None,
        "converged": result.converged,
        "notes": [*result.notes, *notes],
    }


def _weights(result: Reconstruction) -> list[float] | None:
    """The strength that the method chose for each slice, if it did."""
    chosen = [float(f"{c.weight:.4g}") for c in result.convergence if c.weight is not None]
    return chosen or None
