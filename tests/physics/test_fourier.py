"""The centred orthonormal transform against its definition, on numpy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import as_numpy, assert_close, assert_unitary, complex_normal

from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import fftc, filtered, ifftc, rss_images
from mri_recon.solvers.threads import _all_threads, n_threads

SIZES = [(8, 10), (7, 9), (8, 5), (5, 8), (1, 6), (3, 1)]
TOLERANCE = {np.complex64: 1e-6, np.complex128: 1e-13}


def dft_matrix(n: int) -> np.ndarray:
    """Orthonormal DFT with position and frequency both counted from n // 2."""
    index = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
class TestBothLibraries:
    def test_unitary(self, shape, dtype, library):
        rng = np.random.default_rng(1)
        x, y = (library(complex_normal(rng, (2, 3, *shape), dtype)) for _ in range(2))
        assert_unitary(fftc, ifftc, x, y, TOLERANCE[dtype])

    def test_equals_the_definition(self, shape, dtype, library):
        x = complex_normal(np.random.default_rng(2), (2, *shape), dtype)
        expected = dft_matrix(shape[0]) @ x.astype(np.complex128) @ dft_matrix(shape[1]).T
        assert_close(fftc(library(x)), expected, TOLERANCE[dtype])
        along_width = x.astype(np.complex128) @ dft_matrix(shape[1]).T
        assert_close(fftc(library(x), axes=(-1,)), along_width, TOLERANCE[dtype])
        along_height = dft_matrix(shape[0]) @ x.astype(np.complex128)
        assert_close(fftc(library(x), axes=(1,)), along_height, TOLERANCE[dtype])

    def test_does_not_touch_its_input(self, shape, dtype, library):
        x = library(complex_normal(np.random.default_rng(3), shape, dtype))
        before = np.array(as_numpy(x))
        fftc(x)
        ifftc(x)
        np.testing.assert_array_equal(as_numpy(x), before)


@pytest.mark.parametrize("n", [32, 33])
def test_a_centred_gaussian_is_its_own_transform(n):
    position = np.arange(n) - n // 2
    one = np.exp(-np.pi * position**2 / n)
    gaussian = np.outer(one, one).astype(np.complex128)
    assert_close(fftc(gaussian), gaussian, 1e-10)


@pytest.mark.parametrize("shape", SIZES)
def test_a_delta_at_the_centre_is_flat_and_a_shift_is_a_ramp(shape):
    h, w = shape
    delta = np.zeros(shape, dtype=np.complex128)
    delta[h // 2, w // 2] = 1
    flat = np.full(shape, 1 / np.sqrt(h * w), dtype=np.complex128)
    assert_close(fftc(delta), flat, 1e-14)
    frequency = (np.arange(w) - w // 2) / w
    shifted = np.roll(delta, 2, axis=1)
    assert_close(fftc(shifted), flat * np.exp(-2j * np.pi * 2 * frequency), 1e-13)


def test_noncontiguous_and_read_only_arrays():
    x = complex_normal(np.random.default_rng(4), (9, 6, 7))
    turned = x.transpose(2, 0, 1)[:, ::-1]
    turned.flags.writeable = False
    assert_close(fftc(turned), fftc(np.ascontiguousarray(turned)), 1e-14)


@pytest.mark.parametrize("asked", ["3", "", "0", "-1", "many"])
def test_threads_follow_the_environment(monkeypatch, asked):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    _all_threads.cache_clear()
    try:
        # What is not a positive number is passed over, not an error.
        assert n_threads() == 3 if asked == "3" else n_threads() >= 1
    finally:
        _all_threads.cache_clear()


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("shape", [(8, 10), (7, 9), (1, 6)])
def test_filtered_is_a_product_between_two_transforms(library, shape):
    """The circulant solves of total variation, which leave the centring out."""
    rng = np.random.default_rng(8)
    x = complex_normal(rng, (2, *shape))
    for response in (rng.uniform(size=(2, *shape)), rng.uniform(size=(1, 1, shape[1]))):
        before = x.copy()
        found = filtered(library(x), library(response))
        assert_close(found, ifftc(fftc(x) * response), 1e-13)
        np.testing.assert_array_equal(as_numpy(x), before)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("axes", [(-1,), (-2,)])
def test_filtered_along_one_axis_alone(library, axes):
    rng = np.random.default_rng(9)
    x, response = complex_normal(rng, (2, 7, 6)), rng.uniform(size=(2, 7, 6))
    found = filtered(library(x), library(response), axes)
    assert_close(found, ifftc(fftc(x, axes) * response, axes), 1e-13)


@pytest.mark.parametrize("shape", [(2, 3, 8, 10), (1, 7, 9), (4, 1, 5, 6)])
def test_rss_images_are_the_root_sum_of_squares_of_the_inverse(shape):
    x = complex_normal(np.random.default_rng(10), shape)
    before = x.copy()
    assert_close(rss_images(x), rss(ifftc(x)), 1e-13)
    np.testing.assert_array_equal(x, before)
    single = rss_images(x.astype(np.complex64))
    assert single.dtype == np.float32
    assert single.flags.c_contiguous
