"""The noise: its level, and what blanking, smoothing and filtering do to it."""

from __future__ import annotations

import numpy as np
import pytest
from measured import image_of, measured_slice
from scipy.ndimage import gaussian_filter, median_filter

from mri_recon.inspection.noise import noise_findings, quiet_air
from mri_recon.inspection.support import noise_levels
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.masks import generate_mask


def found(kspace):
    return [finding.crime for finding in noise_findings(kspace) if finding.found]


def change(kspace, function):
    """A real filter on both parts of the coil images."""
    images = ifftc(kspace)
    return fftc((function(images.real) + 1j * function(images.imag)).astype(np.complex64))


def white(level, shape=(2, 128, 128), seed=0):
    rng = np.random.default_rng(seed)
    return (level * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))).astype(np.complex64)


class TestNoiseLevels:
    def test_white_noise_is_measured(self):
        kspace = np.concatenate([white(0.5)[:1], white(2.0)[1:]])
        assert noise_levels(kspace) == pytest.approx([0.5, 2.0], rel=0.1)

    def test_empty_margins_and_missing_columns_are_passed_over(self):
        kspace = np.pad(white(1.0), ((0, 0), (30, 10), (5, 40)))
        kspace[:, :, 20:60:3] = 0
        assert noise_levels(kspace) == pytest.approx([1, 1], rel=0.15)


class TestQuietAir:
    def test_white_noise_is_as_strong_in_air_as_in_the_corners_and_unlike(self):
        air = quiet_air(measured_slice())
        assert 0.7 < air.ratio < 1.1
        assert air.likeness < 0.1

    def test_undersampled_or_tiny_k_space_is_not_judged(self):
        assert quiet_air(measured_slice() * generate_mask("random", 128, 4, 0.08, seed=0)) is None
        assert quiet_air(measured_slice()[:, :24, :24]) is None
        assert quiet_air(np.zeros((1, 64, 64), np.complex64)) is None


def test_a_measurement_is_clean():
    assert found(measured_slice()) == []
    assert found(measured_slice() + white(0.02, measured_slice().shape)) == []


def test_a_blanked_background_is_found():
    image = image_of(measured_slice())
    assert found(fftc(ifftc(measured_slice()) * (image > 0.15 * image.max()))) == ["empty-noise-floor"]


def test_a_scan_without_noise_is_found():
    assert found(measured_slice(noise=0.0)) == ["empty-noise-floor"]


@pytest.mark.parametrize(
    "denoise",
    [
        lambda x: median_filter(x, (1, 5, 5)),
        lambda x: np.where(abs(x) > 0.2, x, gaussian_filter(x, (0, 2, 2))),
    ],
)
def test_denoising_is_found(denoise):
    assert found(change(measured_slice(), denoise)) != []


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5])
def test_smoothing_is_found_by_its_corners(sigma):
    assert "filtered-corners" in found(
        change(measured_slice(), lambda x: gaussian_filter(x, (0, sigma, sigma), mode="wrap"))
    )


def test_a_window_is_found_along_one_axis_too():
    assert "filtered-corners" in found(measured_slice() * np.hamming(128).astype(np.float32))


def test_corners_cut_off_are_found():
    y, x = np.mgrid[-1:1:160j, -1:1:128j]
    assert "filtered-corners" in found(measured_slice() * (x**2 + y**2 <= 1))


def test_an_object_that_fills_the_field_of_view_is_no_crime():
    inside = ifftc(measured_slice())[:, 40:120, 32:96]
    assert found(fftc(inside)) == []


def test_the_readout_filter_of_a_scanner_is_no_crime():
    kspace = white(1.0) * 0.05 + fftc(
        np.pad(np.ones((2, 60, 60), np.complex64), ((0, 0), (34, 34), (34, 34)))
    )
    roll_off = np.sin(np.pi * (np.arange(128) + 0.5) / 128) ** 0.5
    assert found(fftc(ifftc(kspace) * roll_off[:, None]).astype(np.complex64)) == []
