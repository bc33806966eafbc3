"""How far a network is followed: measured by columns that it was not given."""

import numpy as np
import pytest
import torch

from mri_recon.data.synthetic import synthetic_slice
from mri_recon.errors import SettingsError
from mri_recon.networks.combined import UNMEASURED_TRUST, Evidence, evidence, held_out, measured_trust
from mri_recon.networks.unet import UNet
from mri_recon.networks.varnet import VarNet
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.masks import generate_mask

NETWORKS = {
    "varnet": lambda **more: VarNet(cascades=2, channels=4, levels=2, memory=2, **more),
    "unet": lambda **more: UNet(4, 2, first="tv", data_consistency="hard", **more),
    "complex unet": lambda **more: UNet(4, 2, first="tv", data_consistency="hard", sees="complex", **more),
    "unet from zeros": lambda **more: UNet(4, 2, data_consistency="hard", **more),
}


def problem(n_coils, seed=0, height=40, width=48):
    kspace, target = synthetic_slice(np.random.default_rng(seed), height, width, n_coils, 0.01)
    columns = generate_mask("random", width, 2.5, 0.15, seed=seed)
    maps = torch.from_numpy(estimate_maps(kspace[None], columns)) if n_coils > 1 else None
    return torch.from_numpy(kspace)[None], torch.from_numpy(columns)[None, None, None], maps, target


def made(name, strength, **more):
    """A network that changes the first image by something of its own invention."""
    torch.manual_seed(0)
    network = NETWORKS[name](**more).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(strength * torch.randn(parameter.shape, generator=generator))
    return network


def test_twice_every_fourth_column_outside_the_centre_is_held_out():
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1], dtype=torch.bool)[None, None, None]
    # The centre is columns 7 to 9; outside are 0, 2, 3, 5, 11, 14, 15: first and fifth, second and sixth.
    columns = [held.flatten().nonzero().flatten().tolist() for held in held_out(mask)]
    assert columns == [[0, 11], [2, 14]]
    assert held_out(torch.ones_like(mask)) == []


@pytest.mark.parametrize("share", [0.3, 0.0, -2.0, 5.0])
def test_the_share_is_what_brings_the_first_image_nearest(share):
    generator = torch.Generator().manual_seed(0)
    first, change, rest = torch.randn(3, 2, 3, 16, 24, dtype=torch.complex64, generator=generator)
    held = torch.zeros(1, 1, 1, 24, dtype=torch.bool)
    held[..., [2, 9, 20]] = True
    data = first + share * change
    found = evidence(first, first + change, data, held)
    torch.testing.assert_close(found.share, torch.full((2,), share), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.factor(found.share), torch.ones(2), rtol=0, atol=1e-4)
    # Of the other columns it knows nothing.
    beside = torch.fft.ifft(torch.fft.fft(rest) * (~torch.fft.ifftshift(held, dim=-1)))
    again = evidence(first, first + change, data + beside, held)
    torch.testing.assert_close(again.share, found.share, rtol=0, atol=1e-4)
    half = evidence(first, first + change, 0.5 * (first + change), held)
    torch.testing.assert_close(half.factor(torch.ones(2)), torch.full((2,), 0.5), rtol=0, atol=1e-4)


def products(share, factor=1.0):
    """What images of unit size, first and change at right angles, would say."""
    one, share = torch.ones(1), torch.tensor([share])
    return Evidence(one, one, 0 * one, factor * one, factor * share)


def test_the_trust_is_the_mean_share_within_bounds():
    for shares, expected in (
        ((0.2, 0.6), 0.4),
        ((1.8, 0.4), 1.0),
        ((-1.0, 0.2), 0.0),
        ((torch.nan, 0.7), 0.7),
    ):
        trust, _ = measured_trust([products(share) for share in shares], torch.zeros(1, 1, 1))
        torch.testing.assert_close(trust.flatten(), torch.tensor([expected]))


def test_an_image_of_which_little_is_borne_out_is_faded():
    """By the set of columns that bears out least, from half of it on."""
    for factors, expected in (((1.2, 0.6), 1.0), ((1.2, 0.25), 0.5), ((-0.3, 1.0), 0.0)):
        _, faith = measured_trust([products(0.0, factor) for factor in factors], torch.zeros(1, 1, 1))
        torch.testing.assert_close(faith.flatten(), torch.tensor([expected]))


def test_where_nothing_can_be_measured_it_is_a_half():
    image = torch.ones(1, 1, 8, 8, dtype=torch.complex64)
    held = torch.zeros(1, 1, 1, 8, dtype=torch.bool)
    held[..., 1] = True  # one alone
    alone = evidence(image, 2 * image, image, held)
    held[..., 6] = True
    unchanged = evidence(image, image, image, held)
    assert alone.share.isnan()
    assert unchanged.share.isnan()
    trust, faith = measured_trust([alone, unchanged], image)
    assert (trust.item(), faith.item()) == (UNMEASURED_TRUST, 1)
    trust, faith = measured_trust([], torch.zeros(3, 5, 5))
    assert trust.flatten().tolist() == [UNMEASURED_TRUST] * 3
    assert faith.flatten().tolist() == [1] * 3


@pytest.mark.parametrize("n_coils", [1, 3])
@pytest.mark.parametrize("name", ["varnet", "unet", "complex unet"])
def test_what_the_data_do_not_bear_out_is_not_taken(name, n_coils):
    kspace, mask, maps, target = problem(n_coils)
    errors = {}
    for trust in (0.0, 1.0, "auto"):
        with torch.inference_mode():
            image = made(name, 0.6, trust=trust)(kspace, mask, maps)[0].numpy()
        errors[trust] = np.linalg.norm(image - target)
    assert errors[1.0] > 1.05 * errors[0.0]
    assert errors["auto"] < errors[0.0] + 0.2 * (errors[1.0] - errors[0.0])


@pytest.mark.parametrize("name", NETWORKS)
def test_each_slice_has_its_own_and_training_takes_all(name):
    slices = [problem(2, seed) for seed in (1, 2)]
    mask = slices[0][1]
    kspace, maps = (torch.cat([one[i] for one in slices]) for i in (0, 2))
    network = made(name, 0.1, trust="auto")
    with torch.inference_mode():
        both = network(kspace, mask, maps)
        each = torch.cat([network(kspace[i : i + 1], mask, maps[i : i + 1]) for i in (0, 1)])
        torch.testing.assert_close(both, each, rtol=1e-3, atol=1e-4)
        whole = network(kspace, torch.ones_like(mask), maps)
    if "zeros" not in name:
        expected = torch.from_numpy(np.stack([one[3] for one in slices]))
        torch.testing.assert_close(whole, expected, rtol=0, atol=1e-4)
    all_of_it = made(name, 0.1).train()
    torch.testing.assert_close(network.train()(kspace, mask, maps), all_of_it(kspace, mask, maps))


@pytest.mark.parametrize("data_consistency", ["none", "soft"])
@pytest.mark.parametrize("more", [{"trust": "auto"}, {"gain": 1.1}])
def test_where_acquired_columns_change_too_there_is_neither(data_consistency, more):
    with pytest.raises(
        SettingsError, match=r"trust = .auto. and a gain are for columns that were not acquired"
    ):
        UNet(4, 2, data_consistency=data_consistency, **more)


@pytest.mark.parametrize("name", ["varnet", "unet", "complex unet"])
def test_a_gain_is_of_what_was_not_acquired(name):
    kspace, mask, maps, _ = problem(1)
    with torch.inference_mode():
        plain, more = (made(name, 0.1, gain=gain)(kspace, mask, maps) for gain in (1.0, 1.5))
        whole = made(name, 0.1, gain=1.5)(kspace, torch.ones_like(mask), maps)
    assert (plain - more).abs().max() > 0.02 * plain.max()
    torch.testing.assert_close(
        whole, made(name, 0.1)(kspace, torch.ones_like(mask), maps).detach(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_coils", [1, 3])
def test_where_nothing_was_acquired_there_is_an_empty_slice(name, n_coils):
    """And not NaN, which no noise has a level of; whatever is beside it."""
    kspace, mask, maps, _ = problem(n_coils)
    network = made(name, 0.1, trust="auto")
    masks = torch.cat([mask, torch.zeros_like(mask)])
    with torch.inference_mode():
        alone = network(kspace, mask, maps)
        both = network(kspace.repeat(2, 1, 1, 1), masks, None if maps is None else maps.repeat(2, 1, 1, 1))
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=1e-4)
    assert torch.equal(both[1], torch.zeros_like(both[1]))
    network.train()(kspace, torch.zeros_like(mask), maps).square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())
