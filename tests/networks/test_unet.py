import pytest
import torch

from mri_recon.errors import SettingsError
from mri_recon.networks.layers import group_norm
from mri_recon.networks.unet import UNet, UNetCore
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc


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


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("norm", ["group", "instance", "none"])
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
