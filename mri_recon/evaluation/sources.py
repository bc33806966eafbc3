"""The scans of an evaluation, each opened when its turn has come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mri_recon.data.formats.registry import find_raw, read_scan
from mri_recon.data.scan import Scan


@dataclass(frozen=True)
class Scans:
    """Scans to come, each opened when its turn has come."""

    sources: Sequence[Path | Scan]
    description: Any
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: str | Path | Scan | Iterable[str | Path | Scan] | None) -> Scans:
        if data is None:
            from mri_recon.data.phantom import sample_set  # it loads much that measured scans do not need

            generated = sample_set("test")
            note = "No data was given: these are generated scans, kinder than measured ones."
            return cls(generated, f"built-in generated test set, {len(generated)} scans", (note,))
        items = [data] if isinstance(data, str | Path | Scan) else list(data)
        scans = [item for item in items if isinstance(item, Scan)]
        named = [item for item in items if not isinstance(item, Scan)]
        paths = find_raw(named) if named or not scans else []
        return cls([*scans, *paths], [*(scan.name for scan in scans), *map(str, paths)])

    def __len__(self) -> int:
        return len(self.sources)

    def opened(self, index: int) -> Scan:
        """One of them, opened."""
        source = self.sources[index]
        return source if isinstance(source, Scan) else read_scan(source)
