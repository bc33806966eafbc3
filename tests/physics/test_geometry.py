"""Cropping about the centre."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_recon.physics.geometry import center_crop


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
