"""Finite differences and total variation against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.physics.differences import gradient, gradient_adjoint, laplacian_symbol, total_variation
from mri_recon.physics.fourier import fftc, ifftc


def test_forward_differences_wrap_around():
    image = np.array([[1.0, 2.0, 4.0], [7.0, 11.0, 16.0]])
    along_height, along_width = gradient(image)
    np.testing.assert_array_equal(along_height, [[6, 9, 12], [-6, -9, -12]])
    np.testing.assert_array_equal(along_width, [[1, 2, -3], [4, 5, -9]])


@pytest.mark.parametrize("shape", [(8, 10), (7, 9), (9, 6), (1, 5)])
def test_laplacian_symbol_is_the_spectrum(shape):
    x = complex_normal(np.random.default_rng(1), (2, *shape))
    symbol = laplacian_symbol(*shape)
    assert_close(gradient_adjoint(gradient(x)), ifftc(symbol * fftc(x)), 1e-13)
    assert symbol[shape[0] // 2, shape[1] // 2] == 0


def test_total_variation_is_isotropic():
    point = np.zeros((1, 6, 7), dtype=np.complex128)
    point[0, 3, 3] = 2j
    # At the point both differences are -2j; above and left of it one each.
    assert total_variation(point)[0] == pytest.approx(2 * (np.sqrt(2) + 2))


def test_total_variation_of_bands_is_jump_times_length_in_either_direction():
    band = np.zeros((2, 8, 10), dtype=np.complex128)
    band[0, :, 2:6] = 3 * np.exp(0.7j)
    band[1, 1:4, :] = 5
    np.testing.assert_allclose(total_variation(band), [2 * 3 * 8, 2 * 5 * 10], rtol=1e-14)
    np.testing.assert_allclose(total_variation(torch.as_tensor(band)), [48, 100], rtol=1e-14)
