"""Where what a file says of itself is not what it holds."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from mri_recon.data.scan import Scan
from mri_recon.physics.masks import Columns


def contradictions(
    scan: Scan, filled: Columns, empty_slices: Sequence[int], silent_coils: Sequence[int], whole: bool
) -> list[str]:
    """Every contradiction between header, mask, target and k-space, a sentence each.

    Parameters
    ----------
    filled
        Columns that hold data, `(width,)`.
    empty_slices, silent_coils
        Slices looked at, and coils, that hold zeros only.
    whole
        Whether every slice was looked at.
    """
    found = [note for note in scan.notes if _is_contradiction(note)]
    if empty_slices:
        found.append(
            f"K-space is zero in slice{_s(empty_slices)} {_list(empty_slices)}: nothing was measured there."
        )
    if silent_coils:
        found.append(f"Coil{_s(silent_coils)} {_list(silent_coils)} of {scan.n_coils} hold zeros only.")
    return [*found, *_of_header(scan, filled), *_of_mask(scan, filled), *_of_maximum(scan, whole)]


def _is_contradiction(note: str) -> bool:
    return ("left out" in note or "ignored" in note) and not note.startswith("Attribute")


def _of_header(scan: Scan, filled: Columns) -> list[str]:
    found = []
    header, (height, width) = scan.header, scan.shape
    # Half the readout: oversampling was removed since the header was written.
    if header.encoded is not None and (
        header.encoded[0] not in (height, 2 * height) or header.encoded[1] != width
    ):
        found.append(
            f"The header says {header.encoded[0]}×{header.encoded[1]} samples, k-space is {height}×{width}."
        )
    if header.recon is not None and scan.target is not None:
        h, w = header.recon[:2]
        expected = (width, width) if width < w else (h, w)
        if tuple(scan.target.shape[-2:]) != expected:
            found.append(
                f"The header says the image is {h}×{w}, the target is {scan.target.shape[-2]}×{scan.target.shape[-1]}."
            )
    if header.padding is not None:
        outside = filled.copy()
        outside[slice(*header.padding)] = False
        if outside.any():
            found.append(
                f"{int(outside.sum())} columns that the header calls padding hold data; reconstruction leaves them out."
            )
    channels = re.search(r"<(?:\w+:)?receiverChannels>\s*(\d{1,4})\s*<", header.xml or "")
    # One coil of a header that says more is an emulated single coil, as in fastMRI.
    if channels and scan.n_coils > 1 and int(channels[1]) != scan.n_coils:
        found.append(f"The header says {channels[1]} receiver channels, k-space has {scan.n_coils} coils.")
    return found


def _of_mask(scan: Scan, filled: Columns) -> list[str]:
    if scan.mask is None:
        return []
    where = np.flatnonzero(filled)
    inside = np.zeros_like(filled)
    inside[where[0] : where[-1] + 1] = True
    lost = int((scan.mask & inside & ~filled).sum())
    extra = int((~scan.mask & filled).sum())
    found = []
    if lost:
        found.append(
            f"The mask calls {lost} columns acquired that hold zeros only; they count as not acquired."
        )
    if extra and not scan.mask.all():
        found.append(
            f"{extra} columns that the mask calls not acquired hold data; reconstruction leaves them out."
        )
    return found


def _of_maximum(scan: Scan, whole: bool) -> list[str]:
    stated = scan.attributes.get("max")
    if not whole or scan.target is None or not isinstance(stated, int | float) or not stated > 0:
        return []
    highest = max(float(scan.target[i : i + 1].max()) for i in range(scan.n_slices))
    if abs(highest / stated - 1) > 0.01:
        return [f"The file says its target's maximum is {stated:.4g}, it is {highest:.4g}."]
    return []


def _s(items: Sequence[int]) -> str:
    return "s" if len(items) > 1 else ""


def _list(items: Sequence[int]) -> str:
    shown = ", ".join(str(i) for i in items[:8])
    return shown + (f" and {len(items) - 8} more" if len(items) > 8 else "")
