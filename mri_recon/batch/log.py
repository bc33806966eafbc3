"""A log of a batch for programs to read: a line of JSON for each thing that happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from mri_recon.batch.work import Outcome
from mri_recon.evaluation.formats import json_text
from mri_recon.files import output_error
from mri_recon.sharing.ranks import Ranks


@dataclass(frozen=True)
class Log:
    """An open log. Each line is written at once and whole, so that a killed job's log can be read to its end."""

    path: Path
    file: FileIO
    rank: int

    def began(self, path: Path) -> None:
        """A file is begun: the last such line of a rank that died names the file that it died over."""
        self._write({"event": "begin", "file": str(path)})

    def ended(self, outcome: Outcome) -> None:
        """A scan is done, kept, failed, or done in part."""
        self._write(
            {
                "event": outcome.status,
                "file": str(outcome.path),
                "seconds": round(outcome.seconds, 3),
                "peak_bytes": outcome.peak_bytes,
                **({} if outcome.entry is None else {"result": outcome.entry}),
                **({} if outcome.error is None else {"error": outcome.reason}),
            }
        )

    def _write(self, told: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps(json.loads(json_text({"time": now, "rank": self.rank, **told})), ensure_ascii=False)
        content = line.encode("utf-8", errors="replace") + b"\n"
        try:
            # A disk that is nearly full takes a part, and says so with the rest.
            while content:
                content = content[self.file.write(content) :]
        except OSError as error:
            raise output_error(self.path, error) from error


def log_path(path: Path, ranks: Ranks) -> Path:
    """The log of a rank: each has its own, as lines of several machines in one file get lost."""
    return path if ranks.first else path.with_name(f"{path.stem}.rank{ranks.rank}{path.suffix}")


@contextmanager
def open_log(path: Path | None, ranks: Ranks) -> Iterator[Log | None]:
    """Open a log to add to; None where none is asked for.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    if path is None:
        yield None
        return
    path = log_path(path, ranks)
    try:
        file = FileIO(path, "ab+")
        if file.seek(0, 2) and not _ends_a_line(file):
            file.write(b"\n")  # what was being written when an earlier job was killed
    except OSError as error:
        raise output_error(path, error) from error
    with file:
        yield Log(path, file, ranks.rank)


def _ends_a_line(file: FileIO) -> bool:
    file.seek(-1, 2)
    return file.read(1) == b"\n"
