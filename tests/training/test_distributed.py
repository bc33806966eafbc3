import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mri_recon.checkpoint import load_state
from mri_recon.errors import SettingsError
from mri_recon.training.config import load_config, to_toml
from mri_recon.training.distributed import Processes
from mri_recon.training.loop import train

CHANGES = {
    "network": {"channels": 4, "levels": 2},
    "generated": {"n_slices": 5, "sizes": [[32, 32]], "n_coils": [1], "n_validation_scans": 2},
    "training": {"epochs": 2, "batch_size": 1, "max_minutes": 0},
    "optimizer": {"name": "sgd", "lr": 0.5},
}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def start(config, output, *options, world=2):
    """The processes that torchrun would start."""
    command = [sys.executable, "-m", "mri_recon", "train", config, "-o", output, "--device", "cpu", *options]
    shared = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | {"OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)} | shared,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(to_toml(load_config(None, CHANGES)))
    return path


def test_two_processes_take_the_steps_of_one(config, tmp_path):
    running = start(config, tmp_path / "two", "--json")
    one = load_config(config, {"training": {"accumulate": 2}})
    train(one, output=tmp_path / "one", device="cpu")
    told = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0, 0], told
    ours, theirs = (load_file(tmp_path / name / "last.safetensors") for name in ("two", "one"))
    for key, weights in theirs.items():
        assert torch.allclose(ours[key], weights, rtol=1e-4, atol=1e-6), key
    rows = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[1]) for name in ("two", "one")
    ]
    assert (
        json.loads((tmp_path / "one" / "metrics.jsonl").read_text().splitlines()[0])["loss"] > rows[1]["loss"]
    )
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    # Only the first one talks.
    assert json.loads(told[0][0])["epochs"] == 2
    assert "Epoch 2 of 2" in told[0][1]
    assert told[1] == ("", "")
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_one_step(config, tmp_path):
    output = tmp_path / "run"
    running = start(config, output, "--epochs", "100000")
    for line in running[0].stderr:
        if line.startswith("Epoch 1 "):
            running[1].send_signal(signal.SIGUSR1)
    told = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [130, 130], told
    state = load_state(output / "resume.pt")
    assert state["processes"] == 2
    if state["position"]["step"]:
        resumed = load_config(output / "config.toml", {"training": {"epochs": 100_000}})
        with pytest.raises(SettingsError, match="torchrun --nproc-per-node 2"):
            train(resumed, output=output, device="cpu", resume=True)


@pytest.mark.slow
def test_torchrun_starts_it(config, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command += ["mri_recon", "train", str(config), "-o", str(tmp_path / "run"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


def test_alone_nothing_is_exchanged():
    alone = Processes()
    tensor = torch.ones(3)
    alone.sum([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert alone.gather("a") == ["a"]
    assert alone.once(lambda: 5) == 5
    assert alone.first
