"""A folder of scans by one or several methods, scored: one table of per-volume metrics.

>>> from mri_recon import evaluate
>>> table = evaluate("scans/", methods=["zero-filled", "cs"], pairs=[(4, 0.08), (8, 0.04)])  # doctest: +SKIP
>>> print(table.markdown())  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_recon.data.scan import Scan
from mri_recon.device import resolve_device
from mri_recon.errors import ScanError, SettingsError
from mri_recon.evaluation.chosen import described, made, refuse_unknown
from mri_recon.evaluation.definitions import checked
from mri_recon.evaluation.manifest import manifest
from mri_recon.evaluation.plan import Pair, Plan, plan_of
from mri_recon.evaluation.processes import events
from mri_recon.evaluation.sources import Scans
from mri_recon.evaluation.table import Evaluation, failure_text
from mri_recon.evaluation.work import Event, Outcome
from mri_recon.methods.base import Method
from mri_recon.physics.masks import Columns
from mri_recon.reconstruct import Reconstruction
from mri_recon.sharing.ranks import joined

OnVolume = Callable[[int, int, Scan, Reconstruction], None]

OnProgress = Callable[[int, int, Outcome], None]


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
    metrics: Sequence[str] = ("fastmri",),
    workers: int = 1,
    journal: str | Path | None = None,
    on_volume: OnVolume | None = None,
    on_progress: OnProgress | None = None,
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
    metrics
        Definitions besides fastMRI's, of `mri_recon.evaluation.definitions.DEFINITIONS`: columns of their own.
    workers
        Processes among which the scans are shared. The results do not depend on it. They import the program that calls
        this, which must therefore begin its work under ``if __name__ == "__main__"``.
    journal
        Folder where what is finished is kept, and found again by the next run; the caller removes it.
    on_volume
        Called after each reconstruction with how many are done and to do, the scan and the reconstruction.
    on_progress
        Called after each reconstruction with how many are done and to do, and what became of it, without the image,
        which then need be neither kept nor sent between processes.

    Under torchrun the scans are shared among its ranks, and each of them returns the whole table.

    Raises
    ------
    MriReconError
        A setting that cannot work, or nothing at all that could be scored. Files that fail among others are
        listed in `Evaluation.failures`.
    """
    chosen = methods_of(methods, settings or {}, weights, device)
    scans = Scans.of(data)
    plan = plan_of(
        chosen,
        pairs,
        mask,
        seed=seed,
        slices=slices,
        device=device,
        metrics=checked(metrics),
        images=on_volume is not None,
        journal=None if journal is None else Path(journal),
    )
    found: dict[int, list[Event]] = {index: [] for index in range(len(scans))}
    done, total = 0, len(scans) * plan.cells
    opened: dict[int, Scan] = {}
    with joined() as ranks:
        for index, event in events(scans.sources, plan, workers, ranks):
            if isinstance(event, Outcome):
                done += event.cells
                if event.result is not None and on_volume is not None and ranks.first:
                    if index not in opened:
                        opened = {index: scans.opened(index)}
                    on_volume(done, total, opened[index], event.result)
                if on_progress is not None and ranks.first:
                    on_progress(done, total, event)
            found[index].append(event.without_image() if isinstance(event, Outcome) else event)
    return _assembled([event for index in found for event in found[index]], scans, plan)


def methods_of(
    methods: Sequence[str | Method], settings: Mapping[str, Any], weights: str | Path | None, device: str
) -> tuple[Method, ...]:
    """Methods made of their names, checked before the work begins.

    Raises
    ------
    SettingsError
        Settings, weights or a device that cannot be used, or one method twice.
    """
    refuse_unknown(settings, methods)
    chosen = tuple(made(method, settings, weights) for method in methods)
    if weights is not None and not any(method.learned for method in chosen):
        raise SettingsError("None of the methods takes weights. Leave --weights out, or add --method unet.")
    names = [name for name, _ in described(chosen)]
    learned = [name for name, method in zip(names, chosen, strict=True) if method.learned]
    if weights is not None and len(set(learned)) > 1:
        raise SettingsError(
            f"Weights are those of one network, and methods {' and '.join(learned)} would both be given {weights}. "
            "Evaluate one at a time, or leave --weights out."
        )
    if len(set(names)) < len(names):
        raise SettingsError(
            f"Methods {', '.join(names)}: one is there twice, and its scores would be mixed. Evaluate one at a time."
        )
    for method in chosen:
        resolve_device(device, learned=method.learned)
    return chosen


def _assembled(told: Sequence[Event], scans: Scans, plan: Plan) -> Evaluation:
    """One table of what was told of each scan, in the scans' order."""
    outcomes = [event for event in told if isinstance(event, Outcome)]
    volumes = tuple(outcome.score for outcome in outcomes if outcome.score is not None)
    # Methods fail alike on a scan that is broken: once is enough.
    failures = tuple(dict.fromkeys((o.name, o.failure) for o in outcomes if o.failure is not None))
    if not volumes:
        reason = f" {failure_text(*failures[0])}" if failures else ""
        raise ScanError(f"Nothing could be scored.{reason}")
    notes = [*scans.notes, *(note for outcome in outcomes for note in outcome.notes)]
    records = [event for event in told if not isinstance(event, Outcome)]
    return Evaluation(
        plan.settings(scans.description),
        volumes,
        failures,
        tuple(dict.fromkeys(notes)),
        manifest(records, plan.metrics, plan.methods),
    )
