"""The objective that all minimise, its optimum, and the comparison of images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.methods.tv import TotalVariation
from mri_recon.physics.differences import total_variation
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.operators import sense_operator

Complex = NDArray[np.complexfloating]


@dataclass(frozen=True)
class Problem:
    """½‖MFSx − y‖² + λ TV(x) of one slice: `kspace`, `smaps` `(coil, height, width)`; no maps for one coil."""

    kspace: Complex
    columns: NDArray[np.bool_]
    smaps: Complex | None
    weight: float

    @cached_property
    def _operator(self) -> Any:
        smaps = np.ones_like(self.kspace) if self.smaps is None else self.smaps
        return sense_operator(self.mask, smaps[None].astype(np.complex128))

    @property
    def mask(self) -> NDArray[np.bool_]:
        return self.columns[None, None, None, :]

    def objective(self, image: Complex) -> float:
        """In double precision, of an image `(height, width)`."""
        x = image[None].astype(np.complex128)
        misfit = float(np.sum(np.abs(self._operator(x) - self.kspace) ** 2)) / 2
        return misfit + self.weight * float(total_variation(x)[0])

    def solve(self, **settings: Any) -> Complex:
        """Ours, in process and in single precision."""
        smaps = None if self.smaps is None else self.smaps[None]
        method = TotalVariation(tv_weight=self.weight, **settings)
        return np.asarray(method(self.kspace[None], self.mask, smaps)[0])

    @cached_property
    def _key(self) -> str:
        digest = hashlib.sha256(f"{self.weight}{self.kspace.shape}".encode())
        for array in (self.kspace, self.columns, self.smaps):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def optimum(self, folder: Path, iterations: int) -> tuple[float, Complex]:
        """f* and its image, from a very long run of our solver, kept in `folder`.

        In double precision for one coil. For many that takes hours, and single precision gets to within 1e-6 of it;
        f itself is always summed in double.
        """
        path = folder / f"{self._key}-{iterations}.npz"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            one_coil = self.smaps is None
            kspace = self.kspace[None].astype(np.complex128 if one_coil else np.complex64)
            smaps = None if self.smaps is None else self.smaps[None].astype(np.complex64)
            tolerance, most = (1e-7, iterations) if one_coil else (1e-5, min(iterations, 1500))
            method = TotalVariation(tv_weight=self.weight, tolerance=tolerance, iterations=most)
            ends: list[Any] = []
            image = method(kspace, self.mask, smaps, ends.append)[0]
            about = {
                "iterations": ends[0].iterations,
                "residual": ends[0].residual,
                "dtype": str(image.dtype),
            }
            value = self.objective(image)
            np.savez(path, value=value, image=image.astype(np.complex64), about=json.dumps(about))
        with np.load(path) as kept:
            return float(kept["value"]), kept["image"]


@dataclass(frozen=True)
class Quality:
    """`gap`, f / f* − 1 summed over slices, and `psnr` in dB of the magnitudes."""

    gap: float
    psnr: float


def judge(
    problems: list[Problem],
    images: list[Complex],
    scales: list[float],
    reference: NDArray[np.floating],
    optima: list[float],
) -> Quality:
    """How near the optimum images `(height, width)` are, and how near the reference `(slice, h, w)`."""
    values = [p.objective(x) for p, x in zip(problems, images, strict=True)]
    return Quality(sum(values) / sum(optima) - 1, magnitude_psnr(images, scales, reference))


def magnitude_psnr(images: list[Complex], scales: list[float], reference: NDArray[np.floating]) -> float:
    """PSNR in dB with the reference's maximum as the range; larger images are cropped to its size."""
    magnitudes = np.stack([np.abs(x).astype(np.float64) * s for x, s in zip(images, scales, strict=True)])
    error = center_crop(magnitudes, reference.shape[-2:]) - reference
    return float(10 * np.log10(float(reference.max()) ** 2 / np.mean(error**2)))


def mirrored(array: NDArray[Any]) -> NDArray[Any]:
    """Reverse the last two axes about their centre n // 2, in the image or, which is the same, in k-space.

    The peers difference backward, x[i] − x[i−1], where we difference forward. Isotropic total variation pairs the
    two differences that meet in a pixel, so their objective is ours of the mirrored image. Handed mirrored data,
    they minimise ours exactly; their images are mirrored back.
    """
    for axis in (-2, -1):
        n = array.shape[axis]
        array = np.take(array, (2 * (n // 2) - np.arange(n)) % n, axis=axis)
    return array
