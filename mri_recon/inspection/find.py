"""All detectors on one scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mri_recon.data.scan import Scan
from mri_recon.errors import ScanError
from mri_recon.inspection.crimes import conjugate_symmetric, masked_already, zero_padded
from mri_recon.inspection.finding import Finding
from mri_recon.inspection.noise import noise_findings
from mri_recon.inspection.rounding import grey_levels, jpeg_blocks, quantised
from mri_recon.inspection.support import Kspace, scale_of, strongest_coils
from mri_recon.inspection.target import Image, target_mismatch

CRIMES = {
    "zero-padded": "interpolated: the outside of k-space is empty",
    "conjugate-symmetric": "made from a magnitude image",
    "empty-noise-floor": "background blanked, or generated without noise",
    "denoised": "what noise is left is smooth",
    "filtered-corners": "the border of k-space was filtered away",
    "already-masked": "undersampled, and the file does not say so",
    "quantised": "values rounded as coarsely as the noise",
    "grey-levels": "made from a picture of whole numbers",
    "jpeg-blocks": "made from a JPEG picture",
    "target-mismatch": "the target is not the image of this k-space",
    "stated": "the file says itself that it is one",
}
"""Short names and what they mean."""

_COILS = 4
"""As many as tell of a processing that was done to all alike."""


def examine(
    kspace: Kspace,
    target: Image | None = None,
    *,
    padding: tuple[int, int] | None = None,
    declared_mask: bool = False,
) -> tuple[Finding, ...]:
    """Every detector on one slice, found or not, in the order of `CRIMES`; the last one only with a target.

    Parameters
    ----------
    kspace, target
        `(coil, height, width)`, and `(h, w)` where the scan has a target.
    padding
        First column that the header says was measured and one past the last.
    declared_mask
        Whether the file carries a mask that leaves columns out.
    """
    few = strongest_coils(kspace, _COILS)
    findings = [
        zero_padded(few, padding),
        conjugate_symmetric(few),
        *noise_findings(few),
        masked_already(few, declared_mask),
        quantised(few),
        grey_levels(kspace),
        jpeg_blocks(kspace),
    ]
    if target is not None:
        findings.append(target_mismatch(kspace, target, undersampled=declared_mask))
    return tuple(findings)


def examine_slice(scan: Scan, index: int, kspace: Kspace | None = None) -> tuple[Finding, ...]:
    """`examine` one slice of a scan, with all that the scan knows; none where the slice is empty.

    Parameters
    ----------
    kspace
        The slice, if it was read already.

    Raises
    ------
    ScanError
        The slice cannot be read.
    """
    one = slice(index, index + 1)
    kspace = scan.kspace[one][0] if kspace is None else kspace
    if not kspace.any():
        return ()
    scale = scale_of(kspace)
    target = None if scan.target is None else scan.target[one][0]
    if scale != 1:
        with np.errstate(over="ignore"):  # a target of quite another scale than its k-space is none of it
            kspace, target = kspace * scale, None if target is None else target * scale
    findings = examine(
        kspace,
        target,
        padding=scan.header.padding,
        declared_mask=scan.mask is not None and not bool(scan.mask.all()),
    )
    return (*findings, stated(scan))


def stated(scan: Scan) -> Finding:
    """What `mri-recon simulate` stamps into a scan that it made of magnitude images."""
    told = str(scan.attributes.get("data_crime", ""))
    text = f"The file says of itself: {told}" if told.startswith("Data crime") else ""
    return Finding("stated", float(bool(text)), 0.5, "whether the file says so", text)


def telling_slices(n_slices: int) -> list[int]:
    """The middle slice, then those half-way to the ends: what is looked at where not all is."""
    return list(dict.fromkeys([n_slices // 2, n_slices // 4, (3 * n_slices) // 4]))


def merge(rounds: Sequence[tuple[Finding, ...]]) -> tuple[Finding, ...]:
    """Of each detector the middle one of its findings in several slices; of two, the one that was found."""
    merged = []
    for findings in zip(*(findings for findings in rounds if findings), strict=True):
        ordered = sorted(findings, key=lambda finding: (finding.found, finding.value))
        merged.append(ordered[len(ordered) // 2])
    return tuple(merged)


def find_crimes(scan: Scan, slices: Sequence[int] | None = None) -> tuple[Finding, ...]:
    """Every detector on some slices of a scan; three about the middle of the volume by default.

    Raises
    ------
    ScanError
        A slice cannot be read.
    """
    return merge([examine_slice(scan, i) for i in slices or telling_slices(scan.n_slices)])


def crime_notes(scan: Scan, slices: tuple[int, int] | None = None) -> list[str]:
    """What was found, for the notes beside a score: file, then a sentence or two; nothing on a sound scan.

    A slice that cannot be read has nothing said of it here: whoever reconstructs it will.

    Parameters
    ----------
    slices
        First slice and one past the last of those that are scored; all of them by default.
    """
    chosen = range(scan.n_slices)[slice(*slices)] if slices else range(scan.n_slices)
    if not chosen:
        return []
    try:
        findings = find_crimes(scan, [chosen[i] for i in telling_slices(len(chosen))])
    except ScanError:
        return []
    return [f"{scan.name}: {finding.text}" for finding in findings if finding.found]
