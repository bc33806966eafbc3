"""An independent solver of the wavelet objective: slow, double precision, every shift on its own, numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from slow_tv import Problem, _dft

Complex = NDArray[np.complexfloating[Any, Any]]

TAPS = np.array([0.4829629131445341, 0.8365163037378077, 0.2241438680420134, -0.1294095225512603])


def _step(n: int) -> NDArray[np.float64]:
    """One level of the orthonormal transform of n samples, n even: the low half, then the high."""
    matrix = np.zeros((n, n))
    for i in range(n // 2):
        for k in range(4):
            matrix[i, (2 * i + k) % n] += TAPS[k]
            matrix[n // 2 + i, (2 * i + k) % n] += (-1) ** k * TAPS[3 - k]
    return matrix


class WaveletProblem:
    """½‖MFSx − y‖² + λ · mean over shifts of ‖W T_s x‖₁ for one slice, its sides multiples of 2^levels.

    Parameters
    ----------
    problem
        The data; its `tv_weight` is λ here.
    """

    def __init__(self, problem: Problem, levels: int) -> None:
        self.problem, self.levels, self.weight = problem, levels, problem.tv_weight
        self.shifts = [(i, j) for i in range(2**levels) for j in range(2**levels)]

    def transform(self, image: Complex) -> Complex:
        """Coefficients of every shift, `(shift, height, width)`, of unit norm all together."""
        bands = np.stack([np.roll(image, shift, (0, 1)) for shift in self.shifts]) / 2**self.levels
        h, w = image.shape
        for level in range(self.levels):
            m, n = h >> level, w >> level
            bands[:, :m, :n] = _step(m) @ bands[:, :m, :n] @ _step(n).T
        return bands

    def adjoint(self, bands: Complex) -> Complex:
        """Adjoint of `transform`."""
        bands = bands.copy()
        _, h, w = bands.shape
        for level in range(self.levels - 1, -1, -1):
            m, n = h >> level, w >> level
            bands[:, :m, :n] = _step(m).T @ bands[:, :m, :n] @ _step(n)
        back = [np.roll(b, (-i, -j), (0, 1)) for b, (i, j) in zip(bands, self.shifts, strict=True)]
        return np.sum(back, axis=0) / 2**self.levels

    def objective(self, image: Complex) -> float:
        """The value at `(height, width)`, in double precision."""
        p, image = self.problem, image.astype(np.complex128)
        kspace = (_dft(image.shape[0]) @ (p.smaps * image) @ _dft(image.shape[1]).T) * p.columns
        # Over 4^levels shifts, each of the norm that `transform` has over 2^levels.
        norm = np.abs(self.transform(image)).sum() / 2**self.levels
        return float(0.5 * (np.abs(kspace - p.kspace) ** 2).sum() + self.weight * norm)

    def solve(self, iterations: int = 800, balance: float = 10.0) -> Complex:
        """Chambolle & Pock's primal-dual iteration, the data term's proximal step by a matrix for each row."""
        p = self.problem
        _, h, w = p.kspace.shape
        sample = p.columns[:, None] * _dft(w)
        rows = np.moveaxis(_dft(h).conj().T @ p.kspace, 1, 0)
        A = np.einsum("fx,crx->rcfx", sample, p.smaps).reshape(h, -1, w)
        adjoint = A.conj().swapaxes(1, 2)
        constant = (adjoint @ rows.reshape(h, -1, 1))[..., 0]
        radius = self.weight / 2**self.levels
        sigma = balance * self.weight
        tau = 1 / sigma  # the transform keeps the norm
        inverse = np.linalg.inv(np.eye(w) + tau * adjoint @ A)
        x = ahead = constant
        dual = 0 * self.transform(x)
        for _ in range(iterations):
            dual = dual + sigma * self.transform(ahead)
            dual /= np.maximum(1, np.abs(dual) / radius)
            new = (inverse @ (x - tau * self.adjoint(dual) + tau * constant)[..., None])[..., 0]
            x, ahead = new, 2 * new - x
        return x
