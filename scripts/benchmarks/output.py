"""Tables, raw figures and pictures."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mri_recon


@dataclass
class Row:
    """One line of the table; `gap` is None where the program minimises another function."""

    case: str
    acceleration: float
    weight: float
    program: str
    settings: str
    seconds: list[float]
    gap: float | None
    psnr: float
    equal: bool | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Results:
    about: dict[str, str]
    rows: list[Row] = field(default_factory=list)
    tuning: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, dict[str, list[tuple[float, float, float]]]] = field(default_factory=dict)
    gap_rows: list[dict[str, Any]] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    floor: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def about(threads: int, peers: dict[str, str | None], command: str) -> dict[str, str]:
    """Machine, versions and date."""
    packages = {name: importlib.metadata.version(name) for name in ("numpy", "numba", "ducc0")}
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": f"{_cpu_model()}, {os.cpu_count()} cores; {threads} threads each",
        "versions": ", ".join(
            f"{name} {version}"
            for name, version in {
                "mri-recon": mri_recon.__version__,
                "python": platform.python_version(),
                **packages,
                **{name: version or "left out" for name, version in peers.items()},
            }.items()
        ),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


def markdown(results: Results) -> str:
    """All there is, as sections of Markdown."""
    head = [
        f"- {key}: {'`' + value + '`' if key == 'command' else value}" for key, value in results.about.items()
    ]
    parts = ["\n".join(head)]
    if results.rows:
        parts.append(_times(results.rows))
        summary = _summary(results.rows)
        parts += [summary] if summary else []
    if results.gap_rows:
        parts.append(_gaps(results.gap_rows))
    for rows in (results.memory, results.floor):
        if rows:
            parts.append(table(list(rows[0]), [list(map(str, row.values())) for row in rows]))
    if results.notes:
        parts.append("\n".join(f"- {note}" for note in dict.fromkeys(results.notes)))
    return "\n\n".join(parts) + "\n"


def table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _times(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        ours = _ours(rows, row)
        spread = f"{row.median:.2f} ({min(row.seconds):.2f}–{max(row.seconds):.2f}, n = {len(row.seconds)})"
        times = (
            "" if row.program.startswith("mri-recon") or ours is None else f"{row.median / ours.median:.1f}"
        )
        gap = "another objective" if row.gap is None else f"{row.gap:.1e}"
        mark = "" if row.equal is not False else " (not equal to BART's)"
        cells = [row.case, f"{row.acceleration:g}", f"{row.weight:g}", row.program, row.settings, spread]
        lines.append([*cells, gap, f"{row.psnr:.2f}{mark}", times])
    head = ["case", "R", "λ", "program", "settings", "seconds: median (range)", "gap", "PSNR (dB)"]
    return table([*head, "times ours"], lines)


def _ours(rows: list[Row], row: Row) -> Row | None:
    same = (r for r in rows if (r.case, r.acceleration, r.weight) == (row.case, row.acceleration, row.weight))
    return next((r for r in same if r.program == "mri-recon"), None)


GOALS = {
    ("one-coil", "BART"): 8.0,
    ("one-coil", "SigPy, isotropic"): 15.0,
    ("one-coil", "BART, any gap"): 8.0,
    ("volume", "BART"): 25.0,
    ("many-coils", "BART"): 10.0,
    ("estimated-maps", "BART"): 10.0,
    ("real", "BART"): 8.0,
}


def _summary(rows: list[Row]) -> str:
    lines = []
    for (case, peer), goal in GOALS.items():
        pairs = [(r, _ours(rows, r)) for r in rows if r.case.split(":")[0] == case and r.program == peer]
        found = [(theirs, ours) for theirs, ours in pairs if ours is not None]
        if not found:
            continue
        ratios = sorted(theirs.median / ours.median for theirs, ours in found)
        psnr = statistics.median(ours.psnr for _, ours in found), statistics.median(r.psnr for r, _ in found)
        unequal = sum(ours.equal is False for _, ours in found)
        least = f"{ratios[0]:.1f} / {statistics.median(ratios):.1f} / {ratios[-1]:.1f}"
        quality = f"{psnr[0]:.2f} / {psnr[1]:.2f}"
        lines.append([case, peer, f"≥ {goal:g}", least, quality, f"{len(found) - unequal} of {len(found)}"])
    head = ["case", "peer", "goal", "times faster: least / median / most", "median PSNR: ours / theirs"]
    return table([*head, "gap and PSNR equal or better"], lines) if lines else ""


def _gaps(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        cells = [
            f"{row[level]:.3g} s" if row[level] is not None else row["end"] for level in ("1e-3", "1e-4")
        ]
        lines.append([row["case"], f"{row['R']:g}", f"{row['λ']:g}", row["program"], *cells])
    return table(["case", "R", "λ", "program", "to gap 1e-3", "to gap 1e-4"], lines)


def plot(results: Results, folder: Path) -> list[Path]:
    """Gap and PSNR against time, a picture a case, a column for each acceleration and λ."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for case in dict.fromkeys(name.split()[0] for name in results.curves):
        names = [name for name in results.curves if name.split()[0] == case]
        size = (3.6 * len(names), 6)
        figure, axes = plt.subplots(
            2, len(names), squeeze=False, sharex=True, figsize=size, layout="constrained"
        )
        for (above, below), name in zip(axes.T, names, strict=True):
            for program, points in results.curves[name].items():
                seconds, gaps, psnrs = zip(*points, strict=True)
                below.plot(seconds, psnrs, "o-", ms=3, label=program)
                # The anisotropic objective has no gap to draw.
                if "own" not in program:
                    above.plot(seconds, [max(gap, 1e-7) for gap in gaps], "o-", ms=3, label=program)
                else:
                    above.plot([], [], "o-", ms=3, label=program)
            above.set(title=name, xscale="log", yscale="log")
            above.grid(alpha=0.3)
            below.grid(alpha=0.3)
            below.set(xlabel="seconds in the solver")
        axes[0, 0].set(ylabel="gap f / f* − 1")
        axes[1, 0].set(ylabel="PSNR (dB)")
        axes[0, 0].legend(fontsize="small")
        made.append(folder / f"{case}.png")
        figure.savefig(made[-1], dpi=110)
        plt.close(figure)
    return made
