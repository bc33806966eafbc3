#!/usr/bin/env python
"""Where a network's image is worse than the zero-filled one: a search over what may be asked of it.

    scripts/measure_safety.py SCANS -n 200 [--method varnet] [--weights FILE] [--seed 0]

Each of N draws takes one of the measured scans or makes one (a head or a synthetic image of 64 to 640 pixels a side,
odd ones too, 1 to 32 coils, noise from 0.1 to 10 % of the peak), draws an acceleration from 1 to 12, a centre and a
kind of mask, and scores both images against the target. Prints the draws below zero-filled in PSNR, by how much, and
quantiles of the gain. At acceleration 1 the image is to be the fully sampled one to 1e-3 of its norm, and counts as
lost otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from mri_recon import read_scan, reconstruct
from mri_recon.catalog import MASKS
from mri_recon.data.phantom import random_slice
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans
from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import MriReconError
from mri_recon.methods.base import Method
from mri_recon.reconstruct import make_method

COILS = (1, 1, 2, 3, 4, 8, 15, 16, 32)
MOST_VALUES = 640 * 372 * 8
"""Values of k-space a generated slice may have: larger ones would take most of the time."""


def main() -> int:
    asked = _arguments()
    rng = np.random.default_rng(asked.seed)
    measured = [read_scan(path) for path in find_scans(asked.scans)] if asked.scans else []
    method = make_method(asked.method, None, asked.weights)
    gains, losses = [], []
    for number in range(asked.n):
        scan, what = _measured(rng, measured) if measured and rng.random() < 0.5 else _generated(rng)
        acceleration = float(np.round(rng.choice([1, rng.uniform(1, 12), 4, 8]), 2))
        center = float(np.round(rng.uniform(0.25, 0.45) / max(acceleration, 1.5), 3))
        kind = str(rng.choice(list(MASKS)))
        if kind in ("equispaced", "magic"):
            acceleration = round(acceleration)
        asking = f"{what}, {kind} {acceleration:g}× with {center:g}"
        try:
            gain = _gain(scan, method, kind, acceleration, center, number)
        except MriReconError as error:  # a mask that cannot be: too few columns for its centre
            print(f"not possible: {asking}: {error}", file=sys.stderr)
            continue
        gains.append(gain)
        if gain < -0.005:
            losses.append((gain, asking))
        print(f"{gain:+.2f} dB: {asking}", file=sys.stderr, flush=True)
    low, middle, high = np.percentile(gains, [5, 50, 95])
    print(f"{asked.method}: {len(gains)} draws, {len(losses)} below zero-filled. ", end="")
    print(f"Gain in dB: least {min(gains):+.2f}, 5 % {low:+.2f}, median {middle:+.2f}, 95 % {high:+.2f}.")
    for gain, asking in sorted(losses):
        print(f"- {gain:+.2f} dB: {asking}")
    return 0


def _gain(scan: Scan, method: Method, kind: str, acceleration: float, center: float, seed: int) -> float:
    """PSNR over zero-filled, in dB; at acceleration 1, 0 for the fully sampled image and -inf for any other."""
    zero_filled, learned = (
        reconstruct(scan, one, mask=kind, acceleration=acceleration, center_fraction=center, seed=seed)
        for one in ("zero-filled", method)
    )
    assert zero_filled.metrics is not None
    assert learned.metrics is not None
    if acceleration == 1:
        distance = np.linalg.norm(learned.image - zero_filled.image)
        return 0.0 if distance <= 1e-3 * np.linalg.norm(zero_filled.image) else -np.inf
    return learned.metrics.psnr - zero_filled.metrics.psnr


def _measured(rng: np.random.Generator, scans: list[Scan]) -> tuple[Scan, str]:
    scan = scans[rng.integers(len(scans))]
    return scan, scan.name


def _generated(rng: np.random.Generator) -> tuple[Scan, str]:
    """One slice of random size, coils and noise, with its target as the scan's."""
    while True:
        height, width = (int(n) for n in rng.integers(64, 641, 2))
        n_coils = int(rng.choice(COILS))
        if height * width * n_coils <= MOST_VALUES:
            break
    noise = float(np.exp(rng.uniform(np.log(1e-3), np.log(0.1))))
    make = (random_slice, synthetic_slice)[rng.integers(2)]
    kspace, target = make(rng, height, width, n_coils, noise)
    name = f"{'head' if make is random_slice else 'synthetic'} {height}×{width}, {n_coils} coils, noise {noise:.3f}"
    return Scan(name, kspace[None], target[None]), name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="measure_safety", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("scans", nargs="*", metavar="SCANS", help="measured scans, files or folders")
    add("-n", type=int, default=200, metavar="N", help="draws (default 200)")
    add("--method", default="varnet", choices=("varnet", "unet"))
    add("--weights", type=Path, help="weights other than the shipped ones")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MriReconError as error:
        sys.exit(f"Error: {error}")
