"""Cropping about the centre."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop, crop_readout


@pytest.mark.parametrize(
    ("size", "crop", "start"),
    [((8, 8), (4, 4), (2, 2)), ((9, 8), (4, 5), (2, 1)), ((9, 9), (5, 3), (2, 3)), ((4, 9), (6, 4), (0, 2))],
)
def test_starts_at_half_the_difference_rounded_down(size, crop, start):
    image = np.arange(2 * size[0] * size[1]).reshape(2, *size)
    expected = image[:, start[0] : start[0] + crop[0], start[1] : start[1] + crop[1]]
    np.testing.assert_array_equal(center_crop(image, crop), expected)
    np.testing.assert_array_equal(center_crop(torch.as_tensor(image), crop), expected)


def test_a_shorter_axis_is_left_whole():
    image = np.arange(12).reshape(1, 3, 4)
    np.testing.assert_array_equal(center_crop(image, (320, 320)), image)
    np.testing.assert_array_equal(center_crop(image, (320, 2)), image[:, :, 1:3])


@pytest.mark.parametrize(("height", "kept"), [(16, 8), (15, 8), (16, 7), (15, 7)])
def test_cropping_the_readout_keeps_the_rows_in_the_middle(height, kept):
    rng = np.random.default_rng(0)
    kspace = complex_normal(rng, (2, 3, height, 10))
    before = kspace.copy()
    cropped = crop_readout(kspace, kept)
    assert_close(ifftc(cropped), center_crop(ifftc(kspace), (kept, 10)), 1e-12)
    np.testing.assert_array_equal(kspace, before)
    # Columns stay columns: what was not acquired stays empty.
    kspace[..., 3] = 0
    assert not crop_readout(kspace, kept)[..., 3].any()
    assert crop_readout(kspace, height) is kspace
    assert crop_readout(kspace, height + 4) is kspace
