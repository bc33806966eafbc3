"""Other definitions of a score, against closed forms and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import golden_volumes
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mri_recon.errors import SettingsError
from mri_recon.evaluation.definitions import checked, hfen, ncc, other_scores


@pytest.fixture(scope="module")
def volumes():
    return golden_volumes(21, (3, 33, 29), (3, 33, 29), "float64")


def test_by_slice_is_the_mean_of_what_slices_score_alone(volumes):
    target, image = (volume * np.array([1, 0.01, 3])[:, None, None] for volume in volumes)
    found = other_scores(("slice",), target, image, None)
    crop = slice(2, 31)  # the centre square of the width
    pairs = list(zip(target[:, crop], image[:, crop], strict=True))
    assert found["slice_psnr"] == pytest.approx(
        np.mean([peak_signal_noise_ratio(t, x, data_range=t.max()) for t, x in pairs]), rel=1e-12
    )
    assert found["slice_ssim"] == pytest.approx(
        np.mean([structural_similarity(t, x, data_range=t.max()) for t, x in pairs]), rel=1e-9
    )
    assert found["slice_nmse"] == pytest.approx(
        np.mean([np.sum((t - x) ** 2) / np.sum(t**2) for t, x in pairs]), rel=1e-12
    )


def test_an_empty_slice_is_passed_over(volumes):
    target, image = volumes[0].copy(), volumes[1].copy()
    target[1] = image[1] = 0
    found = other_scores(("slice",), target, image, None)
    kept = other_scores(("slice",), target[[0, 2]], image[[0, 2]], None)
    assert found == pytest.approx(kept)


def test_hfen_is_that_of_the_filter_written_out(volumes):
    target, image = volumes
    y, x = np.mgrid[-7:8, -7:8]
    r2 = x**2 + y**2
    # The Laplacian of a sampled Gaussian and the sampled Laplacian differ in the fifth digit at this width.
    kernel = (r2 - 2 * 1.5**2) / 1.5**4 * np.exp(-r2 / (2 * 1.5**2))
    kernel -= kernel.mean()

    def filtered(volume):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.pad(volume, ((0, 0), (7, 7), (7, 7))), (15, 15), (1, 2)
        )
        return np.einsum("syxij,ij->syx", windows, kernel)

    expected = np.linalg.norm(filtered(target - image)) / np.linalg.norm(filtered(target))
    assert hfen(target, image) == pytest.approx(expected, rel=2e-3)
    assert hfen(target, target) == 0
    assert hfen(target, 0 * target) == pytest.approx(1)


def test_hfen_minds_edges_and_not_shading(volumes):
    target = volumes[0]
    shading = np.hanning(29) * np.hanning(33)[:, None] * np.ones_like(target)
    noise = np.random.default_rng(3).standard_normal(target.shape)
    noise *= np.linalg.norm(shading) / np.linalg.norm(noise)
    assert hfen(target, target + noise) > 3 * hfen(target, target + shading)


def test_ncc_is_pearsons_and_blind_to_gain_and_offset(volumes):
    target, image = volumes
    assert ncc(target, image) == pytest.approx(np.corrcoef(target.ravel(), image.ravel())[0, 1], rel=1e-12)
    assert ncc(target, 3 * target + 2) == pytest.approx(1)
    assert ncc(target, -target) == pytest.approx(-1)
    assert math.isnan(ncc(target, np.ones_like(target)))


def test_names_are_checked_and_fastmri_is_always_there():
    assert checked(["fastmri", "hfen", "slice", "hfen"]) == ("hfen", "slice")
    assert checked([]) == ()
    with pytest.raises(SettingsError, match="Did you mean 'hfen'"):
        checked(["hfn"])


def test_only_what_was_asked_for_is_there(volumes):
    assert other_scores((), *volumes, 0.5) == {}
    assert list(other_scores(("ncc", "residual"), *volumes, 0.5)) == ["ncc", "residual"]
    assert other_scores(("residual",), *volumes, None) == {"residual": None}
