import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from mri_recon.checkpoint import WeightsInfo, load_network, load_state, save_state, save_weights
from mri_recon.errors import WeightsError
from mri_recon.settings import network_settings

SETTINGS = network_settings("unet")(channels=4, levels=2, norm="instance")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SETTINGS.build().eval()


@pytest.fixture
def weights(tmp_path, network):
    path = tmp_path / "weights.safetensors"
    save_weights(path, network, WeightsInfo(SETTINGS, {"training": {"epochs": 3}}, {"ssim": 0.5}))
    return path


def header(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length])


def rewrite(path, **metadata):
    """The same tensors under another header."""
    save_file(load_file(path), path, metadata=header(path)["__metadata__"] | metadata)


def output(network):
    generator = torch.Generator().manual_seed(1)
    kspace = torch.randn(1, 2, 17, 20, dtype=torch.complex64, generator=generator)
    with torch.inference_mode():
        return network(kspace, torch.ones(1, 1, 1, 20, dtype=torch.bool), None)


def test_a_network_comes_back_as_it_was(weights, network):
    loaded, info = load_network(weights)
    assert torch.equal(output(loaded), output(network))
    assert info.settings == SETTINGS
    assert info.config == {"training": {"epochs": 3}}
    assert info.metrics == {"ssim": 0.5}
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("more", range(0, 256, 8))
def test_a_header_of_any_length_is_told_from_a_pickle(tmp_path, network, more):
    """Its length stands first in the file, and may begin as a pickle does."""
    path = tmp_path / "weights.safetensors"
    save_weights(path, network, WeightsInfo(SETTINGS, {"note": more * "x"}))
    load_network(path)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_who_may_read_other_files_may_read_weights(tmp_path, weights, network):
    other = tmp_path / "other"
    other.touch()
    assert weights.stat().st_mode == other.stat().st_mode


def test_the_header_can_be_read_without_us(weights):
    metadata = header(weights)["__metadata__"]
    assert metadata["network"] == "unet"
    assert json.loads(metadata["settings"])["channels"] == 4
    assert metadata["mri_recon_version"].count(".") == 2


def test_half_precision_is_stored_small_and_loads_as_float32(tmp_path, weights, network):
    half = tmp_path / "half.safetensors"
    save_weights(half, network, WeightsInfo(SETTINGS), dtype=torch.float16)
    assert half.stat().st_size < 0.7 * weights.stat().st_size
    loaded, _ = load_network(half)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.allclose(output(loaded), output(network), rtol=1e-2, atol=1e-2)
    assert not torch.equal(output(loaded), output(network))


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
@pytest.mark.parametrize(
    ("load", "name"),
    [(load_network, "weights.safetensors"), (load_network, "weights.pt"), (load_state, "resume.pt")],
)
def test_a_hostile_pickle_does_not_run(tmp_path, save, load, name):
    marker, path = tmp_path / "was here", tmp_path / name
    save({"format": Hostile(marker)}, path)
    with pytest.raises(WeightsError, match="could run code") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    with path.open("rb") as file:  # and the file is hostile indeed
        torch.load(file, weights_only=False) if save is torch.save else pickle.load(file)
    assert marker.exists()


def test_a_run_folder_is_told_from_its_weights(tmp_path):
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(WeightsError, match=r"is a folder.*Its weights are in .*best\.safetensors\.$"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "There is no weights file"),
        (
            lambda path: (path.unlink(), path.mkdir()),
            "is a folder, and no weights file. Weights are .safetensors",
        ),
        (lambda path: path.write_text("# weights\n"), "not a sound safetensors file"),
        (lambda path: path.write_bytes(b""), "not a sound safetensors file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "not a sound safetensors file"),
        (lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]), "not a sound safetensors file"),
        (
            lambda path: save_file({"a": torch.zeros(2)}, path),
            "expected format 'mri-recon weights 1', got 'none'",
        ),
        (lambda path: rewrite(path, format="mri-recon weights 9"), "got 'mri-recon weights 9'"),
        (lambda path: rewrite(path, network="vortex"), "There is no network 'vortex'"),
        (
            lambda path: rewrite(path, settings='{"channels": 8, "levels": 2}'),
            "does not fit the network 'unet'",
        ),
        (
            lambda path: rewrite(path, settings='{"levels": 3, "channels": 4}'),
            "does not fit the network 'unet'",
        ),
        (lambda path: rewrite(path, settings='{"channels": 100000000}'), "channels: expected less than"),
        (lambda path: rewrite(path, settings='{"device": "cuda"}'), "There is no key 'device'"),
        (lambda path: rewrite(path, settings="[1]"), "damaged header"),
        (lambda path: rewrite(path, settings="{"), "damaged header"),
        (lambda path: rewrite(path, config="{"), "damaged header"),
        (
            lambda path: save_file(
                {k: v * float("nan") for k, v in load_file(path).items()}, path, header(path)["__metadata__"]
            ),
            "NaN or Inf",
        ),
    ],
)
def test_foreign_and_damaged_weights_are_one_clear_line(weights, spoil, message):
    spoil(weights)
    with pytest.raises(WeightsError, match=message) as caught:
        load_network(weights)
    assert "\n" not in str(caught.value)
    assert str(weights) in str(caught.value)


def test_the_state_of_a_run_is_told_from_its_weights(tmp_path):
    save_state(tmp_path / "resume.pt", {"network": {"a": torch.zeros(2)}})
    with pytest.raises(WeightsError, match=r"--resume.*best\.safetensors beside it"):
        load_network(tmp_path / "resume.pt")


def test_a_folder_is_not_weights(tmp_path):
    for load in (load_network, load_state):
        with pytest.raises(WeightsError, match=r"is a folder|not a checkpoint"):
            load(tmp_path)


def test_state_comes_back_as_it_was(tmp_path):
    state = {"tensors": {"a": torch.arange(3.0)}, "position": {"epoch": 2, "history": [{"ssim": 0.25}]}}
    save_state(tmp_path / "resume.pt", state)
    loaded = load_state(tmp_path / "resume.pt")
    assert torch.equal(loaded["tensors"]["a"], state["tensors"]["a"])
    assert loaded["position"] == state["position"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-50]),
        lambda path: path.write_bytes(path.read_bytes()[:9]),
        lambda path: path.write_text("state"),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save({"epoch": 3}, path),
        lambda path: torch.save([1, 2], path),
    ],
)
def test_damaged_state_is_one_clear_line(tmp_path, spoil):
    path = tmp_path / "resume.pt"
    save_state(path, {"a": torch.zeros(100)})
    spoil(path)
    with pytest.raises(WeightsError, match="not a checkpoint") as caught:
        load_state(path)
    assert "\n" not in str(caught.value)


def test_missing_state_is_said(tmp_path):
    with pytest.raises(WeightsError, match=r"no checkpoint .* to resume from"):
        load_state(tmp_path / "resume.pt")


def test_a_failed_write_leaves_the_old_weights(weights, network, monkeypatch):
    before = weights.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mri_recon.checkpoint.save_file", full)
    with pytest.raises(Exception, match="disk is full"):
        save_weights(weights, network, WeightsInfo(SETTINGS))
    assert weights.read_bytes() == before
    assert list(weights.parent.iterdir()) == [weights]
