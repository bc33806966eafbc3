"""VarNet: physics that no weights can break, and the ability to learn."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import SettingsError
from mri_recon.networks import combined
from mri_recon.networks.combined import (
    brightness,
    center_columns,
    complete,
    conditions_of,
    noise_of,
    slow_phase,
    tv_start,
    unit_maps,
)
from mri_recon.networks.varnet import FIRST_PULL, DataPull, VarNet
from mri_recon.physics.coils import combine, expand, rss
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.masks import generate_mask
from mri_recon.physics.operators import sense_operator

SMALL = {"cascades": 2, "channels": 4, "levels": 2, "memory": 2}


def problem(n_coils, height=32, width=40, acceleration=4.0, seed=0, noise=0.01):
    """K-space, mask, maps and target of one synthetic slice, as a network is given them."""
    kspace, target = synthetic_slice(np.random.default_rng(seed), height, width, n_coils, noise)
    columns = generate_mask("random", width, acceleration, 0.1, seed=seed)
    maps = torch.from_numpy(estimate_maps(kspace[None], columns)) if n_coils > 1 else None
    mask = torch.from_numpy(columns)[None, None, None]
    return torch.from_numpy(kspace)[None], mask, maps, torch.from_numpy(target)[None]


def wild(network, seed=1):
    """The network with weights that add something in every layer, as no initialisation would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("n_coils", [1, 2, 32])
@pytest.mark.parametrize("shape", [(64, 64), (33, 47), (32, 641)])
def test_where_all_was_acquired_the_image_is_the_fully_sampled_one(n_coils, shape):
    kspace, mask, maps, target = problem(n_coils, *shape)
    with torch.inference_mode():
        image = wild(VarNet(**SMALL, pull=3))(kspace, torch.ones_like(mask), maps)
    torch.testing.assert_close(image, target, rtol=0, atol=1e-5)
    # Also where the maps are of anything but these coils.
    if maps is not None:
        with torch.inference_mode():
            image = wild(VarNet(**SMALL))(kspace, torch.ones_like(mask), maps.flip(1) * 3)
        torch.testing.assert_close(image, target, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_coils", [1, 3])
def test_acquired_columns_are_the_datas_and_the_others_the_networks(n_coils):
    kspace, mask, maps, _ = problem(n_coils)
    maps = torch.ones_like(kspace) if maps is None else maps
    image = torch.randn(1, *kspace.shape[-2:], dtype=torch.complex64)
    completed = fftc(complete(ifftc(kspace * mask), expand(image, maps), mask))
    expected = torch.where(mask, kspace, fftc(image[:, None] * maps))
    torch.testing.assert_close(completed, expected, rtol=0, atol=1e-5)


def test_the_slow_phase_is_followed_and_the_fast_is_not():
    y, x = torch.meshgrid(torch.arange(48.0) / 48, torch.arange(128.0) / 128, indexing="ij")
    slow = torch.exp(1j * (2 * torch.sin(2 * torch.pi * x) + 1.5 * torch.cos(2 * torch.pi * y)))[None]
    turn = slow_phase((1 + 0.3 * torch.sign(x - 0.5)) * slow)
    torch.testing.assert_close(turn.abs(), torch.ones_like(turn.abs()))
    assert (turn * slow.conj()).angle().abs().max() < 0.05
    fast = slow * torch.exp(1j * (-1) ** torch.arange(128))
    assert (slow_phase(fast) * slow.conj()).angle().abs().max() < 0.01
    assert torch.equal(
        slow_phase(torch.zeros(1, 8, 8, dtype=torch.complex64)), torch.ones(1, 8, 8, dtype=torch.complex64)
    )


@pytest.mark.parametrize("n_coils", [1, 3])
def test_an_aligned_network_gives_an_objects_magnitude_whatever_its_phase(n_coils):
    """A phase ramp is what moves k-space; with one across the readout, the acquired columns stay what they are."""
    kspace, mask, maps, _ = problem(n_coils, 48, 40)
    coil_images = ifftc(kspace)
    y = torch.linspace(-3, 3, 48)[:, None]
    turned = fftc(coil_images * torch.exp(1j * (y + y**2 / 3)))
    differences = []
    for align in (True, False):
        network = wild(VarNet(**SMALL, align=align, start="sense"))
        with torch.inference_mode():
            one, other = network(kspace, mask, maps), network(turned, mask, maps)
        differences.append(float((one - other).square().mean().sqrt() / one.square().mean().sqrt()))
    assert differences[0] < differences[1] / 3


def test_the_pull_solves_for_the_image_between_the_networks_and_the_datas():
    kspace, mask, maps, _ = problem(4)
    maps = unit_maps(maps, kspace)
    A = sense_operator(mask, maps, axes=(-1,))
    zero_filled = combine(ifftc(kspace * mask), maps)
    image = torch.randn(zero_filled.shape, dtype=torch.complex64)
    pull = DataPull(30)
    conditions = torch.tensor([[0.3, 0.8]])
    with torch.no_grad():
        pull.log_weight.weight[:] = torch.tensor([[1.0, -2.0]])
        weight = FIRST_PULL * float(np.exp(0.3 - 1.6))
        found = pull(image, A, zero_filled, conditions)
        left = A.normal(found) + weight * found - (zero_filled + weight * image)
        few = DataPull(6)(image, A, zero_filled, conditions)
        much = DataPull(30)(image, A, zero_filled, conditions)
    assert left.norm() < 1e-4 * zero_filled.norm()
    assert (few - much).norm() < 0.02 * (image - much).norm()


def test_several_coils_are_pulled_to_their_data_and_one_needs_none():
    for n_coils in (1, 4):
        kspace, mask, maps, target = problem(n_coils)
        with torch.inference_mode():
            plain, pulled = wild(VarNet(**SMALL)), VarNet(**SMALL, pull=6).eval()
            pulled.load_state_dict(plain.state_dict(), strict=False)
            one, other = plain(kspace, mask, maps), pulled(kspace, mask, maps)
            before, after = (float(n.with_residual(kspace, mask, maps)[1]) for n in (plain, pulled))
        if n_coils == 1:
            assert torch.equal(one, other)
        else:
            assert (other - target).norm() < (one - target).norm()
            assert after < 0.7 * before


@pytest.mark.parametrize("n_coils", [1, 3])
@pytest.mark.parametrize("factor", [1e-6, 1e4])
def test_scaling_kspace_scales_the_image(n_coils, factor):
    kspace, mask, maps, _ = problem(n_coils)
    network = wild(VarNet(**SMALL))
    with torch.inference_mode():
        one, other = network(kspace, mask, maps), network(factor * kspace, mask, maps)
    torch.testing.assert_close(other / factor, one, rtol=1e-3, atol=1e-4 * float(one.max()))


def test_maps_may_have_any_norm():
    kspace, mask, maps, _ = problem(3)
    network = wild(VarNet(**SMALL))
    with torch.inference_mode():
        torch.testing.assert_close(network(kspace, mask, 7 * maps), network(kspace, mask, maps))


@pytest.mark.parametrize("n_coils", [1, 3])
def test_slices_of_a_batch_do_not_see_each_other(n_coils):
    first, second = problem(n_coils, seed=1), problem(n_coils, acceleration=2.0, seed=2)
    network = wild(VarNet(**SMALL))
    both = [None if a is None else torch.cat([a, 50 * b if i == 0 else b]) for i, (a, b) in enumerate(
        zip(first[:3], second[:3], strict=True)
    )]  # fmt: skip
    with torch.inference_mode():
        together = network(*both)
        alone = torch.cat([network(*first[:3]), network(50 * second[0], *second[1:3])])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)


def test_one_mask_for_a_batch():
    kspace, mask, maps, _ = problem(2)
    network = wild(VarNet(**SMALL))
    twice = torch.cat([kspace, kspace]), mask, torch.cat([maps, maps])
    with torch.inference_mode():
        image = network(*twice)
        torch.testing.assert_close(image[:1], network(kspace, mask, maps))
        torch.testing.assert_close(image[1], image[0])


def test_untrained_it_is_no_worse_than_zero_filled_and_an_empty_slice_stays_empty():
    for n_coils in (1, 4):
        kspace, mask, maps, target = problem(n_coils, 64, 64)
        with torch.inference_mode():
            image = VarNet(**SMALL).eval()(kspace, mask, maps)
        zero_filled = rss(ifftc(kspace * mask))
        assert (image - target).square().mean() <= 1.02 * (zero_filled - target).square().mean()
    with torch.inference_mode():
        empty = wild(VarNet(**SMALL))(0 * kspace, mask, maps)
    assert (empty == 0).all()


@pytest.mark.parametrize("n_coils", [1, 4])
def test_it_overfits_one_slice(n_coils):
    torch.manual_seed(0)
    kspace, mask, maps, target = problem(n_coils, 40, 41, noise=0.0)
    network = VarNet(cascades=2, channels=8, levels=2, memory=2)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    first = (network(kspace, mask, maps) - target).square().mean().item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = (network(kspace, mask, maps) - target).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 * first
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_gradients_are_finite_where_nothing_was_measured():
    kspace, mask, maps, _ = problem(2)
    kspace = torch.cat([kspace, torch.zeros_like(kspace)])
    network = VarNet(**SMALL)
    network(kspace, mask, torch.cat([maps, torch.zeros_like(maps)])).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


def test_several_coils_need_maps():
    kspace, mask, _, _ = problem(3)
    with pytest.raises(SettingsError, match=r"needs coil maps for k-space of 3 coils.*estimate_maps"):
        VarNet(**SMALL)(kspace, mask, None)


def test_unit_maps():
    maps = torch.randn(2, 3, 4, 5, dtype=torch.complex64)
    maps[0, :, 0, 0] = 0
    unit = unit_maps(maps, maps)
    assert (unit[0, :, 0, 0] == 0).all()
    torch.testing.assert_close(rss(unit)[1], torch.ones(4, 5))


def test_brightness_is_the_objects_level_whatever_part_it_fills():
    image = torch.zeros(2, 8, 8)
    image[0, :2, :3], image[1] = 5.0, 5.0
    torch.testing.assert_close(brightness(image).flatten(), torch.tensor([5.0, 5.0]))


def test_the_network_is_told_acceleration_and_noise():
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 1, 64, dtype=torch.bool)
    mask[0, ..., ::2], mask[1, ..., ::8] = True, True
    noise = torch.tensor([0.001, 0.1])[:, None]
    drawn = 2**0.5 * torch.randn(2, 4, 64, 64, dtype=torch.complex64, generator=generator)
    found = noise_of(drawn * noise[..., None, None] * mask, mask)
    torch.testing.assert_close(found, noise, rtol=0.1, atol=0)
    told = conditions_of(found, mask)
    torch.testing.assert_close(told[:, 0], torch.tensor([1 / 4, 3 / 4]))
    assert told[1, 1] - told[0, 1] == pytest.approx(2 / 3, abs=0.02)  # two of three decades


def test_the_floor_is_what_all_coils_hold_of_the_noise_not_acquired():
    """Without an object: the mean power of the image is that of the fully sampled one, of which R holds a part."""
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(1, 8, 64, 64, dtype=torch.complex64, generator=generator)
    mask = torch.zeros(1, 1, 1, 64, dtype=torch.bool)
    mask[..., ::4] = True
    network = VarNet(**SMALL).eval()
    for parameter in network.cascades[-1].last.parameters():
        parameter.data[2:] = 0
    with torch.inference_mode():
        image = network(kspace, mask, torch.ones_like(kspace))
    power, full = image.square().mean(), rss(ifftc(kspace)).square().mean()
    acquired = (kspace * mask).abs().square().sum() / kspace.abs().square().sum()
    assert acquired < 0.3
    assert 0.85 < power / full < 1.15


def test_a_network_of_its_own_estimates_maps_and_is_trained_with_the_rest():
    kspace, mask, maps, target = problem(3, 48, 48, noise=0.0)
    torch.manual_seed(0)
    network = VarNet(**SMALL, maps="network")
    assert not network.needs_smaps
    estimated = network.maps_network(kspace, mask)
    torch.testing.assert_close(rss(estimated), torch.ones(1, 48, 48))
    # Even untrained they resemble ESPIRiT's: close to the low-resolution coil images, divided by their RSS.
    network.maps_network.unet.up_conv[-1][1].weight.data *= 0.1
    network.maps_network.unet.up_conv[-1][1].bias.data.zero_()
    agreement = (network.maps_network(kspace, mask).conj() * maps).sum(1).abs()
    assert (agreement * target).sum() / target.sum() > 0.95
    wild(network)(kspace, mask, None).sum().backward()
    gradients = [p.grad for p in network.maps_network.parameters()]
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0
    with torch.inference_mode():
        torch.testing.assert_close(network(kspace, torch.ones_like(mask)), target, rtol=0, atol=1e-5)


def test_center_columns():
    masks = torch.tensor([[1, 0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 1, 1, 1]]).bool()
    expected = torch.tensor([[0, 0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]).bool()
    assert torch.equal(center_columns(masks), expected)


def test_the_residual_is_how_much_of_the_data_the_cascades_miss():
    kspace, mask, maps, _ = problem(1)
    network = wild(VarNet(**SMALL))
    with torch.inference_mode():
        image, residual = network.with_residual(kspace, mask, maps)
        torch.testing.assert_close(image, network(kspace, mask, maps))
        unrolled = network._unroll(kspace, mask, maps)
        misfit = mask * fftc(unrolled.image * unrolled.scale)[:, None] - mask * kspace
    expected = misfit.abs().square().sum().sqrt() / (mask * kspace).abs().square().sum().sqrt()
    assert residual.item() == pytest.approx(expected.item(), rel=1e-3)
    # One step of length one along the gradient, and nothing from the U-Nets: one coil agrees with its data.
    with torch.inference_mode():
        assert VarNet(**SMALL).eval().with_residual(kspace, mask, maps)[1].item() < 1e-5


@pytest.mark.parametrize("n_coils", [1, 3])
def test_half_precision_stays_within_the_unets(n_coils):
    """Under autocast transforms and data consistency keep single precision."""
    kspace, mask, maps, target = problem(n_coils)
    network = wild(VarNet(**SMALL))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        image, full = network(kspace, mask, maps), network(kspace, torch.ones_like(mask), maps)
    assert image.dtype == torch.float32
    torch.testing.assert_close(full, target, rtol=0, atol=1e-5)
    with torch.inference_mode():
        exact = network(kspace, mask, maps)
    assert (image - exact).square().mean().sqrt() < 0.05 * exact.square().mean().sqrt()


@pytest.mark.parametrize("maps", ["espirit", "network"])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_every_weight_has_a_gradient_whatever_the_coils(n_coils, maps):
    """Data-parallel training waits for every one."""
    kspace, mask, smaps, _ = problem(n_coils)
    network = wild(VarNet(**SMALL, maps=maps)).train()
    network(kspace, mask, smaps).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("n_coils", [1, 4])
def test_compressed_sensing_is_the_better_start(n_coils):
    kspace, mask, maps, target = problem(n_coils, 96, 80)
    error = {}
    for start in ("tv", "sense"):
        with torch.inference_mode():
            image = VarNet(cascades=1, channels=4, levels=2, start=start).eval()(kspace, mask, maps)
        error[start] = (image - target).square().mean()
    assert error["tv"] < 0.7 * error["sense"]


def test_each_slice_starts_with_its_own_mask_and_with_the_phase_of_its_map():
    kspace, first, _, _ = problem(1)
    mask = torch.cat([first, torch.ones_like(first)])
    phases = torch.polar(torch.ones(2, 1, 32, 40), torch.rand(2, 1, 32, 40))
    both = tv_start(kspace.expand(2, -1, -1, -1) * mask, mask, phases)
    for index in range(2):
        alone = tv_start(
            kspace * mask[index], mask[index][None], torch.ones(1, 1, 1, 1, dtype=torch.complex64)
        )
        assert torch.allclose(both[index], alone[0] * phases[index, 0].conj(), atol=1e-6)
    assert not torch.allclose(both[0].abs(), both[1].abs(), atol=1e-3)


def test_trust_is_the_share_of_the_cascades_and_gain_a_factor():
    kspace, mask, maps, _ = problem(4)
    images = []
    for trust, gain in ((0.0, 1.0), (0.5, 1.2), (1.0, 1.0)):
        torch.manual_seed(0)
        network = wild(VarNet(**SMALL, trust=trust, gain=gain), seed=2)
        with torch.inference_mode():
            images.append(network._unroll(kspace, mask, maps).image)
    first, mixed, last = images
    assert torch.allclose(mixed, 0.6 * (first + last), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first, last, rtol=0.1, atol=0.1)
    scale = brightness(rss(ifftc(kspace * mask)))[:, None]
    assert torch.allclose(first, tv_start(kspace * mask / scale, mask, unit_maps(maps, kspace)), atol=1e-4)


class Dtypes(TorchDispatchMode):
    """Those of all that is computed."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.dtypes.update(
            x.dtype for x in (out if isinstance(out, tuple) else (out,)) if isinstance(x, torch.Tensor)
        )
        return out


@pytest.mark.parametrize("n_coils", [1, 3])
def test_the_start_is_the_same_by_torch_under_autocast(monkeypatch, n_coils):
    """On a GPU torch iterates, in training under autocast too, which has no say in it."""
    kspace, mask, maps, _ = problem(n_coils)
    maps = unit_maps(maps, kspace)
    monkeypatch.setattr(combined, "TV_TOLERANCE", 0.0)  # or one may stop an iteration before the other
    by_numpy = tv_start(kspace * mask, mask, maps)
    monkeypatch.setattr(combined, "_by_numpy", lambda device: False)
    seen = Dtypes()
    with torch.autocast("cpu", torch.bfloat16), seen:
        by_torch = tv_start(kspace * mask, mask, maps)
    assert torch.float32 in seen.dtypes
    assert torch.bfloat16 not in seen.dtypes  # no system of which a GPU can solve
    assert (by_torch - by_numpy).abs().max() < 2e-5 * by_numpy.abs().max()


def test_devices_that_lack_what_the_start_takes_leave_it_to_numpy():
    assert [combined._by_numpy(torch.device(kind)) for kind in ("cpu", "mps", "cuda")] == [True, True, False]
