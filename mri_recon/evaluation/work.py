"""One scan of an evaluation, by all methods at all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mri_recon.data.formats.registry import read_scan
from mri_recon.data.sampling import AS_ACQUIRED
from mri_recon.data.scan import Scan
from mri_recon.errors import MriReconError, ScanError
from mri_recon.evaluation.definitions import other_scores
from mri_recon.evaluation.journal import Journal, entry_name
from mri_recon.evaluation.manifest import file_record, scan_sha256, slices_sha256
from mri_recon.evaluation.plan import Pair, Plan
from mri_recon.evaluation.scores import VolumeScore, volume_score
from mri_recon.inspection.find import crime_notes
from mri_recon.methods.base import Method
from mri_recon.reconstruct import Reconstruction, reconstruct


@dataclass(frozen=True)
class Outcome:
    """What became of one scan by one method at one pair.

    Parameters
    ----------
    score
        None where it failed, or needed not be done because the pair does not apply to the scan.
    result
        Its image is left out unless the plan wants images.
    cells
        How many reconstructions of the plan it stands for.
    resumed
        Whether it comes from the journal.
    """

    name: str
    score: VolumeScore | None = None
    failure: str | None = None
    notes: tuple[str, ...] = ()
    result: Reconstruction | None = None
    cells: int = 1
    resumed: bool = False

    def without_image(self) -> Outcome:
        """The same, light enough to be kept for all scans."""
        return replace(self, result=None)


Event = dict[str, Any] | Outcome
"""A scan's record in the manifest, or an outcome."""


def work_on(source: Path | Scan, plan: Plan) -> Iterator[Event]:
    """The outcome of each method at each pair as it is finished, then the scan's record."""
    name = source.name
    try:
        scan = source if isinstance(source, Scan) else read_scan(source)
        if scan.target is None:
            raise ScanError("It has no target, so there is nothing to score against.")
        sha256 = scan_sha256(scan)
    except (MriReconError, MemoryError) as error:
        yield Outcome(name, failure=_reason(error), cells=plan.cells)
        return
    scores: list[VolumeScore] = []
    as_acquired = False
    for pair in plan.pairs or (None,):
        if as_acquired:  # what the file dictates is the same at every pair
            yield Outcome(name, cells=len(plan.methods))
            continue
        for method in plan.methods:
            outcome = _outcome(scan, sha256, method, pair, plan)
            if (score := outcome.score) is not None:
                if not scores:
                    outcome = replace(outcome, notes=(*outcome.notes, *crime_notes(scan, plan.slices)))
                scores.append(score)
                as_acquired = score.mask == AS_ACQUIRED
            yield outcome
    if scores:
        yield file_record(scan, plan.slices, scores, sha256)


def _outcome(scan: Scan, sha256: str, method: Method, pair: Pair | None, plan: Plan) -> Outcome:
    journal = None if plan.journal is None else Journal(plan.journal)
    key = ""
    try:
        if journal is not None:
            key = entry_name({**_known_of(scan), "sha256": sha256, **plan.key_of(method, pair)})
            kept = journal.find(key, scan, image=plan.images)
            if kept is not None:
                return _told(*kept, images=plan.images, resumed=True)
        acceleration, center_fraction = pair or (None, None)
        result = reconstruct(
            scan,
            method,
            mask=plan.mask,
            acceleration=acceleration,
            center_fraction=center_fraction,
            seed=plan.seed,
            slices=plan.slices,
            device=plan.device,
            residual="residual" in plan.metrics,
        )
        if result.metrics is None or result.target is None:
            return Outcome(scan.name, failure=result.notes[-1])
        others = other_scores(plan.metrics, result.target, result.image, result.kspace_residual)
        score = volume_score(scan, result, result.metrics, others)
        if journal is not None:
            journal.keep(key, score, result, image=plan.images)
        return _told(score, result, images=plan.images, resumed=False)
    except (MriReconError, MemoryError) as error:
        return Outcome(scan.name, failure=_reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "Out of memory. Use fewer --workers or --slices, or a larger machine."
    return str(error)


def _known_of(scan: Scan) -> dict[str, Any]:
    """What scores depend on that a file's hash may not cover: the name, which seeds masks, and what lies elsewhere."""
    apart = scan.path is None or not scan.path.is_file()
    return {
        "file": scan.name,
        "shape": list(scan.kspace.shape),
        "target": slices_sha256(scan.target) if apart and scan.target is not None else None,
        "mask": None if scan.mask is None else [int(i) for i in scan.mask.nonzero()[0]],
    }


def _told(score: VolumeScore, result: Reconstruction, *, images: bool, resumed: bool) -> Outcome:
    notes = [f"{score.file}: {note}" for note in result.notes]
    if score.converged is False:
        notes.append(f"{score.file}: {score.method} stopped before it converged.")
    return Outcome(score.file, score, None, tuple(notes), result if images else None, resumed=resumed)
