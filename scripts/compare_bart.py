#!/usr/bin/env python
"""Compare compressed sensing with BART's at the same weight of total variation, on measured scans.

    scripts/compare_bart.py SCANS… [--acceleration 4 --center-fraction 0.08] [--weights 0.002 0.01]

Needs the program `bart` (Debian: apt-get install bart). BART's maps are `ecalib -m1` of the centre lines, its
reconstruction `pics -S -R T:7:0:λ -i 200`, as in fastMRI's baseline. BART scales k-space by its own rule, so its λ is
converted to ours with the scale it prints: λ · s is then equal, and both minimise the same function, each
with its own maps. Prints a Markdown table of PSNR and SSIM, and of the gain over zero-filled.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from mri_recon import read_scan, reconstruct
from mri_recon.data.sampling import Sampling, choose_mask
from mri_recon.data.storage import find_scans
from mri_recon.metrics import score
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import center_run
from mri_recon.reconstruct import kspace_scale


def write_cfl(path: Path, array: np.ndarray) -> None:
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> np.ndarray:
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F").squeeze()


def bart_tv(kspace: np.ndarray, n_center: int, weight: float) -> tuple[np.ndarray, float]:
    """BART's reconstruction of `(coil, height, width)` k-space, and the scale it divided by."""
    with tempfile.TemporaryDirectory() as folder:
        data, maps, image = (Path(folder) / name for name in ("kspace", "maps", "image"))
        write_cfl(data, kspace.transpose(1, 2, 0)[:, :, None, :])
        if len(kspace) == 1:
            write_cfl(maps, np.ones_like(kspace).transpose(1, 2, 0)[:, :, None, :])
        else:
            # BART's default kernel of 6 needs at least 12 lines.
            small = [] if n_center >= 12 else [f"-k{max(2, min(6, n_center // 2))}", f"-r{n_center}"]
            command = ["bart", "ecalib", "-m1", *small, str(data), str(maps)]
            subprocess.run(command, check=True, capture_output=True)
        command = ["bart", "pics", "-d5", "-S", "-R", f"T:7:0:{weight}", "-i", "200"]
        done = subprocess.run(
            [*command, *map(str, (data, maps, image))], check=True, capture_output=True, text=True
        )
        scale = re.search(r"Inverse scaling of the data: ([\d.eE+-]+)", done.stdout + done.stderr)
        if scale is None:
            raise RuntimeError("bart pics -d5 printed no scale")
        return read_cfl(image), float(scale.group(1))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", nargs="+")
    parser.add_argument("--acceleration", type=float, default=4)
    parser.add_argument("--center-fraction", type=float, default=0.08)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.002, 0.01])
    options = parser.parse_args()
    asked = {"acceleration": options.acceleration, "center_fraction": options.center_fraction}
    print("| scan | λ (BART) | zero-filled | BART TV | mri-recon cs | gain over BART (dB) |")
    print("|---|---|---|---|---|---|")
    for path in find_scans(options.scans):
        scan = read_scan(path)
        if scan.target is None:
            continue
        mask, _ = choose_mask(scan, Sampling.of(**asked))
        kspace = scan.kspace[0:1] * mask.columns
        target = scan.target[0:1]
        start, stop = center_run(mask.columns)
        base = reconstruct(scan, "zero-filled", slices=(0, 1), **asked).metrics
        ours_scale = float(kspace_scale(kspace, mask.columns)[0, 0, 0, 0])
        for weight in options.weights:
            image, scale = bart_tv(kspace[0], stop - start, weight)
            theirs = score(target, center_crop(np.abs(image)[None], target.shape[-2:]).astype(np.float32))
            settings = {"tv_weight": weight * scale / ours_scale}
            ours = reconstruct(scan, "cs", settings=settings, slices=(0, 1), **asked).metrics
            cells = [f"{m.psnr:.2f} / {m.ssim:.3f}" for m in (base, theirs, ours)]
            print(
                f"| {scan.name} | {weight:g} | {' | '.join(cells)} | {ours.psnr - theirs.psnr:+.2f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
