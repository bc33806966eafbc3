"""What the columns of scores mean: fastMRI's definitions, and others by name beside them.

References
----------
.. [1] Zbontar et al. (2018), fastMRI: an open dataset and benchmarks, arXiv:1811.08839.
.. [2] Ravishankar & Bresler (2011), MR image reconstruction from highly undersampled k-space data by dictionary
   learning, IEEE Trans Med Imaging 30:1028-1041.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import SettingsError, suggestion
from mri_recon.metrics import Volume, evaluation_crop, nmse, psnr, ssim

DEFINITIONS = {
    "fastmri": "per volume, centre square of the target's width, data_range = target volume's maximum",
    "slice": "slice_nmse, slice_psnr, slice_ssim: NMSE, PSNR and SSIM of each slice by itself, data_range = that "
    "slice's target maximum; then the mean over slices that hold anything",
    "hfen": "hfen: ‖LoG(t − x)‖ / ‖LoG(t)‖ over the volume, Laplacian of Gaussian of σ = 1.5 pixels on 15×15",
    "ncc": "ncc: normalised cross-correlation of target and image over the volume, means taken off",
    "residual": "residual: ‖MFSx − y‖ / ‖y‖ over the acquired lines, of the complex image before the crop; none for "
    "methods whose answer is a magnitude",
}
"""Names of `--metrics`, and what each of them adds. fastMRI's is always there, as nmse, psnr and ssim."""

COLUMNS = {
    "slice": ("slice_nmse", "slice_psnr", "slice_ssim"),
    "hfen": ("hfen",),
    "ncc": ("ncc",),
    "residual": ("residual",),
}

SIGMA, RADIUS = 1.5, 7


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """Definitions asked for besides fastMRI's, each once.

    Raises
    ------
    SettingsError
        One that there is not.
    """
    wanted = tuple(dict.fromkeys(names))
    for name in wanted:
        if name not in DEFINITIONS:
            raise SettingsError(f"There is no metric definition '{name}'. {suggestion(name, DEFINITIONS)}")
    return tuple(name for name in wanted if name != "fastmri")


def definition_texts(names: Iterable[str]) -> dict[str, str]:
    """What fastMRI's definition and others mean."""
    return {name: DEFINITIONS[name] for name in ("fastmri", *names)}


def other_scores(
    names: Iterable[str], target: Volume, image: Volume, residual: float | None
) -> dict[str, float | None]:
    """Scores of a volume by the definitions named, fastMRI's left out."""
    target, image = evaluation_crop(target, image)
    found: dict[str, float | None] = {}
    for name in names:
        if name == "slice":
            found |= zip(COLUMNS[name], slice_scores(target, image), strict=True)
        elif name == "hfen":
            found["hfen"] = hfen(target, image)
        elif name == "ncc":
            found["ncc"] = ncc(target, image)
        else:
            found["residual"] = residual
    return found


def slice_scores(target: Volume, image: Volume) -> tuple[float, float, float]:
    """Mean over slices of NMSE, PSNR and SSIM, each slice held against its own maximum.

    A slice whose target is empty has none and is passed over.
    """
    pairs = [(target[i : i + 1], image[i : i + 1]) for i in range(len(target)) if target[i].max() > 0]
    scores = np.array([(nmse(t, x), psnr(t, x), ssim(t, x)) for t, x in pairs])
    means = scores.mean(axis=0)
    return float(means[0]), float(means[1]), float(means[2])


def hfen(target: Volume, image: Volume) -> float:
    """High-frequency error norm [2]_, relative: ‖LoG(t − x)‖ / ‖LoG(t)‖; not a number for a flat target."""
    error = energy = 0.0
    for t, x in zip(target, image, strict=True):
        error += float(np.sum(_edges(np.subtract(t, x, dtype=np.float64)) ** 2))
        energy += float(np.sum(_edges(np.asarray(t, dtype=np.float64)) ** 2))
    return float(np.sqrt(error / energy)) if energy > 0 else float("nan")


def _edges(image: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_laplace

    return np.asarray(gaussian_laplace(image, SIGMA, mode="constant", truncate=RADIUS / SIGMA))


def ncc(target: Volume, image: Volume) -> float:
    """Pearson's correlation of target and image over the volume; not a number where either is flat."""
    t = np.asarray(target, dtype=np.float64).ravel()
    x = np.asarray(image, dtype=np.float64).ravel()
    t, x = t - t.mean(), x - x.mean()
    size = float(np.sqrt(np.sum(t * t) * np.sum(x * x)))
    return float(np.sum(t * x)) / size if size > 0 else float("nan")
