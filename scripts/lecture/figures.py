"""Curves with bands over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lecture.plan import Study
from lecture.summary import Cell, best
from mri_recon.files import atomic_output

# Okabe and Ito's colours, told apart by the colour-blind too, each with a line of its own.
STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"), ("#000000", (0, (6, 2))))


def write_figure(path: Path, study: Study, found: Sequence[Cell]) -> None:
    """A row of panels: where rates are many, SSIM over the rate; then loss, SSIM and PSNR over the slices seen.

    Lines are means over the seeds, bands go from the lowest seed to the highest.
    """
    from matplotlib.figure import Figure

    many_rates = max(len(arm.rates) for arm in study.arms) > 2
    measures = {"loss": "training loss", "ssim": "validation SSIM", "psnr": "validation PSNR (dB)"}
    n_columns = len(measures) + many_rates
    size = (3.3 * n_columns, 2.9 * len(study.panels))
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subplots(len(study.panels), n_columns, squeeze=False)
    for axes, panel in zip(rows, study.panels, strict=True):
        here = [cell for cell in found if cell.panel == panel.name]
        axes = list(axes)
        if many_rates:
            _over_rates(axes.pop(0), study, here)
        for ax, (name, label) in zip(axes, measures.items(), strict=True):
            for arm, style in zip(study.arms, STYLES, strict=False):
                cell = best(here, panel.name, arm.name)
                _band(ax, _curve(cell, name), f"{arm.name}, {cell.rate:g}", style)
            if name != "loss":
                reference = best(here, panel.name, study.reference)
                ax.axhline(
                    reference.values(f"zero_filled_{name}")[0], color="gray", lw=0.8, label="zero-filled"
                )
            ax.set(xlabel="epoch", ylabel=label, title=panel.name)
        axes[0].legend(fontsize=7)
    _limit(rows)
    with atomic_output(path, overwrite=True) as part:
        figure.savefig(part, format="png", dpi=80)


def _over_rates(ax: Any, study: Study, here: Sequence[Cell]) -> None:
    for arm, style in zip(study.arms, STYLES, strict=False):
        tried = sorted((cell for cell in here if cell.arm == arm.name), key=lambda cell: cell.rate)
        values = np.array([cell.values("ssim") for cell in tried])
        _band(ax, ([cell.rate for cell in tried], values), arm.name, style, marker="o")
    ax.set(xscale="log", xlabel="learning rate", ylabel="validation SSIM at the end", title="over the rate")
    ax.legend(fontsize=7)


def _curve(cell: Cell, name: str) -> tuple[list[float], np.ndarray]:
    """Epochs, and `(epoch, seed)`; runs that broke down are left out."""
    histories = [outcome.history for outcome in cell.outcomes if not outcome.stopped]
    if not histories:
        return [], np.empty((0, 1))
    epochs = [row["epoch"] for row in histories[0]]
    return epochs, np.array([[row[name] for row in history] for history in histories]).T


def _band(
    ax: Any, curve: tuple[Sequence[float], np.ndarray], label: str, style: tuple[str, Any], marker: str = ""
) -> None:
    x, values = curve
    color, line = style
    ax.plot(x, values.mean(axis=1), color=color, ls=line, lw=1.4, marker=marker, ms=3, label=label)
    ax.fill_between(x, values.min(axis=1), values.max(axis=1), color=color, alpha=0.15, lw=0)


def _limit(rows: np.ndarray) -> None:
    """The same scale for a measure in all panels, so that panels can be compared."""
    for column in rows.T:
        if len(column) > 1:
            low = min(ax.get_ylim()[0] for ax in column)
            high = max(ax.get_ylim()[1] for ax in column)
            for ax in column:
                ax.set_ylim(low, high)
