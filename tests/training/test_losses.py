import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from mri_recon.training.losses import l1, loss, ssim


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    target = rng.gamma(2.0, 1.0, (3, 31, 40)).astype(np.float32)
    image = (target + 0.4 * rng.standard_normal(target.shape)).astype(np.float32)
    return image, target


def test_ssim_is_scikit_images(volume):
    image, target = volume
    ranges = np.array([target.max(), 5.0, 20.0], dtype=np.float32)
    theirs = [
        structural_similarity(t, x, data_range=r) for x, t, r in zip(image, target, ranges, strict=True)
    ]
    ours = ssim(torch.from_numpy(image), torch.from_numpy(target), torch.from_numpy(ranges))
    assert float(ours) == pytest.approx(np.mean(theirs), abs=1e-5)
    assert 0.2 < float(ours) < 0.98


def test_ssim_has_the_right_gradient():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 9, 10, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.rand(1, 9, 10, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda x: ssim(x, target, torch.ones(1, dtype=torch.float64)), image)


def test_losses_do_not_depend_on_the_unit(volume):
    image, target = (torch.from_numpy(v) for v in volume)
    ranges = target.amax((-2, -1))
    for name in ("l1", "ssim", "l1+ssim"):
        here = loss(name, image, target, ranges, 0.1)
        assert torch.allclose(here, loss(name, 1e-5 * image, 1e-5 * target, 1e-5 * ranges, 0.1), rtol=1e-4)
        assert here > 0
        assert loss(name, target, target, ranges, 0.1).abs() < 1e-6


def test_psnr_counts_each_slice_alike(volume):
    image, target = volume
    image[1] = target[1] + 20 * (image[1] - target[1])
    ranges = target.max((1, 2))
    psnr = [
        10 * np.log10(r**2 / np.mean((x - t) ** 2)) for x, t, r in zip(image, target, ranges, strict=True)
    ]
    x, t, r = (torch.from_numpy(a) for a in (image, target, ranges))
    assert float(loss("psnr", x, t, r, 0.3)) == pytest.approx(-np.mean(psnr) / 20, rel=1e-5)
    both = loss("psnr", x, t, r, 0.3) + 0.3 * (1 - ssim(x, t, r))
    torch.testing.assert_close(loss("psnr+ssim", x, t, r, 0.3), both)
    # Where an image is right already there is nothing to learn, nor a number that is none.
    x = t.clone().requires_grad_()
    loss("psnr", x, t, r, 0.3).backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_the_sum_is_weighted(volume):
    image, target = (torch.from_numpy(v) for v in volume)
    ranges = target.amax((-2, -1))
    expected = l1(image, target, ranges) + 0.3 * (1 - ssim(image, target, ranges))
    assert torch.allclose(loss("l1+ssim", image, target, ranges, 0.3), expected)
    assert float(l1(image, target, ranges)) == pytest.approx(
        np.mean([np.abs(i - t).mean() / t.max() for i, t in zip(*volume, strict=True)]), rel=1e-5
    )
