import numpy as np
import pytest

from mri_recon.data import synthetic
from mri_recon.data.synthetic import FINER, KINDS, synthetic_slice
from mri_recon.errors import SettingsError
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc


def draw(seed, height=48, width=40, n_coils=2, noise=0.01):
    return synthetic_slice(np.random.default_rng(seed), height, width, n_coils, noise)


def test_the_same_generator_gives_the_same_slice():
    (kspace, target), (again, target_again) = draw(3), draw(3)
    np.testing.assert_array_equal(kspace, again)
    np.testing.assert_array_equal(target, target_again)
    assert np.abs(draw(4)[1] - target).max() > 0.1


@pytest.mark.parametrize(("height", "width"), [(48, 40), (33, 47)])
@pytest.mark.parametrize("n_coils", [1, 5])
def test_the_target_is_the_noisy_image_of_this_kspace(height, width, n_coils):
    kspace, target = draw(0, height, width, n_coils, noise=0.05)
    assert kspace.shape == (n_coils, height, width)
    assert kspace.dtype == np.complex64
    assert target.dtype == np.float32
    np.testing.assert_allclose(target, rss(ifftc(kspace[None]))[0], atol=1e-6)


@pytest.mark.parametrize("n_coils", [1, 4])
def test_noise_is_relative_to_a_peak_of_one(n_coils):
    clean, target = draw(5, 64, 64, n_coils, noise=0)
    noisy, _ = draw(5, 64, 64, n_coils, noise=0.03)
    assert target.max() == pytest.approx(1, abs=1e-5)
    added = noisy - clean
    assert added.real.std() == pytest.approx(0.03, rel=0.05)
    assert added.imag.std() == pytest.approx(0.03, rel=0.05)


def test_every_kind_is_drawn_as_often(monkeypatch):
    drawn = dict.fromkeys(KINDS, 0)

    def counting(name):
        def kind(rng, y, x):
            drawn[name] += 1
            return np.ones((y.shape[0], x.shape[1]), np.float32)

        return kind

    monkeypatch.setattr(synthetic, "KINDS", {name: counting(name) for name in KINDS})
    for seed in range(200):
        draw(seed, 16, 16, 1)
    assert sum(drawn.values()) == 200
    assert min(drawn.values()) > 30


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_has_detail_inside_and_nothing_outside(kind, monkeypatch):
    monkeypatch.setattr(synthetic, "KINDS", {kind: KINDS[kind]})
    details = []
    for seed in range(8):
        image = synthetic.drawing(np.random.default_rng(seed), (96, 80))
        assert image.max() == pytest.approx(1, abs=1e-6)
        assert image.min() == 0
        assert (image == 0).mean() > 0.15
        details.append(np.abs(np.diff(image, axis=0)).mean() / image.mean())
    assert np.mean(details) > 0.02  # a uniform disc has about 0.02


def test_an_object_before_an_empty_background_in_the_target():
    for seed in range(12):
        _, target = draw(seed, 64, 64, 1, noise=0)
        assert np.percentile(target, 5) < 0.03  # ringing is all there is


def test_the_drawing_goes_beyond_the_measured_band():
    """The inverse crime: were the object no finer than the target, nothing would be cut off."""
    beyond = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        drawing = synthetic.drawing(rng, (64 * FINER, 64 * FINER)).astype(np.complex64)[None]
        whole = np.vdot(drawing, drawing).real
        kept = np.linalg.norm(synthetic.band(drawing, 64, 64)) ** 2
        beyond.append(1 - kept / whole)
    assert min(beyond) > 1e-4
    assert np.mean(beyond) > 3e-3


def test_cropping_the_band_leaves_the_object_in_place():
    fine = np.zeros((1, 64, 60), np.complex64)
    fine[0, 40:44, 10:16] = 1  # pixels 20, 21 and 5, 6, 7 of the coarse grid, the middle at 16 and 15
    image = np.abs(ifftc(synthetic.band(fine, 32, 30)))[0]
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert row in (20, 21)
    assert column in (5, 6, 7)
    rows = image.sum(axis=1) @ np.arange(32) / image.sum()
    assert rows == pytest.approx(20.3, abs=1.5)


@pytest.mark.parametrize(
    ("height", "width", "n_coils", "noise"), [(8, 64, 1, 0.01), (64, 64, 0, 0.01), (64, 64, 1, -1)]
)
def test_what_cannot_be_drawn_is_refused(height, width, n_coils, noise):
    with pytest.raises(SettingsError, match="cannot be made"):
        synthetic_slice(np.random.default_rng(0), height, width, n_coils, noise)
