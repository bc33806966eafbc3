"""Which columns of a scan are used: as acquired, or undersampled in retrospect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mri_recon.data.numpy_files import NUMPY_ERRORS, load_array
from mri_recon.data.scan import Scan
from mri_recon.errors import ScanError, SettingsError
from mri_recon.files import one_line
from mri_recon.physics.masks import Columns, SamplingMask, Seed, center_run, draw_mask


@dataclass(frozen=True)
class Sampling:
    """How a fully sampled scan is to be undersampled.

    Parameters
    ----------
    kind
        A name of `mri_recon.catalog.MASKS`.
    accelerations, center_fractions
        Pairs; where there are several, the seed picks one, as in fastMRI.
    seed
        None lets each file's name be the seed, as in fastMRI.
    columns
        A mask of one's own, `(width,)`; then nothing is drawn.
    asked
        Whether the user chose any of this: a scan that cannot follow then says so.
    source
        Where `columns` come from, for messages.
    """

    kind: str = "random"
    accelerations: tuple[float, ...] = (4.0,)
    center_fractions: tuple[float, ...] = (0.08,)
    seed: int | None = None
    columns: Columns | None = None
    asked: bool = False
    source: str = "the mask of your own"

    @classmethod
    def of(
        cls,
        mask: str | Columns | Path | None = None,
        acceleration: float | Sequence[float] | None = None,
        center_fraction: float | Sequence[float] | None = None,
        seed: int | None = None,
    ) -> Sampling:
        """Fill in what was left out: random columns, 4× with a centre of 0.08, 8× with 0.04.

        Raises
        ------
        SettingsError
            A mask file that cannot be used.
        """
        asked = any(value is not None for value in (mask, acceleration, center_fraction))
        accelerations = _as_tuple(acceleration) or (4.0,)
        # The centre that goes with an acceleration in the literature: 0.08 at 4×, 0.04 at 8×.
        center_fractions = _as_tuple(center_fraction) or tuple(0.32 / max(a, 4.0) for a in accelerations)
        source = "the mask of your own"
        if isinstance(mask, Path):
            source, mask = f"the mask file {one_line(mask)}", read_mask(mask)
        if isinstance(mask, np.ndarray):
            if acceleration is not None or center_fraction is not None or seed is not None:
                raise SettingsError(
                    "A mask of your own leaves nothing to draw. Leave acceleration, center_fraction and seed out, "
                    "or the mask."
                )
            return cls(
                "file", accelerations, center_fractions, seed, _as_columns(mask, "The mask"), asked, source
            )
        if len(center_fractions) == 1:
            center_fractions *= len(accelerations)
        return cls(mask or "random", accelerations, center_fractions, seed, None, asked)


def read_mask(path: Path) -> Columns:
    """Read a mask of one's own from a NumPy file, `(width,)`, nonzero where acquired.

    Raises
    ------
    SettingsError
        Not such a file.
    """
    try:
        values = load_array(path)
    except FileNotFoundError as error:
        raise SettingsError(
            f"There is no mask file {path}. Write one with: mri-recon mask --width N -o {path}"
        ) from error
    except NUMPY_ERRORS as error:
        raise SettingsError(
            f"{path} is not a NumPy .npy file of a mask (width,). Write one with numpy.save or mri-recon mask -o."
        ) from error
    return _as_columns(values, str(path))


def _as_columns(values: object, what: str) -> Columns:
    """Columns of an array such as ``(width,)`` or ``(1, 1, 1, width)`` of numbers or booleans."""
    if not isinstance(values, np.ndarray) or values.squeeze().ndim != 1 or values.dtype.kind not in "buif":
        raise SettingsError(
            f"{what} is not one: expected an array (width,) of 0 and 1, got {_shape_of(values)}. "
            "Give a one-dimensional array."
        )
    columns = np.asarray(values.squeeze() != 0)
    if not columns.any():
        raise SettingsError(
            f"{what} marks none of {columns.size} columns as acquired. Mark at least one, better some about the centre."
        )
    return columns


def _shape_of(values: object) -> str:
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__


def choose_mask(
    scan: Scan, sampling: Sampling, slices: tuple[int, int] | None = None
) -> tuple[SamplingMask, tuple[str, ...]]:
    """Decide which columns of a scan are used, and what to say about it.

    A scan that carries a mask, or whose missing columns show that it was undersampled, is used as acquired. A
    fully sampled one is undersampled as asked. Columns that were never measured (padding) count as not acquired.

    Parameters
    ----------
    slices
        First slice and one past the last of those that matter; all of them by default.

    Raises
    ------
    ScanError
        K-space holds nothing, or the mask leaves nothing of it.
    SettingsError
        A mask that cannot be drawn for this width, or of another width.
    """
    width = scan.shape[1]
    measured = measured_columns(scan, slices)
    notes: list[str] = []
    if scan.header.padding is not None:
        inside = np.zeros(width, dtype=bool)
        inside[slice(*scan.header.padding)] = True
        if (measured & ~inside).any():
            notes.append(
                "There is data in columns that the header calls padding; they are left out, as it says."
            )
        measured = measured & inside if (measured & inside).any() else measured
    first, last = (int(i) for i in np.flatnonzero(measured)[[0, -1]])
    missing = float((~measured[first : last + 1]).mean())
    acquired = measured
    how = ""
    if scan.mask is not None and not scan.mask.all():
        acquired = scan.mask & measured
        how = "carries a mask"
    elif missing > MISSING:
        how = f"has data in {measured.sum()} of {width} columns only"
    elif missing:
        notes.append(
            f"{(~measured[first : last + 1]).sum()} columns are missing; they count as never acquired."
        )
    elif not measured.all() and scan.header.padding != (first, last + 1):
        notes.append(f"Columns outside {first}–{last} of {width} hold no data; they count as never acquired.")
    if how:
        if sampling.columns is None:
            ignored = ", the mask asked for is not applied" if sampling.asked else ""
            notes.append(f"The scan {how}: it is used as acquired{ignored}.")
            mask = SamplingMask(AS_ACQUIRED, acquired, _n_center(acquired))
        else:
            notes.append(f"The scan {how}: of the mask file, only acquired columns are used.")
            mask = _given(scan, sampling.columns, sampling.source)
    elif sampling.columns is not None:
        mask = _given(scan, sampling.columns, sampling.source)
    else:
        seed: Seed = scan.name if sampling.seed is None else sampling.seed
        try:
            mask = draw_mask(
                sampling.kind, width, sampling.accelerations, sampling.center_fractions, seed=seed
            )
        except SettingsError as error:  # what cannot be drawn depends on the scan's width
            raise SettingsError(f"{scan.name}: {error}") from error
    columns = mask.columns & acquired
    if not columns.any():
        raise ScanError(
            f"{scan.name}: the mask leaves none of the columns that hold data. Use another mask or seed."
        )
    return replace(mask, columns=columns), tuple(notes)


AS_ACQUIRED = "as acquired"
"""Kind of a mask that the scan itself dictates."""

MISSING = 0.05
"""Part of the columns that may be missing from a fully sampled scan: a lost line is not an acceleration."""


def measured_columns(scan: Scan, slices: tuple[int, int] | None = None) -> Columns:
    """Columns of k-space that hold data, `(width,)`.

    Three slices are looked at, since all slices of a volume share their columns; every slice only where these
    three hold nothing at all.

    Raises
    ------
    ScanError
        K-space is zero everywhere.
    """
    first, stop = slices or (0, scan.n_slices)
    spread = sorted({first, (first + stop) // 2, stop - 1})
    for indices in (spread, range(first, stop)):
        measured = np.zeros(scan.shape[1], dtype=bool)
        for index in indices:
            measured |= _nonzero_columns(scan.kspace[index : index + 1])
        if measured.any():
            return measured
    raise ScanError(
        f"{scan.name}: k-space is zero everywhere; there is nothing to reconstruct. Export it again."
    )


def _nonzero_columns(kspace: NDArray[np.complexfloating]) -> Columns:
    if kspace.dtype == np.complex64 and kspace.flags.c_contiguous:
        # The bits of both parts but their signs, a pass over memory; comparing numbers takes ten times as long.
        bits = np.bitwise_or.reduce(kspace.view(np.uint64).reshape(-1, kspace.shape[-1]), axis=0)
        return np.asarray((bits & np.uint64(0x7FFFFFFF7FFFFFFF)) != 0)
    return np.asarray((kspace != 0).any(axis=(0, 1, 2)))


def _given(scan: Scan, columns: Columns, source: str) -> SamplingMask:
    width = scan.shape[1]
    if columns.size != width:
        raise SettingsError(
            f"{scan.name}: {source} has {columns.size} columns, k-space has {width}. Use a mask of {width}."
        )
    return SamplingMask("file", columns, _n_center(columns))


def _n_center(columns: Columns) -> int:
    start, stop = center_run(columns)
    return stop - start


def _as_tuple(value: float | Sequence[float] | None) -> tuple[float, ...]:
    if value is None:
        return ()
    return (float(value),) if isinstance(value, int | float) else tuple(float(v) for v in value)
