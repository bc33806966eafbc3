import json

import numpy as np
import pytest
import torch
from command_line import run
from helpers import complex_normal
from small_scans import small_scan

from mri_recon import checkpoint
from mri_recon.checkpoint import WeightsInfo, save_weights
from mri_recon.data.phantom import sample_scan
from mri_recon.data.scan import Header, Scan
from mri_recon.data.storage import write_scan
from mri_recon.errors import SettingsError, WeightsError
from mri_recon.methods.varnet import VarNetMethod
from mri_recon.networks.fastmri import FastMRIUNet, FastMRIVarNet
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.fourier import fftc
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import generate_mask
from mri_recon.reconstruct import reconstruct
from mri_recon.settings import network_settings

SMALL = {"cascades": 2, "channels": 4, "levels": 2, "memory": 2}


def write_weights(path, **settings):
    torch.manual_seed(0)
    made = network_settings("varnet")(**{**SMALL, **settings})
    network = made.build().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    save_weights(path, network, WeightsInfo(made))
    return network


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "varnet.safetensors"
    write_weights(path)
    return path


def scan_of(n_coils):
    return sample_scan(height=40, width=33, n_slices=2, n_coils=n_coils)


@pytest.mark.parametrize("n_coils", [1, 3])
def test_it_is_the_network_with_maps_of_the_centre_lines(tmp_path, n_coils):
    network = write_weights(tmp_path / "varnet.safetensors")
    scan = scan_of(n_coils)
    found = reconstruct(
        scan,
        "varnet",
        weights=tmp_path / "varnet.safetensors",
        seed=3,
        center_fraction=0.15,
        settings={"recalibrate": 0},
    )
    columns = generate_mask("random", 33, 4, 0.15, seed=3)
    kspace = np.asarray(scan.kspace[:1]) * columns
    maps = torch.from_numpy(estimate_maps(kspace, columns)) if n_coils > 1 else None
    with torch.inference_mode():
        expected = network(torch.from_numpy(kspace), torch.from_numpy(columns)[None, None, None], maps)
    expected = center_crop(expected, found.image.shape[1:]).numpy()
    np.testing.assert_allclose(found.image[:1], expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert [c.iterations for c in found.convergence] == [None, None]
    assert all(0 < c.residual < 5 for c in found.convergence)
    assert found.converged is None


@pytest.mark.parametrize("n_coils", [1, 3])
def test_every_line_acquired_gives_the_fully_sampled_image(weights, n_coils):
    scan = scan_of(n_coils)
    full = reconstruct(scan, "zero-filled", acceleration=1).image
    image = reconstruct(scan, "varnet", weights=weights, acceleration=1).image
    np.testing.assert_allclose(image, full, rtol=0, atol=1e-4 * full.max())


def test_a_network_with_maps_of_its_own_wants_none(tmp_path):
    path = tmp_path / "own.safetensors"
    write_weights(path, maps="network")
    assert VarNetMethod(weights=path).needs_smaps is False
    scan = scan_of(3)
    image = reconstruct(scan, "varnet", weights=path).image
    assert np.isfinite(image).all()
    with pytest.raises(SettingsError, match="uses no coil maps"):
        reconstruct(scan, "varnet", weights=path, smaps=np.ones_like(scan.kspace))


def test_weights_of_another_method_say_which(weights):
    with pytest.raises(
        WeightsError, match=r"holds a network of method 'varnet'.*method 'unet'.*--method varnet"
    ):
        reconstruct(scan_of(1), "unet", weights=weights)


def test_missing_weights_say_how_to_train(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint.resources, "files", lambda package: tmp_path)
    with pytest.raises(
        WeightsError, match=r"without weights for 'varnet'.*mri-recon train configs/varnet\.toml"
    ):
        reconstruct(scan_of(1), "varnet")


def test_fastmris_unet_sees_the_cropped_image(tmp_path):
    """fastMRI crops before its network, not after: to the header's size, and negative values stay."""
    torch.manual_seed(1)
    network = FastMRIUNet(4, 2).eval()
    network.up_conv[-1][1].weight.data *= 5
    torch.save(network.state_dict(), tmp_path / "theirs.pt")
    scan = scan_of(2)
    scan = Scan(scan.name, scan.kspace, header=Header(recon=(24, 20, 1)))
    found = reconstruct(scan, "unet", weights=tmp_path / "theirs.pt", seed=0)
    columns = generate_mask("random", 33, 4, 0.08, seed=0)
    zero_filled = np.fft.fftshift(
        np.fft.ifft2(np.fft.ifftshift(scan.kspace * columns, axes=(-2, -1)), norm="ortho"), axes=(-2, -1)
    )
    cropped = fftc(center_crop(zero_filled, (24, 20))).astype(np.complex64)
    with torch.inference_mode():
        expected = network(torch.from_numpy(cropped), torch.ones(1, 1, 1, 20, dtype=torch.bool), None).numpy()
    assert found.image.shape == (2, 24, 20)
    np.testing.assert_allclose(found.image, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert (expected < -0.01 * expected.max()).any()


def test_fastmris_varnet_is_recognised(tmp_path):
    torch.manual_seed(1)
    network = FastMRIVarNet(2, 4, 2, 4, 2).eval()
    torch.save(network.state_dict(), tmp_path / "theirs.pt")
    scan = scan_of(3)
    found = reconstruct(scan, "varnet", weights=tmp_path / "theirs.pt", seed=0, center_fraction=0.2)
    columns = torch.from_numpy(generate_mask("random", 33, 4, 0.2, seed=0))[None, None, None]
    with torch.inference_mode():
        expected = network(torch.from_numpy(np.asarray(scan.kspace)), columns)
    expected = center_crop(expected, found.image.shape[1:]).numpy()
    np.testing.assert_allclose(found.image, expected, rtol=0, atol=1e-3 * expected.max())


def test_json_tells_how_much_of_the_data_the_network_misses(tmp_path, weights, capsys):
    write_scan(tmp_path / "scan.h5", small_scan("scan.h5", n_coils=2))
    words = ("reconstruct", tmp_path / "scan.h5", "--method", "varnet", "--weights", weights)
    outcome = run(capsys, *map(str, words), "-o", str(tmp_path / "out"), "--no-preview", "--json")
    assert outcome.code == 0, outcome
    entry = json.loads(outcome.out)[0]
    assert 0 < entry["residual"] < 5
    assert entry["iterations"] is None
    assert entry["converged"] is None


@pytest.mark.parametrize(
    ("method", "more"),
    [("varnet", SMALL), ("unet", {"channels": 4, "levels": 2, "first": "tv", "data_consistency": "hard"})],
)
def test_coil_images_combined_by_maps_are_nearer_to_a_noise_free_object(tmp_path, method, more):
    made = network_settings(method)(**more)
    path, network = tmp_path / "w.safetensors", made.build().eval()
    if method == "unet":  # adds nothing, as an untrained varnet: of what is invented neither image is nearer
        with torch.no_grad():
            for parameter in network.unet.up_conv[-1][-1].parameters():
                parameter.zero_()
    save_weights(path, network, WeightsInfo(made))
    scan = sample_scan(height=96, width=96, n_slices=1, n_coils=8, noise=0.04)
    rss, maps = (
        reconstruct(scan, method, weights=path, acceleration=2.0, settings={"combination": how})
        for how in ("rss", "maps")
    )
    assert maps.metrics.psnr > rss.metrics.psnr + 3
    assert maps.metrics.ssim > rss.metrics.ssim + 0.02
    one = sample_scan(height=48, width=48, n_slices=1, n_coils=1)
    images = [
        reconstruct(one, method, weights=path, settings={"combination": how}).image for how in ("rss", "maps")
    ]
    np.testing.assert_allclose(images[0], images[1], rtol=0, atol=1e-6 * images[0].max())


def test_every_slice_of_a_batch_has_its_residual(weights):
    """A GPU takes several at once."""
    kspace = complex_normal(np.random.default_rng(0), (3, 1, 32, 32), np.complex64)
    mask = generate_mask("random", 32, 2, 0.2, seed=0).reshape(1, 1, 1, -1)
    method = VarNetMethod(weights=weights)
    together, alone = [], []
    method(kspace, mask, None, together.append)
    for one in kspace:
        method(one[None], mask, None, alone.append)
    assert len({c.residual for c in alone}) == 3
    np.testing.assert_allclose([c.residual for c in together], [c.residual for c in alone], rtol=1e-4)


def test_what_cannot_be_combined_is_said(tmp_path):
    made = network_settings("unet")(channels=4, levels=2)
    save_weights(tmp_path / "w.safetensors", made.build().eval(), WeightsInfo(made))
    scan = scan_of(2)
    with pytest.raises(
        SettingsError,
        match=r"combination: expected rss, got 'maps'.*ends without coil images.*Leave combination at rss",
    ):
        reconstruct(scan, "unet", weights=tmp_path / "w.safetensors", settings={"combination": "maps"})
    with pytest.raises(SettingsError, match="combination: expected rss or maps, got 'sum'"):
        VarNetMethod(combination="sum")
    with pytest.raises(SettingsError, match="combination: expected rss or maps, got 3"):
        VarNetMethod(combination=3)
