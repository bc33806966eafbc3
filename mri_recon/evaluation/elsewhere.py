"""Images made elsewhere, scored against the targets of their scans."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mri_recon
from mri_recon.data.formats.registry import read_scan
from mri_recon.data.storage import find_scans, read_first_slice, read_reconstruction
from mri_recon.errors import MriReconError, ScanError, SettingsError
from mri_recon.evaluation.definitions import DEFINITIONS, checked, definition_texts, other_scores
from mri_recon.evaluation.manifest import manifest, target_record
from mri_recon.evaluation.scores import VolumeScore
from mri_recon.evaluation.table import Evaluation, failure_text
from mri_recon.files import one_line
from mri_recon.metrics import Metrics, score
from mri_recon.solvers.threads import in_order, n_threads


@dataclass(frozen=True)
class Made:
    """A volume that was made elsewhere, `(slice, h, w)`, beside the target that it was scored against."""

    name: str
    image: NDArray[np.floating]
    target: NDArray[np.floating]
    first_slice: int
    metrics: Metrics


METHOD = "reconstructions"
"""What images made elsewhere are called in the place of a method."""


def score_reconstructions(
    folder: str | Path,
    targets: str | Path,
    *,
    metrics: Sequence[str] = ("fastmri",),
    on_volume: Callable[[Made], None] | None = None,
) -> Evaluation:
    """Score images made elsewhere: each file of `folder` against the target in the file of its name.

    Parameters
    ----------
    metrics
        Definitions of scores beside fastMRI's, those that need no k-space.
    on_volume
        Called with each volume that was scored, in their order.

    Raises
    ------
    MriReconError
        No pair of files could be scored.
    """
    definitions = checked(metrics)
    if "residual" in definitions:
        raise SettingsError(
            "Metric residual needs complex images, which files of reconstructions do not hold. Leave it out."
        )
    if not Path(folder).is_dir():
        raise ScanError(f"{one_line(folder)} is no folder. Name the folder of the reconstructions.")
    paths = find_scans([targets])

    def one(path: Path) -> _Scored | tuple[str, str]:
        try:
            return _score_one(path, Path(folder), definitions)
        except MriReconError as error:
            return path.name, str(error)

    volumes: list[VolumeScore] = []
    files: list[dict[str, Any]] = []
    failures: list[tuple[str, str]] = []
    # Reading, hashing and scoring let go of the interpreter, so that threads share them.
    for found in in_order(one, paths, min(n_threads(), len(paths))):
        if not isinstance(found, _Scored):
            failures.append(found)
            continue
        volumes.append(found.score)
        files.append(found.record)
        if on_volume is not None:
            on_volume(found.made)
    if not volumes:
        reason = f" {failure_text(*failures[0])}" if failures else ""
        raise ScanError(f"Nothing could be scored.{reason}")
    described = {
        "version": mri_recon.__version__,
        "reconstructions": str(folder),
        "targets": str(targets),
        "definitions": definition_texts(definitions),
        "metrics": DEFINITIONS["fastmri"],
    }
    return Evaluation(described, tuple(volumes), tuple(failures), manifest=manifest(files, definitions))


@dataclass(frozen=True)
class _Scored:
    score: VolumeScore
    record: dict[str, Any]
    made: Made


def _score_one(path: Path, folder: Path, definitions: tuple[str, ...]) -> _Scored:
    started = time.perf_counter()
    scan = read_scan(path)
    if scan.target is None:
        raise ScanError("It has no target, so there is nothing to score against.")
    # `mri-recon reconstruct` writes .h5, whatever the scan is called.
    named = (folder / path.name, folder / path.with_suffix(".h5").name)
    made = next((file for file in named if file.exists()), None)
    if made is None:
        raise ScanError(f"{folder} holds no file of that name.")
    images = read_reconstruction(made)
    first = read_first_slice(made)
    # Images that do not say where they start are those of the whole volume.
    covered = slice(None) if first is None else slice(first, first + len(images))
    whole = scan.target[:]
    target = whole[covered]
    scores, others = score(target, images), other_scores(definitions, target, images, None)
    record = target_record(path, whole, made, covered, scan.acquisition)
    found = VolumeScore(
        path.name, METHOD, scan.acquisition, None, None, None, "made elsewhere", None, "",
        len(images), scores.nmse, scores.psnr, scores.ssim, time.perf_counter() - started, None, others,
    )  # fmt: skip
    return _Scored(found, record, Made(path.name, images, target, covered.start or 0, scores))
