"""The stationary wavelet transform: tight, the mean over shifts, and compiled as it is plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.physics import fused_wavelets
from mri_recon.physics.fused_wavelets import FusedWavelets
from mri_recon.physics.wavelets import (
    HIGH,
    LOW,
    n_levels,
    prox_of_wavelets,
    shift_weights,
    wavelet,
    wavelet_adjoint,
)
from mri_recon.solvers import threads
from mri_recon.solvers.admm import ProxSplitting
from mri_recon.solvers.prox import soft_threshold

SIZES = [(16, 24), (17, 23), (5, 40), (1, 7)]


def orthonormal(image, levels):
    """The decimated transform of one image, by matrices: all its coefficients, and the level of each."""

    def matrix(n):
        """Low then high half, n even."""
        rows = np.zeros((n, n))
        for i in range(n // 2):
            for k in range(4):
                rows[i, (2 * i + k) % n] += np.sqrt(2) * LOW[k]
                rows[n // 2 + i, (2 * i + k) % n] += np.sqrt(2) * HIGH[k]
        return rows

    low, bands = image, []
    for _ in range(levels):
        h, w = low.shape
        both = matrix(h) @ low @ matrix(w).T
        low = both[: h // 2, : w // 2]
        bands.append(np.concatenate([both[: h // 2, w // 2 :].ravel(), both[h // 2 :].ravel()]))
    return [*bands, low.ravel()]


def test_the_filters_are_daubechies():
    """Unit norm, orthogonal to even shifts, two vanishing moments."""
    low, high = np.sqrt(2) * np.array([LOW, HIGH])
    np.testing.assert_allclose([low @ low, high @ high, low @ high], [1, 1, 0], atol=1e-15)
    np.testing.assert_allclose(
        [low[2:] @ low[:2], high[2:] @ high[:2], low.sum()], [0, 0, 2**0.5], atol=1e-15
    )
    np.testing.assert_allclose([high.sum(), high @ np.arange(4)], 0, atol=1e-15)


@pytest.mark.parametrize("levels", [0, 1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_the_adjoint_is_the_inverse_at_any_size(size, levels):
    image = complex_normal(np.random.default_rng(1), (2, *size))
    bands = wavelet(image, levels)
    assert bands.shape == (3 * levels + 1, 2, *size)
    assert_close(wavelet_adjoint(bands), image, 1e-13)
    assert np.linalg.norm(bands) == pytest.approx(np.linalg.norm(image), rel=1e-13)


def test_its_weighted_norm_is_the_mean_over_shifts_of_the_orthonormal_transforms():
    levels = 2
    image = complex_normal(np.random.default_rng(2), (16, 8))
    assert np.linalg.norm(np.concatenate(orthonormal(image, levels))) == pytest.approx(np.linalg.norm(image))
    shifted = [np.roll(image, (i, j), (0, 1)) for i in range(4) for j in range(4)]
    expected = np.mean([sum(np.abs(b).sum() for b in orthonormal(s, levels)) for s in shifted])
    weights = [w for w in shift_weights(levels)[:-1] for _ in range(3)] + shift_weights(levels)[-1:]
    found = sum(w * np.abs(b).sum() for w, b in zip(weights, wavelet(image, levels), strict=True))
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_shifted_image_has_shifted_coefficients():
    image = complex_normal(np.random.default_rng(3), (1, 17, 12))
    moved = np.roll(image, (3, 5), (-2, -1))
    assert_close(wavelet(moved, 3), np.roll(wavelet(image, 3), (3, 5), (-2, -1)), 1e-14)


def test_a_flat_image_is_all_in_the_coarsest_band_and_slopes_have_no_fine_detail():
    flat = wavelet(np.full((1, 12, 20), 2 + 1j), 3)
    assert_close(flat[-1], np.full((1, 12, 20), 2 + 1j), 1e-14)
    assert np.abs(flat[:-1]).max() < 1e-14
    slope = wavelet(np.arange(20.0) * np.ones((1, 12, 1)), 1)
    # But where it falls back around the edge.
    assert np.abs(slope[:-1, ..., :17]).max() < 1e-14
    assert np.abs(slope[0, ..., 17:]).max() > 1


@pytest.mark.parametrize(
    ("size", "levels"), [(15, 0), (16, 1), (28, 1), (29, 2), (64, 3), (96, 3), (128, 4), (256, 5)]
)
def test_as_many_levels_as_bart_takes(size, levels):
    """BART's were read off the gain of a flat image's coefficients."""
    assert n_levels(size, 2 * size) == n_levels(size + 100, size) == levels


def test_torch_agrees():
    image = complex_normal(np.random.default_rng(4), (2, 9, 14), np.complex64)
    bands = wavelet(image, 2)
    assert bands.dtype == np.complex64
    assert_close(wavelet(torch.as_tensor(image), 2), bands, 1e-6)
    assert_close(wavelet_adjoint(torch.as_tensor(bands)), wavelet_adjoint(bands), 1e-6)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("levels", [0, 1, 4])
@pytest.mark.parametrize("size", [*SIZES, (40, 30)])
def test_compiled_is_as_plain(monkeypatch, size, levels, n_threads):
    """Whatever the size, also where the filters' taps go around the image more than once."""
    monkeypatch.setattr(threads, "n_threads", lambda: n_threads)
    monkeypatch.setattr(fused_wavelets, "_LEAST_ROWS", 1)
    monkeypatch.setattr(fused_wavelets, "_LEAST_ITEMS", 1)
    rng = np.random.default_rng(5)
    steps = [0.3 * weight for weight in shift_weights(levels)]
    x = complex_normal(rng, (2, *size), np.complex64)
    prox = prox_of_wavelets(soft_threshold, steps)
    plain = ProxSplitting(lambda image: wavelet(image, levels), wavelet_adjoint, prox, x, 1.0, 1.7)
    fused = FusedWavelets(x.shape, steps, 1.7)
    np.testing.assert_array_equal(fused.pull(), 0)
    for _ in range(4):
        before = x.copy()
        residuals = [splitting.advance(x, measure=True) for splitting in (plain, fused)]
        assert residuals[1] == pytest.approx(residuals[0], rel=1e-4)
        assert_close(fused.pull(), plain.pull(), 1e-5)
        np.testing.assert_array_equal(x, before)
        x = (0.7 * x + 0.2 * complex_normal(rng, x.shape)).astype(np.complex64)


def test_the_prox_of_the_bands_is_each_bands_own():
    weights = shift_weights(2)
    bands = complex_normal(np.random.default_rng(6), (7, 1, 5, 4))
    shrunk = prox_of_wavelets(soft_threshold, weights)(bands, 0.8)
    for i, weight in enumerate([0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]):
        assert_close(shrunk[i], soft_threshold(bands[i], 0.8 * weight), 1e-15)
        # Moreau: what is taken off lies in the ball of that radius.
        assert np.abs(bands[i] - shrunk[i]).max() <= 0.8 * weight * (1 + 1e-12)
