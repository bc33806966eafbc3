"""One self-contained HTML page of an evaluation: tables, plots, a viewer, the masks and how to run it again."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mri_recon.evaluation.scores import VolumeScore
from mri_recon.evaluation.table import Evaluation
from mri_recon.files import atomic_output
from mri_recon.report.figures import mask_title, point_spread
from mri_recon.report.gallery import Entry, Gallery, SlicePicture, fit
from mri_recon.report.measures import NMSE, PSNR, SCORES, SECONDS, SSIM, Measure
from mri_recon.report.plots import StripPlot, strip_plot
from mri_recon.report.reproduce import command

__all__ = ["Gallery", "render", "write_report"]

SCRIPTS = ("core", "tables", "panes", "viewer", "slices", "sampling", "start")
"""Files of the page's program, in the order in which they are joined."""

N_COLORS = 8

WORST_SHOWN = 6

FACTORS = (1, 2, 3, 5, 10, 20, 50, 100)


def write_report(path: Path, evaluation: Evaluation, gallery: Gallery, *, overwrite: bool = False) -> None:
    """Write the page; it needs no network and no other file.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    page = render(evaluation, gallery)
    with atomic_output(path, overwrite=overwrite) as part:
        part.write_text(page, encoding="utf-8")


def render(evaluation: Evaluation, gallery: Gallery) -> str:
    """The page as text."""
    volumes = evaluation.volumes
    methods = list(dict.fromkeys(v.method for v in volumes))
    colors = {method: i % N_COLORS for i, method in enumerate(methods)}
    shown = _shown(gallery.entries)
    where = _places(volumes, shown)
    style, script = _asset("report.css"), "".join(_asset(f"{name}.js") for name in SCRIPTS)
    environment = Environment(
        loader=PackageLoader("mri_recon.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    settings, told = dict(evaluation.settings), evaluation.as_dict()
    return environment.get_template("report.html").render(
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=_title(volumes),
        version=settings.get("version", ""),
        volumes=volumes,
        where=where,
        methods=methods,
        colors=colors,
        accelerations=list(dict.fromkeys(map(rate, volumes))),
        files=len({v.file for v in volumes}),
        acquisitions=list(dict.fromkeys(v.acquisition for v in volumes)),
        summary=told["summary"],
        differences=told.get("differences", ()),
        others=_others(told["volumes"]),
        rows=told["volumes"],
        best=_best(told["summary"]),
        scores=list(SCORES),
        seconds=SECONDS,
        rate=rate,
        sampled=sampled,
        plots=_plots(volumes, SCORES, colors),
        made_elsewhere="reconstructions" in settings,
        # Of images made elsewhere the seconds are those of reading and scoring them.
        times=[] if "reconstructions" in settings else _plots(volumes, [SECONDS], colors),
        worst=_worst(volumes, methods),
        worst_first=_favourite(volumes, methods),
        below=_below_baseline(volumes),
        n_entries=len(gallery.entries),
        n_shown=len(shown),
        metrics=settings.get("metrics", ""),
        records=_records(told),
        command=command(settings),
        notes=_grouped(evaluation.notes),
        failures=evaluation.failures,
        data=_data(methods, shown, volumes),
    )


def rate(volume: VolumeScore) -> str:
    """A volume's acceleration in short, or how it was sampled where none was asked for."""
    return volume.mask if volume.acceleration is None else f"{volume.acceleration:g}×"


def sampled(rates: Sequence[str]) -> str:
    """Accelerations as a sentence goes on with them: those that are numbers at, the others after a comma."""
    numbers = [rate for rate in rates if rate.endswith("×")]
    words = [rate for rate in rates if not rate.endswith("×")]
    return "".join([f" at {' and '.join(numbers)}" if numbers else "", *(f", {word}" for word in words)])


def _title(volumes: Sequence[VolumeScore]) -> str:
    names, methods = {v.file for v in volumes}, {v.method for v in volumes}
    scans = volumes[0].file if len(names) == 1 else f"{len(names)} scans"
    return f"{len(methods)} method{'s' if len(methods) > 1 else ''} on {scans}"


def _others(rows: Sequence[Mapping[str, Any]]) -> list[Measure]:
    """Figures under other definitions, which an evaluation has when asked for them."""
    known = {field.name for field in fields(VolumeScore)}
    keys = dict.fromkeys(key for row in rows for key in row if key not in known)
    return [
        Measure(key, key.replace("_", " "), 2 if key.endswith("psnr") else 4, higher_is_better=True)
        for key in keys
    ]


def _records(told: Mapping[str, Any]) -> dict[str, str]:
    """All of a result but its tables, which the page shows as tables, by heading."""
    shown = {"volumes", "summary", "differences", "failures", "notes"}
    return {
        key.capitalize(): json.dumps(value, indent=2, default=str, ensure_ascii=False)
        for key, value in told.items()
        if key not in shown and value
    }


def _shown(entries: Sequence[Entry]) -> list[tuple[Entry, list[SlicePicture]]]:
    """Entries with the pictures that there is room for, the worst first: by what the best method makes of them."""
    ordered = sorted(entries, key=lambda entry: max(entry.ssim.values()))
    return [(e, pictures) for e, pictures in zip(ordered, fit(ordered), strict=True) if pictures]


def _places(volumes: Sequence[VolumeScore], shown: Sequence[tuple[Entry, Any]]) -> dict[int, int]:
    """Which of the entries shown holds a volume's pictures, by the volume's number."""
    waiting: dict[tuple[str, str, str], list[int]] = {}
    for place, (entry, _) in enumerate(shown):
        for method in entry.ssim:
            waiting.setdefault((entry.name, entry.mask_sha256, method), []).append(place)
    found = {}
    for number, volume in enumerate(volumes):
        places = waiting.get((volume.file, volume.mask_sha256, volume.method))
        if places:
            found[number] = places.pop(0)
    return found


def _plots(
    volumes: Sequence[VolumeScore], measures: Sequence[Measure], colors: Mapping[str, int]
) -> list[tuple[str, list[StripPlot]]]:
    """For each acquisition, and for all together where there are several, a plot of each rate and measure."""
    acquisitions = list(dict.fromkeys(v.acquisition for v in volumes))
    groups: list[tuple[str, list[StripPlot]]] = []
    for acquisition in ([""] if len(acquisitions) > 1 else []) + acquisitions:
        group = [v for v in volumes if acquisition in ("", v.acquisition)]
        plots = []
        for name in dict.fromkeys(map(rate, group)):
            for measure in measures:
                values = {
                    method: [
                        (v.file, getattr(v, measure.key))
                        for v in group
                        if rate(v) == name and v.method == method
                    ]
                    for method in colors
                }
                plot = strip_plot(f"{measure.label}{sampled([name])}", measure, values, colors)
                plots += [] if plot is None else [plot]
        groups.append((acquisition or "all acquisitions", plots))
    return groups


def _best(summary: Sequence[Mapping[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Rows of the summary with the best mean: acquisition, acceleration, method and measure."""
    best = set()
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in summary:
        groups.setdefault((row["acquisition"], row["acceleration"]), []).append(row)
    for (acquisition, acceleration), rows in groups.items():
        for measure in SCORES:
            means = {row["method"]: row[measure.key]["mean"] for row in rows}
            means = {method: mean for method, mean in means.items() if math.isfinite(mean)}
            if len(means) > 1:
                pick = max if measure.higher_is_better else min
                best.add((acquisition, acceleration, pick(means, key=lambda m: means[m]), measure.key))
    return best


def _favourite(volumes: Sequence[VolumeScore], methods: Sequence[str]) -> str:
    """The method whose failures are the news: the one of the highest mean PSNR."""
    means = {m: np.mean([v.psnr for v in volumes if v.method == m]) for m in methods}
    return max(means, key=lambda m: means[m])


def _worst(
    volumes: Sequence[VolumeScore], methods: Sequence[str]
) -> dict[str, list[tuple[int, VolumeScore, str]]]:
    """For each method its volumes of the lowest SSIM, with their numbers and how far they are from the usual."""
    worst = {}
    for method in methods:
        own = [(i, v) for i, v in enumerate(volumes) if v.method == method]
        medians = {
            name: float(np.median([v.ssim for _, v in own if rate(v) == name]))
            for name in {rate(v) for _, v in own}
        }
        own.sort(key=lambda pair: pair[1].ssim)
        worst[method] = [(i, v, SSIM.show(medians[rate(v)])) for i, v in own[:WORST_SHOWN]]
    return worst


def _below_baseline(volumes: Sequence[VolumeScore]) -> list[tuple[str, list[tuple[int, VolumeScore, str]]]]:
    """By method, the volumes on which it scores below zero-filled in PSNR, and by how much, the worst first."""
    baseline = {(v.file, v.mask_sha256): v.psnr for v in volumes if v.method == "zero-filled"}
    found: dict[str, list[tuple[float, int, VolumeScore]]] = {}
    for number, volume in enumerate(volumes):
        difference = volume.psnr - baseline.get((volume.file, volume.mask_sha256), -math.inf)
        if difference < 0:
            found.setdefault(volume.method, []).append((difference, number, volume))
    return [
        (
            method,
            [(i, v, PSNR.show(-difference)) for difference, i, v in sorted(rows, key=lambda row: row[0])],
        )
        for method, rows in found.items()
    ]


def _grouped(notes: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Notes of the form `file: sentence` by sentence, so that what holds for many files is said once."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        name, colon, sentence = note.partition(": ")
        groups.setdefault(sentence if colon else note, []).extend([name] if colon else [])
    return list(groups.items())


def _data(
    methods: Sequence[str], shown: Sequence[tuple[Entry, list[SlicePicture]]], volumes: Sequence[VolumeScore]
) -> dict[str, Any]:
    """What the page's program reads."""
    scored = {(v.file, v.mask_sha256, v.method): v for v in volumes}
    return {
        "methods": list(methods),
        "measures": [
            {"key": m.key, "label": m.label, "heading": m.heading, "digits": m.digits, "log": m.log}
            for m in SCORES
        ],
        "factors": FACTORS,
        "factor": error_factor([entry for entry, _ in shown]),
        "entries": [
            {
                "name": entry.name,
                "rate": next(
                    rate(v) for v in volumes if (v.file, v.mask_sha256) == (entry.name, entry.mask_sha256)
                ),
                "height": entry.shape[0],
                "width": entry.shape[1],
                "first": entry.first_slice,
                "n_slices": entry.n_slices,
                "white": _short(entry.white),
                "mask": _mask(entry),
                "methods": {
                    method: {
                        "volume": {
                            m.key: _short(getattr(scored[entry.name, entry.mask_sha256, method], m.key))
                            for m in (*SCORES, SECONDS)
                        },
                        "slices": {
                            m.key: [_short(v) for v in getattr(scores, m.key)] for m in (SSIM, PSNR, NMSE)
                        },
                    }
                    for method, scores in entry.scores.items()
                },
                "slices": [
                    {
                        "index": picture.index,
                        "reason": picture.reason,
                        "target": picture.target,
                        "images": picture.images,
                        "errors": picture.errors,
                    }
                    for picture in pictures
                ],
            }
            for entry, pictures in shown
        ],
    }


def error_factor(entries: Sequence[Entry]) -> int:
    """One factor for all error maps of a page: the largest at which a typical map stays below white."""
    ratios = [entry.white / error for entry in entries for error in entry.error.values() if error > 0]
    typical = float(np.median(ratios)) if ratios else 1.0
    return max((factor for factor in FACTORS if factor <= typical), default=FACTORS[0])


def _mask(entry: Entry) -> dict[str, Any] | None:
    mask = entry.mask
    if mask is None:
        return None
    spread = point_spread(mask.columns)
    decibels = 20 * np.log10(np.maximum(spread, 1e-4))
    lobes = np.delete(decibels, mask.columns.size // 2)
    return {
        "text": mask_title(mask),
        "kind": mask.kind,
        "width": mask.columns.size,
        "lines": mask.n_lines,
        "center": mask.n_center_lines,
        "effective": round(mask.effective_acceleration, 2),
        "columns": np.flatnonzero(mask.columns).tolist(),
        "sha256": mask.sha256,
        "spread": [round(float(d), 1) for d in decibels],
        "lobe": round(float(lobes.max()), 1) if lobes.size else -80.0,
    }


def _short(value: float) -> float | None:
    """A number at the length that a page needs; None where JSON has no word for it."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _asset(name: str) -> str:
    return (files("mri_recon.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Of the page's own style or program, so that a browser runs no other that a file name might smuggle in."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
