"""Mathematics that many tests share: random arrays, and the identities that operators must satisfy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"

Array = Any
"""A numpy array or torch tensor."""


def real_data(name: str) -> Path:
    """Path of a measured scan or anatomy beside the repository; the test is skipped where there is none."""
    path = ROOT.parent / "shared" / "data" / name
    if not path.exists():
        pytest.skip(f"real data absent: {path}")
    return path


def golden(name: str) -> Any:
    """Content of tests/golden/<name>.json; scripts/make_golden.py says where the numbers come from."""
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def complex_normal(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.complex128
) -> NDArray[Any]:
    """Circular complex Gaussian numbers, real and imaginary part of unit variance each."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def as_numpy(x: Array) -> NDArray[Any]:
    """A numpy array of a numpy array or torch tensor."""
    return x if isinstance(x, np.ndarray) else x.detach().resolve_conj().cpu().numpy()


def assert_close(actual: Array, expected: Array, tolerance: float) -> None:
    """Equal within `tolerance` of the largest magnitude expected, in shape too."""
    actual, expected = as_numpy(actual), np.asarray(as_numpy(expected))
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    error = np.abs(actual - expected).max() / max(np.abs(expected).max(), np.finfo(np.float64).tiny)
    assert error <= tolerance, f"differs by {error:.3g} of the largest value; {tolerance:.3g} is allowed"


def assert_adjoint(
    forward: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    x: Array,
    y: Array,
    tolerance: float = 1e-10,
) -> None:
    """⟨A x, y⟩ = ⟨x, Aᴴ y⟩, and both maps keep precision and land where they should."""
    ax, ahy = forward(x), adjoint(y)
    assert ax.shape == y.shape
    assert ahy.shape == x.shape
    assert ax.dtype == y.dtype
    assert ahy.dtype == x.dtype
    ax, ahy, x, y = (as_numpy(v).astype(np.complex128) for v in (ax, ahy, x, y))
    left, right = np.vdot(ax, y), np.vdot(x, ahy)
    size = np.linalg.norm(ax) * np.linalg.norm(y)
    assert size > 0
    assert abs(left - right) <= tolerance * size, f"⟨Ax, y⟩ = {left}, ⟨x, Aᴴy⟩ = {right}"


def assert_unitary(
    forward: Callable[[Array], Array],
    inverse: Callable[[Array], Array],
    x: Array,
    y: Array,
    tolerance: float = 1e-10,
) -> None:
    """The inverse undoes the map on either side, is its adjoint, and norms are kept."""
    assert_close(inverse(forward(x)), x, tolerance)
    assert_close(forward(inverse(y)), y, tolerance)
    before, after = np.linalg.norm(as_numpy(x)), np.linalg.norm(as_numpy(forward(x)))
    assert abs(after / before - 1) <= tolerance
    assert_adjoint(forward, inverse, x, y, tolerance)


def assert_moreau(
    prox: Callable[[Array, float], Array],
    conjugate_prox: Callable[[Array, float], Array],
    x: Array,
    step: float,
    tolerance: float = 1e-12,
) -> None:
    """x = prox_{t g}(x) + t prox_{g*/t}(x / t), Moreau's decomposition."""
    assert_close(prox(x, step) + step * conjugate_prox(x / step, 1 / step), x, tolerance)


def golden_volumes(
    seed: int, target_shape: tuple[int, ...], image_shape: tuple[int, ...], dtype: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A target and an image like it, from numpy's frozen legacy stream: the same on every version.

    The image is that target with noise and a gain, set into a larger field of noise about the centre.
    """
    rng = np.random.RandomState(seed)
    n_slices, height, width = target_shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    waves = np.stack([np.cos(3 * x + s) * np.sin(5 * y - s) for s in range(n_slices)])
    target = np.abs(waves + 0.3 * rng.standard_normal(target_shape))
    image = np.abs(0.2 * rng.standard_normal(image_shape))
    top, left = ((a - b) // 2 for a, b in zip(image_shape[1:], target_shape[1:], strict=True))
    noisy = np.abs(0.97 * target + 0.1 * rng.standard_normal(target_shape))
    image[:, top : top + height, left : left + width] = noisy
    return target.astype(dtype), image.astype(dtype)


def write_evaluate_files(folder: Path, cases: Any) -> tuple[Path, Path]:
    """Folders of targets and images in fastMRI's layout, one `golden_volumes` a file."""
    import h5py

    targets, images = folder / "targets", folder / "images"
    targets.mkdir()
    images.mkdir()
    for seed, target_shape, image_shape in cases:
        target, image = golden_volumes(seed, tuple(target_shape), tuple(image_shape), "float32")
        with h5py.File(targets / f"file{seed}.h5", "w") as file:
            file["kspace"] = np.ones(target.shape, np.complex64)
            file["reconstruction_esc"] = target
            file.attrs["acquisition"] = "CORPD_FBK"
        with h5py.File(images / f"file{seed}.h5", "w") as file:
            file["reconstruction"] = image
    return targets, images
