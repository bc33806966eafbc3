"""A target that is not the image of its k-space: found, and what was done to it named."""

from __future__ import annotations

import numpy as np
import pytest
from measured import image_of, measured_slice
from scipy.ndimage import gaussian_filter

from mri_recon.inspection.target import target_mismatch
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import generate_mask

KSPACE = measured_slice()
TARGET = image_of(KSPACE)


@pytest.mark.parametrize("shape", [(160, 128), (128, 128), (99, 101)])
def test_the_centre_of_the_image_is_right(shape):
    finding = target_mismatch(KSPACE, center_crop(TARGET, shape))
    assert not finding.found
    assert finding.value < 1e-6


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (TARGET * 1.02, "times 1.02: it was scaled"),
        (TARGET * 1e6, "times 1e+06"),
        (np.roll(TARGET, (2, -3), axis=(0, 1)), "shifted by 2 pixels down, -3 right"),
        (TARGET[::-1], "upside down"),
        (TARGET[:, ::-1], "mirrored left to right"),
        (center_crop(TARGET, (100, 100))[::-1, ::-1], "turned by 180°"),
        (center_crop(TARGET, (100, 100)).T, "transposed"),
        (np.roll(TARGET, (-5, 7), axis=(0, 1))[30:130, 20:110], "another crop"),
        (image_of(center_crop(KSPACE, (120, 96))), "resized to 120×96"),
        (gaussian_filter(TARGET, 2.0), "processed"),
        (np.random.default_rng(0).random(TARGET.shape), "does not show"),
        (TARGET.clip(max=np.quantile(TARGET, 0.99)), "clipped: 1.0"),
        (np.zeros_like(TARGET), "empty"),
    ],
)
def test_what_was_done_to_it_is_named(target, words):
    finding = target_mismatch(KSPACE, target)
    assert finding.found
    assert words in finding.text
    assert finding.value > finding.limit


def test_where_another_crop_was_cut_is_told():
    found = target_mismatch(KSPACE, TARGET[40:120, 10:90])
    # The centre's crop would begin at 40, 24.
    assert "0 pixels" in found.text
    assert "14 further left" in found.text


def test_the_image_without_its_noise_is_right():
    assert not target_mismatch(KSPACE, image_of(measured_slice(noise=0.0))).found


def test_but_not_in_another_scale():
    assert target_mismatch(KSPACE, image_of(measured_slice(noise=0.0)) * 1.1).found


@pytest.mark.parametrize("left_out", [np.s_[:, :, :30], np.s_[:, -40:]])
def test_partial_fourier_may_have_the_target_of_the_whole(left_out):
    partial = KSPACE.copy()
    partial[left_out] = 0
    assert not target_mismatch(partial, TARGET).found
    assert not target_mismatch(partial, image_of(partial)).found
    assert target_mismatch(partial, TARGET[::-1, ::-1] ** 0 * np.indices(TARGET.shape)[0]).found


class TestUndersampled:
    mask = generate_mask("random", 128, 4, 0.08, seed=0)

    def test_the_full_image_is_right(self):
        assert not target_mismatch(KSPACE * self.mask, TARGET, undersampled=True).found

    def test_one_with_aliases_is_not(self):
        masked = KSPACE * self.mask
        for declared in (True, False):
            finding = target_mismatch(masked, image_of(masked), undersampled=declared)
            assert "aliases" in finding.text

    def test_a_lost_line_is_no_undersampling(self):
        lost = KSPACE.copy()
        lost[:, :, 100] = 0
        assert not target_mismatch(lost, image_of(lost)).found

    def test_nor_is_another_object(self):
        assert (
            "something else"
            in target_mismatch(KSPACE * self.mask, TARGET[::-1, ::-1] ** 0 * np.indices(TARGET.shape)[0]).text
        )


def test_slices_without_anything_match():
    assert not target_mismatch(np.zeros_like(KSPACE), np.zeros_like(TARGET)).found
