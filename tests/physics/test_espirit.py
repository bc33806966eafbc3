"""Coil maps against the known ones of generated scans, and where the calibration data are poor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import as_numpy, assert_close, complex_normal

from mri_recon.data.phantom import sample_scan
from mri_recon.errors import SettingsError
from mri_recon.physics.coils import combine, rss
from mri_recon.physics.espirit import calibration_region, espirit_maps
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.masks import centered_columns


def _norm(maps):
    return np.sqrt(np.sum(np.abs(as_numpy(maps)) ** 2, axis=0))


def _correlation(maps, truth):
    """|⟨m, s⟩| / (‖m‖ ‖s‖) at each pixel: one where the maps agree up to a common factor."""
    return np.abs(np.sum(maps.conj() * truth, axis=0)) / (_norm(maps) * _norm(truth))


@pytest.fixture(scope="module")
def scan():
    return sample_scan(height=128, width=112, n_coils=6, noise=0.002, seed=4)


def _inside(scan):
    magnitude = np.abs(scan.truth[0])
    return magnitude > 0.1 * magnitude.max()


@pytest.mark.parametrize(
    ("shape", "n_coils", "noise", "n_center", "median", "worst"),
    [
        ((128, 112), 6, 0.002, 24, 0.999, 0.98),
        ((117, 101), 4, 0.002, 24, 0.999, 0.97),
        ((128, 128), 8, 0.02, 20, 0.995, 0.9),
        ((96, 96), 4, 0.005, 8, 0.99, 0.9),
    ],
)
def test_maps_are_the_true_ones(shape, n_coils, noise, n_center, median, worst):
    """Up to the common factor of each pixel, which no calibration can know."""
    height, width = shape
    scan = sample_scan(height=height, width=width, n_coils=n_coils, noise=noise, seed=7)
    columns = centered_columns(width, n_center)
    maps = espirit_maps(calibration_region(scan.kspace[0] * columns, columns), shape)
    assert maps.dtype == np.complex64
    correlation = _correlation(maps, scan.smaps[0])[_inside(scan)]
    assert np.median(correlation) > median
    assert np.quantile(correlation, 0.01) > worst


def test_uniform_coils_in_closed_form():
    """Coils that differ by a constant alone have constant maps: those constants, normalised."""
    rng = np.random.default_rng(1)
    image = rng.uniform(1, 2, (32, 30)) + 0j
    factors = np.array([2, 1j, -0.5 + 0.5j, 0])[:, None, None]
    calibration = fftc(factors * image).astype(np.complex64)[:, 4:28, 3:27]
    maps = espirit_maps(calibration, (32, 30))
    expected = np.broadcast_to(factors / np.linalg.norm(factors), maps.shape)
    assert_close(maps, expected, 1e-3)


def test_maps_have_unit_norm_everywhere(scan):
    calibration = calibration_region(scan.kspace[0], centered_columns(112, 24))
    np.testing.assert_allclose(_norm(espirit_maps(calibration, scan.shape)), 1, atol=1e-5)


def test_the_combined_image_is_nearly_real(scan):
    """The maps carry the image's smooth phase, so that it costs no total variation."""
    calibration = calibration_region(scan.kspace[0], centered_columns(112, 24))
    image = combine(ifftc(scan.kspace), espirit_maps(calibration, scan.shape)[None])[0]
    inside = _inside(scan)
    assert np.abs(np.angle(scan.truth[0][inside])).mean() > 0.5
    assert np.abs(np.angle(image[inside])).mean() < 0.05
    # And nothing of the object is lost by combining with them.
    assert_close(np.abs(image)[inside], rss(ifftc(scan.kspace))[0][inside], 0.05)


def test_numpy_and_torch_agree(scan):
    calibration = calibration_region(scan.kspace[0], centered_columns(112, 24))
    by_numpy = espirit_maps(calibration, scan.shape)
    by_torch = espirit_maps(torch.as_tensor(calibration), scan.shape)
    assert by_torch.dtype == torch.complex64
    assert_close(as_numpy(by_torch)[:, _inside(scan)], by_numpy[:, _inside(scan)], 5e-3)


def test_scale_does_not_matter_and_the_input_is_left_alone(scan):
    calibration = calibration_region(scan.kspace[0], centered_columns(112, 24)).copy()
    before = calibration.copy()
    maps = espirit_maps(calibration, scan.shape)
    np.testing.assert_array_equal(calibration, before)
    inside = _inside(scan)
    # Scans come in units from 1e-9 to 1e6.
    for factor in (1e-6, 1e4):
        scaled = espirit_maps((calibration * factor).astype(np.complex64), scan.shape)
        assert_close(scaled[:, inside], maps[:, inside], 5e-3)


@pytest.mark.parametrize("n_center", [1, 2, 3, 5, 8])
def test_narrow_calibration_gives_sound_if_coarse_maps(scan, n_center):
    columns = centered_columns(112, n_center)
    maps = espirit_maps(calibration_region(scan.kspace[0] * columns, columns), scan.shape)
    np.testing.assert_allclose(_norm(maps), 1, atol=1e-5)
    correlation = _correlation(maps, scan.smaps[0])[_inside(scan)]
    assert np.median(correlation) > (0.97 if n_center >= 5 else 0.8)


def test_one_coil_is_a_map_of_ones_in_modulus():
    rng = np.random.default_rng(2)
    maps = espirit_maps(complex_normal(rng, (1, 16, 14), np.complex64), (20, 21))
    np.testing.assert_allclose(np.abs(maps), 1, atol=1e-5)


def test_an_empty_slice_has_finite_maps():
    maps = espirit_maps(np.zeros((3, 16, 12), dtype=np.complex64), (24, 20))
    assert maps.shape == (3, 24, 20)
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("height", [64, 33, 20])
@pytest.mark.parametrize("width", [64, 37])
@pytest.mark.parametrize("n_center", [1, 2, 5, 8, 31, 37])
@pytest.mark.parametrize("most", [32, 9])
def test_the_region_has_the_zero_frequency_at_its_centre(height, width, n_center, most):
    columns = centered_columns(width, n_center)
    kspace = np.arange(2 * height * width).reshape(2, height, width).astype(np.complex64)
    region = calibration_region(kspace, columns, most=most)
    rows, cols = region.shape[-2:]
    np.testing.assert_array_equal(region[:, rows // 2, cols // 2], kspace[:, height // 2, width // 2])
    # Cut out whole, of acquired columns alone, as many as may be.
    top, left = height // 2 - rows // 2, width // 2 - cols // 2
    np.testing.assert_array_equal(region, kspace[:, top : top + rows, left : left + cols])
    assert columns[left : left + cols].all()
    assert rows == min(most, height)
    assert min(most, n_center) - 1 <= cols <= min(most, n_center)


def test_a_lopsided_run_is_cut_about_the_centre():
    """An asymmetric centre would put a phase ramp on the low-resolution image."""
    columns = np.zeros(64, dtype=bool)
    columns[29:50] = True
    kspace = np.broadcast_to(np.arange(64), (1, 8, 64))
    assert calibration_region(kspace, columns)[0, 0].tolist() == [29, 30, 31, 32, 33, 34, 35]
    columns = np.zeros(64, dtype=bool)
    columns[10:33] = True
    assert calibration_region(kspace, columns)[0, 0].tolist() == [32]


def test_a_missing_centre_is_an_error():
    columns = np.ones(64, dtype=bool)
    columns[32] = False
    with pytest.raises(SettingsError, match=r"centre column 32 of 64 was not acquired.*zero-filled"):
        calibration_region(np.zeros((2, 16, 64), dtype=np.complex64), columns)
