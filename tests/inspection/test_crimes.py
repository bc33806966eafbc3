"""Zero-filling, mirror symmetry and missing columns: found where they are, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from measured import image_of, measured_slice

from mri_recon.inspection.crimes import conjugate_symmetric, masked_already, zero_padded
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.masks import generate_mask


def padded(kspace, height, width):
    out = np.zeros((len(kspace), height, width), np.complex64)
    top, left = (height - kspace.shape[1]) // 2, (width - kspace.shape[2]) // 2
    out[:, top : top + kspace.shape[1], left : left + kspace.shape[2]] = kspace
    return out


class TestZeroPadded:
    @pytest.mark.parametrize("size", [(200, 160), (320, 256), (160, 192), (240, 128), (201, 161)])
    def test_zero_filling_is_found(self, size):
        finding = zero_padded(padded(measured_slice(), *size))
        assert finding.value > 50
        kept = max(1 - (1 - a / b) for a, b in zip((160, 128), size, strict=True) if a < b)
        assert f"{kept:.0%}" in finding.text or f"{min(160 / size[0], 128 / size[1]):.0%}" in finding.text

    def test_crumbs_outside_do_not_hide_it(self):
        kspace = padded(measured_slice(), 240, 192)
        rng = np.random.default_rng(0)
        kspace = kspace + 1e-4 * rng.standard_normal(kspace.shape).astype(np.float32)
        assert zero_padded(kspace).found

    def test_a_measurement_is_not(self):
        assert zero_padded(measured_slice()).value < 5

    @pytest.mark.parametrize("cut", [np.s_[:, :, :32], np.s_[:, :, -32:], np.s_[:, :40]])
    def test_partial_fourier_is_not(self, cut):
        kspace = measured_slice().copy()
        kspace[cut] = 0
        assert not zero_padded(kspace).found

    def test_padding_that_the_header_declares_is_not(self):
        kspace = padded(measured_slice(), 160, 144)
        assert zero_padded(kspace).found
        assert not zero_padded(kspace, padding=(8, 136)).found

    @pytest.mark.parametrize("seed", range(12))
    def test_undersampled_ends_are_not(self, seed):
        mask = generate_mask("random", 128, 8, 0.04, seed=seed)
        assert not zero_padded(measured_slice() * mask).found

    def test_tiny_and_single_columns_are_no_reason_to_fail(self):
        assert zero_padded(measured_slice()[:, :8, :8]).value == 0
        single = np.zeros((1, 64, 64), np.complex64)
        single[:, :, 32] = 1
        zero_padded(single)


class TestConjugateSymmetric:
    def test_of_a_real_image_it_is_one(self):
        kspace = fftc(image_of(measured_slice()).astype(np.complex64)[None])
        assert conjugate_symmetric(kspace).value == pytest.approx(1, abs=1e-5)
        assert conjugate_symmetric(kspace * np.complex64(np.exp(1j))).found

    def test_its_value_is_the_coherence_of_the_squared_image(self):
        rng = np.random.default_rng(1)
        image = np.exp(1j * rng.choice([0, np.pi / 2], size=(1, 64, 64), p=[0.8, 0.2]))
        # The square is 1 where the phase is 0 and −1 where it is π/2.
        expected = abs((image**2).mean())
        assert conjugate_symmetric(fftc(image)).value == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("shift", [(1, 0), (0, -3), (2, 5)])
    def test_wherever_the_centre_is(self, shift):
        kspace = fftc(image_of(measured_slice()).astype(np.complex64)[None])
        assert conjugate_symmetric(np.roll(kspace, shift, axis=(1, 2))).found

    @pytest.mark.parametrize("width", [128, 127])
    def test_undersampled_columns_hide_it_not(self, width):
        kspace = fftc(image_of(measured_slice())[:, :width].astype(np.complex64)[None])
        mask = generate_mask("random", width, 4, 0.08, seed=3)
        assert conjugate_symmetric(kspace * mask).found
        assert not conjugate_symmetric(measured_slice()[:, :, :width] * mask).found

    def test_phase_and_noise_make_a_measurement(self):
        assert conjugate_symmetric(measured_slice()).value < 0.97

    def test_without_data_there_is_no_symmetry(self):
        assert conjugate_symmetric(np.zeros((1, 32, 32), np.complex64)).value == 0


class TestMaskedAlready:
    @pytest.mark.parametrize("acceleration", [2, 4, 8])
    @pytest.mark.parametrize("leak", [0, 1e-3])
    def test_missing_columns_are_found(self, acceleration, leak):
        mask = generate_mask("equispaced", 128, acceleration, 0.32 / acceleration, seed=0)
        finding = masked_already(measured_slice() * (mask + np.float32(leak)))
        assert finding.found
        assert finding.value == pytest.approx(1 - mask.mean(), abs=0.06)

    def test_not_where_the_file_says_so(self):
        mask = generate_mask("random", 128, 4, 0.08, seed=0)
        finding = masked_already(measured_slice() * mask, declared=True)
        assert not finding.found
        assert finding.value > 0.5

    def test_a_lost_line_is_no_crime_and_neither_is_partial_fourier(self):
        kspace = measured_slice().copy()
        kspace[:, :, [20, 90]] = 0
        kspace[:, :, :16] = 0
        assert not masked_already(kspace).found
        assert masked_already(measured_slice()).value == 0


def test_images_of_odd_sizes_and_one_coil():
    kspace = fftc(ifftc(measured_slice())[:1, :159, :127])
    assert not zero_padded(kspace).found
    assert not conjugate_symmetric(kspace).found
    assert not masked_already(kspace).found
