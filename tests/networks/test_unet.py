import numpy as np
import pytest
import torch

from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import SettingsError
from mri_recon.networks.layers import NORMS, group_norm, layer_norm
from mri_recon.networks.unet import UNet, UNetCore
from mri_recon.physics.coils import rss
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.masks import generate_mask


def scan(n_slices=2, n_coils=3, height=32, width=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kspace = torch.randn(n_slices, n_coils, height, width, dtype=torch.complex64, generator=generator)
    mask = torch.rand(1, 1, 1, width, generator=generator) < 0.5
    return kspace, mask


def n_parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_parameters_are_fastmris_plus_the_norms():
    plain = UNet(32, 4, norm="none")
    grouped = UNet(32, 4, norm="group")
    # Two affine parameters a channel: 2 norms a block at 32..512 down, 1 + 2 a level at 256..32 up.
    affine = 2 * (2 * (32 + 64 + 128 + 256 + 512) + 3 * (256 + 128 + 64 + 32))
    assert n_parameters(plain) == 7_756_097
    assert n_parameters(UNet(32, 4, norm="instance")) == 7_756_097
    assert n_parameters(grouped) == 7_756_097 + affine
    assert n_parameters(UNet(64, 4, norm="none")) == 31_023_745


def test_layers_have_fastmris_names():
    names = set(UNetCore(1, 1, channels=4, levels=2, norm="instance", dropout=0.0).state_dict())
    convolutions = {
        f"{block}.layers.{i}.weight" for i in (0, 4) for block in ("down_sample_layers.0", "conv")
    }
    assert convolutions <= names
    assert {"up_transpose_conv.1.layers.0.weight", "up_conv.0.layers.4.weight"} <= names
    assert {"up_conv.1.0.layers.0.weight", "up_conv.1.1.weight", "up_conv.1.1.bias"} <= names
    assert len(names) == 2 * 5 + 2 + 2  # two a block, one an up-convolution, the last with its bias


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (32, 1), (48, 1), (64, 2), (512, 16)])
def test_group_norm_has_32_channels_a_group(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_norms_normalise_over_what_they_are_named_after():
    x = 3 + 2 * torch.randn(5, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    x = x * torch.arange(1, 65)[:, None, None]
    axes = {"instance": (2, 3), "layer": (1, 2, 3), "batch": (0, 2, 3)}
    for norm, over in axes.items():
        y = NORMS[norm](64)(x)
        assert y.mean(dim=over).abs().max() < 1e-4, norm
        assert (y.var(dim=over, unbiased=False) - 1).abs().max() < 1e-3, norm
    groups = NORMS["group"](64)(x).reshape(5, 2, 32, 8, 8)
    assert (groups.var(dim=(2, 3, 4), unbiased=False) - 1).abs().max() < 1e-3
    assert torch.equal(NORMS["none"](64)(x), x)
    assert layer_norm(64).num_groups == 1


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", list(NORMS))
def test_scaling_kspace_scales_the_image(norm, residual):
    torch.manual_seed(0)
    network = UNet(4, 2, norm=norm, residual=residual).eval()
    kspace, mask = scan()
    with torch.inference_mode():
        image, scaled = network(kspace, mask, None), network(1e-7 * kspace, mask, None)
    assert torch.allclose(scaled, 1e-7 * image, rtol=2e-4, atol=1e-11)
    assert (image - rss(ifftc(kspace * mask))).abs().max() > 1e-3  # it does something


@pytest.mark.parametrize("shape", [(33, 47), (17, 64), (40, 31)])
def test_odd_sizes_and_slices_apart(shape):
    torch.manual_seed(0)
    network = UNet(4, 3).eval()
    kspace, mask = scan(3, 2, *shape)
    with torch.inference_mode():
        together = network(kspace, mask, None)
        alone = torch.cat([network(kspace[i : i + 1], mask, None) for i in range(3)])
    assert together.shape == (3, *shape)
    assert together.dtype == torch.float32
    assert torch.allclose(together, alone, atol=1e-4)


def test_unacquired_samples_do_not_matter():
    network = UNet(4, 2).eval()
    kspace, mask = scan()
    with torch.inference_mode():
        assert torch.equal(network(kspace, mask, None), network(kspace * mask, mask, None))


def test_a_magnitude_is_never_negative_in_use():
    torch.manual_seed(0)
    network = UNet(4, 2)
    network.unet.up_conv[-1][1].bias.data.fill_(-2.0)
    kspace, mask = scan()
    assert network.train()(kspace, mask, None).min() < 0
    assert network.eval()(kspace, mask, None).min() == 0


def test_an_empty_slice_stays_finite():
    kspace, mask = scan()
    assert UNet(4, 2)(0 * kspace, mask, None).isfinite().all()


def test_too_small_an_image_is_an_error():
    with pytest.raises(SettingsError, match=r"3 levels needs images of 8×8 .* this one is 7×32"):
        UNet(4, 3)(*scan(height=7), None)


def consistent(data_consistency, seed=0, **settings):
    torch.manual_seed(seed)
    network = UNet(4, 2, data_consistency=data_consistency, **settings).eval()
    network.unet.up_conv[-1][1].weight.data *= 3
    return network


def coil_images_of(network, kspace, mask):
    first = network._start(kspace, mask, None)
    return network._coil_images(first, network._improved(first)) * first.scale[:, None]


def test_hard_consistency_puts_the_acquired_columns_back():
    kspace, mask = scan(2, 1)
    free, hard = consistent("none"), consistent("hard")
    with torch.inference_mode():
        coil_images = coil_images_of(hard, kspace, mask)
        found, expected = fftc(coil_images), fftc(coil_images_of(free, kspace, mask))
        image, residual = hard.with_residual(kspace, mask)
        _, missed = free.with_residual(kspace, mask)
    torch.testing.assert_close(found, torch.where(mask, kspace, expected), rtol=0, atol=1e-4)
    assert (residual < 1e-5).all()
    assert (missed > 0.05).all()
    torch.testing.assert_close(image, coil_images.abs()[:, 0], rtol=1e-4, atol=1e-5)


def test_soft_consistency_lies_between_and_its_weight_is_trained():
    kspace, mask = scan(2, 3)
    networks = {name: consistent(name) for name in ("none", "soft", "hard")}
    with torch.inference_mode():
        residuals = {name: n.with_residual(kspace, mask)[1] for name, n in networks.items()}
    # A weight of one: half of the misfit is taken away.
    torch.testing.assert_close(residuals["soft"], residuals["none"] / 2, rtol=1e-3, atol=0)
    assert (residuals["hard"] < 1e-5).all()
    networks["soft"].train()(kspace, mask, None).square().sum().backward()
    assert networks["soft"].dc_weight.grad.isfinite()
    assert networks["soft"].dc_weight.grad != 0


@pytest.mark.parametrize("n_coils", [1, 3])
def test_with_hard_consistency_a_fully_sampled_scan_comes_back(n_coils):
    kspace, mask = scan(2, n_coils, 33, 30)
    with torch.inference_mode():
        image = consistent("hard")(kspace, torch.ones_like(mask), None)
    torch.testing.assert_close(image, rss(ifftc(kspace)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", ["zero-filled", "tv"])
@pytest.mark.parametrize("data_consistency", ["none", "soft", "hard"])
def test_the_image_with_a_residual_is_the_image_without(data_consistency, first):
    network = consistent(data_consistency, first=first)
    kspace, mask = scan(2, 3)
    maps = torch.ones_like(kspace) if network.needs_smaps else None
    with torch.inference_mode():
        image = network(kspace, mask, maps)
        found = network.with_residual(kspace, mask, maps)[0]
        torch.testing.assert_close(found, image, rtol=1e-4, atol=1e-5)
        scaled = network(1e-7 * kspace, mask, maps)
    torch.testing.assert_close(scaled, 1e-7 * image, rtol=1e-3, atol=1e-11)


@pytest.mark.parametrize("data_consistency", ["soft", "hard"])
def test_gradients_are_finite_where_nothing_was_measured(data_consistency):
    kspace, mask = scan()
    kspace[1] = 0
    network = consistent(data_consistency).train()
    network(kspace, mask, None).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("data_consistency", ["none", "hard"])
def test_it_may_start_from_compressed_sensing(n_coils, data_consistency):
    rng = np.random.default_rng(3)
    kspace, target = synthetic_slice(rng, 64, 64, n_coils, 0.01)
    columns = generate_mask("random", 64, 4, 0.1, seed=0)
    maps = torch.from_numpy(estimate_maps(kspace[None], columns)) if n_coils > 1 else None
    mask, kspace = torch.from_numpy(columns)[None, None, None], torch.from_numpy(kspace)[None]
    error = {}
    for first in ("zero-filled", "tv"):
        network = UNet(4, 2, data_consistency=data_consistency, first=first).eval()
        torch.nn.init.zeros_(network.unet.up_conv[-1][1].weight)
        torch.nn.init.zeros_(network.unet.up_conv[-1][1].bias)
        assert network.needs_smaps == (first == "tv")
        with torch.inference_mode():
            image = network(kspace, mask, maps if network.needs_smaps else None)
            twice = network(2 * kspace, mask, maps if network.needs_smaps else None)
        torch.testing.assert_close(twice, 2 * image, rtol=1e-4, atol=1e-5)
        error[first] = float((image[0] - torch.from_numpy(target)).square().mean())
    # One coil says little of what was not acquired.
    assert error["tv"] < {1: 0.85, 4: 0.7}[n_coils] * error["zero-filled"]


def test_several_coils_that_start_from_compressed_sensing_need_maps():
    kspace, mask = scan(1, 2)
    with pytest.raises(SettingsError, match="coil maps"):
        UNet(4, 2, first="tv")(kspace, mask)


@pytest.mark.parametrize("data_consistency", ["none", "soft", "hard"])
@pytest.mark.parametrize("first", ["zero-filled", "tv"])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_of_the_complex_image_an_untouched_part_stays(n_coils, first, data_consistency):
    """A U-Net that adds nothing leaves the first image; where all was acquired that is the scan, whatever it adds."""
    kspace, target = synthetic_slice(np.random.default_rng(2), 40, 36, n_coils, 0.01)
    columns = generate_mask("random", 36, 3, 0.2, seed=1)
    maps = torch.from_numpy(estimate_maps(kspace[None], columns)) if n_coils > 1 else None
    kspace, mask = torch.from_numpy(kspace)[None], torch.from_numpy(columns)[None, None, None]
    network = UNet(4, 2, first=first, sees="complex", data_consistency=data_consistency).eval()
    with torch.inference_mode():
        full = network(kspace, torch.ones_like(mask), maps)
        if data_consistency == "hard":
            torch.testing.assert_close(full, torch.from_numpy(target)[None], rtol=0, atol=1e-5)
        free = network(kspace, mask, maps)
        for parameter in network.unet.up_conv[-1][-1].parameters():
            parameter.zero_()
        still = network(kspace, mask, maps)
        plain = UNet(4, 2, first=first, data_consistency=data_consistency).eval()
        for parameter in plain.unet.up_conv[-1][-1].parameters():
            parameter.zero_()
        if first == "tv" or n_coils == 1:  # zero-filled coils are combined otherwise by maps than without
            torch.testing.assert_close(still, plain(kspace, mask, maps), rtol=0, atol=1e-4)
        assert (free - still).abs().max() > 1e-3
        twice = network(2 * kspace, mask, maps)
    torch.testing.assert_close(twice, 2 * still, rtol=1e-4, atol=1e-5)
