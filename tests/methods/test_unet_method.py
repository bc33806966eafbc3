import numpy as np
import pytest
import torch

from mri_recon import checkpoint
from mri_recon.checkpoint import WeightsInfo, save_weights
from mri_recon.data.phantom import sample_scan
from mri_recon.data.scan import Scan
from mri_recon.errors import WeightsError
from mri_recon.methods.unet import UNetMethod
from mri_recon.physics.masks import generate_mask
from mri_recon.reconstruct import reconstruct
from mri_recon.settings import network_settings

SETTINGS = network_settings("unet")(channels=4, levels=2)


def write_weights(path, seed=0):
    torch.manual_seed(seed)
    network = SETTINGS.build().eval()
    save_weights(path, network, WeightsInfo(SETTINGS))
    return network


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path)
    return path


@pytest.fixture
def scan() -> Scan:
    return sample_scan(height=40, width=33, n_slices=2, n_coils=2)


def undersampled(scan):
    mask = generate_mask("random", scan.shape[1], 4, 0.1, seed=0).reshape(1, 1, 1, -1)
    return scan.kspace * mask, mask


def test_the_shipped_weights_can_be_asked_for_by_name():
    assert UNetMethod(weights="shipped") == UNetMethod()
    assert (
        UNetMethod(weights="./shipped") == UNetMethod()
    )  # a path loses its dot; a file of that name needs another
    assert UNetMethod(weights="my/shipped").weights is not None


def test_it_is_the_network(weights, scan):
    kspace, mask = undersampled(scan)
    image = UNetMethod(weights=weights)(kspace, mask, None)
    torch.manual_seed(0)
    with torch.inference_mode():
        expected = SETTINGS.build().eval()(torch.from_numpy(kspace), torch.from_numpy(mask), None)
    np.testing.assert_array_equal(image, expected.numpy())
    assert isinstance(image, np.ndarray)


def test_the_same_answer_twice_and_the_input_untouched(weights, scan):
    kspace, mask = undersampled(scan)
    before = kspace.copy()
    method = UNetMethod(weights=weights)
    np.testing.assert_array_equal(method(kspace, mask, None), method(kspace, mask, None))
    np.testing.assert_array_equal(kspace, before)


def test_torch_in_torch_out(weights, scan):
    kspace, mask = undersampled(scan)
    method = UNetMethod(weights=weights)
    image = method(torch.from_numpy(kspace), torch.from_numpy(mask), None)
    assert isinstance(image, torch.Tensor)
    np.testing.assert_array_equal(image.numpy(), method(kspace, mask, None))


def test_new_weights_under_the_old_name_are_read(weights, scan):
    kspace, mask = undersampled(scan)
    method = UNetMethod(weights=weights)
    first = method(kspace, mask, None)
    write_weights(weights, seed=1)
    assert not np.array_equal(method(kspace, mask, None), first)


def test_scaling_the_scan_scales_the_image(weights, scan):
    scaled = Scan(scan.name, 1e-5 * scan.kspace)
    one, other = (
        reconstruct(s, "unet", weights=weights).image for s in (Scan(scan.name, scan.kspace), scaled)
    )
    np.testing.assert_allclose(other, 1e-5 * one, rtol=1e-3, atol=1e-9)


def test_missing_weights_say_what_to_do(tmp_path, scan, monkeypatch):
    with pytest.raises(WeightsError, match=r"There is no weights file .*nowhere"):
        reconstruct(scan, "unet", weights=tmp_path / "nowhere.safetensors")
    monkeypatch.setattr(checkpoint.resources, "files", lambda package: tmp_path)
    with pytest.raises(WeightsError, match=r"comes without weights.*mri-recon train.*--weights"):
        reconstruct(scan, "unet")


def test_shipped_weights_are_used_without_being_named(tmp_path, scan, monkeypatch):
    (tmp_path / "weights").mkdir()
    write_weights(tmp_path / "weights" / "unet.safetensors")
    monkeypatch.setattr(checkpoint.resources, "files", lambda package: tmp_path)
    ours = reconstruct(scan, "unet").image
    named = reconstruct(scan, "unet", weights=tmp_path / "weights" / "unet.safetensors").image
    np.testing.assert_array_equal(ours, named)
