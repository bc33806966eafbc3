"""What an evaluation found: a row a volume and method, their summary, and how to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mri_recon.evaluation.formats import csv_text, json_text, latex_table, markdown_table
from mri_recon.evaluation.scores import VolumeScore, acceleration_text
from mri_recon.evaluation.statistics import DifferenceRow, Summary, SummaryRow, differences, summarise

Table = tuple[list[str], list[list[str]]]
"""Header and rows."""

TITLES = {"nmse": "NMSE", "psnr": "PSNR (dB)", "ssim": "SSIM", "slice_nmse": "NMSE by slice",
          "slice_psnr": "PSNR by slice (dB)", "slice_ssim": "SSIM by slice", "hfen": "HFEN", "ncc": "NCC",
          "residual": "k-space residual"}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Parameters
    ----------
    settings
        Everything needed to run it again.
    failures
        Files that could not be scored, with the reason.
    manifest
        Everything needed to check it: files, masks and weights by their hashes, definitions, versions, machine.
    """

    settings: Mapping[str, Any]
    volumes: tuple[VolumeScore, ...]
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def summary(self) -> tuple[SummaryRow, ...]:
        """Per method, acceleration and acquisition, and over all acquisitions where there are several."""
        return summarise(self.volumes)

    @cached_property
    def differences(self) -> tuple[DifferenceRow, ...]:
        """Methods against each other, volume by volume, in the same groups."""
        return differences(self.volumes)

    def as_dict(self) -> dict[str, Any]:
        """One JSON-ready object: settings, volumes, summary, differences, failures, notes, manifest."""
        return {
            "settings": dict(self.settings),
            "volumes": [volume.as_row() for volume in self.volumes],
            "summary": [row.as_row() for row in self.summary],
            "differences": [row.as_row() for row in self.differences],
            "failures": [{"file": file, "reason": reason} for file, reason in self.failures],
            "notes": list(self.notes),
            "manifest": dict(self.manifest),
        }

    def json(self) -> str:
        """As `as_dict`, in standard JSON: numbers that are not finite become null."""
        return json_text(self.as_dict())

    def csv(self) -> str:
        """A row a volume and method."""
        return csv_text(volume.as_row() for volume in self.volumes)

    def markdown(self) -> str:
        """Summary, differences between methods where there are several, and volumes as Markdown tables."""
        tables = [self.summary_table(), self.difference_table(), self.volume_table()]
        return "\n\n".join(markdown_table(*table) for table in tables if table[1]) + "\n"

    def latex(self) -> str:
        """Summary and differences between methods as LaTeX tables, for a paper."""
        n_files = len({volume.file for volume in self.volumes})
        interval = "95 % bootstrap interval of the mean over volumes in brackets"
        tables = [
            latex_table(
                f"{n_files} volumes: mean ± standard deviation, {interval}.", *self.summary_table(), 3
            )
        ]
        if self.differences:
            caption = f"Paired differences between methods on the same volumes and masks: mean, {interval}."
            tables.append(latex_table(caption, *self.difference_table(), 4))
        return "% Needs \\usepackage{booktabs}.\n" + "\n\n".join(tables) + "\n"

    def summary_table(self) -> Table:
        """Header and rows of the summary, formatted: mean ± standard deviation [95 % interval]."""
        names = self._metrics
        header = ["method", "R", "acquisition", "volumes", *(TITLES.get(n, n) for n in names)]
        rows = [
            [
                row.method,
                row.acceleration,
                row.acquisition,
                str(row.volumes),
                *(_show(_value(row, name), _digits(name)) for name in names),
            ]
            for row in self.summary
        ]
        return header, rows

    def difference_table(self) -> Table:
        """Header and rows of the differences, formatted: mean [95 % interval], with their sign."""
        names = self._metrics
        header = ["method", "minus", "R", "acquisition", "volumes", *(TITLES.get(n, n) for n in names)]
        rows = [
            [
                row.method,
                row.than,
                row.acceleration,
                row.acquisition,
                str(row.volumes),
                *(_show(_value(row, name), _digits(name), sign="+") for name in names),
            ]
            for row in self.differences
        ]
        return header, rows

    def volume_table(self) -> Table:
        """Header and rows of the volumes, formatted."""
        names = self._metrics
        header = ["file", "method", "R", "lines", "slices", *(TITLES.get(n, n) for n in names), "seconds"]
        rows = [
            [
                v.file,
                v.method,
                acceleration_text(v),
                "–" if v.lines is None else str(v.lines),
                str(v.slices),
                *(_number(v.value(name), _digits(name)) for name in names),
                f"{v.seconds:.2f}",
            ]
            for v in self.volumes
        ]
        return header, rows

    @property
    def _metrics(self) -> list[str]:
        return ["nmse", "psnr", "ssim", *(self.volumes[0].others if self.volumes else ())]


def failure_text(file: str, reason: str) -> str:
    """A failure's reason with its file, which the reason may name already."""
    return reason if file in reason else f"{file}: {reason}"


def _value(row: SummaryRow | DifferenceRow, name: str) -> Summary:
    found: Summary = row.others[name] if name in row.others else getattr(row, name)
    return found


def _digits(name: str) -> int:
    return 2 if name.endswith("psnr") else 4


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _show(summary: Summary, digits: int, sign: str = "") -> str:
    if np.isnan(summary.mean):
        return "–"
    text = f"{summary.mean:{sign}.{digits}f}"
    if not np.isnan(summary.std):
        spread = "" if sign else f" ± {summary.std:.{digits}f}"
        text += f"{spread} [{summary.low:{sign}.{digits}f}, {summary.high:{sign}.{digits}f}]"
    return text
