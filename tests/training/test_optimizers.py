import pytest
import torch
from torch import nn

from mri_recon.errors import SettingsError
from mri_recon.training.averaging import averaged_copy
from mri_recon.training.config import TrainingConfig, load_config
from mri_recon.training.optimizers import OPTIMIZERS, ScheduleSettings, learning_rate, optimizer_settings


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_finds_the_minimum(name):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    settings = optimizer_settings(name)(lr=0.05)
    optimizer = settings.build([weight])
    for _ in range(300):
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()
    assert float(weight.detach().abs().max()) < 0.1


def test_settings_reach_the_optimizer():
    weight = nn.Parameter(torch.ones(2))
    group = optimizer_settings("sgd")(lr=0.5, momentum=0.7, weight_decay=0.1).build([weight]).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0.7, 0.1)
    group = optimizer_settings("rmsprop")(alpha=0.8).build([weight]).param_groups[0]
    assert (group["alpha"], group["lr"]) == (0.8, 1e-3)
    assert optimizer_settings("adamw")().build([weight]).param_groups[0]["weight_decay"] == 0.01


def test_adam_is_the_default_and_names_change_the_settings():
    assert TrainingConfig().optimizer.name == "adam"
    changed = load_config(None, {"optimizer": {"name": "sgd"}}).optimizer
    assert changed.model_dump() == {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0}
    kept = load_config(None, {"optimizer": {"name": "adam", "lr": 0.5}}).optimizer
    assert kept.model_dump() == {"name": "adam", "lr": 0.5, "betas": (0.9, 0.999)}
    with pytest.raises(SettingsError, match="no optimizer 'lion'"):
        load_config(None, {"optimizer": {"name": "lion"}})


def test_the_step_schedule_is_fastmris():
    schedule = ScheduleSettings(kind="step", warmup_steps=0)
    rates = [learning_rate(schedule, 1e-3, step, 50) for step in range(50)]
    assert rates[:40] == [1e-3] * 40
    assert rates[40:] == pytest.approx([1e-4] * 10)
    twice = ScheduleSettings(kind="step", warmup_steps=0, drops=(0.5, 0.75), factor=0.5)
    assert [learning_rate(twice, 1.0, step, 4) for step in range(4)] == [1.0, 1.0, 0.5, 0.25]


def test_averages_follow_the_weights():
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.zeros_(network[0].weight)
    averaged = averaged_copy(network, 0.9)
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(network[0].weight, value)
        network[1].running_mean.fill_(value)
        network[1].num_batches_tracked.fill_(int(value))
        averaged.update_parameters(network)
    # The first is a copy; then the decay is (1 + n) / (10 + n).
    expected = 1.0
    for n, value in ((1, 2.0), (2, 3.0)):
        decay = (1 + n) / (10 + n)
        expected = decay * expected + (1 - decay) * value
    assert averaged.module[0].weight.item() == pytest.approx(expected)
    assert averaged.module[1].running_mean.item() == pytest.approx(expected)
    assert averaged.module[1].num_batches_tracked.item() == 3
    for _ in range(300):
        averaged.update_parameters(network)
    before = averaged.module[0].weight.item()
    nn.init.constant_(network[0].weight, 4.0)
    averaged.update_parameters(network)
    assert averaged.module[0].weight.item() == pytest.approx(0.9 * before + 0.1 * 4.0)
