#!/usr/bin/env python
"""How far from the optimum compressed sensing stops at its default tolerance, on measured scans.

    scripts/measure_convergence.py SCANS…

The optimum is a run of the same solver to a tolerance ten times smaller (that the solver reaches the optimum
of an independent one is a test). Prints a Markdown table: the relative gap of the objective, f / f* − 1, and by how
much the PSNR against the scan's target differs.
"""

from __future__ import annotations

import sys

import numpy as np

from mri_recon import read_scan
from mri_recon.data.sampling import Sampling, choose_mask
from mri_recon.data.storage import find_scans
from mri_recon.methods.tv import TotalVariation
from mri_recon.metrics import score
from mri_recon.physics.differences import total_variation
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.operators import sense_operator
from mri_recon.reconstruct import kspace_scale


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    print("| scan | R | λ | iterations | gap | ΔPSNR (dB) |")
    print("|---|---|---|---|---|---|")
    for path in find_scans(sys.argv[1:]):
        scan = read_scan(path)
        if scan.target is None:
            continue
        for acceleration in (4, 8):
            mask, _ = choose_mask(scan, Sampling.of(acceleration=acceleration))
            kspace = scan.kspace[0:1] * mask.columns
            scale = kspace_scale(kspace, mask.columns)
            kspace = (kspace / scale).astype(np.complex64)
            columns = mask.columns[None, None, None]
            maps = estimate_maps(kspace, mask.columns) if scan.n_coils > 1 else None
            A = sense_operator(columns, np.ones_like(kspace) if maps is None else maps)
            for weight in (0.002, 0.01):
                found = {}
                usual = TotalVariation(tv_weight=weight)
                usually = usual.tolerance_for(several_coils=maps is not None)
                for tolerance, iterations in ((usually, usual.iterations), (usually / 10, 3000)):
                    ends = []
                    method = TotalVariation(tv_weight=weight, tolerance=tolerance, iterations=iterations)
                    x = method(kspace, columns, maps, ends.append).astype(np.complex128)
                    misfit = float(np.sum(np.abs(A(x) - kspace) ** 2)) / 2
                    image = (center_crop(np.abs(x), scan.crop_shape) * scale[0]).astype(np.float32)
                    objective = misfit + weight * float(total_variation(x)[0])
                    found[tolerance] = objective, score(scan.target[0:1], image).psnr, ends[0].iterations
                (ours, psnr, steps), (best, best_psnr, _) = found.values()
                gap, difference = ours / best - 1, psnr - best_psnr
                name = scan.name
                print(
                    f"| {name} | {acceleration} | {weight:g} | {steps} | {gap:.1e} | {difference:+.3f} |",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
