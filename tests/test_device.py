"""Devices by name, and torch left alone where there is no GPU."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from mri_recon import device
from mri_recon.device import resolve_device, to_device, to_numpy
from mri_recon.errors import SettingsError


def test_the_cpu_is_the_cpu():
    array = np.arange(3)
    assert resolve_device("cpu") == "cpu"
    assert to_device(array, "cpu") is array
    assert to_numpy(array) is array


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "mps:0", "", "cuda:-1"])
def test_an_unknown_name_is_an_error_that_lists_the_known(name):
    with pytest.raises(SettingsError, match=rf"no device '{name}'\. Use auto, cpu, cuda, cuda:1 … or mps"):
        resolve_device(name)


def test_a_device_that_is_not_here_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(SettingsError, match=rf"'{name}' is not here: found no GPU that torch can use"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cuda:0") == "cuda:0"
    with pytest.raises(SettingsError, match="'cuda:1' is not here: found 1 CUDA devices"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    ("n_gpus", "mps", "learned", "expected"),
    [
        (1, False, False, "cuda"),
        (0, True, True, "mps"),
        (0, True, False, "cpu"),
        (0, False, True, "cpu"),
        (2, True, True, "cuda"),
    ],
)
def test_auto_is_a_gpu_where_there_is_one_that_will_do(monkeypatch, n_gpus, mps, learned, expected):
    monkeypatch.setattr(device, "_may_have_gpu", lambda *, learned: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto", learned=learned) == expected


@pytest.mark.skipif(device._may_have_gpu(learned=False), reason="this machine may have a GPU")
def test_auto_without_a_driver_is_the_cpu_and_loads_no_torch():
    code = (
        "import sys; from mri_recon.device import resolve_device; "
        "print(resolve_device('auto'), resolve_device('auto', learned=True), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["cpu", "cpu", "False"]
