import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from mri_recon.data.phantom import random_slice, sample_scan
from mri_recon.data.scan import Header
from mri_recon.data.storage import write_scan
from mri_recon.errors import ScanError
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.training.config import DataSettings, GeneratedSettings, MaskSettings, TrainingConfig
from mri_recon.training.data import (
    DrawnSlices,
    GeneratedSlices,
    Sample,
    ScanSlices,
    acquired_columns,
    batches,
    flip,
    loader,
    open_data,
    split_folder,
    validation_slice,
)


def small_scan(seed, **changes):
    kwargs = {"height": 24, "width": 20, "n_slices": 2, "n_coils": 2} | changes
    return sample_scan(seed=seed, **kwargs)


@pytest.fixture
def folder(tmp_path):
    for seed in range(3):
        scan = small_scan(seed, n_coils=1 + seed % 2)
        write_scan(tmp_path / scan.name, scan)
    return tmp_path


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


def test_batches_hold_one_shape_and_every_slice_once():
    shapes = [(1, 8, 8, 8, 8), (4, 8, 8, 8, 8), (1, 8, 6, 8, 6)]
    which = [i % 3 for i in range(23)]
    made = batches([shapes[i] for i in which], 4, seed=3, epoch=2)
    assert all(len({which[index] for _, index in batch}) == 1 for batch in made)
    assert sorted(index for batch in made for _, index in batch) == list(range(23))
    assert {epoch for batch in made for epoch, _ in batch} == {2}
    assert made == batches([shapes[i] for i in which], 4, seed=3, epoch=2)
    assert made != batches([shapes[i] for i in which], 4, seed=3, epoch=3)


def test_samples_depend_on_seed_epoch_and_index_alone(folder):
    slices = ScanSlices(sorted(folder.glob("*.h5")))
    masks = MaskSettings(accelerations=(2.0, 4.0), center_fractions=(0.2, 0.1))

    def drawn(seed, epoch, index):
        return DrawnSlices(slices, masks, flips=True, seed=seed)[epoch, index]

    first = drawn(0, 1, 2)
    drawn(0, 1, 3)
    again = drawn(0, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    masks_drawn = {tuple(drawn(s, e, 2).mask.flatten().tolist()) for s in (0, 1) for e in range(4)}
    assert len(masks_drawn) > 5


def test_slices_can_be_sent_to_workers(folder):
    slices = DrawnSlices(ScanSlices(sorted(folder.glob("*.h5"))), MaskSettings(), flips=True, seed=0)
    sent = pickle.loads(pickle.dumps(slices))
    assert torch.equal(sent[0, 1].kspace, slices[0, 1].kspace)


@pytest.mark.slow
def test_workers_do_not_change_the_stream(folder):
    slices = DrawnSlices(ScanSlices(sorted(folder.glob("*.h5"))), MaskSettings(), flips=True, seed=0)
    order = batches(slices.source.shapes, 2, seed=0, epoch=0)
    here, there = (list(loader(slices, order, workers)) for workers in (0, 1))
    assert [b.names for b in here] == [b.names for b in there]
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.kspace, b.kspace)
        assert torch.equal(a.mask, b.mask)


def test_scans_are_read_as_they_are(folder):
    path = sorted(folder.glob("*.h5"))[1]
    scan = small_scan(1)
    sample = ScanSlices([path])[1]
    np.testing.assert_array_equal(sample.kspace, scan.kspace[1])
    np.testing.assert_array_equal(sample.target, scan.target[1])
    assert sample.data_range == pytest.approx(float(scan.target.max()))  # the volume's, not the slice's
    assert "slice 1" in sample.name


def test_a_scan_without_target_is_trained_on_its_own_rss():
    scan = replace(small_scan(0), target=None, header=Header(recon=(20, 20, 1)))
    _, mask, _, target = validation_slice(
        scan, 0, MaskSettings(accelerations=(2.0,), center_fractions=(0.2,))
    )
    np.testing.assert_allclose(target[0], rss(ifftc(scan.kspace[0]))[2:-2], atol=1e-6)
    assert mask.shape == (1, 1, 1, 20)


def test_padding_columns_are_never_acquired():
    scan = replace(small_scan(0), header=Header(padding=(3, 18)))
    assert np.flatnonzero(acquired_columns(scan)).tolist() == list(range(3, 18))
    _, mask, _, _ = validation_slice(scan, 0, MaskSettings(accelerations=(1.0,), center_fractions=(0.2,)))
    assert mask.flatten().tolist() == acquired_columns(scan).tolist()


@pytest.mark.parametrize("with_mask", [True, False])
def test_undersampled_scans_are_refused(tmp_path, with_mask):
    scan = small_scan(0)
    mask = np.arange(20) % 2 == 0
    mask[8:12] = True
    scan = replace(scan, kspace=scan.kspace * mask, mask=mask if with_mask else None)
    write_scan(tmp_path / "half.h5", scan)
    with pytest.raises(ScanError, match=r"half.h5 is undersampled \(12 of 20 lines\)"):
        ScanSlices([tmp_path / "half.h5"])


def test_a_folder_is_split_by_volume(folder):
    training, validation = split_folder(DataSettings(folder=str(folder), validation_fraction=0.4), seed=1)
    assert len(training) == 2
    assert sorted(training + validation) == sorted(folder.glob("*.h5"))
    # another seed, another split
    assert len({str(split_folder(DataSettings(folder=str(folder)), seed=s)[1]) for s in range(8)}) > 1


def test_train_and_val_folders_are_kept_apart(folder):
    for name, source in (("train", "head_0000.h5"), ("val", "head_0001.h5")):
        (folder / name).mkdir()
        (folder / source).rename(folder / name / source)
    training, validation = split_folder(DataSettings(folder=str(folder)), seed=0)
    assert [p.name for p in training] == ["head_0000.h5"]
    assert [p.name for p in validation] == ["head_0001.h5"]


def test_one_scan_cannot_be_split(folder):
    for path in sorted(folder.glob("*.h5"))[1:]:
        path.unlink()
    with pytest.raises(ScanError, match="one to learn from and another to validate on"):
        split_folder(DataSettings(folder=str(folder)), seed=0)
    with pytest.raises(ScanError, match="not a folder"):
        split_folder(DataSettings(folder=str(folder / "nowhere")), seed=0)


def test_generated_slices_follow_the_settings():
    settings = GeneratedSettings(n_slices=12, sizes=((24, 20), (20, 20)), n_coils=(1, 2), noise=(0.01, 0.02))
    counts = []
    slices = GeneratedSlices(settings, 0, counts.append)
    assert counts == list(range(1, 13))
    assert {s[1:3] for s in slices.shapes} == {(24, 20), (20, 20)}
    again = GeneratedSlices(settings, 0, counts.append)
    other = GeneratedSlices(settings, 1, counts.append)
    assert all(np.array_equal(slices[i].kspace, again[i].kspace) for i in range(12))
    assert not any(
        slices[i].kspace.shape == other[i].kspace.shape and np.allclose(slices[i].kspace, other[i].kspace)
        for i in range(12)
    )


@pytest.mark.parametrize(
    ("images", "least", "most"), [("heads", 0, 0), ("mixed", 5, 15), ("synthetic", 20, 20)]
)
def test_the_kind_of_images_is_a_setting(images, least, most):
    settings = GeneratedSettings(images=images, n_slices=20, sizes=((24, 20),), noise=(0.05, 0.05))
    slices = GeneratedSlices(settings, 0, lambda _: None)
    # Synthetic targets have the noise of their k-space, those of heads have none.
    noisy = [np.allclose(s.target, rss(ifftc(s.kspace)), atol=1e-5) for s in slices.samples]
    assert least <= sum(noisy) <= most
    assert all(s.data_range == s.target.max() for s in slices.samples)


def test_generating_can_be_stopped():
    def stop_at_two(made):
        if made == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GeneratedSlices(GeneratedSettings(n_slices=10_000, sizes=((16, 16),)), 0, stop_at_two)


def test_generated_validation_scans_are_the_sample_sets():
    config = TrainingConfig(generated=GeneratedSettings(n_slices=2, sizes=((16, 16),), n_validation_scans=1))
    _, validation = open_data(config, lambda _: None)
    assert [scan.name for scan in islice(validation, 2)] == ["head_val_0000.h5"]
