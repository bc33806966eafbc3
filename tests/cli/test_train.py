import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import torch

from mri_recon.checkpoint import WeightsInfo, load_network, load_state, save_weights, shipped_weights
from mri_recon.cli.train import command
from mri_recon.errors import MriReconError, OutputError, SettingsError
from mri_recon.metrics import Metrics
from mri_recon.settings import network_settings
from mri_recon.training.progress import TrainingResult

TINY = """
[network]
channels = 4
levels = 2

[generated]
n_slices = 6
sizes = [[32, 32]]
n_coils = [1]
n_validation_scans = 1

[training]
epochs = 2
batch_size = 2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def call(*arguments):
    return command.main([str(a) for a in arguments], standalone_mode=False)


def test_train_then_more_epochs(config, tmp_path, capsys):
    output = tmp_path / "run"
    call(config, "-o", output, "--device", "cpu", "--json")
    out, err = capsys.readouterr()
    result = json.loads(out)  # alone on standard output
    assert result["epochs"] == 2
    assert result["weights"] == str(output / "best.safetensors")
    assert set(result["validation"]) == {"nmse", "psnr", "ssim"}
    assert "training on 6 generated images" in err
    assert "Epoch 2 of 2: loss" in err
    assert f"--method unet --weights {output / 'best.safetensors'}" in err
    _, info = load_network(output / "best.safetensors")
    assert info.settings.model_dump()["channels"] == 4

    # --resume needs no configuration: the folder holds it.
    call("-o", output, "--resume", "--epochs", 3, "--device", "cpu")
    out, err = capsys.readouterr()
    assert out == ""
    assert "Epoch 3 of 3" in err
    assert "Epoch 2" not in err
    assert len((output / "metrics.jsonl").read_text().splitlines()) == 3


def test_options_reach_the_run(config, tmp_path, capsys):
    output = tmp_path / "run"
    options = ["--epochs", 1, "--seed", 7, "--set", "optimizer.lr=1e-4", "--set", "network.norm=none"]
    call(config, "-o", output, *options, "--device", "cpu")
    _, info = load_network(output / "last.safetensors")
    assert info.config["training"]["epochs"] == 1
    assert info.config["training"]["seed"] == 7
    assert info.config["optimizer"]["lr"] == 1e-4
    assert info.settings.model_dump()["norm"] == "none"


def test_training_goes_on_from_weights_with_their_network(config, tmp_path, capsys):
    """Whatever the configuration says of the network; --set has the last word."""
    call(config, "-o", tmp_path / "first", "--epochs", 1, "--device", "cpu", "--set", "network.channels=6")
    first = tmp_path / "first" / "best.safetensors"
    still = ["--set", "optimizer.lr=1e-30", "--set", "network.residual=false"]
    call(config, "-o", tmp_path / "on", "--weights", first, "--epochs", 1, "--device", "cpu", *still)
    network, info = load_network(tmp_path / "on" / "last.safetensors")
    assert (info.settings.channels, info.settings.residual) == (6, False)
    assert info.config["training"]["weights"] == str(first)
    for name, value in load_network(first)[0].state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=0, atol=1e-6, msg=name)


def test_settings_with_weights_are_those_of_their_network(config, tmp_path, monkeypatch):
    """The configuration's is a U-Net, which has no gain."""
    made = network_settings("varnet")(cascades=1, channels=4, levels=2)
    weights = tmp_path / "w.safetensors"
    save_weights(weights, made.build(), WeightsInfo(made))
    trained = []

    def train(settings, **options):
        trained.append(settings.network)
        raise OutputError("not trained here")

    monkeypatch.setattr("mri_recon.training.loop.train", train)
    for given in ([config], ["varnet"], []):
        with pytest.raises(OutputError, match="not trained here"):
            call(*given, "--weights", weights, "--set", "network.gain=1.25", "-o", tmp_path / "run")
        assert trained.pop() == made.model_copy(update={"gain": 1.25})
    with pytest.raises(SettingsError, match=r"no key 'residual' in \[network\]"):
        call(config, "--weights", weights, "--set", "network.residual=false", "-o", tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"align": True, "norm": "layer"}, 'norm = "group", align = false, and [network] has norm = "layer", align'),
        ({"trust": "auto", "gain": 1.1, "dropout": 0.1}, None),
    ],
)  # fmt: skip
def test_where_weights_fit_another_network_it_is_told(config, tmp_path, monkeypatch, capsys, more, said):
    """Of one shape, and another function: nothing else would tell."""
    small = {"cascades": 1, "channels": 4, "levels": 2}
    made = network_settings("varnet")(**small)
    save_weights(tmp_path / "w.safetensors", made.build(), WeightsInfo(made))
    monkeypatch.setattr(
        "mri_recon.training.loop.train", lambda *_, **__: pytest.fail("not to be trained here")
    )
    text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in (small | more).items())
    config.write_text(
        f'[network]\nname = "varnet"\n{text}\n[training]\nweights = "{tmp_path}/w.safetensors"\n'
    )
    with pytest.raises(pytest.fail.Exception):
        call(config, "-o", tmp_path / "run")
    told = capsys.readouterr().err
    assert said in told if said else "were trained with" not in told, told


def test_training_goes_on_from_the_shipped_weights(config, tmp_path):
    call(config, "-o", tmp_path / "run", "--weights", "shipped", "--epochs", 1, "--device", "cpu")
    _, info = load_network(tmp_path / "run" / "last.safetensors")
    assert info.settings == load_network(shipped_weights("unet"))[1].settings
    assert info.config["training"]["weights"] == "shipped"


def test_after_a_run_on_scans_those_it_did_not_see_are_to_be_evaluated(tmp_path, monkeypatch, capsys):
    scores = Metrics(0.1, 20.0, 0.5)
    ended = TrainingResult(tmp_path, tmp_path / "best.safetensors", scores, scores, 1, False, 1.0)
    monkeypatch.setattr("mri_recon.training.loop.train", lambda *_, **__: ended)
    call("--data", tmp_path, "-o", tmp_path / "run")
    assert "mri-recon evaluate --method" in capsys.readouterr().err
    (tmp_path / "val").mkdir()
    call("--data", tmp_path, "-o", tmp_path / "run")
    assert (
        f"mri-recon evaluate {tmp_path / 'val'} --method zero-filled --method unet" in capsys.readouterr().err
    )


def test_a_time_limit_is_told_of(config, tmp_path, capsys):
    limited = ["--epochs", 900, "--set", "training.max_minutes=0.001", "--device", "cpu"]
    call(config, "-o", tmp_path / "run", *limited)
    err = capsys.readouterr().err
    assert "Ends within 0.001 min, its 900 epochs done or not; --set training.max_minutes=0" in err
    assert re.search(r"^Epoch \d+ of \d+ that there is time for: loss", err, flags=re.M)
    assert re.search(r"\d+ of 900 epochs to stay within 0.001 min \(training.max_minutes\)", err)

    call(config, "-o", tmp_path / "free", "--epochs", 1, "--set", "training.max_minutes=0", "--device", "cpu")
    err = capsys.readouterr().err
    assert "max_minutes" not in err
    assert "Epoch 1 of 1: loss" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "optimizer.lr=fast"], r"[optimizer] lr: expected a number, got 'fast'"),
        (["--set", "network.levels=two"], "[network] levels: expected a whole number, got 'two'"),
        (["--set", "training.epoch=3"], "Did you mean 'epochs'?"),
        (["--resume"], "There is no run in"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--data", "nowhere"], "nowhere is not a folder"),
        (["--weights", "nowhere.safetensors"], "There is no weights file nowhere.safetensors"),
        (["--weights", "w", "--resume"], "--weights starts from others"),
        (["--weights", "w", "--set", "training.weights=v"], "name weights to start from; give one"),
        (["nowhere.toml"], "There is no configuration file nowhere.toml"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    with pytest.raises(MriReconError) as caught:
        call("-o", tmp_path / "run", *arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_kept(config, tmp_path):
    output = tmp_path / "run"
    call(config, "-o", output, "--epochs", 1, "--device", "cpu", "-q")
    with pytest.raises(OutputError, match=r"--resume.*--overwrite"):
        call(config, "-o", output)
    call(config, "-o", output, "--epochs", 1, "--device", "cpu", "--overwrite", "--set", "network.norm=none")
    assert load_network(output / "best.safetensors")[1].settings.model_dump()["norm"] == "none"


def test_ctrl_c_exits_130_and_the_run_can_go_on(config, tmp_path):
    output = tmp_path / "run"
    arguments = [config, "-o", output, "--epochs", 100_000, "--set", "training.max_minutes=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mri_recon", "train", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    err = ""
    with process:
        for line in process.stderr:
            err += line
            if line.startswith("Epoch 1 "):
                process.send_signal(signal.SIGINT)
    watchdog.cancel()
    assert process.returncode == 130, err
    assert f"mri-recon train -o {output} --resume" in err
    assert "Traceback" not in err
    load_network(output / "last.safetensors")
    position = load_state(output / "resume.pt")["position"]
    assert position["epoch"] >= 1
    assert not list(output.glob("*.part"))
