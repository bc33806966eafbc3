"""NMSE, PSNR and SSIM against fastMRI's own numbers, against scikit-image and against the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import golden, golden_volumes
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mri_recon.errors import ScanError
from mri_recon.metrics import Metrics, evaluation_crop, nmse, psnr, score, ssim


@pytest.mark.parametrize("case", golden("metrics"), ids=lambda case: str(case["seed"]))
def test_equals_fastmri(case):
    target, image = golden_volumes(case["seed"], case["target"], case["image"], case["dtype"])
    assert target.dtype == case["dtype"]
    scores = score(target, image)
    for name in ("nmse", "psnr", "ssim"):
        assert getattr(scores, name) == pytest.approx(case[name], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 32, 32), (3, 33, 29), (1, 20, 41)])
def test_equals_scikit_image(shape):
    target, image = golden_volumes(11, shape, shape, "float64")
    data_range = target.max()
    expected = [
        structural_similarity(t, x, data_range=data_range) for t, x in zip(target, image, strict=True)
    ]
    assert ssim(target, image) == pytest.approx(np.mean(expected), abs=1e-12)
    expected = peak_signal_noise_ratio(target, image, data_range=data_range)
    assert psnr(target, image) == pytest.approx(expected, abs=1e-10)


def test_known_numbers():
    target = np.zeros((1, 8, 8))
    target[0, 0, 0], target[0, 7, 7] = 3, 4
    image = target.copy()
    image[0, 3, 3] = 0.5
    assert nmse(target, image) == pytest.approx(0.25 / 25)
    # MSE 0.25 / 64, peak 4.
    assert psnr(target, image) == pytest.approx(10 * math.log10(16 * 64 / 0.25))
    assert psnr(target, image, data_range=8) == pytest.approx(10 * math.log10(64 * 64 / 0.25))


def test_a_perfect_image():
    target, _ = golden_volumes(12, (2, 16, 16), (2, 16, 16), "float32")
    assert score(target, target.copy()) == Metrics(nmse=0.0, psnr=math.inf, ssim=1.0)
    assert score(target, target.copy()).as_dict() == {"nmse": 0.0, "psnr": math.inf, "ssim": 1.0}


def test_the_range_is_the_volume_s_not_the_slice_s():
    target, image = golden_volumes(13, (2, 24, 24), (2, 24, 24), "float64")
    target[1] *= 0.01
    image[1] *= 0.01
    by_slice = np.mean([ssim(target[i : i + 1], image[i : i + 1]) for i in range(2)])
    assert abs(ssim(target, image) - by_slice) > 0.01
    assert ssim(target, image, data_range=2 * target.max()) > ssim(target, image)


def test_scores_do_not_depend_on_the_unit():
    target, image = golden_volumes(14, (2, 24, 24), (2, 24, 24), "float32")
    expected = score(target, image)
    # Scanners write from 1e-12 to 1e6, and powers of neither may be lost in single precision.
    for factor in (1e-24, 1e-12, 1e-9, 1e6, 1e12):
        scaled = score((target * factor).astype(np.float32), (image * factor).astype(np.float32))
        assert scaled.nmse == pytest.approx(expected.nmse, rel=1e-5)
        assert scaled.psnr == pytest.approx(expected.psnr, abs=1e-4)
        assert scaled.ssim == pytest.approx(expected.ssim, abs=1e-6)


def test_many_pixels_are_summed_in_double_precision():
    target = np.full((4, 512, 512), 1.0, dtype=np.float32)
    image = target * np.float32(1.001)
    assert nmse(target, image) == pytest.approx(float(np.float32(1.001) - 1) ** 2, rel=1e-6)


@pytest.mark.parametrize(
    ("target_shape", "image_shape", "scored"),
    [
        ((1, 20, 12), (1, 20, 12), (12, 12)),
        ((1, 13, 12), (1, 40, 30), (12, 12)),
        ((1, 12, 20), (1, 12, 20), (12, 20)),  # wider than tall: whole, where fastMRI fails
        ((1, 12, 20), (1, 16, 25), (12, 20)),
        ((1, 15, 15), (1, 15, 15), (15, 15)),
    ],
)
def test_what_is_scored(target_shape, image_shape, scored):
    target, image = golden_volumes(15, target_shape, image_shape, "float64")
    cut_target, cut_image = evaluation_crop(target, image)
    for cut, whole in ((cut_target, target), (cut_image, image)):
        top, left = ((a - b) // 2 for a, b in zip(whole.shape[1:], scored, strict=True))
        np.testing.assert_array_equal(cut, whole[:, top : top + scored[0], left : left + scored[1]])
    assert score(target, image) == Metrics(
        nmse(cut_target, cut_image), psnr(cut_target, cut_image), ssim(cut_target, cut_image)
    )


@pytest.mark.parametrize(
    ("target", "image", "says"),
    [
        (np.ones((2, 8, 8)), np.ones((3, 8, 8)), r"\(2, 8, 8\).*\(3, 8, 8\)"),
        (np.ones((8, 8)), np.ones((8, 8)), "two volumes"),
        (np.ones((1, 1, 8, 8)), np.ones((1, 1, 8, 8)), "two volumes"),
        (
            np.ones((1, 16, 16)),
            np.ones((1, 16, 12)),
            r"smaller than its target: \(16, 12\) against \(16, 16\)",
        ),
        (np.zeros((1, 8, 8)), np.ones((1, 8, 8)), "zero everywhere"),
        (np.full((1, 8, 8), np.nan), np.ones((1, 8, 8)), "target"),
        (np.ones((1, 6, 6)), np.ones((1, 6, 6)), r"at least 7×7 pixels, not \(6, 6\)"),
    ],
)
def test_what_cannot_be_scored(target, image, says):
    with pytest.raises(ScanError, match=says) as caught:
        score(target, image)
    assert "\n" not in str(caught.value)
