"""What one volume by one method scored, and how it was sampled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mri_recon.data.sampling import AS_ACQUIRED
from mri_recon.data.scan import Scan
from mri_recon.metrics import Metrics
from mri_recon.reconstruct import Reconstruction

METRICS = ("nmse", "psnr", "ssim")


@dataclass(frozen=True)
class VolumeScore:
    """The metrics of one volume by one method, and how it was sampled.

    `acceleration` is the nominal one, None where it is not known; `others` are scores under other definitions
    (`mri_recon.evaluation.definitions`), by column.
    """

    file: str
    method: str
    acquisition: str
    acceleration: float | None
    center_fraction: float | None
    effective_acceleration: float | None
    mask: str
    lines: int | None
    mask_sha256: str
    slices: int
    nmse: float
    psnr: float
    ssim: float
    seconds: float
    converged: bool | None
    others: Mapping[str, float | None] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """Its columns, other measures last."""
        row = asdict(self)
        others: dict[str, Any] = row.pop("others")
        return row | others

    def value(self, column: str) -> float:
        """A metric or measure by name; not a number where it is not known."""
        found = self.others.get(column) if column not in METRICS else getattr(self, column)
        return math.nan if found is None else float(found)


def volume_score(
    scan: Scan, result: Reconstruction, metrics: Metrics, others: Mapping[str, float | None]
) -> VolumeScore:
    """Scores of a reconstruction, with what is known of its sampling."""
    mask = result.mask
    nominal = mask.acceleration
    if mask.kind == AS_ACQUIRED:
        # fastMRI's test files name the acceleration that their mask was made for.
        stated = scan.attributes.get("acceleration")
        nominal = float(stated) if isinstance(stated, int | float) and stated >= 1 else None
    return VolumeScore(
        file=scan.name,
        method=result.method,
        acquisition=scan.acquisition,
        acceleration=nominal,
        center_fraction=mask.center_fraction,
        effective_acceleration=round(mask.effective_acceleration, 2),
        mask=mask.kind,
        lines=mask.n_lines,
        mask_sha256=mask.sha256,
        slices=len(result.image),
        nmse=metrics.nmse,
        psnr=metrics.psnr,
        ssim=metrics.ssim,
        seconds=result.seconds,
        converged=result.converged,
        others=others,
    )


def acceleration_text(volume: VolumeScore) -> str:
    """Nominal acceleration, or the kind of mask where none is known."""
    return volume.mask if volume.acceleration is None else f"{volume.acceleration:g}"
