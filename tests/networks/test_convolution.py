import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mri_recon.networks.convolution import Convolution3x3, weight_gradient


def plain_gradients(x, weight, gradient):
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = F.conv2d(x, weight, padding=1)
    out.backward(gradient)
    return out, x.grad, weight.grad


@pytest.mark.parametrize("shape", [(1, 12, 10), (3, 7, 9), (2, 1, 5), (2, 2, 1)])
@pytest.mark.parametrize("channels", [(32, 48), (40, 32)])
def test_gradients_are_the_convolutions(shape, channels):
    generator = torch.Generator().manual_seed(0)
    n, height, width = shape
    layer = Convolution3x3(*channels)
    x = torch.randn(n, channels[0], height, width, generator=generator)
    gradient = torch.randn(n, channels[1], height, width, generator=generator)
    expected = plain_gradients(x, layer.weight.detach(), gradient)
    ours = x.clone().requires_grad_()
    out = layer(ours)
    out.backward(gradient)
    assert type(out.grad_fn).__name__ == "_ConvolutionBackward"
    for found, wanted in zip((out, ours.grad, layer.weight.grad), expected, strict=True):
        assert found.shape == wanted.shape
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_the_weight_gradient_is_exact_in_double_precision():
    x, gradient = torch.randn(2, 3, 5, 4).double(), torch.randn(2, 6, 5, 4).double()
    weight = torch.randn(6, 3, 3, 3).double()
    expected = plain_gradients(x, weight, gradient)[2]
    torch.testing.assert_close(weight_gradient(x, gradient), expected, rtol=1e-12, atol=1e-12)


def test_it_is_a_convolution_by_any_other_name():
    layer, plain = Convolution3x3(32, 32), nn.Conv2d(32, 32, 3, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(1, 32, 6, 6)
    torch.testing.assert_close(layer(x.requires_grad_()), plain(x), rtol=1e-5, atol=1e-6)
    with torch.inference_mode():
        assert torch.equal(layer(x), plain(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    double = layer.double()
    assert torch.autograd.gradcheck(
        double, torch.randn(1, 32, 2, 2).double().requires_grad_(), fast_mode=True
    )


def test_frozen_weights_and_inputs_get_no_gradient():
    layer = Convolution3x3(32, 32).requires_grad_(False)
    x = torch.randn(1, 32, 4, 4, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None
    layer.requires_grad_()
    layer(x.detach()).sum().backward()
    assert layer.weight.grad is not None
