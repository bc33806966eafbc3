"""The compiled structural similarity against scikit-image's, and its kernel with every index checked."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import golden_volumes
from skimage.metrics import structural_similarity

from mri_recon.similarity import kernels
from mri_recon.similarity.ssim import ssim_of_slices
from mri_recon.solvers.threads import limited_threads

# Around the blocks of seven rows that windows are put together of.
SHAPES = [(1, 7, 7), (2, 8, 31), (3, 13, 9), (2, 14, 14), (2, 15, 7), (1, 33, 29), (2, 41, 64), (1, 71, 50)]


def of_scikit_image(target, image, data_range):
    return [structural_similarity(t, x, data_range=data_range) for t, x in zip(target, image, strict=True)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("data_range", [1.0, 0.37, 1e-5, 1e6])
def test_digits_are_scikit_images(shape, data_range):
    target, image = golden_volumes(sum(shape), shape, shape, "float64")
    target, image = data_range * target, data_range * image
    found = ssim_of_slices(target, image, float(target.max()))
    np.testing.assert_allclose(found, of_scikit_image(target, image, target.max()), rtol=0, atol=1e-11)


def test_single_precision_is_worked_on_in_double():
    target, image = golden_volumes(5, (2, 40, 30), (2, 40, 30), "float32")
    expected = of_scikit_image(target.astype(float), image.astype(float), float(target.max()))
    np.testing.assert_allclose(
        ssim_of_slices(target, image, float(target.max())), expected, rtol=0, atol=1e-11
    )


def test_a_bright_pixel_spoils_nothing_beyond_its_windows():
    target, image = golden_volumes(6, (1, 60, 40), (1, 60, 40), "float64")
    spoilt = target.copy()
    spoilt[0, 2, 2] = 1e9
    below = slice(10, None)  # rows whose windows do not reach it
    whole = ssim_of_slices(spoilt, image, 1.0) * (54 * 34)
    above = ssim_of_slices(spoilt[:, :16], image[:, :16], 1.0) * (10 * 34)
    rest = ssim_of_slices(target[:, below], image[:, below], 1.0) * (44 * 34)
    assert whole[0] == pytest.approx(above[0] + rest[0], abs=1e-9)


def test_the_threads_change_nothing():
    target, image = golden_volumes(7, (5, 30, 30), (5, 30, 30), "float32")
    found = []
    for n in (1, 2, 3):
        with limited_threads(n):
            found.append(ssim_of_slices(target, image, 1.0))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_what_is_not_finite_has_no_score_and_its_neighbours_have():
    target, image = golden_volumes(8, (3, 20, 20), (3, 20, 20), "float32")
    expected = ssim_of_slices(target, image, 1.0)
    image[1, 3, 3] = np.nan
    found = ssim_of_slices(target, image, 1.0)
    assert np.isnan(found[1])
    np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])
    image[1, 3, 3] = np.inf
    assert np.isnan(ssim_of_slices(target, image, 1.0)[1])


def checked_carray(memory, shape):
    assert shape[0] == memory.size
    return memory


@pytest.mark.parametrize("shape", [(7, 7), (8, 9), (14, 7), (15, 8)])
def test_no_index_of_the_kernel_is_out_of_bounds(shape, monkeypatch):
    """It runs as Python, where an index beyond the end, or below zero and therefore huge, is an error."""
    monkeypatch.setattr(kernels, "carray", checked_carray)
    for name in ("_add_row", "_row_of_windows", "_seven"):
        monkeypatch.setattr(kernels, name, getattr(kernels, name).py_func)
    target, image = (v[0] for v in golden_volumes(9, (1, *shape), (1, *shape), "float64"))
    total = np.zeros(1)
    with np.errstate(over="ignore"):
        kernels.ssim_sum(target.ravel(), image.ravel(), np.full(50 * shape[1], np.nan), total, *shape)
    n_windows = (shape[0] - 6) * (shape[1] - 6)
    assert total[0] / n_windows == pytest.approx(
        structural_similarity(target, image, data_range=1.0), abs=1e-12
    )
