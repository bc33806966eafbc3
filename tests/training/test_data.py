import os
import pickle
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_recon.data.formats.cfl import Cfl
from mri_recon.data.phantom import sample_scan
from mri_recon.data.scan import Header
from mri_recon.data.storage import write_scan
from mri_recon.errors import ScanError, SettingsError
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.training import data
from mri_recon.training.config import DataSettings, GeneratedSettings, MaskSettings, TrainingConfig
from mri_recon.training.data import (
    Batch,
    DrawnSlices,
    batches,
    loader,
    open_data,
    split_folder,
    validation_slice,
)
from mri_recon.training.samples import FreshSlices, PoolSlices, ScanSlices, acquired_columns


def small_scan(seed, **changes):
    kwargs = {"height": 24, "width": 20, "n_slices": 2, "n_coils": 2} | changes
    return sample_scan(seed=seed, **kwargs)


@pytest.fixture
def folder(tmp_path):
    for seed in range(3):
        scan = small_scan(seed, n_coils=1 + seed % 2)
        write_scan(tmp_path / scan.name, scan)
    return tmp_path


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
        return DrawnSlices(slices, masks, DataSettings(), seed=seed)[epoch, index]

    first = drawn(0, 1, 2)
    drawn(0, 1, 3)
    again = drawn(0, 1, 2)
    assert all(torch.equal(a, b) for a, b in zip(first[:4], again[:4], strict=True))
    masks_drawn = {tuple(drawn(s, e, 2).mask.flatten().tolist()) for s in (0, 1) for e in range(4)}
    assert len(masks_drawn) > 5


def test_slices_can_be_sent_to_workers(folder):
    slices = DrawnSlices(ScanSlices(sorted(folder.glob("*.h5"))), MaskSettings(), DataSettings(), seed=0)
    sent = pickle.loads(pickle.dumps(slices))
    assert torch.equal(sent[0, 1].kspace, slices[0, 1].kspace)


@pytest.mark.slow
def test_workers_do_not_change_the_stream(folder):
    slices = DrawnSlices(ScanSlices(sorted(folder.glob("*.h5"))), MaskSettings(), DataSettings(), seed=0)
    order = batches(slices.source.shapes, 2, seed=0, epoch=0)
    here, there = (list(loader(slices, order, workers)) for workers in (0, 1))
    assert [b.names for b in here] == [b.names for b in there]
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.kspace, b.kspace)
        assert torch.equal(a.mask, b.mask)


def test_scans_are_read_as_they_are(folder):
    path = sorted(folder.glob("*.h5"))[1]
    scan = small_scan(1)
    sample = ScanSlices([path]).sample(0, 1)
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


def test_scans_of_other_formats_in_a_folder_are_trained_on(tmp_path):
    """As `reconstruct` takes them; coil maps beside them are no scans."""
    for index in range(2):
        Cfl.write_scan(
            tmp_path / f"{index}.cfl", sample_scan(height=32, width=32, seed=index), overwrite=False
        )
    training, validation = split_folder(DataSettings(folder=str(tmp_path)), seed=0)
    assert sorted(p.name for p in training + validation) == ["0.cfl", "1.cfl"]


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
    slices = PoolSlices(settings, 0, counts.append)
    assert counts == list(range(1, 13))
    assert {s[1:3] for s in slices.shapes} == {(24, 20), (20, 20)}
    again = PoolSlices(settings, 0, counts.append)
    other = PoolSlices(settings, 1, counts.append)
    assert all(np.array_equal(slices.samples[i].kspace, again.samples[i].kspace) for i in range(12))
    assert not any(
        a.kspace.shape == b.kspace.shape and np.allclose(a.kspace, b.kspace)
        for a, b in zip(slices.samples, other.samples, strict=True)
    )


@pytest.mark.parametrize(
    ("images", "least", "most"), [("heads", 0, 0), ("mixed", 5, 15), ("synthetic", 20, 20)]
)
def test_the_kind_of_images_is_a_setting(images, least, most):
    settings = GeneratedSettings(images=images, n_slices=20, sizes=((24, 20),), noise=(0.05, 0.05))
    slices = PoolSlices(settings, 0, lambda _: None)
    # Synthetic targets have the noise of their k-space, those of heads have none.
    noisy = [np.allclose(s.target, rss(ifftc(s.kspace)), atol=1e-5) for s in slices.samples]
    assert least <= sum(noisy) <= most
    assert all(s.data_range == s.target.max() for s in slices.samples)


def test_fresh_images_are_others_in_each_epoch_and_keep_their_shapes():
    settings = GeneratedSettings(fresh=True, n_slices=8, sizes=((24, 20), (20, 20)), n_coils=(1, 2))
    slices = FreshSlices(settings, 3, 8)
    assert len(set(slices.shapes)) > 1
    first, again, other = slices.sample(0, 5), slices.sample(0, 5), slices.sample(1, 5)
    assert np.array_equal(first.kspace, again.kspace)
    assert first.kspace.shape == other.kspace.shape == slices.shapes[5][:3]
    assert not np.allclose(first.kspace, other.kspace)
    assert "epoch 2" in other.name
    config = TrainingConfig(generated=settings)
    drawn, _ = open_data(config, lambda _: pytest.fail("nothing is made at the start"))
    assert len(drawn.source.shapes) == 8


def test_a_mix_has_its_share_of_generated_slices(folder):
    config = TrainingConfig(
        data=DataSettings(folder=str(folder), generated_share=0.6, validation_fraction=0.4),
        generated=GeneratedSettings(sizes=((24, 20),), n_coils=(1,)),
        masks=MaskSettings(accelerations=(2.0,), center_fractions=(0.2,)),
    )
    drawn, validation = open_data(config, lambda _: None)
    names = [drawn[0, index].names[0] for index in range(len(drawn.source.shapes))]
    generated = [name for name in names if name.startswith("generated")]
    assert len(names) == 10
    assert len(generated) == 6
    assert all(scan.path is not None for scan in validation)
    with pytest.raises(IndexError):
        drawn.source.sample(0, 10)


def test_masks_are_drawn_from_kinds_and_pairs(folder):
    masks = MaskSettings(kind=("equispaced", "random"), accelerations=(2.0, 4.0), center_fractions=(0.2, 0.1))
    drawn = DrawnSlices(ScanSlices(sorted(folder.glob("*.h5"))), masks, DataSettings(), seed=0)
    made = [np.flatnonzero(drawn[epoch, 0].mask.flatten().numpy()) for epoch in range(40)]
    # With every second column of 20, and a centre of 4, the equispaced ones have 12 lines; random ones vary.
    assert len({len(lines) for lines in made}) > 4
    every_second = [
        lines for lines in made if {*range(0, 20, 2)} <= {*lines} or {*range(1, 20, 2)} <= {*lines}
    ]
    assert 2 < len(every_second) < 25


def test_masks_that_cannot_be_drawn_are_found_before_training(folder):
    config = TrainingConfig(
        data=DataSettings(folder=str(folder)),
        masks=MaskSettings(kind=("random", "equispaced"), accelerations=(2.5,), center_fractions=(0.2,)),
    )
    with pytest.raises(SettingsError, match="needs a whole acceleration"):
        open_data(config, lambda _: None)


def test_readout_oversampling_is_taken_out_and_changes_no_pixel(tmp_path):
    scan = replace(small_scan(0, height=48), header=Header(recon=(24, 20, 1)), target=None)
    write_scan(tmp_path / "over.h5", scan)
    sample = ScanSlices([tmp_path / "over.h5"]).sample(0, 1)
    assert sample.kspace.shape == (2, 24, 20)
    np.testing.assert_allclose(rss(ifftc(sample.kspace)), sample.target, atol=1e-6)
    np.testing.assert_allclose(sample.target, rss(ifftc(scan.kspace[1]))[12:36], atol=1e-6)
    kspace, _, _, target = validation_slice(scan, 1, MaskSettings())
    np.testing.assert_allclose(rss(ifftc(kspace.numpy())), target, atol=1e-6)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_reading_does_not_take_more_and_more_memory(tmp_path):
    sizes = [(96, 64), (80, 96), (128, 112)]
    for seed, (height, width) in enumerate(sizes):
        scan = small_scan(seed, height=height, width=width, n_slices=3, n_coils=4)
        write_scan(tmp_path / f"{seed}.h5", replace(scan, name=f"{seed}.h5"))
    source = ScanSlices(sorted(tmp_path.glob("*.h5")))
    drawn = DrawnSlices(source, MaskSettings(), DataSettings(), seed=0)

    def read(n):
        for index in range(n):
            drawn[0, index % 9]

    read(60)
    before = resident()
    read(400)
    assert resident() - before < 4 * 2**20  # 130 MiB were read
    assert source._buffer.size == 4 * 128 * 112


def test_the_buffer_is_reused_and_batches_keep_their_own_memory(folder):
    source = ScanSlices(sorted(folder.glob("*.h5")))
    kept = DrawnSlices(source, MaskSettings(), DataSettings(flips=False), seed=0)
    first = kept[0, 2].kspace.clone()
    batch = kept[0, 2]
    assert np.shares_memory(source.sample(0, 2).kspace, source.sample(0, 3).kspace)
    assert torch.equal(batch.kspace, first)


def test_generating_can_be_stopped():
    def stop_at_two(made):
        if made == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        PoolSlices(GeneratedSettings(n_slices=10_000, sizes=((16, 16),)), 0, stop_at_two)


def test_generated_validation_scans_are_the_sample_sets():
    config = TrainingConfig(generated=GeneratedSettings(n_slices=2, sizes=((16, 16),), n_validation_scans=1))
    _, validation = open_data(config, lambda _: None)
    assert [scan.name for scan in islice(validation, 2)] == ["head_val_0000.h5"]


@pytest.mark.parametrize(("kind", "expected"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_only_a_gpu_of_cuda_is_not_waited_for(kind, expected):
    """The batch on the CPU is gone as soon as it was handed over."""
    asked = []

    class Recorded:
        def to(self, device, *, non_blocking):
            asked.append((device.type, non_blocking))
            return self

    Batch(*[Recorded()] * 4, ("a",), Recorded()).to(torch.device(kind))
    assert asked == [(kind, expected)] * 5


def test_a_folder_whose_name_is_none_is_told_in_printable_characters():
    with pytest.raises(ScanError, match=r"^a b is not a folder of scans"):
        split_folder(DataSettings(folder="a\0b"), seed=0)


def test_no_more_workers_than_processors(monkeypatch, recwarn):
    """Torch would warn of them, in the middle of what training says."""
    asked = []
    monkeypatch.setattr(data, "DataLoader", lambda *_, num_workers, **__: asked.append(num_workers) or ())
    for workers in (0, 1, 10_000):
        loader(None, [], workers)
    assert asked[:2] == [0, 1]
    assert 1 <= asked[2] <= os.cpu_count()
