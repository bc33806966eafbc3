"""The one pipeline from a scan to images: mask → scale → maps → method → unscale → crop.

>>> from mri_recon import read_scan, reconstruct
>>> result = reconstruct(read_scan("scan.h5"), method="cs", acceleration=4)  # doctest: +SKIP
>>> result.image.shape, result.metrics.psnr  # doctest: +SKIP
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.catalog import METHODS, known_setting, look_up
from mri_recon.data.sampling import Sampling, choose_mask
from mri_recon.data.scan import Scan
from mri_recon.data.smaps import given_maps, refuse_not_finite
from mri_recon.device import in_batches, resolve_device, to_device, to_numpy
from mri_recon.errors import ScanError, SettingsError
from mri_recon.methods.base import Convergence, Method
from mri_recon.methods.recalibration import completed_center, is_narrow
from mri_recon.metrics import Metrics, score
from mri_recon.physics.coils import expand, rss
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.fourier import Array, fftc, ifftc
from mri_recon.physics.geometry import center_crop, crop_readout
from mri_recon.physics.masks import Columns, SamplingMask, center_run
from mri_recon.solvers.arrays import array_namespace
from mri_recon.solvers.threads import in_order, n_threads

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Reconstruction:
    """A reconstructed volume and all that is needed to say how it was made.

    Parameters
    ----------
    image
        Magnitude, `(slice, h, w)` float32, cropped to the target's or header's size.
    slices
        First slice and one past the last, of the scan's.
    target
        Those slices of the scan's target, where it has one that can be read.
    metrics
        None where the scan has no target, or none that can be scored against (`notes` say why).
    convergence
        One entry a slice for methods that iterate, or report how well they agree with the data, else empty.
    notes
        What had to be assumed, one sentence each.
    kspace_residual
        Norm of M F S x − y over that of y on the acquired lines, where that was asked for and the method's image is
        complex.
    """

    name: str
    image: NDArray[np.float32]
    mask: SamplingMask
    method: str
    settings: Mapping[str, Any]
    slices: tuple[int, int]
    target: NDArray[np.float32] | None
    metrics: Metrics | None
    seconds: float
    convergence: tuple[Convergence, ...] = ()
    notes: tuple[str, ...] = ()
    kspace_residual: float | None = None

    @property
    def converged(self) -> bool | None:
        """Whether every slice converged; None for methods that do not iterate."""
        known = [c.converged for c in self.convergence if c.converged is not None]
        return all(known) if known else None


def reconstruct(
    scan: Scan,
    method: str | Method = "cs",
    *,
    mask: str | Columns | Path | None = None,
    acceleration: float | Sequence[float] | None = None,
    center_fraction: float | Sequence[float] | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    smaps: Array | str | Path | None = None,
    slices: tuple[int, int] | None = None,
    device: str = "auto",
    residual: bool = False,
    part: tuple[int, int] | None = None,
    working_bytes: int | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct a scan, each slice by itself.

    A fully sampled scan is first undersampled; one that was undersampled already is used as acquired.

    Parameters
    ----------
    method
        A name of `mri_recon.catalog.METHODS`, or a method made beforehand.
    mask
        Kind of mask, a mask `(width,)`, or the path of one saved with `numpy.save`; random columns by default.
    acceleration, center_fraction
        One pair, or lists of pairs of which the seed picks one; 4 and 0.08 by default.
    seed
        By default the file name is the seed, so that masks equal fastMRI's.
    settings
        The method's settings, such as ``{"tv_weight": 0.005}``.
    weights
        Weights of a learned method; by default the shipped ones.
    smaps
        Coil maps of your own, `(slice, coil, height, width)` or one slice of them for all, or the path of such an
        array saved with `numpy.save` or by BART; by default each slice's are estimated from its centre lines.
    slices
        First slice and one past the last.
    device
        "auto", "cpu", "cuda" or "mps".
    residual
        Whether to work out `Reconstruction.kspace_residual`.
    part
        First slice and one past the last of those of `slices` that are made here, exactly as they would be among the
        others; without metrics. `mri_recon.batch.parts` puts parts together.
    working_bytes
        Memory that slices worked on at once may take together beside the program itself; 640 MiB by default.
    progress
        Called with the number of slices done and to do.

    Raises
    ------
    MriReconError
        A scan, a setting or weights that cannot work; the message says what to do.
    """
    started = time.perf_counter()
    if isinstance(method, str):
        method_name, method = method, make_method(method, settings, weights)
    else:
        method_name = method_name_of(method)
    place = resolve_device(device, learned=method.learned)
    whole = first, stop = check_slices(scan, slices)
    if part is not None:
        first, stop = check_slices(scan, (max(part[0], first), min(part[1], stop)))
    if scan.n_slices == 1:
        scan = replace(scan, kspace=scan.kspace[:])  # read once: it is looked at before it is reconstructed
    sampling_mask, notes = choose_mask(scan, Sampling.of(mask, acceleration, center_fraction, seed), whole)
    if smaps is not None and not method.needs_smaps:
        raise SettingsError(f"Method {method_name} uses no coil maps. Leave the maps out, or use method cs.")
    maps = None if smaps is None else given_maps(smaps, scan)
    convergence: list[Convergence] = []
    image: NDArray[np.float32] | None = None

    misfits: list[tuple[float, float]] | None = [] if residual else None

    def some_slices(some: tuple[int, int]) -> tuple[NDArray[np.float32], list[Convergence]]:
        reports: list[Convergence] = []
        own = None if maps is None else _maps_of(maps, some)
        if own is not None:
            refuse_not_finite(own, smaps)
        return _reconstruct_slices(
            scan, some, method, sampling_mask.columns, own, place, reports, misfits
        ), reports

    one_by_one = [(index, index + 1) for index in range(first, stop)]
    if method.learned and place.startswith("cuda"):
        results = in_batches(some_slices, (first, stop), place)
    else:
        # No slice's result depends on its neighbours, nor on how many are worked on at once.
        at_once = 1 if method.learned or place != "cpu" else slices_at_once(scan, stop - first, working_bytes)
        results = in_order(some_slices, one_by_one, at_once)
    done = 0
    for some, reports in results:
        if image is None:
            image = np.empty((stop - first, *some.shape[1:]), dtype=np.float32)
        image[done : done + len(some)] = some
        done += len(some)
        convergence.extend(reports)
        if progress is not None:
            progress(done, stop - first)
    assert image is not None  # check_slices leaves at least one
    target, metrics, unscored = score_image(scan, (first, stop), image) if part is None else (None, None, ())
    return Reconstruction(
        name=scan.name,
        image=image,
        mask=sampling_mask,
        method=method_name,
        settings=method.as_dict(),
        slices=(first, stop),
        target=target,
        metrics=metrics,
        seconds=time.perf_counter() - started,
        convergence=tuple(convergence),
        notes=(*scan.notes, *notes, *unscored),
        kspace_residual=_relative(misfits) if misfits else None,
    )


def _maps_of(maps: Array, some: tuple[int, int]) -> NDArray[np.complex64]:
    """Those of some slices, of maps for each slice or one slice of them for all."""
    first, stop = some
    own = maps[first:stop] if len(maps) > 1 else np.repeat(np.asarray(maps[:1]), stop - first, axis=0)
    return np.asarray(own, np.complex64)


WORKING_BYTES = 640 << 20
"""What slices worked on at once may take together, roughly, beside the program itself."""


def slice_bytes(scan: Scan) -> int:
    """What a slice takes while it is worked on: k-space, maps and their copies are ten times k-space."""
    return 10 * 8 * scan.n_coils * scan.shape[0] * scan.shape[1]


def slices_at_once(scan: Scan, n_slices: int, working_bytes: int | None = None) -> int:
    """Slices for which there are both threads and memory."""
    return max(1, min(n_threads(), n_slices, (working_bytes or WORKING_BYTES) // slice_bytes(scan)))


def score_image(
    scan: Scan, slices: tuple[int, int], image: NDArray[np.float32]
) -> tuple[NDArray[np.float32] | None, Metrics | None, tuple[str, ...]]:
    """Target and metrics; a target that cannot be read or scored against is no reason to lose the image."""
    target = None
    if scan.target is None:
        return None, None, ()
    try:
        target = scan.target[slice(*slices)]
        return target, score(target, image), ()
    except ScanError as error:
        return target, None, (f"Not scored: {error}",)


def make_method(
    name: str, settings: Mapping[str, Any] | None = None, weights: str | Path | None = None
) -> Method:
    """Make the method that the catalog lists under a name.

    Raises
    ------
    SettingsError
        An unknown name or setting, or weights for a method that takes none.
    """
    cls: type[Method] = look_up("method", METHODS, name)
    values = dict(settings or {})
    if weights is not None:
        if not cls.learned:
            raise SettingsError(f"Method {name} has no weights. Leave --weights out, or use --method unet.")
        values["weights"] = weights
    for key in values:
        if key not in cls.settings():
            raise SettingsError(
                f"Settings of method {name}: There is no key '{key}'. {known_setting(key, cls.settings())}"
            )
    try:
        return cls(**values)
    except SettingsError as error:
        raise SettingsError(f"Settings of method {name}: {error}") from error


def method_name_of(method: Method) -> str:
    """Name under which the catalog lists the class of a method, else the class's own."""
    path = f"{type(method).__module__}:{type(method).__qualname__}"
    return next((name for name, entry in METHODS.items() if entry.path == path), type(method).__name__)


def kspace_scale(kspace: NDArray[np.complexfloating], columns: Columns) -> NDArray[np.float32]:
    r"""The scale of each slice, by which k-space is divided so that a weight means the same on every scan.

    About the brightness of the image: the 90th percentile of the RSS image of the central block (at most 32×32),
    over :math:`\sqrt{\text{size} / \text{block}}`. It agrees with ``bart pics`` where that uses its percentile, so
    published weights carry over.

    Parameters
    ----------
    kspace
        `(slice, coil, height, width)`.
    columns
        Acquired columns, `(width,)`. Where the centre is not among them, all of them stand in for it.

    Returns
    -------
    NDArray
        `(slice, 1, 1, 1)`; one for a slice that is empty.
    """
    centered = bool(columns[columns.size // 2])
    block = _central_block(kspace, columns) if centered else kspace
    image = np.sort(rss(ifftc(block)).reshape(len(block), -1), axis=-1)
    percentile = image[:, int(0.9 * image.shape[-1])]
    n_block = block.shape[-2] * (block.shape[-1] if centered else int(columns.sum()) ** 2 / columns.size)
    scale = percentile * np.sqrt(n_block / (kspace.shape[-2] * kspace.shape[-1]))
    return np.where(scale > 0, scale, 1).astype(np.float32).reshape(-1, 1, 1, 1)


def _central_block(kspace: NDArray[np.complexfloating], columns: Columns) -> NDArray[np.complexfloating]:
    """Readout points and unbroken acquired columns around the centre, at most 16 to either side."""
    start, stop = center_run(columns)
    row, column = kspace.shape[-2] // 2, columns.size // 2
    return kspace[..., max(row - 16, 0) : row + 16, max(start, column - 16) : min(stop, column + 16)]


def check_slices(scan: Scan, slices: tuple[int, int] | None) -> tuple[int, int]:
    """The range of slices asked for, checked against the scan; all of them where none was."""
    first, stop = slices if slices is not None else (0, scan.n_slices)
    if not 0 <= first < stop <= scan.n_slices:
        raise SettingsError(
            f"{scan.name}: slices {first}:{stop} are not all there: it has {scan.n_slices}. "
            f"Use slices within 0:{scan.n_slices}."
        )
    return first, stop


# Squares of what is near the largest float overflow; that the image is not finite is then said once, as an error.
@np.errstate(over="ignore", invalid="ignore")
def _reconstruct_slices(
    scan: Scan,
    slices: tuple[int, int],
    method: Method,
    columns: Columns,
    smaps: NDArray[np.complex64] | None,
    device: str,
    convergence: list[Convergence],
    misfits: list[tuple[float, float]] | None,
) -> NDArray[np.float32]:
    kspace = np.array(scan.kspace[slice(*slices)])  # a copy: it is masked and scaled in place
    for index, one in enumerate(kspace, slices[0]):
        if not np.isfinite(one).all():
            raise ScanError(
                f"{scan.name}, slice {index}: k-space holds NaN or Inf. Export it again, or leave that slice out."
            )
    if not columns.all():
        kspace[..., ~columns] = 0
    scale = kspace_scale(kspace, columns)
    kspace /= scale
    kspace = to_device(kspace.astype(np.complex64, copy=False), device)
    mask = to_device(columns.reshape(1, 1, 1, -1), device)
    if method.crops_readout:  # without oversampling, as in training; it changes no pixel that is kept
        kspace = crop_readout(kspace, scan.crop_shape[0])
        smaps = None if smaps is None else center_crop(smaps, (kspace.shape[-2], kspace.shape[-1]))
    if method.needs_smaps and smaps is not None:
        smaps = to_device(smaps, device)
    elif method.needs_smaps and scan.n_coils > 1 and scan.calibration is not None:
        apart = np.asarray(scan.calibration[slice(*slices)])
        if method.crops_readout:
            apart = crop_readout(apart, scan.crop_shape[0])
        smaps = _estimated_maps(to_device(apart, device), (apart != 0).any(axis=(0, 1, 2)), device)
    elif method.needs_smaps and scan.n_coils > 1:
        smaps = _estimated_maps(kspace, columns, device)
        if method.recalibrate and is_narrow(columns, method.recalibrate):
            smaps = _estimated_maps(*completed_center(method, kspace, mask, smaps), device)
    if method.crops_first:
        kspace = fftc(center_crop(ifftc(kspace), scan.crop_shape))
        mask = array_namespace(mask).ones_like(mask[..., : kspace.shape[-1]])
    image = method(kspace, mask, smaps if method.needs_smaps else None, convergence.append)
    xp = array_namespace(image)
    if misfits is not None and xp.isdtype(image.dtype, "complex floating"):
        for i in range(len(scale)):
            own = smaps[i : i + 1] if method.needs_smaps and smaps is not None else None
            misfits.append(_misfit(image[i : i + 1], kspace[i : i + 1], mask, own, float(scale[i].max())))
    image = center_crop(image, scan.crop_shape)
    # A network's image is real, and may be negative where fastMRI's is.
    magnitude = (
        to_numpy(xp.abs(image) if xp.isdtype(image.dtype, "complex floating") else image) * scale[:, 0]
    )
    for index, one in enumerate(magnitude, slices[0]):
        if not np.isfinite(one).all():
            raise ScanError(
                f"{scan.name}, slice {index}: the reconstruction is not finite. Look at the scan's values."
            )
    return magnitude.astype(np.float32)


def _estimated_maps(kspace: Array, columns: Columns, device: str) -> Array:
    """Coil maps on the device; worked out beside it where it is "mps", which has no complex eigenvectors."""
    if device == "mps":
        return to_device(estimate_maps(to_numpy(kspace), columns), device)
    return estimate_maps(kspace, columns)


def _misfit(
    image: Array, kspace: Array, mask: Array, smaps: Array | None, scale: float
) -> tuple[float, float]:
    """Squared norms of M F S x − y and of y, on the scan's own scale so that slices can be added."""
    xp = array_namespace(image)
    forward = fftc(image[:, None] if smaps is None else expand(image, smaps))
    error, size = (
        (scale * float(xp.linalg.vector_norm(array))) ** 2 for array in (mask * forward - kspace, kspace)
    )
    return error, size


def _relative(misfits: Sequence[tuple[float, float]]) -> float | None:
    # Exactly summed, because threads may have added the slices in any order.
    error, size = (math.fsum(column) for column in zip(*misfits, strict=True))
    return math.sqrt(error / size) if size else None
