"""What the settings of the loop do to a run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mri_recon.assignments import merged
from mri_recon.checkpoint import load_state
from mri_recon.data.phantom import sample_scan
from mri_recon.data.storage import write_scan
from mri_recon.errors import SettingsError
from mri_recon.metrics import Metrics
from mri_recon.settings import validated
from mri_recon.training.compiling import compile_network
from mri_recon.training.config import TrainingConfig
from mri_recon.training.data import steps
from mri_recon.training.loop import train
from mri_recon.training.records import captioned, curve, side_by_side
from mri_recon.training.validation import Example

TINY = {
    "network": {"channels": 4, "levels": 2},
    "generated": {"n_slices": 6, "sizes": [[32, 32]], "n_coils": [1], "n_validation_scans": 1},
    "training": {"epochs": 1, "batch_size": 2, "max_minutes": 0},
    "schedule": {"warmup_steps": 0},
}


def run(folder: Path, **changes):
    config = validated(TrainingConfig, merged(TINY, changes), "test")
    train(config, output=folder, device="cpu")
    return load_file(folder / "last.safetensors")


def same(ours, theirs, tolerance=0.0):
    return all(torch.allclose(ours[key], theirs[key], rtol=tolerance, atol=tolerance) for key in theirs)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    sgd = {"optimizer": {"name": "sgd", "lr": 0.1}}
    whole = run(tmp_path / "whole", training={"batch_size": 6}, **sgd)
    parts = run(tmp_path / "parts", training={"batch_size": 4, "accumulate": 2}, **sgd)
    assert same(parts, whole, 1e-6)
    assert steps([[(0, 1)], [(0, 2)], [(0, 3)]], 2) == [[[(0, 1)], [(0, 2)]], [[(0, 3)]]]


EVERYTHING = {
    "training": {"epochs": 4, "accumulate": 2, "batch_size": 1, "ema_decay": 0.9, "loss": "mse"},
    "network": {"dropout": 0.2},
    "generated": {"fresh": True},
    "data": {"rotations": True, "phase": 1.0, "noise": 0.01, "intensity": 0.2},
    "masks": {"kind": ["random", "magic"]},
    "optimizer": {"name": "rmsprop"},
    "schedule": {"kind": "step", "drops": [0.5]},
}


def test_a_run_with_everything_resumes_as_if_never_stopped(tmp_path):
    config = validated(TrainingConfig, merged(TINY, EVERYTHING), "test")
    train(config, output=tmp_path / "whole", device="cpu")

    def stop(event):
        if event.stage == "step" and event.done == 8:  # of twelve: in the third epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, output=tmp_path / "parts", device="cpu", progress=stop)
    train(config, output=tmp_path / "parts", device="cpu", resume=True)
    for name in ("last.safetensors", "best.safetensors"):
        assert same(load_file(tmp_path / "parts" / name), load_file(tmp_path / "whole" / name))
    rows = (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert (tmp_path / "parts" / "metrics.jsonl").read_text() == rows
    assert [json.loads(row)["lr"] for row in rows.splitlines()] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    # What is saved for use is the average; the weights themselves are in what a resumed run starts from.
    state = load_state(tmp_path / "whole" / "resume.pt")
    last = load_file(tmp_path / "whole" / "last.safetensors")
    assert same(
        last, {k.removeprefix("module."): v for k, v in state["averaged"].items() if k != "n_averaged"}
    )
    assert not same(last, state["network"], 1e-4)


def test_bfloat16_is_near_and_is_used(tmp_path):
    exact = run(tmp_path / "exact", optimizer={"name": "sgd", "lr": 0.01})
    rough = run(tmp_path / "rough", optimizer={"name": "sgd", "lr": 0.01}, training={"precision": "bfloat16"})
    assert {weights.dtype for weights in rough.values()} == {torch.float32}
    assert not same(rough, exact, 1e-6)
    assert same(rough, exact, 2e-2)


def test_clipping_can_be_left_out(tmp_path):
    sgd = {"optimizer": {"name": "sgd", "lr": 1e-3}}
    free = run(tmp_path / "free", training={"clip_norm": 0}, **sgd)
    assert same(free, run(tmp_path / "wide", training={"clip_norm": 1e9}, **sgd), 1e-7)
    assert not same(free, run(tmp_path / "clipped", training={"clip_norm": 1e-3}, **sgd), 1e-6)


def test_pictures_show_the_run(tmp_path):
    run(tmp_path, training={"epochs": 2})
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == [
        "epoch_0001.png",
        "epoch_0002.png",
    ]
    with Image.open(tmp_path / "curve.png") as curve:
        assert curve.size == (1000, 300)
        assert len(np.unique(np.asarray(curve.convert("L")))) > 10
    shape = (4, 6)
    example = Example(np.zeros(shape, "f"), np.full(shape, 0.9, "f"), np.full(shape, 1.0, "f"))
    columns = side_by_side(example)[0, ::6]
    assert columns.tolist() == [0, 229, 255, 127]


def test_tensorboard_logs_the_run(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path, training={"epochs": 2}, output={"tensorboard": True})
    log = EventAccumulator(str(tmp_path / "tensorboard"))
    log.Reload()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [e.value for e in log.Scalars("validation/ssim")] == pytest.approx([row["ssim"] for row in rows])
    assert [e.step for e in log.Scalars("loss")] == list(range(1, 7))


def test_tensorboard_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingsError, match=r"pip install 'mri-recon\[tensorboard\]'"):
        run(tmp_path, output={"tensorboard": True})


def test_compiling_needs_a_compiler(monkeypatch):
    network = TrainingConfig().network.build()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SettingsError, match="needs a C\\+\\+ compiler"):
        compile_network(network, torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler calls parts of torch that are
def test_a_compiled_network_is_the_same_network(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    sgd = {"optimizer": {"name": "sgd", "lr": 0.01}}
    compiled = run(tmp_path / "compiled", training={"compile": True}, **sgd)
    assert same(compiled, run(tmp_path / "eager", **sgd), 1e-4)


def test_scans_with_generated_images_among_them(tmp_path):
    (tmp_path / "scans").mkdir()
    for seed in range(3):
        scan = sample_scan(height=32, width=32, n_slices=2, n_coils=1, seed=seed)
        write_scan(tmp_path / "scans" / scan.name, scan)
    data = {"folder": str(tmp_path / "scans"), "generated_share": 0.5}
    run(tmp_path / "run", data=data)
    run_file = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run_file["validation"][0].startswith("head_")


def test_a_curve_has_no_fractions_of_epochs():
    rows = [{"epoch": epoch, "loss": 0.1, "psnr": 30.0 + epoch, "ssim": 0.8} for epoch in (1, 2)]
    for axes in curve(rows, Metrics(0.1, 20.0, 0.5)).axes:
        ticks = axes.xaxis.get_major_locator().tick_values(*axes.get_xlim())
        assert np.array_equal(ticks, np.round(ticks))


@pytest.mark.parametrize(("height", "factor"), [(48, 4), (320, 1)])
def test_a_sample_says_what_its_pictures_are(height, factor):
    picture = np.arange(height * 4 * height, dtype=np.uint64).astype(np.uint8).reshape(height, -1)
    whole = captioned(picture)
    below = whole[-factor * height :]
    assert np.array_equal(below[::factor, ::factor], picture)
    assert np.array_equal(below[factor - 1 :: factor, factor - 1 :: factor], picture)
    above = np.split(whole[: -factor * height], 4, axis=1)
    assert all(caption.max() == 255 for caption in above)
    assert len({caption.tobytes() for caption in above}) == 4
