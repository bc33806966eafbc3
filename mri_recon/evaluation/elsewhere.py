"""Images made elsewhere, scored against the targets of their scans."""

from __future__ import annotations

from pathlib import Path

import mri_recon
from mri_recon.data.storage import find_scans, read_first_slice, read_reconstruction, read_scan
from mri_recon.errors import MriReconError, ScanError
from mri_recon.evaluation.scores import VolumeScore
from mri_recon.evaluation.table import Evaluation, failure_text
from mri_recon.metrics import score


def score_reconstructions(folder: str | Path, targets: str | Path) -> Evaluation:
    """Score images made elsewhere: each file of `folder` against the target in the file of its name.

    Raises
    ------
    MriReconError
        No pair of files could be scored.
    """
    volumes: list[VolumeScore] = []
    failures: list[tuple[str, str]] = []
    for path in find_scans([targets]):
        try:
            scan = read_scan(path)
            if scan.target is None:
                raise ScanError("It has no target, so there is nothing to score against.")
            # `mri-recon reconstruct` writes .h5, whatever the scan is called.
            named = (Path(folder) / path.name, Path(folder) / path.with_suffix(".h5").name)
            made = next((file for file in named if file.exists()), None)
            if made is None:
                raise ScanError(f"{folder} holds no file of that name.")
            images = read_reconstruction(made)
            first = read_first_slice(made)
            # Images that do not say where they start are those of the whole volume.
            covered = slice(None) if first is None else slice(first, first + len(images))
            metrics = score(scan.target[covered], images)
        except MriReconError as error:
            failures.append((path.name, str(error)))
            continue
        nothing = VolumeScore(
            path.name, "reconstructions", scan.acquisition, None, None, None, "made elsewhere", None, "",
            len(images), metrics.nmse, metrics.psnr, metrics.ssim, 0.0, None,
        )  # fmt: skip
        volumes.append(nothing)
    if not volumes:
        reason = f" {failure_text(*failures[0])}" if failures else ""
        raise ScanError(f"Nothing could be scored.{reason}")
    described = {
        "version": mri_recon.__version__,
        "reconstructions": str(folder),
        "targets": str(targets),
        "metrics": "per volume, centre square of the target's width, data_range = target volume's maximum",
    }
    return Evaluation(described, tuple(volumes), tuple(failures))
