"""fastMRI's networks, against the definition in `slow_fastmri`, and the files their weights come in."""

import pytest
import torch
from slow_fastmri import SlowUNet, SlowVarNet, slow_center

from mri_recon.checkpoint import load_network
from mri_recon.errors import WeightsError
from mri_recon.networks.fastmri import FastMRIUNet, FastMRIVarNet, _symmetric_center


def undersampled(n_coils=3, height=45, width=38, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kspace = 1e-5 * torch.randn(2, n_coils, height, width, dtype=torch.complex64, generator=generator)
    mask = torch.rand(2, 1, 1, width, generator=generator) < 0.3
    mask[..., width // 2 - 4 : width // 2 + 5] = True
    return kspace, mask


def saved(tmp_path, content):
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("shape", [(45, 38), (32, 48)])
def test_unet_weights_give_fastmris_image(tmp_path, shape):
    torch.manual_seed(1)
    theirs = SlowUNet(1, 1, channels=6, levels=3)
    theirs.up_conv[-1][1].weight.data *= 10
    network, info = load_network(saved(tmp_path, theirs.state_dict()))
    assert isinstance(network, FastMRIUNet)
    assert (network.method, network.crops_first, info.settings.name) == ("unet", True, "fastmri-unet")
    kspace, mask = undersampled(height=shape[0], width=shape[1])
    kspace += 3e-5  # one bright pixel, which the clamp is for
    with torch.inference_mode():
        image, expected = network(kspace, mask, None), theirs.reconstruct(kspace * mask)
    assert (image - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (image < 0).any()


@pytest.mark.parametrize("full", [False, True])
def test_varnet_weights_give_fastmris_image(tmp_path, full):
    torch.manual_seed(2)
    theirs = SlowVarNet(2, channels=4, levels=2, maps_channels=3, maps_levels=3)
    for cascade, weight in zip(theirs.cascades, (0.4, 1.3), strict=True):
        cascade.dc_weight.data[:] = weight
    network, _ = load_network(saved(tmp_path, theirs.state_dict()))
    assert isinstance(network, FastMRIVarNet)
    assert (network.method, network.needs_smaps) == ("varnet", False)
    kspace, mask = undersampled()
    mask |= full
    with torch.inference_mode():
        image, expected = network(kspace, mask, None), theirs.reconstruct(kspace * mask, mask)
        residual = network.with_residual(kspace, mask)[1]
    assert (image - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert ((residual > 0) & (residual < 10)).all()


def test_the_centre_is_found_as_fastmri_finds_it():
    generator = torch.Generator().manual_seed(3)
    for width in (7, 8, 21):
        for _ in range(20):
            mask = torch.rand(1, 1, 1, width, generator=generator) < 0.8
            assert _symmetric_center(mask)[0, 0, 0].tolist() == slow_center(mask[0, 0, 0].tolist())


def test_checkpoints_with_the_network_inside(tmp_path):
    theirs = SlowUNet(1, 1, channels=4, levels=2)
    inside = {f"unet.{key}": value for key, value in theirs.state_dict().items()}
    path = saved(tmp_path, {"state_dict": {**inside, "loss.w": torch.ones(1)}, "epoch": 3})
    network, _ = load_network(path)
    assert torch.equal(network.conv.layers[0].weight, theirs.conv.layers[0].weight)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("conv.layers.4.weight"), "'conv.layers.4.weight' is missing"),
        (
            lambda t: t.update({"conv.layers.4.weight": torch.ones(3)}),
            r"'conv.layers.4.weight' is \(3,\), not",
        ),
        (lambda t: t.update(extra=torch.ones(3)), "'extra' is not part of it"),
        (lambda t: t["conv.layers.4.weight"].fill_(torch.nan), "NaN or Inf"),
        (lambda t: t.clear(), "nor are these weights of a network known from elsewhere"),
        (
            lambda t: t.update({f"down_sample_layers.{i}.a": torch.ones(1) for i in range(2, 70)}),
            "nor are these weights of a network known from elsewhere",
        ),
    ],
)
def test_weights_that_do_not_fit_are_one_clear_line(tmp_path, spoil, message):
    tensors = SlowUNet(1, 1, channels=4, levels=2).state_dict()
    spoil(tensors)
    path = saved(tmp_path, dict(tensors))
    with pytest.raises(WeightsError, match=message) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_unet_of_two_channels_is_not_taken_for_one_on_magnitudes(tmp_path):
    with pytest.raises(WeightsError, match="nor are these weights"):
        load_network(saved(tmp_path, SlowUNet(2, 2, channels=4, levels=2).state_dict()))
