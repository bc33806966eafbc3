"""Winograd's convolution and its gradients are the plain ones, in every size and with any number of threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mri_recon.networks import winograd, winograd_kernels
from mri_recon.networks.convolution import Convolution3x3

SHAPES = [(1, 9, 7), (2, 8, 12), (1, 3, 41)]
CHANNELS = [(32, 64), (96, 32)]


@pytest.fixture
def torch_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def drawn(shape, channels):
    """Input, weights and gradient of the output, as the library's convolution has them in double precision too."""
    generator = torch.Generator().manual_seed(3)
    n, height, width = shape
    n_in, n_out = channels

    def normal(*size):
        return torch.randn(*size, generator=generator)

    x, gradient = normal(n, n_in, height, width), normal(n, n_out, height, width)
    weight = normal(n_out, n_in, 3, 3) / (9 * n_in) ** 0.5
    return tuple(t.to(memory_format=torch.channels_last) for t in (x, weight, gradient))


def plain(x, weight, gradient):
    x, weight = x.double().requires_grad_(), weight.double().requires_grad_()
    out = F.conv2d(x, weight, padding=1)
    out.backward(gradient.double())
    return out.detach(), x.grad, weight.grad


def assert_equal_to(found, wanted):
    """To 1e-5 of the greatest value: what the algorithm's additions cost in single precision."""
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_it_is_the_convolution_and_its_gradients(shape, channels, n_threads, torch_threads, monkeypatch):
    torch_threads(n_threads)
    monkeypatch.setattr(winograd, "FEWEST_TILES", 3)
    monkeypatch.setattr(winograd, "BAND_BYTES", 36 * 4 * sum(channels) * 3)  # several bands an image
    x, weight, gradient = drawn(shape, channels)
    out, of_input, of_weight = plain(x, weight, gradient)
    assert_equal_to(winograd.convolve(x, weight), out)
    assert_equal_to(winograd.input_gradient(gradient, weight), of_input)
    assert_equal_to(winograd.weight_gradient(x, gradient), of_weight)


def test_memory_that_is_used_again_leaks_into_nothing():
    large, small = drawn((1, 32, 32), (64, 64)), drawn((1, 8, 8), (32, 32))
    winograd.convolve(*large[:2])
    winograd.weight_gradient(large[0], large[2])
    first = winograd.convolve(*small[:2]).clone()
    winograd.convolve(*large[:2])
    assert torch.equal(winograd.convolve(*small[:2]), first)
    assert_equal_to(first, plain(*small)[0])


def test_it_takes_what_it_is_quicker_at():
    assert winograd.suits(64, 128, (1, 32, 32))
    assert not winograd.suits(32, 64, (1, 320, 320))  # narrow: the transforms cost more than they save
    assert winograd.suits_weights(32, 64, (1, 320, 320))
    assert not winograd.suits(64, 80, (1, 320, 320))
    assert not winograd.suits_weights(40, 64, (1, 320, 320))
    assert not winograd.suits(512, 512, (1, 20, 20))  # 25 tiles
    assert winograd.suits(512, 512, (4, 20, 20))


def test_the_layer_of_the_networks_uses_it_in_training(monkeypatch):
    used = []
    for name in ("convolve", "input_gradient", "weight_gradient"):
        function = getattr(winograd, name)
        monkeypatch.setattr(winograd, name, lambda *a, name=name, f=function: used.append(name) or f(*a))
    layer = Convolution3x3(64, 64)
    x, _, gradient = drawn((1, 34, 30), (64, 64))
    wanted = plain(x, layer.weight.detach(), gradient)
    ours = x.clone().requires_grad_()
    out = layer(ours)
    out.backward(gradient)
    assert used == ["convolve", "input_gradient", "weight_gradient"]
    for found, expected in zip((out.detach(), ours.grad, layer.weight.grad), wanted, strict=True):
        assert_equal_to(found, expected)
    used.clear()
    with torch.inference_mode():
        layer(x)
    layer.double()(x.double().requires_grad_()).sum().backward()
    assert used == []  # outside training, and in double precision, the library's own


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
def test_torch_compile_gets_operations_that_it_can_look_through(monkeypatch):
    for name in ("convolve", "input_gradient", "weight_gradient"):
        monkeypatch.setattr(winograd, name, None)
    layer = Convolution3x3(64, 64)
    x, _, gradient = drawn((1, 34, 30), (64, 64))
    wanted = plain(x, layer.weight.detach(), gradient)
    ours = x.clone().requires_grad_()
    out = torch.compile(layer, backend="aot_eager", fullgraph=True)(ours)
    out.backward(gradient)
    for found, expected in zip((out.detach(), ours.grad, layer.weight.grad), wanted, strict=True):
        assert_equal_to(found, expected)


@pytest.mark.parametrize("name", ["spread", "gather", "spread_gradient"])
@pytest.mark.parametrize(("height", "width", "first"), [(5, 2, 0), (6, 4, 1)])
def test_no_index_of_a_kernel_is_out_of_bounds(name, height, width, first, monkeypatch):
    """Run as Python, where every index is checked, a kernel gives what it gives compiled."""

    def checked(memory, shape):
        assert math.prod(shape) <= memory.size
        return memory[: math.prod(shape)].reshape(shape)

    rng = np.random.default_rng(0)
    down, across = -(-height // 4), -(-width // 4)
    n_tiles = (down - first) * across
    image = rng.standard_normal((height, width, 32)).astype(np.float32)
    tiles = rng.standard_normal((36, n_tiles, 32)).astype(np.float32)
    results = []
    for compiled in (True, False):
        ours, theirs, scratch = image.copy(), tiles.copy(), np.zeros(36 * 32, np.float32)
        arrays = [theirs, ours, scratch] if name == "gather" else [ours, theirs, scratch]
        sizes = (height, width, 32, first, first, down, n_tiles)
        if compiled:
            getattr(winograd._kernels, name)(*(a.ctypes.data for a in arrays), *sizes)
        else:
            monkeypatch.setattr(winograd_kernels, "carray", checked)
            with np.errstate(over="ignore"):  # unsigned numbers wrap around
                getattr(winograd_kernels, name)(*(a.reshape(-1) for a in arrays), *sizes)
        results.append((ours, theirs))
    for found, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
