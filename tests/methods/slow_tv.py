"""An independent solver of the total-variation objective: slow, double precision, numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating[Any, Any]]


def _dft(n: int) -> Complex:
    index = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)


@dataclass(frozen=True)
class Problem:
    """½‖MFSx − y‖² + λ Σ √(|∂_h x|² + |∂_w x|²) for one slice.

    `kspace` and `smaps` are `(coil, height, width)`, `columns` is `(width,)`. Everything is written with dense
    matrices, so that nothing is shared with what is tested.
    """

    kspace: Complex
    smaps: Complex
    columns: NDArray[np.bool_]
    tv_weight: float

    def objective(self, image: Complex) -> float:
        """The value at `(height, width)`, in double precision."""
        height, width = image.shape
        coil_images = self.smaps.astype(np.complex128) * image.astype(np.complex128)
        kspace = (_dft(height) @ coil_images @ _dft(width).T) * self.columns
        down = np.concatenate([image[1:], image[:1]]) - image
        right = np.concatenate([image[:, 1:], image[:, :1]], axis=1) - image
        variation = np.sqrt(np.abs(down) ** 2 + np.abs(right) ** 2).sum()
        return float(0.5 * (np.abs(kspace - self.kspace) ** 2).sum() + self.tv_weight * variation)

    def solve(self, iterations: int = 5000, balance: float = 30.0) -> Complex:
        """Chambolle & Pock's primal-dual iteration (2011, J Math Imaging Vis 40:120-145).

        The proximal step of the data term is exact: a matrix for each row, because a mask of whole columns
        leaves rows independent once the readout is transformed. `balance` is the ratio of the dual step's
        threshold to the image's size: it changes the speed alone.
        """
        _, height, width = self.kspace.shape
        sample = self.columns[:, None] * _dft(width)
        rows = np.moveaxis(_dft(height).conj().T @ self.kspace, 1, 0)  # (row, coil, frequency)
        A = np.einsum("fx,crx->rcfx", sample, self.smaps).reshape(height, -1, width)
        normal = A.conj().swapaxes(1, 2) @ A
        constant = (A.conj().swapaxes(1, 2) @ rows.reshape(height, -1, 1))[..., 0]

        sigma = balance * self.tv_weight
        tau = 1 / (8 * sigma)  # ‖∇‖² ≤ 8
        inverse = np.linalg.inv(np.eye(width) + tau * normal)
        x = constant.copy()
        ahead = x
        p = np.zeros((2, height, width), dtype=np.complex128)
        for _ in range(iterations):
            p[0, :-1] += sigma * (ahead[1:] - ahead[:-1])
            p[0, -1] += sigma * (ahead[0] - ahead[-1])
            p[1, :, :-1] += sigma * (ahead[:, 1:] - ahead[:, :-1])
            p[1, :, -1] += sigma * (ahead[:, 0] - ahead[:, -1])
            size = np.sqrt((p.real**2 + p.imag**2).sum(axis=0))
            p /= np.maximum(1, size / self.tv_weight)
            divergence = -p[0] - p[1]
            divergence[1:] += p[0, :-1]
            divergence[0] += p[0, -1]
            divergence[:, 1:] += p[1, :, :-1]
            divergence[:, 0] += p[1, :, -1]
            new = (inverse @ (x - tau * divergence + tau * constant)[..., None])[..., 0]
            ahead = 2 * new - x
            x = new
        return x
