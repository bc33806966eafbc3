"""What a scan is and whether it is sound, without reading more than a few slices of it.

>>> from mri_recon.inspection.soundness import check_scan
>>> report = check_scan(read_scan("scan.h5"))  # doctest: +SKIP
>>> report.status, report.warnings  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.formats.registry import format_of, located, read_scans
from mri_recon.data.scan import Scan
from mri_recon.errors import MriReconError, ScanError
from mri_recon.inspection.contradictions import contradictions
from mri_recon.inspection.cost import Estimate, estimate
from mri_recon.inspection.find import examine_slice, merge, telling_slices
from mri_recon.inspection.finding import Finding
from mri_recon.inspection.support import Kspace, noise_levels, scale_of
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.masks import Columns, center_run

SOUND, WARNING, UNUSABLE = "sound", "warning", "unusable"


@dataclass(frozen=True)
class Lines:
    """Which columns of k-space were acquired.

    Parameters
    ----------
    kind
        "fully sampled", "mask in the file" or "columns missing".
    acquired
        `(width,)`.
    empty
        Columns before and after the data that hold nothing: padding, or partial Fourier.
    """

    kind: str
    acquired: Columns
    empty: tuple[int, int]

    @property
    def n_lines(self) -> int:
        """Columns acquired."""
        return int(self.acquired.sum())

    @property
    def effective_acceleration(self) -> float:
        """Width over columns acquired."""
        return self.acquired.size / max(self.n_lines, 1)

    @property
    def n_center_lines(self) -> int:
        """Columns acquired without a gap about the centre."""
        start, stop = center_run(self.acquired)
        return stop - start

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "sampling": self.kind,
            "lines": self.n_lines,
            "effective_acceleration": round(self.effective_acceleration, 2),
            "n_center_lines": self.n_center_lines,
            "empty_columns": list(self.empty),
        }


@dataclass(frozen=True)
class ScanReport:
    """What was found out about a scan.

    Parameters
    ----------
    status
        "sound", "warning" or "unusable".
    reason
        Why it is unusable, else empty; then all that is not known is None or empty.
    format
        Of the file, a name of `mri_recon.catalog.FORMATS`; empty for a scan that came from none.
    slices
        Those that were looked at.
    noise, snr
        Of each coil: the noise's standard deviation, in k-space's units, and the brightness of the brightest
        hundredth of its image over that; then the same of the root-sum-of-squares image.
    """

    name: str
    status: str
    reason: str = ""
    format: str = ""
    scan: Scan | None = None
    slices: tuple[int, ...] = ()
    lines: Lines | None = None
    noise: tuple[float, ...] = ()
    snr: tuple[float, ...] = ()
    snr_combined: float | None = None
    findings: tuple[Finding, ...] = ()
    contradictions: tuple[str, ...] = ()
    cost: Estimate | None = None

    @property
    def crimes(self) -> tuple[Finding, ...]:
        """Findings that are warnings."""
        return tuple(finding for finding in self.findings if finding.found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings, a sentence or two each."""
        return (*self.contradictions, *(finding.text for finding in self.crimes))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        scan = self.scan
        told: dict[str, Any] = {"file": self.name, "status": self.status, "reason": self.reason or None}
        if scan is None:
            return told
        told |= {
            "format": self.format,
            "acquisition": scan.acquisition,
            "slices": scan.n_slices,
            "coils": scan.n_coils,
            "height": scan.shape[0],
            "width": scan.shape[1],
            "target": None if scan.target is None else list(scan.target.shape),
            "slices_looked_at": list(self.slices),
        }
        told |= self.lines.as_dict() if self.lines is not None else {}
        return told | {
            "noise": [float(f"{v:.4g}") for v in self.noise],
            "snr": [round(v, 1) for v in self.snr],
            "snr_combined": None if self.snr_combined is None else round(self.snr_combined, 1),
            "contradictions": list(self.contradictions),
            "crimes": [finding.as_dict() for finding in self.findings],
            "estimate": None if self.cost is None else self.cost.as_dict(),
            "notes": list(scan.notes),
        }


ALL = 1 << 30
"""As many slices as there are."""


def check_file(
    path: str | Path, *, at_most: int = 3, options: ReadOptions | None = None
) -> tuple[ScanReport, ...]:
    """Check the scans of a file, looking at `at_most` slices of each; one that cannot be read is reported."""
    path = Path(path)
    try:
        scans = read_scans(path, options)
        name = format_of(located(path)).name
    except MriReconError as error:
        return (ScanReport(path.name, UNUSABLE, str(error)),)
    return tuple(replace(check_scan(scan, at_most=at_most), format=name) for scan in scans)


def check_scan(scan: Scan, *, at_most: int = 3) -> ScanReport:
    """Check a scan, looking at the middle slice, then two others, or with a larger `at_most` at every slice.

    Nothing is raised for a scan that cannot be used: the report says why.
    """
    telling = telling_slices(scan.n_slices)
    slices = telling[:at_most] if at_most <= 3 else [*telling, *(set(range(scan.n_slices)) - set(telling))]
    try:
        return _look(scan, slices)
    except MriReconError as error:
        return ScanReport(scan.name, UNUSABLE, str(error), scan=scan, slices=tuple(sorted(slices)))


def _look(scan: Scan, slices: Sequence[int]) -> ScanReport:
    rounds: list[tuple[Finding, ...]] = []
    filled = np.zeros(scan.shape[1], dtype=bool)
    silent = np.ones(scan.n_coils, dtype=bool)
    empty: list[int] = []
    levels: NDArray[np.floating[Any]] | None = None
    snr: NDArray[np.floating[Any]] = np.zeros(0)
    combined = None
    # The middle of the volume says most, and is looked at first.
    for index in slices:
        kspace = scan.kspace[index : index + 1][0]
        if not kspace.any():
            empty.append(index)
            continue
        filled |= (kspace != 0).any(axis=(0, 1))
        silent &= ~(kspace != 0).any(axis=(1, 2))
        rounds.append(examine_slice(scan, index, kspace))
        if levels is None:
            levels, snr, combined = _noise(kspace)
    if levels is None:
        raise ScanError(
            f"{scan.name}: k-space is zero in every slice looked at; there is nothing to reconstruct. Export it again."
        )
    lines = _lines(scan, filled)
    found = contradictions(scan, filled, empty, np.flatnonzero(silent).tolist(), len(slices) == scan.n_slices)
    findings = merge(rounds)
    status = WARNING if found or any(finding.found for finding in findings) else SOUND
    return ScanReport(
        name=scan.name,
        status=status,
        scan=scan,
        slices=tuple(sorted(slices)),
        lines=lines,
        noise=tuple(map(float, levels)),
        snr=tuple(map(float, snr)),
        snr_combined=combined,
        findings=findings,
        contradictions=tuple(found),
        cost=estimate(scan),
    )


def _noise(kspace: Kspace) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]], float | None]:
    """Noise of each coil, its signal-to-noise ratio, and that of the combined image; 0 where there is no noise."""
    scale = scale_of(kspace)
    kspace = kspace if scale == 1 else kspace * scale
    levels = noise_levels(kspace)
    images = ifftc(kspace)
    bright = np.quantile(np.abs(images).reshape(len(images), -1), 0.99, axis=1)
    snr = np.divide(bright, levels, out=np.zeros_like(bright), where=levels > 0)
    # Weighted by the coils' own brightness, the noise of a sum of squares is a mean of theirs.
    level = float(np.sqrt((levels**2 * bright**2).sum() / max(float((bright**2).sum()), 1e-300)))
    return levels / scale, snr, float(np.quantile(rss(images), 0.99)) / level if level > 0 else None


def _lines(scan: Scan, filled: Columns) -> Lines:
    where = np.flatnonzero(filled)
    first, last = int(where[0]), int(where[-1])
    acquired = filled if scan.mask is None else filled & scan.mask
    if scan.header.padding is not None:
        inside = np.zeros_like(filled)
        inside[slice(*scan.header.padding)] = True
        acquired = acquired & inside if (acquired & inside).any() else acquired
    if scan.mask is not None and not scan.mask.all():
        kind = "mask in the file"
    else:
        kind = "fully sampled" if filled[first : last + 1].all() else "columns missing"
    return Lines(kind, acquired if acquired.any() else filled, (first, filled.size - 1 - last))
