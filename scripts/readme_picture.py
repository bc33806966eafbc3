#!/usr/bin/env python
"""Draw the picture of the README: one slice of a scan by every method, and their errors.

scripts/readme_picture.py midas_brain_7ch.h5 docs/images/brain.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from mri_recon import read_scan, reconstruct
from mri_recon.catalog import ready_methods
from mri_recon.report.figures import write_comparison


def main() -> int:
    scan = read_scan(sys.argv[1])
    middle = scan.n_slices // 2
    results = [reconstruct(scan, method, slices=(middle, middle + 1)) for method in ready_methods()]
    images = {f"{r.method} {r.metrics.psnr:.1f} dB": r.image[0] for r in results if r.metrics}
    write_comparison(Path(sys.argv[2]), images, results[0].target[0], overwrite=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
