"""What an evaluation found: a row a volume and method, their summary, and how to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mri_recon.evaluation.formats import csv_text, json_text, markdown_table
from mri_recon.evaluation.scores import VolumeScore, acceleration_text
from mri_recon.evaluation.statistics import Summary, SummaryRow, summarise


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Parameters
    ----------
    settings
        Everything needed to run it again.
    failures
        Files that could not be scored, with the reason.
    """

    settings: Mapping[str, Any]
    volumes: tuple[VolumeScore, ...]
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> tuple[SummaryRow, ...]:
        """Per method, acceleration and acquisition, and over all acquisitions where there are several."""
        return summarise(self.volumes)

    def as_dict(self) -> dict[str, Any]:
        """One JSON-ready object: settings, volumes, summary, failures, notes."""
        return {
            "settings": dict(self.settings),
            "volumes": [asdict(volume) for volume in self.volumes],
            "summary": [asdict(row) for row in self.summary],
            "failures": [{"file": file, "reason": reason} for file, reason in self.failures],
            "notes": list(self.notes),
        }

    def json(self) -> str:
        """As `as_dict`, in standard JSON: numbers that are not finite become null."""
        return json_text(self.as_dict())

    def csv(self) -> str:
        """A row a volume and method."""
        return csv_text(list(VolumeScore.__dataclass_fields__), map(asdict, self.volumes))

    def markdown(self) -> str:
        """Summary and volumes as two Markdown tables."""
        return f"{markdown_table(*self.summary_table())}\n\n{markdown_table(*self.volume_table())}\n"

    def summary_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of the summary, formatted: mean ± standard deviation [95 % interval]."""
        header = ["method", "R", "acquisition", "volumes", "NMSE", "PSNR (dB)", "SSIM"]
        rows = [
            [
                row.method,
                row.acceleration,
                row.acquisition,
                str(row.volumes),
                _show(row.nmse, 4),
                _show(row.psnr, 2),
                _show(row.ssim, 4),
            ]
            for row in self.summary
        ]
        return header, rows

    def volume_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of the volumes, formatted."""
        header = ["file", "method", "R", "lines", "slices", "NMSE", "PSNR (dB)", "SSIM", "seconds"]
        rows = [
            [
                v.file,
                v.method,
                acceleration_text(v),
                "–" if v.lines is None else str(v.lines),
                str(v.slices),
                f"{v.nmse:.4f}",
                f"{v.psnr:.2f}",
                f"{v.ssim:.4f}",
                f"{v.seconds:.2f}",
            ]
            for v in self.volumes
        ]
        return header, rows


def _show(summary: Summary, digits: int) -> str:
    text = f"{summary.mean:.{digits}f}"
    if not np.isnan(summary.std):
        text += f" ± {summary.std:.{digits}f} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"
    return text


def failure_text(file: str, reason: str) -> str:
    """A failure's reason with its file, which the reason may name already."""
    return reason if file in reason else f"{file}: {reason}"
