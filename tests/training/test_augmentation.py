import numpy as np
import pytest

from mri_recon.data.phantom import random_slice
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.training.augmentation import STRONGEST, augment, flip, quarter_turn, recolour, smooth_field
from mri_recon.training.config import DataSettings
from mri_recon.training.samples import Sample


def drawn(height=24, width=24, n_coils=2, crop=None):
    kspace, _ = random_slice(np.random.default_rng(0), height, width, n_coils, 0.01)
    target = center_crop(rss(ifftc(kspace)), crop or (height, width))
    return Sample(kspace, np.ones(width, dtype=bool), target, float(target.max()), "")


def image_of(sample):
    return center_crop(rss(ifftc(sample.kspace)), sample.target.shape)


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize(("height", "width"), [(24, 20), (25, 21)])
def test_flipping_kspace_reverses_the_image(axis, height, width):
    rng = np.random.default_rng(0)
    kspace, _ = random_slice(rng, height, width, 2, 0.01)
    target = rss(ifftc(kspace))
    flipped = flip(Sample(kspace, np.ones(width, dtype=bool), target, 1.0, ""), axis)
    assert np.abs(flipped.kspace - kspace).max() > 0.1
    np.testing.assert_allclose(rss(ifftc(flipped.kspace)), np.flip(target, axis), atol=1e-5)
    np.testing.assert_array_equal(flipped.target, np.flip(target, axis))


def test_flipping_takes_the_padding_along():
    acquired = np.ones(20, dtype=bool)
    acquired[:3] = False
    kspace = np.ones((1, 24, 20), dtype=np.complex64) * acquired
    flipped = flip(Sample(kspace, acquired, np.ones((24, 20), np.float32), 1.0, ""), -1)
    np.testing.assert_array_equal(flipped.acquired, np.abs(flipped.kspace[0, 0]) > 0)
    assert flipped.acquired.sum() == 17


def test_a_target_off_center_is_left_unflipped():
    sample = Sample(
        np.ones((1, 24, 20), np.complex64), np.ones(20, bool), np.ones((24, 17), np.float32), 1.0, ""
    )
    assert flip(sample, -1) is sample
    assert flip(sample, -2) is not sample


def test_a_quarter_turn_of_kspace_turns_the_image():
    sample = drawn(crop=(20, 20))
    turned = quarter_turn(sample)
    np.testing.assert_allclose(image_of(turned), turned.target, atol=1e-5)
    np.testing.assert_array_equal(turned.target, np.rot90(sample.target))


@pytest.mark.parametrize(
    ("height", "width", "crop"), [(24, 20, None), (24, 24, (24, 20)), (24, 24, (21, 21))]
)
def test_what_cannot_be_turned_stays(height, width, crop):
    sample = drawn(height, width, crop=crop)
    assert quarter_turn(sample) is sample


def test_padding_keeps_a_slice_from_what_would_fill_it():
    sample = drawn()
    acquired = sample.acquired.copy()
    acquired[:2] = False
    padded = sample._replace(acquired=acquired, kspace=sample.kspace * acquired)
    assert quarter_turn(padded) is padded
    assert recolour(padded, np.ones((24, 24)), 1.2) is padded
    noisy = augment(padded, DataSettings(flips=False, noise=0.1), np.random.default_rng(0))
    assert not noisy.kspace[..., :2].any()
    assert np.abs(noisy.kspace - padded.kspace).max() > 0


def test_phase_changes_the_coil_images_and_no_magnitude():
    sample = drawn()
    phase = 2.0 * smooth_field(np.random.default_rng(1), (24, 24))
    changed = recolour(sample, phase, 1.0)
    expected = ifftc(sample.kspace) * np.exp(1j * phase)
    np.testing.assert_allclose(ifftc(changed.kspace), expected, atol=1e-5)
    np.testing.assert_array_equal(changed.target, sample.target)
    assert np.ptp(phase) > 0.1


def test_contrast_changes_image_and_target_alike_and_keeps_the_maximum():
    sample = drawn(crop=(20, 18))
    changed = recolour(sample, np.zeros((24, 24)), 1.3)
    np.testing.assert_allclose(image_of(changed), changed.target, atol=1e-5)
    assert changed.target.max() == pytest.approx(sample.target.max(), rel=1e-5)
    relative = sample.target / sample.data_range
    gain = np.clip(relative**0.3, 1 / STRONGEST, STRONGEST)
    np.testing.assert_allclose(changed.target, sample.target * gain, rtol=1e-4)
    # Ratios between coils, which are those of their maps, stay.
    before, after = ifftc(sample.kspace), ifftc(changed.kspace)
    np.testing.assert_allclose(after[0] * before[1], after[1] * before[0], atol=1e-5)


def test_noise_is_as_strong_as_asked_for_and_the_target_stays():
    sample = drawn(64, 64)
    settings = DataSettings(flips=False, noise=0.5)
    levels = []
    for seed in range(20):
        noisy = augment(sample, settings, np.random.default_rng(seed))
        levels.append(np.std((noisy.kspace - sample.kspace).real) / sample.data_range)
        assert noisy.target is sample.target
    assert 0.3 < max(levels) < 0.55
    assert min(levels) < 0.2


def test_smooth_fields_stay_within_one():
    fields = [smooth_field(np.random.default_rng(seed), (20, 30)) for seed in range(20)]
    assert all(field.shape == (20, 30) and np.abs(field).max() <= 1 for field in fields)
    steps = [max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)) for field in fields]
    assert max(steps) < 0.4


def test_nothing_asked_for_is_nothing_done():
    sample = drawn()
    assert augment(sample, DataSettings(flips=False), np.random.default_rng(0)) is sample


def test_all_eight_orientations_come_up():
    sample = drawn()
    settings = DataSettings(flips=True, rotations=True)
    seen = {augment(sample, settings, np.random.default_rng(s)).target.tobytes() for s in range(60)}
    assert len(seen) == 8
