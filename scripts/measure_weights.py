#!/usr/bin/env python
"""How much better the shipped networks are than the best that classical methods can do, scan by scan.

    scripts/measure_weights.py SCANS [-o out/weights.md] [--method varnet] [--weights FILE] [--slices N]
    scripts/measure_weights.py SCANS --peers out/weights.json      # compressed sensing as found by an earlier run
    scripts/measure_weights.py VOLUMES --combination maps          # against references that have no noise

Every fully sampled scan is undersampled 4 and 8 times by random columns. `cs` and `wavelet` are run with each of
eight weights λ (--grid) and the best of them in hindsight, by PSNR against the target, is what a network is compared
with: a choice that nobody has who lacks the target. Of a volume N slices around the middle are taken, all by default,
and the table has means over its slices. The best PSNR and the best SSIM may be of different methods.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mri_recon import read_scan, reconstruct
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans
from mri_recon.errors import MriReconError
from mri_recon.metrics import score

WEIGHTS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
ACCELERATIONS = (4, 8)


@dataclass(frozen=True)
class Scores:
    """Means over slices, each with its own maximum as the range, and the λ they were reached with."""

    psnr: float
    ssim: float
    weight: float | None = None


_Row = tuple[int, int, dict[str, Scores], dict[str, Scores]]
"""Coils, acceleration, what the peers and what the networks reached."""


def main() -> int:
    asked = _arguments()
    known: dict[str, dict[str, Any]] = json.loads(asked.peers.read_text()) if asked.peers else {}
    found: dict[str, dict[str, Any]] = {}
    rows: list[_Row] = []
    methods = asked.method or ["varnet", "unet"]
    head = ["scan", "R", "zero-filled", "best cs (λ)", "best wavelet (λ)", *methods]
    head += [f"{method} over the best: dB, SSIM" for method in methods]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for path in find_scans(asked.scans):
        scan = read_scan(path)
        if scan.target is None:
            continue
        for acceleration in ACCELERATIONS:
            key = f"{scan.name} {acceleration}"
            kept = known.get(key, {})
            peers = {name: Scores(**scores) for name, scores in kept.items()} or _peers(
                scan, acceleration, asked.slices, asked.grid
            )
            found[key] = {name: asdict(scores) for name, scores in peers.items()}
            settings = {"combination": asked.combination}
            ours = [
                _scores(scan, m, acceleration, asked.slices, settings=settings, weights=asked.weights)
                for m in methods
            ]
            psnr, ssim = (max(getattr(p, what) for p in peers.values()) for what in ("psnr", "ssim"))
            rows.append((scan.n_coils, acceleration, peers, dict(zip(methods, ours, strict=True))))
            cells = [scan.name, str(acceleration), _cell(peers["zero-filled"])]
            cells += [f"{_cell(peers[m])} ({peers[m].weight:g})" for m in ("cs", "wavelet")]
            cells += [_cell(one) for one in ours]
            cells += [f"{one.psnr - psnr:+.2f}, {one.ssim - ssim:+.3f}" for one in ours]
            lines.append("| " + " | ".join(cells) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
    if asked.mean:
        lines += ["| " + " | ".join(cells) + " |" for cells in _means(rows, methods)]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if asked.output:
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(text)
        asked.output.with_suffix(".json").write_text(json.dumps(found, indent=1))
    return 0


def _means(rows: Sequence[_Row], methods: Sequence[str]) -> list[list[str]]:
    """Cells of a row for each number of coils and acceleration: means, and of the differences means and least."""
    found = []
    for n_coils, acceleration in sorted({row[:2] for row in rows}):
        here = [row[2:] for row in rows if row[:2] == (n_coils, acceleration)]
        cells = [f"mean of {len(here)}, {n_coils} coil{'s' if n_coils > 1 else ''}", str(acceleration)]
        for number, name in [(0, p) for p in ("zero-filled", "cs", "wavelet")] + [(1, m) for m in methods]:
            of_it = [both[number][name] for both in here]
            cells.append(
                _cell(Scores(*(sum(getattr(s, w) for s in of_it) / len(here) for w in ("psnr", "ssim"))))
            )
        for name in methods:
            over = [
                [
                    getattr(ours[name], w) - max(getattr(p, w) for p in peers.values())
                    for w in ("psnr", "ssim")
                ]
                for peers, ours in here
            ]
            psnr, ssim = (sum(one) / len(here) for one in zip(*over, strict=True))
            cells.append(f"{psnr:+.2f} (least {min(over)[0]:+.2f}), {ssim:+.3f}")
        found.append(cells)
    return found


def _cell(scores: Scores) -> str:
    return f"{scores.psnr:.2f} / {scores.ssim:.3f}"


def _peers(scan: Scan, acceleration: float, n_slices: int, grid: Sequence[float]) -> dict[str, Scores]:
    """Zero-filled, and cs and wavelet at their best weight."""
    found = {"zero-filled": _scores(scan, "zero-filled", acceleration, n_slices)}
    for method, key in (("cs", "tv_weight"), ("wavelet", "wavelet_weight")):
        tried = [_scores(scan, method, acceleration, n_slices, settings={key: weight}) for weight in grid]
        found[method] = max(tried, key=lambda scores: scores.psnr)
    return found


def _scores(
    scan: Scan,
    method: str,
    acceleration: float,
    n_slices: int,
    *,
    settings: dict[str, Any] | None = None,
    weights: Path | None = None,
) -> Scores:
    first = max(0, (scan.n_slices - n_slices) // 2) if n_slices else 0
    stop = min(scan.n_slices, first + n_slices) if n_slices else scan.n_slices
    result = reconstruct(
        scan, method, acceleration=acceleration, settings=settings, weights=weights, slices=(first, stop)
    )
    assert result.target is not None
    each = [score(result.target[i : i + 1], result.image[i : i + 1]) for i in range(len(result.image))]
    psnr, ssim = (sum(getattr(one, what) for one in each) / len(each) for what in ("psnr", "ssim"))
    weight = None if settings is None else next(iter(settings.values()))
    return Scores(psnr, ssim, weight if isinstance(weight, float) else None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="measure_weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("scans", nargs="+", metavar="SCANS", help="files or folders")
    add("-o", "--output", type=Path, help="Markdown table; the figures of the peers as JSON beside it")
    add("--method", action="append", choices=("varnet", "unet"), help="only this; repeatable")
    add("--weights", type=Path, help="weights other than the shipped ones; with one --method")
    add("--combination", choices=("rss", "maps"), default="rss", help="of the networks' coil images")
    add(
        "--mean",
        action="store_true",
        help="a last row a number of coils and acceleration: means over the scans",
    )
    add("--peers", type=Path, help="figures of the peers, of an earlier run")
    add("--grid", type=float, nargs="+", default=WEIGHTS, metavar="λ", help="weights tried, for both peers")
    add("--slices", type=int, default=0, metavar="N", help="slices of a volume, around its middle")
    asked = parser.parse_args()
    if asked.weights and len(asked.method or ()) != 1:
        parser.error("--weights goes with exactly one --method")
    return asked


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MriReconError as error:
        sys.exit(f"Error: {error}")
