"""The 3×3 convolution that U-Nets spend their time in, with gradients that are quick on a CPU.

Of the library's own on a CPU, with channels last, the forward pass and the gradient of the input are near what the
machine can do, and that of the weights is four to six times slower. Here Winograd's algorithm does what it is quicker
at; elsewhere the weights' gradient is nine products of matrices, one for each tap of the kernel: (output channels ×
pixels) times (pixels, shifted × input channels).
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from mri_recon.networks import winograd

NARROWEST = 32
"""Matrices with fewer rows or columns are not worth it."""


class Convolution3x3(nn.Conv2d):
    """3×3 convolution without bias that keeps the size, with zeros around the image."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """`(n, in_channels, h, w)` to `(n, out_channels, h, w)`."""
        plain = input.device.type != "cpu" or input.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
        if plain or not torch.is_grad_enabled() or min(self.in_channels, self.out_channels) < NARROWEST:
            return super().forward(input)
        out = _Convolution.apply(input, self.weight)  # type: ignore[no-untyped-call]
        return cast(Tensor, out)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        if _multiplies_less(x, weight):
            return winograd.convolve(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_input = of_weight = None
        if ctx.needs_input_grad[0] and _multiplies_less(x, weight):
            of_input = winograd.input_gradient(gradient, weight)
        elif ctx.needs_input_grad[0]:
            of_input = conv2d_input(x.shape, weight, gradient, padding=1)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            quick = _takes_kernels(x) and winograd.suits_weights(*_sizes(x, weight))
            of_weight = winograd.weight_gradient(x, gradient) if quick else weight_gradient(x, gradient)
        return of_input, of_weight


def _multiplies_less(x: Tensor, weight: Tensor) -> bool:
    return _takes_kernels(x) and winograd.suits(*_sizes(x, weight))


def _takes_kernels(x: Tensor) -> bool:
    """Whether compiled kernels can be used: of single precision, and not in what torch.compile looks through."""
    return x.dtype == torch.float32 and not torch.compiler.is_compiling()


def _sizes(x: Tensor, weight: Tensor) -> tuple[int, int, tuple[int, int, int]]:
    return x.shape[1], weight.shape[0], (x.shape[0], x.shape[2], x.shape[3])


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of a 3×3 convolution's weights, `(out_channels, in_channels, 3, 3)`.

    Parameters
    ----------
    x
        What was convolved, `(n, in_channels, h, w)`.
    gradient
        Of what came out, `(n, out_channels, h, w)`.
    """
    n_out, n_in, width = gradient.shape[1], x.shape[1], x.shape[3]
    # Pixels as rows of a matrix, image after image, with a border of zeros: a shift of the image is a shift of rows.
    stride = width + 2
    inputs = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).reshape(-1, n_in)
    outputs = F.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, 2, 0, 2)).reshape(-1, n_out)
    n_rows = len(outputs) - 2 * stride - 2  # those after are zero
    taps = x.new_empty(9, n_out, n_in)
    transposed = outputs[:n_rows].t()
    for tap in range(9):
        shift = tap // 3 * stride + tap % 3
        torch.mm(transposed, inputs[shift : shift + n_rows], out=taps[tap])
    return taps.view(3, 3, n_out, n_in).permute(2, 3, 0, 1)
