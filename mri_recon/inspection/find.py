"""All detectors on one scan."""

from __future__ import annotations

from collections.abc import Sequence

from mri_recon.data.scan import Scan
from mri_recon.inspection.crimes import conjugate_symmetric, masked_already, zero_padded
from mri_recon.inspection.finding import Finding
from mri_recon.inspection.noise import noise_findings
from mri_recon.inspection.rounding import grey_levels, jpeg_blocks, quantised
from mri_recon.inspection.support import Kspace, strongest_coils
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
    """Every detector on one slice, found or not, in the order of `CRIMES`.

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
        findings.append(target_mismatch(kspace, target, declared_mask))
    return tuple(findings)


def middle_slices(n_slices: int, at_most: int = 3) -> list[int]:
    """The middle slice first, then those around it that tell most of a volume."""
    chosen = [n_slices // 2, n_slices // 4, (3 * n_slices) // 4]
    return list(dict.fromkeys(chosen))[:at_most]


def find_crimes(scan: Scan, slices: Sequence[int] | None = None) -> tuple[Finding, ...]:
    """Every detector on some slices of a scan: of each detector the middle finding, by its evidence.

    Parameters
    ----------
    slices
        The slices looked at; three about the middle of the volume by default.

    Raises
    ------
    ScanError
        A slice cannot be read.
    """
    rounds = []
    for index in middle_slices(scan.n_slices) if slices is None else slices:
        kspace = scan.kspace[index : index + 1][0]
        if not kspace.any():
            continue
        target = None if scan.target is None else scan.target[index : index + 1][0]
        rounds.append(
            examine(
                kspace,
                target,
                padding=scan.header.padding,
                declared_mask=scan.mask is not None and not bool(scan.mask.all()),
            )
        )
    return tuple(_median(list(findings)) for findings in zip(*rounds, strict=True))


def _median(findings: list[Finding]) -> Finding:
    """Of one detector's findings the middle one; of two, the one that was found."""
    ordered = sorted(findings, key=lambda finding: (finding.found, finding.value))
    return ordered[len(ordered) // 2]


def crime_notes(scan: Scan) -> list[str]:
    """What was found, a sentence or two each; nothing on a sound scan."""
    return [finding.text for finding in find_crimes(scan) if finding.found]
