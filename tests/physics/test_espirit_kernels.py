"""ESPIRiT's compiled kernels beside the plain versions that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import as_numpy, assert_close, complex_normal

from mri_recon.data.phantom import sample_scan
from mri_recon.physics import espirit
from mri_recon.physics.espirit import espirit_maps, power_iteration
from mri_recon.reconstruct import reconstruct
from mri_recon.solvers.threads import limited_threads


@pytest.mark.parametrize("shape", [(4, 11, 7), (1, 1, 3), (8, 5, 2)])
@pytest.mark.parametrize("iterations", [0, 1, 6])
def test_power_iteration(shape, iterations):
    rng = np.random.default_rng(2)
    n_coils, height, width = shape
    root = complex_normal(rng, (n_coils, n_coils, height, width), np.complex64)
    g = np.einsum("iahw,jahw->ijhw", root, root.conj()).astype(np.complex64)
    start = complex_normal(rng, shape, np.complex64)
    before = start.copy()
    found, values = espirit._compiled_power_iteration(g, start, iterations)
    plain, plain_values = power_iteration(g, start, iterations)
    assert_close(found, plain, 1e-5)
    if iterations:
        assert_close(values, np.real(plain_values), 1e-5)
    np.testing.assert_array_equal(start, before)


def test_enough_iterations_give_the_leading_eigenvectors():
    rng = np.random.default_rng(3)
    root = complex_normal(rng, (4, 4, 5, 5), np.complex64)  # (row, width, coil, …)
    matrices = root @ root.conj().swapaxes(-1, -2)
    values, vectors = np.linalg.eigh(matrices)
    start = complex_normal(rng, (5, 4, 4), np.complex64)
    found, largest = espirit._compiled_power_iteration(np.moveaxis(matrices, (2, 3), (0, 1)), start, 3000)
    assert_close(largest, values[..., -1], 1e-5)
    overlap = np.abs((vectors[..., -1].conj() * np.moveaxis(found, 0, -1)).sum(-1))
    assert_close(overlap, np.ones((4, 4)), 1e-3)


def test_a_pixel_without_signal_stays_finite():
    vectors, values = espirit._compiled_power_iteration(
        np.zeros((3, 3, 2, 2), np.complex64), np.ones((3, 2, 2), np.complex64)
    )
    assert np.isfinite(vectors).all()
    assert not values.any()


@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("shape", [(3, 8, 10), (2, 9, 7), (1, 16, 5)])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_refined(shape, steps, n_threads):
    rng = np.random.default_rng(4)
    reference = complex_normal(rng, shape, np.complex64)
    coarse = complex_normal(rng, shape, np.complex64)[:, :: steps[0], :: steps[1]]
    with limited_threads(n_threads):
        found = espirit._refined(coarse, reference, steps)
    plain = espirit._refined(torch.as_tensor(coarse.copy()), torch.as_tensor(reference), steps)
    assert_close(found, as_numpy(plain), 1e-5)
    assert_close(np.sqrt((np.abs(found) ** 2).sum(0)), np.ones(shape[1:]), 1e-5)
    # Of the pixels that are there, nothing but the length and the phase is changed.
    kept = found[:, :: steps[0], :: steps[1]]
    overlap = np.abs((coarse.conj() * kept).sum(0)) / np.sqrt((np.abs(coarse) ** 2).sum(0))
    assert_close(overlap, np.ones(kept.shape[1:]), 1e-5)


@pytest.mark.parametrize("shape", [(256, 240), (241, 255)])
def test_large_maps_are_those_of_every_pixel(shape, monkeypatch):
    """Worked out on every other row and column, and by numpy as by torch."""
    scan = sample_scan(height=48, width=44, n_coils=4, noise=0.002, seed=5)
    calibration = scan.kspace[0:1][0][:, 12:36, 10:34]
    found = espirit_maps(calibration, shape)
    by_torch = as_numpy(espirit_maps(torch.as_tensor(calibration), shape))
    monkeypatch.setattr(espirit, "COARSE_FROM", 10**6)
    everywhere = espirit_maps(calibration, shape)
    for maps, tolerance in ((found, 3e-3), (by_torch, 3e-3)):
        agreement = np.abs((maps.conj() * everywhere).sum(0))
        assert np.median(agreement) > 1 - 1e-5
        assert np.percentile(agreement, 1) > 1 - tolerance
    assert np.median(np.abs(found - by_torch)) < 1e-4


@pytest.mark.parametrize("shape", [(96, 88), (250, 241)])
def test_crop_and_soft_weights(shape):
    """Where there is no object the maps go; where there is, nothing changes; in between, weights fade."""
    scan = sample_scan(height=96, width=88, n_coils=6, noise=0.005, seed=6)
    calibration = scan.kspace[0:1][0][:, 36:60, 32:56]
    settings = {"threshold": 0.001**0.5}
    plain = espirit_maps(calibration, shape, **settings)
    hard = espirit_maps(calibration, shape, crop=0.8, **settings)
    soft = espirit_maps(calibration, shape, crop=0.8, soft=True, **settings)
    norm = lambda maps: np.sqrt((np.abs(maps) ** 2).sum(0))  # noqa: E731
    inside = norm(hard) > 0.5
    assert_close(hard[:, inside], plain[:, inside], 1e-6)
    np.testing.assert_array_equal(hard[:, ~inside], 0)
    if shape == (96, 88):
        truth = np.abs(scan.truth[0]) > 0.1
        assert (inside & truth).sum() > 0.97 * truth.sum()
        assert (inside & ~truth).sum() < 0.6 * (~truth).sum()
    weights = norm(soft)
    assert weights.max() <= 1 + 1e-5
    assert np.median(weights[inside]) > 0.95 > 0.5 > np.median(weights[~inside])
    assert ((weights > 0.05) & (weights < 0.95)).any()
    by_torch = as_numpy(espirit_maps(torch.as_tensor(calibration), shape, crop=0.8, soft=True, **settings))
    assert np.median(np.abs(soft - by_torch)) < 1e-4


@pytest.mark.parametrize("lines", [5, 7])
def test_a_narrow_centre_is_still_of_use(lines):
    """Few centre lines of 180: compressed sensing stays above zero-filled, by this many decibels."""
    scan = sample_scan(height=180, width=180, n_coils=8, noise=0.01, seed=7)
    options = {"acceleration": 4, "center_fraction": lines / 180}
    zero_filled, cs = (reconstruct(scan, method, **options).metrics.psnr for method in ("zero-filled", "cs"))
    assert cs > zero_filled + 3
