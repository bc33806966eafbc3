"""The zero-filled reconstruction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.data.phantom import sample_scan
from mri_recon.methods.zero_filled import ZeroFilled
from mri_recon.physics.fourier import fftc, ifftc


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("shape", [(8, 10), (7, 9)])
def test_root_sum_of_squares_of_the_inverse_transforms(library, shape):
    coil_images = complex_normal(np.random.default_rng(1), (2, 3, *shape), np.complex64)
    mask = np.ones((1, 1, 1, shape[1]), dtype=bool)
    image = ZeroFilled()(library(fftc(coil_images)), library(mask), None)
    assert_close(image, np.linalg.norm(coil_images, axis=1), 1e-5)


def test_one_coil_is_the_magnitude_and_nothing_fills_the_gaps():
    kspace = complex_normal(np.random.default_rng(2), (1, 1, 8, 10), np.complex64)
    mask = (np.arange(10) % 2 == 1).reshape(1, 1, 1, -1)
    image = ZeroFilled()(kspace * mask, mask, None)
    assert_close(image, np.abs(ifftc(kspace * mask))[:, 0], 1e-6)
    # Every second column twice folds the image: half the energy is gone.
    assert np.linalg.norm(image) == pytest.approx(np.linalg.norm(kspace * mask), rel=1e-5)


def test_fully_sampled_and_noiseless_is_the_target():
    scan = sample_scan(height=64, width=60, n_slices=2, n_coils=4, noise=0)
    image = ZeroFilled()(scan.kspace, np.ones((1, 1, 1, 60), dtype=bool), None)
    assert_close(image, scan.target, 1e-5)
