"""A folder of scans by one or several methods, scored: one table of per-volume metrics.

>>> from mri_recon import evaluate
>>> table = evaluate("scans/", methods=["zero-filled", "cs"], pairs=[(4, 0.08), (8, 0.04)])  # doctest: +SKIP
>>> print(table.markdown())  # doctest: +SKIP
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mri_recon
from mri_recon.data.sampling import AS_ACQUIRED
from mri_recon.data.scan import Scan
from mri_recon.device import resolve_device
from mri_recon.errors import MriReconError, ScanError, SettingsError
from mri_recon.evaluation.chosen import described, made, refuse_unknown
from mri_recon.evaluation.scores import VolumeScore, volume_score
from mri_recon.evaluation.sources import Scans
from mri_recon.evaluation.table import Evaluation, failure_text
from mri_recon.methods.base import Method
from mri_recon.physics.masks import Columns
from mri_recon.reconstruct import Reconstruction, reconstruct

Pair = tuple[float, float | None]
"""Acceleration and center_fraction; None lets the acceleration choose its usual centre."""


OnVolume = Callable[[int, int, Scan, Reconstruction], None]


def evaluate(
    data: str | Path | Scan | Iterable[str | Path | Scan] | None = None,
    methods: Sequence[str | Method] = ("zero-filled", "cs"),
    *,
    pairs: Sequence[Pair] | None = None,
    mask: str | Columns | Path | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    slices: tuple[int, int] | None = None,
    device: str = "auto",
    on_volume: OnVolume | None = None,
) -> Evaluation:
    """Reconstruct every scan by every method at every (acceleration, center_fraction), and score it.

    Parameters
    ----------
    data
        A folder, files, or scans; by default the built-in generated test set.
    methods
        Names, or methods made beforehand.
    pairs
        Each is evaluated, by default 4 with 0.08; a scan that was undersampled already is used as acquired, once.
    settings, weights
        For the methods named that know them.
    slices
        First slice and one past the last, of each scan.
    on_volume
        Called after each reconstruction with how many are done and to do, the scan and the reconstruction.

    Raises
    ------
    MriReconError
        A setting that cannot work, or nothing at all that could be scored. Files that fail among others are
        listed in `Evaluation.failures`.
    """
    refuse_unknown(settings or {}, methods)
    chosen_methods = [made(method, settings or {}, weights) for method in methods]
    if weights is not None and not any(method.learned for method in chosen_methods):
        raise SettingsError("None of the methods takes weights. Leave --weights out, or add --method unet.")
    names = [name for name, _ in described(chosen_methods)]
    if len(set(names)) < len(names):
        raise SettingsError(
            f"Methods {', '.join(names)}: one is there twice, and its scores would be mixed. Evaluate one at a time."
        )
    for method in chosen_methods:
        resolve_device(device, learned=method.learned)
    scans = Scans.of(data)
    chosen: Sequence[tuple[float | None, float | None]] = pairs or ((None, None),)
    total = len(scans) * len(chosen_methods) * len(chosen)
    volumes: list[VolumeScore] = []
    failures: list[tuple[str, str]] = []
    notes: list[str] = list(scans.notes)
    done = 0
    for name, scan in scans.read(failures):
        if scan is None or scan.target is None:
            if scan is not None:
                failures.append((name, "It has no target, so there is nothing to score against."))
            done += len(chosen_methods) * len(chosen)
            continue
        as_acquired = False
        for acceleration, center_fraction in chosen:
            for method in chosen_methods:
                done += 1
                if as_acquired:
                    continue
                try:
                    result = reconstruct(
                        scan,
                        method,
                        mask=mask,
                        acceleration=acceleration,
                        center_fraction=center_fraction,
                        seed=seed,
                        slices=slices,
                        device=device,
                    )
                except MriReconError as error:
                    failures.append((name, str(error)))
                    continue
                if result.metrics is None:
                    failures.append((name, result.notes[-1]))
                    continue
                volumes.append(volume_score(scan, result, result.metrics))
                notes.extend(f"{name}: {note}" for note in result.notes)
                if volumes[-1].converged is False:
                    notes.append(f"{name}: {result.method} stopped before it converged.")
                if on_volume is not None:
                    on_volume(done, total, scan, result)
            # What the file dictates is the same at every pair.
            as_acquired = bool(volumes) and volumes[-1].file == name and volumes[-1].mask == AS_ACQUIRED
    if not volumes:
        reason = f" {failure_text(*failures[0])}" if failures else ""
        raise ScanError(f"Nothing could be scored.{reason}")
    run_settings = {
        "version": mri_recon.__version__,
        "python": platform.python_version(),
        "data": scans.description,
        "methods": {result: dict(values) for result, values in described(chosen_methods)},
        "pairs": [list(pair) for pair in pairs or ((4.0, 0.08),)],
        "mask": "array" if isinstance(mask, np.ndarray) else str(mask or "random"),
        "seed": "file name" if seed is None else seed,
        "slices": list(slices) if slices else None,
        "metrics": "per volume, centre square of the target's width, data_range = target volume's maximum",
    }
    # Methods fail alike on a scan that is broken: once is enough.
    return Evaluation(
        run_settings, tuple(volumes), tuple(dict.fromkeys(failures)), tuple(dict.fromkeys(notes))
    )
