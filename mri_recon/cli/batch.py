"""What the user sees of a batch of scans: a line a file as it is finished, what must be known of them, a table."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mri_recon.cli.console import VERBOSITY, detail, progress, result_json, say, table, warn
from mri_recon.sharing.ranks import Ranks

if TYPE_CHECKING:
    from mri_recon.batch.work import Outcome

SAME_NOTE = 3
"""How often a note is said that is the same of one file after another."""

LONGEST_TABLE = 50


class Told:
    """Tells of files as they are begun and ended."""

    def __init__(self, n_files: int, line_each: bool, ranks: Ranks, update: Any) -> None:
        self.n_files, self.line_each, self.ranks, self.update = n_files, line_each, ranks, update
        self.who = f"rank {ranks.rank}: " if ranks.size > 1 else ""
        self.file = ""
        self.files: set[Path] = set()
        self.notes: Counter[str] = Counter()

    def began(self, path: Path) -> None:
        """A file is begun. Of a rank it is said, for then the log of one that dies names the file."""
        self.file = path.name
        if self.who:
            say(f"{self.who}{path.name} begun")

    def slices(self, done: int, total: int) -> None:
        """Some of its slices are done."""
        self.update(done, total, f"{self.file} ({len(self.files) + 1} of {self.n_files})")

    def ended(self, outcome: Outcome) -> None:
        """A scan is done, kept or failed."""
        self.files.add(outcome.path)
        if self.line_each:
            self.update(len(self.files), self.n_files, outcome.name)
        if outcome.error is not None:
            warn(f"{self.who}{outcome.reason}")
        elif outcome.status == "kept":
            detail(f"{self.who}{outcome.name}: {outcome.target} exists, kept")
        notes = outcome.notes if outcome.entry is None else outcome.entry["notes"]
        for note in notes:
            self.notes[note] += 1
            if self.notes[note] <= SAME_NOTE:
                say(f"{self.who}{outcome.name}: {note}")
        if outcome.entry is not None and self.line_each:
            psnr = outcome.entry["psnr"]
            quality = "" if psnr is None else f", PSNR {psnr:.2f} dB"
            n_slices = outcome.entry["slices"]
            slices = f"{n_slices} slice{'' if n_slices == 1 else 's'}"
            say(
                f"{self.who}{outcome.name}: {slices} in {outcome.seconds:.1f} s{quality} "
                f"({len(self.files)} of {self.n_files})"
            )

    def the_rest(self) -> None:
        """How often the notes came that were said no more."""
        for note, n in self.notes.items():
            if n > SAME_NOTE:
                say(f"{self.who}The same of {n - SAME_NOTE} more: {note}")


@contextmanager
def told_of(n_files: int, workers: int, ranks: Ranks) -> Iterator[Told]:
    """A teller: a bar of slices, or of files where several are worked on at once."""
    of_files = workers > 1 or ranks.size > 1
    with progress("reconstructing") as update:
        line_each = n_files > 1 and (of_files or not sys.stderr.isatty())
        own = -(-n_files // ranks.size)
        tell = Told(own, line_each, ranks, update)
        yield tell
        tell.the_rest()


def summarise(found: Sequence[Outcome], *, as_json: bool) -> None:
    """Results as JSON or a table, then what was kept and what failed."""
    results = [outcome.entry for outcome in found if outcome.entry is not None]
    failures = [outcome for outcome in found if outcome.status == "failed"]
    if as_json:
        result_json(results)
    elif results:
        _print(results)
    kept = sum(outcome.status == "kept" for outcome in found)
    if kept:
        say(f"{kept} of {len(found)} were there already and kept; --overwrite makes them anew.")
    if failures:
        say(f"{len(failures)} of {len(found)} failed: {', '.join(outcome.name for outcome in failures)}")


def _print(results: list[dict[str, Any]]) -> None:
    def show(value: float | None, digits: int) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    header = ["output", "method", "lines", "effective R", "seconds", "NMSE", "PSNR (dB)", "SSIM"]
    rows = [
        [
            r["output"],
            r["method"],
            str(r["lines"]),
            f"{r['effective_acceleration']:.2f}",
            f"{r['seconds']:.2f}",
            show(r["nmse"], 4),
            show(r["psnr"], 2),
            show(r["ssim"], 4),
        ]
        for r in results
    ]
    if len(rows) <= LONGEST_TABLE:
        table(header, rows)
    else:
        say(f"{len(rows)} scans reconstructed. Their figures are in --json or a --log-file.")
    if not all(r["converged"] in (None, True) for r in results):
        warn("Some slices stopped before they converged; raise --set iterations=… to go on.")
    if VERBOSITY.verbose:
        for r in results:
            took = "" if r["iterations"] is None else f", iterations {r['iterations']}"
            detail(f"{r['file']}: settings {r['settings']}{took}")
