"""Rounded values, grey levels and JPEG's blocks."""

from __future__ import annotations

import io

import numpy as np
import pytest
from measured import image_of, measured_slice
from PIL import Image

from mri_recon.inspection.rounding import grey_levels, jpeg_blocks, quantised
from mri_recon.inspection.support import noise_levels
from mri_recon.physics.fourier import fftc


def rounded(kspace, step):
    return ((np.round(kspace.real / step) + 1j * np.round(kspace.imag / step)) * step).astype(np.complex64)


def picture(levels):
    image = image_of(measured_slice())
    return np.round(image / image.max() * levels)


class TestQuantised:
    @pytest.mark.parametrize("steps", [0.1, 0.5, 2, 4])
    def test_the_step_is_measured_in_units_of_the_noise(self, steps):
        kspace = measured_slice()[:1]
        level = float(noise_levels(kspace)[0])
        finding = quantised(rounded(kspace, steps * level))
        # The outer half of k-space holds a little more than noise, above all a coarse rounding's own error.
        assert 0.4 * steps < finding.value < 1.3 * steps
        assert finding.found == (finding.value > 1)
        assert finding.found == (steps > 1)

    def test_single_precision_lies_on_no_grid(self):
        assert quantised(measured_slice()).value < 0.01
        assert quantised(measured_slice() * np.float32(1e-7)).value < 0.01

    def test_half_precision_is_measured_at_the_largest_value(self):
        kspace = measured_slice() / np.abs(measured_slice()).max() * 1024
        half = (kspace.real.astype(np.float16) + 1j * kspace.imag.astype(np.float16)).astype(np.complex64)
        noise = float(noise_levels(kspace)[0])
        assert 0.2 * 0.5 / noise < quantised(half).value < 2 * 0.5 / noise

    def test_too_few_values_say_nothing(self):
        assert quantised(np.ones((1, 8, 8), np.complex64)).value == 0


class TestGreyLevels:
    @pytest.mark.parametrize("levels", [255, 4095])
    def test_a_picture_of_whole_numbers_is_found_with_its_levels(self, levels):
        finding = grey_levels(fftc((picture(levels) * 3.7e-4).astype(np.complex64)[None]))
        assert finding.found
        assert f"{levels} grey levels" in finding.text

    def test_phase_and_coils_do_not_hide_it(self):
        y, x = np.mgrid[-1:1:160j, -1:1:128j]
        maps = np.stack([np.cos(x), np.sin(x) * np.exp(3j * y)])
        assert grey_levels(fftc((picture(255) * maps).astype(np.complex64))).found

    def test_a_measurement_has_none(self):
        assert grey_levels(measured_slice()).value < 0.5
        assert grey_levels(np.zeros((1, 32, 32), np.complex64)).value == 0


class TestJpegBlocks:
    @pytest.mark.parametrize("quality", [30, 60, 85])
    @pytest.mark.parametrize("cut", [(0, 0), (3, 5)])
    def test_blocks_are_found_wherever_their_grid_begins(self, quality, cut):
        file = io.BytesIO()
        Image.fromarray(picture(255).astype(np.uint8)).save(file, "JPEG", quality=quality)
        image = np.asarray(Image.open(file)).astype(np.complex64)[cut[0] :, cut[1] :]
        assert jpeg_blocks(fftc(image[None])).found

    def test_a_measurement_and_a_png_have_none(self):
        assert jpeg_blocks(measured_slice()).value < 5
        assert jpeg_blocks(fftc(picture(255).astype(np.complex64)[None])).value < 5

    def test_small_and_empty_images_say_nothing(self):
        assert jpeg_blocks(measured_slice()[:, :40, :40]).value == 0
        assert jpeg_blocks(np.zeros((1, 64, 64), np.complex64)).value == 0
