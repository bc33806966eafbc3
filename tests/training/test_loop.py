import json
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from mri_recon.assignments import merged
from mri_recon.checkpoint import load_network, load_state
from mri_recon.data.phantom import sample_scan, sample_set
from mri_recon.data.storage import write_scan
from mri_recon.errors import OutputError, SettingsError, WeightsError
from mri_recon.networks.fastmri import FastMRIUNet
from mri_recon.networks.unet import UNet
from mri_recon.reconstruct import reconstruct
from mri_recon.settings import validated
from mri_recon.training.config import TrainingConfig
from mri_recon.training.loop import train
from mri_recon.training.losses import loss
from mri_recon.training.optimizers import ScheduleSettings, learning_rate
from mri_recon.training.progress import Clock

TINY = {
    "network": {"channels": 4, "levels": 2, "dropout": 0.2},
    "generated": {"n_slices": 6, "sizes": [[32, 32]], "n_coils": [1, 2], "n_validation_scans": 1},
    "training": {"epochs": 4, "batch_size": 2, "max_minutes": 0},
    "schedule": {"warmup_steps": 2},
}


def tiny(**changes):
    return validated(TrainingConfig, merged(TINY, changes), "test")


def stop_at(step: int, stage: str = "step") -> Callable:
    def progress(event):
        if event.stage == stage and event.done == step:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    events = []
    result = train(tiny(), output=folder, device="cpu", progress=events.append)
    return result, events


def test_it_overfits_one_slice():
    torch.manual_seed(0)
    scan = sample_scan(height=32, width=32, n_coils=2, seed=1)
    kspace, target = torch.from_numpy(scan.kspace), torch.from_numpy(scan.target)
    mask = torch.zeros(1, 1, 1, 32, dtype=torch.bool)
    mask[..., ::3], mask[..., 14:19] = True, True
    network = UNet(16, 2)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = ScheduleSettings(warmup_steps=0)
    losses = []
    for step in range(100):
        optimizer.param_groups[0]["lr"] = learning_rate(schedule, 1e-3, step, 100)
        value = loss("l1", network(kspace, mask, None), target, target.amax((1, 2)), 0.1)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0] / 4


def test_a_run_folder_says_everything(whole):
    result, _ = whole
    assert {p.name for p in result.folder.iterdir()} == {
        "config.toml", "run.json", "metrics.jsonl", "best.safetensors", "last.safetensors", "resume.pt",
        "curve.png", "samples",
    }  # fmt: skip
    run = json.loads((result.folder / "run.json").read_text())
    assert run["seed"] == 0
    assert run["torch"] == torch.__version__
    assert run["validation"] == ["head_val_0000.h5"]
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert result.validation.ssim == max(row["ssim"] for row in rows)
    _, info = load_network(result.weights)
    assert info.metrics["ssim"] == result.validation.ssim
    assert info.config["training"]["batch_size"] == 2


def test_progress_counts_up_to_the_end(whole):
    _, events = whole
    steps = [event for event in events if event.stage == "step"]
    n_steps = steps[-1].total
    assert [event.done for event in steps] == list(range(1, n_steps + 1))
    assert [event.done for event in events if event.stage == "data"] == [1, 2, 3, 4, 5, 6]
    assert [event.epoch for event in events if event.stage == "epoch"] == [1, 2, 3, 4]
    assert steps[-1].seconds_left == 0
    assert steps[0].seconds_left > 0
    assert steps[0].validation is None
    assert steps[-1].validation is not None


def test_validation_scores_are_what_reconstruct_gets(whole):
    result, _ = whole
    scan = sample_set("val", 1)[0]
    ours = reconstruct(scan, "unet", weights=result.weights, device="cpu").metrics
    theirs = reconstruct(scan, "zero-filled").metrics
    assert ours.ssim == pytest.approx(result.validation.ssim, abs=1e-4)
    assert ours.psnr == pytest.approx(result.validation.psnr, abs=1e-3)
    assert theirs.psnr == pytest.approx(result.zero_filled.psnr, abs=1e-3)


def test_validation_of_oversampled_scans_is_what_reconstruct_gets(tmp_path):
    for seed, split in enumerate(("train", "val")):
        scan = sample_scan(height=64, width=32, n_slices=1, n_coils=2, seed=seed, name=f"{split}.h5")
        scan = replace(scan, target=scan.target[:, 16:48], smaps=None, truth=None)
        (tmp_path / split).mkdir()
        write_scan(tmp_path / split / scan.name, scan)
    result = train(tiny(training={"epochs": 1}), data=tmp_path, output=tmp_path / "run", device="cpu")
    found = reconstruct(scan, "unet", weights=result.weights, device="cpu")
    assert found.image.shape == (1, 32, 32)
    assert found.metrics.ssim == pytest.approx(result.validation.ssim, abs=1e-4)
    assert found.metrics.psnr == pytest.approx(result.validation.psnr, abs=1e-3)


@pytest.mark.parametrize("stage", ["step", "epoch"])
def test_a_resumed_run_is_the_run_that_never_stopped(whole, tmp_path, stage):
    result, events = whole
    steps_per_epoch = events[-1].total // 4
    stop = 2 * steps_per_epoch + (1 if stage == "step" else 0)
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), output=tmp_path, device="cpu", progress=stop_at(stop, stage))
    torch.rand(3)  # what others draw in between does not matter
    resumed = train(tiny(), output=tmp_path, device="cpu", resume=True)
    for name in ("last.safetensors", "best.safetensors"):
        ours, theirs = load_file(tmp_path / name), load_file(result.folder / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (tmp_path / "metrics.jsonl").read_text() == (result.folder / "metrics.jsonl").read_text()
    assert resumed.validation == result.validation


def test_training_leaves_the_random_numbers_of_others_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    train(tiny(training={"epochs": 1}), output=tmp_path, device="cpu")
    assert torch.equal(torch.rand(4), expected)


def test_another_seed_is_another_network(whole, tmp_path):
    result, _ = whole
    other = train(tiny(training={"seed": 1, "epochs": 1}), output=tmp_path, device="cpu")
    ours, theirs = load_file(other.folder / "last.safetensors"), load_file(result.folder / "last.safetensors")
    assert not torch.equal(ours["unet.conv.layers.0.weight"], theirs["unet.conv.layers.0.weight"])


def test_a_run_may_start_from_the_weights_of_another(whole, tmp_path):
    """A rate of nothing: what comes out is what went in, and not the seed's random weights."""
    given = load_file(whole[0].weights)
    path = tmp_path / "given.safetensors"
    path.write_bytes(whole[0].weights.read_bytes())
    start = {"training": {"weights": str(path), "seed": 9, "epochs": 1}, "optimizer": {"lr": 1e-30}}
    result = train(tiny(**start), output=tmp_path / "on", device="cpu")
    for name, value in load_file(result.folder / "last.safetensors").items():
        torch.testing.assert_close(value, given[name], rtol=0, atol=1e-6, msg=name)
    # A resumed run goes on with its own, whether or not the others are still there.
    path.unlink()
    more = merged(start, {"training": {"epochs": 2}})
    assert train(tiny(**more), output=tmp_path / "on", resume=True, device="cpu").epochs == 2


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"channels": 8}, r"of a unet with other settings .*\"channels\":4.*--weights"),
        ({"name": "varnet", "channels": 4, "levels": 2, "dropout": 0.2}, "those of a unet"),
    ],
)
def test_weights_that_do_not_fit_are_no_start(whole, tmp_path, network, message):
    config = validated(
        TrainingConfig,
        {
            **TINY,
            "network": {"name": "unet", "levels": 2, **network},
            "training": {"weights": str(whole[0].weights)},
        },
        "test",
    )
    with pytest.raises(WeightsError, match=message):
        train(config, output=tmp_path / "run", device="cpu")


def test_weights_of_fastmri_are_no_start(tmp_path):
    torch.save(FastMRIUNet(4, 2).state_dict(), tmp_path / "theirs.pt")
    config = tiny(training={"weights": str(tmp_path / "theirs.pt")})
    with pytest.raises(
        WeightsError, match=r"a fastmri-unet, which can be used and not trained\. Take weights that"
    ):
        train(config, output=tmp_path / "run", device="cpu")


@pytest.mark.parametrize("norm", ["group", "instance", "batch", "layer", "none"])
def test_every_norm_trains_where_convolutions_are_our_own(norm):
    """Wide enough for them; deep enough that both ways of multiplying are met."""
    torch.manual_seed(0)
    network = UNet(32, 2, norm=norm)
    kspace = torch.randn(2, 1, 48, 48, dtype=torch.complex64)
    mask = torch.ones(1, 1, 1, 48, dtype=torch.bool)
    network(kspace, mask, None).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.unet.down_sample_layers[0].layers[0].weight.grad.abs().max() > 0


def test_a_run_is_not_lost_by_accident(whole):
    result, _ = whole
    before = result.weights.read_bytes()
    with pytest.raises(OutputError, match=r"--resume.*--overwrite"):
        train(tiny(), output=result.folder, device="cpu")
    with pytest.raises(SettingsError, match=r"done all of its 4 epochs"):
        train(tiny(), output=result.folder, device="cpu", resume=True)
    with pytest.raises(SettingsError, match=r"\[network\] channels = 4, not 8"):
        train(tiny(network={"channels": 8}), output=result.folder, device="cpu", resume=True)
    assert result.weights.read_bytes() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_a_run_with_a_checkpoint(tmp_path, number):
    before = signal.getsignal(number)

    def progress(event):
        if event.stage == "step" and event.done == 2:
            os.kill(os.getpid(), number)
        assert event.done <= 2 or event.stage == "data"

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), output=tmp_path, device="cpu", progress=progress)
    position = load_state(tmp_path / "resume.pt")["position"]
    assert (position["epoch"], position["step"]) == (0, 2)
    load_network(tmp_path / "last.safetensors")
    assert signal.getsignal(number) is before


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(WeightsError, match="no checkpoint"):
        train(tiny(), output=tmp_path, device="cpu", resume=True)


def test_a_loss_that_is_no_number_stops_with_the_batch_named(tmp_path):
    with pytest.raises(
        SettingsError, match=r"epoch \d+, step \d+: generated slice \d+.*optimizer.lr"
    ) as caught:
        train(tiny(optimizer={"lr": 1e30}, training={"clip_norm": 1e9}), output=tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_time_limit_ends_a_run_cleanly(tmp_path):
    left = []
    result = train(
        tiny(training={"max_minutes": 1e-4, "epochs": 1000}),
        output=tmp_path,
        device="cpu",
        progress=lambda event: left.append(event.seconds_left),
    )
    assert max(seconds for seconds in left if seconds is not None) <= 60 * 1e-4
    assert result.shortened
    assert result.epochs < 10
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == result.epochs
    load_network(result.weights)


def test_a_clock_affords_what_fits(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(first_step=50)
    assert clock.affordable(50, 1000, math.inf) == 1000
    now[0] += 40.0  # twenty steps of two seconds
    assert clock.per_step(70) == 2.0
    assert clock.affordable(70, 1000, deadline=240.0) == 70 + 50
    assert clock.affordable(70, 100, deadline=240.0) == 100
    assert clock.affordable(70, 1000, deadline=120.0) == 70
    assert clock.affordable(55, 1000, deadline=240.0) == 1000  # too few steps to judge by


def test_training_on_scans_of_mixed_shapes(tmp_path):
    (tmp_path / "scans").mkdir()
    for seed, (height, width, n_coils) in enumerate([(32, 24, 1), (32, 24, 2), (36, 28, 1), (33, 25, 1)]):
        scan = sample_scan(height=height, width=width, n_slices=2, n_coils=n_coils, seed=seed)
        write_scan(tmp_path / "scans" / scan.name, scan)
    masks = {"accelerations": [2.0], "center_fractions": [0.2]}
    config = tiny(training={"epochs": 2}, data={"validation_fraction": 0.3}, masks=masks)
    result = train(config, data=tmp_path / "scans", output=tmp_path / "run", device="cpu")
    assert math.isfinite(result.validation.psnr)
    assert result.epochs == 2


def test_the_learning_rate_rises_then_falls():
    cosine = ScheduleSettings(kind="cosine", warmup_steps=9)
    rates = [learning_rate(cosine, 1.0, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) > 0.97
    assert rates[50] == pytest.approx(0.5)
    assert rates[-1] < 1e-3
    assert all(a > b for a, b in pairwise(rates[10:]))
    constant = ScheduleSettings(kind="constant", warmup_steps=0)
    assert {learning_rate(constant, 0.3, step, 10) for step in range(10)} == {0.3}


def test_a_run_folder_whose_name_is_none_cannot_be_written():
    with pytest.raises(OutputError, match="Cannot write a b: "):
        train(tiny(), output="a\0b", device="cpu")
