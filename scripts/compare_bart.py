#!/usr/bin/env python
"""Compare compressed sensing with BART's at the same weight of its regulariser, on measured scans.

    scripts/compare_bart.py SCANS… [--regulariser wavelet] [--same-maps] [--weights 0.002 0.01]
                                   [--acceleration 4 --center-fraction 0.08]

Needs the program `bart` (Debian: apt-get install bart). BART's maps are `ecalib -m1` of the centre lines, its
reconstruction `pics -S -R T:7:0:λ -i 200` for total variation, as in fastMRI's baseline, and `-R W:3:0:λ -i 100` for
wavelets. BART scales k-space by its own rule, so its λ is converted to ours with the scale it prints: λ · s is then
equal, and both minimise the same function (TV's up to mirroring: BART's differences look back), each with its own
maps, or both with BART's. Prints a Markdown table of PSNR and SSIM, and of the gain over BART.
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
from mri_recon.methods.base import Method
from mri_recon.metrics import score
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import center_run
from mri_recon.reconstruct import kspace_scale, make_method


def write_cfl(path: Path, array: np.ndarray) -> None:
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> np.ndarray:
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(shape, order="F").squeeze()


REGULARISERS = {
    "tv": ("cs", "tv_weight", ["-R", "T:7:0:{weight}", "-i", "200"]),
    "wavelet": ("wavelet", "wavelet_weight", ["-R", "W:3:0:{weight}", "-i", "100"]),
}
"""Our method, the setting that is its weight, and what tells BART to do the same."""


def bart(
    kspace: np.ndarray, n_center: int, how: list[str], weight: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """BART's image of `(coil, height, width)` k-space, its maps of that shape, and the scale it divided by."""
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
        command = ["bart", "pics", "-d5", "-S", *(word.format(weight=weight) for word in how)]
        done = subprocess.run(
            [*command, *map(str, (data, maps, image))], check=True, capture_output=True, text=True
        )
        scale = re.search(r"Inverse scaling of the data: ([\d.eE+-]+)", done.stdout + done.stderr)
        if scale is None:
            raise RuntimeError("bart pics -d5 printed no scale")
        smaps = read_cfl(maps).reshape(*kspace.shape[1:], len(kspace)).transpose(2, 0, 1)
        return read_cfl(image), smaps, float(scale.group(1))


def ours(
    kspace: np.ndarray, columns: np.ndarray, smaps: np.ndarray, method: Method, scale: float
) -> np.ndarray:
    """Our magnitude image of `(coil, height, width)` k-space with maps given, before it is cropped."""
    given = None if len(kspace) == 1 else np.ascontiguousarray(smaps, np.complex64)[None]
    image = method((kspace / scale).astype(np.complex64)[None], columns.reshape(1, 1, 1, -1), given)
    return np.abs(image) * scale


def cropped(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    return center_crop(image, target.shape[-2:]).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", nargs="+")
    parser.add_argument("--acceleration", type=float, default=4)
    parser.add_argument("--center-fraction", type=float, default=0.08)
    parser.add_argument("--regulariser", choices=REGULARISERS, default="tv")
    parser.add_argument("--same-maps", action="store_true", help="BART's maps for both")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.002, 0.01])
    options = parser.parse_args()
    asked = {"acceleration": options.acceleration, "center_fraction": options.center_fraction}
    name, key, how = REGULARISERS[options.regulariser]
    print(
        f"| scan | λ (BART) | zero-filled | BART {options.regulariser} | mri-recon {name} | gain over BART (dB) |"
    )
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
            image, smaps, scale = bart(kspace[0], stop - start, how, weight)
            theirs = score(target, cropped(np.abs(image)[None], target))
            settings = {key: weight * scale / ours_scale}
            if options.same_maps:
                found = ours(kspace[0], mask.columns, smaps, make_method(name, settings), ours_scale)
                metrics = score(target, cropped(found, target))
            else:
                metrics = reconstruct(scan, name, settings=settings, slices=(0, 1), **asked).metrics
            cells = [f"{m.psnr:.2f} / {m.ssim:.3f}" for m in (base, theirs, metrics)]
            print(
                f"| {scan.name} | {weight:g} | {' | '.join(cells)} | {metrics.psnr - theirs.psnr:+.2f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
