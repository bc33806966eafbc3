"""SigPy as a contestant: its TotalVariationRecon, and the same with an isotropic prox put in.

    python sigpy_tv.py FOLDER --weight λ --iterations N --sigma σ [--isotropic]

As a program it reads FOLDER/kspace.npy and FOLDER/maps.npy, `(coil, height, width)`, and writes FOLDER/sigpy.npy.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def version() -> str | None:
    """Of the package; None where it cannot be imported."""
    if importlib.util.find_spec("sigpy") is None:
        return None
    import sigpy

    return str(sigpy.__version__)


def recon(kspace: Any, maps: Any, weight: float, iterations: int, sigma: float, *, isotropic: bool) -> Any:
    """The app; `sigma` is its dual step (1 by default), from which it finds the primal one."""
    import sigpy
    import sigpy.mri.app

    class JointShrink(sigpy.prox.Prox):  # type: ignore[misc]
        """Prox of λ Σ √(|∂_h x|² + |∂_w x|²), on the two differences stacked along the first axis."""

        def __init__(self, shape: Any, weight: float) -> None:
            self.weight = weight
            super().__init__(shape)

        def _prox(self, alpha: float, field: Any) -> Any:
            size = np.sqrt((np.abs(field) ** 2).sum(axis=0))
            return field * np.maximum(1 - self.weight * alpha / np.maximum(size, 1e-30), 0)

    class Recon(sigpy.mri.app.TotalVariationRecon):  # type: ignore[misc]
        def _get_alg(self) -> None:
            if isotropic:
                self.proxg = JointShrink(self.G.oshape, weight)
            super()._get_alg()

    return Recon(kspace, maps, weight, max_iter=iterations, sigma=sigma, show_pbar=False)


def checkpoints(
    kspace: Any, maps: Any, weight: float, counts: Iterable[int], sigma: float, *, isotropic: bool
) -> Iterator[tuple[int, float, NDArray[Any]]]:
    """After each count of iterations: the count, seconds spent in the solver, and the image."""
    counts = sorted(counts)
    started = time.perf_counter()
    app = recon(kspace, maps, weight, counts[-1], sigma, isotropic=isotropic)
    spent = time.perf_counter() - started
    for iteration in range(1, counts[-1] + 1):
        started = time.perf_counter()
        app.alg.update()
        spent += time.perf_counter() - started
        if iteration in counts:
            yield iteration, spent, app.x.copy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weight", type=float, required=True)
    parser.add_argument("--iterations", type=int, required=True)
    parser.add_argument("--sigma", type=float, default=1.0)
    parser.add_argument("--isotropic", action="store_true")
    asked = parser.parse_args()
    kspace, maps = (np.load(asked.folder / f"{name}.npy") for name in ("kspace", "maps"))
    image = recon(kspace, maps, asked.weight, asked.iterations, asked.sigma, isotropic=asked.isotropic).run()
    np.save(asked.folder / "sigpy.npy", image)


if __name__ == "__main__":
    main()
