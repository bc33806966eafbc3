r"""3×3 convolutions with four times fewer multiplications: Winograd's F(4×4, 3×3), and its gradients.

Of each tile of 4×4 pixels :math:`Y = A^T [(G g G^T) \odot (B^T d B)] A` [1]_, d being the 6×6 pixels around it:
thirty-six products of matrices (tiles × channels) in place of a convolution. The gradient of the weights is as many
products, that of the input the convolution by the mirrored kernel. Tiles are made in bands of rows that fit a
processor's cache. In single precision the error is some ten times that of a plain convolution: about 1e-5 of the
greatest value.

References
----------
.. [1] Lavin and Gray (2016), Fast algorithms for convolutional neural networks, CVPR, arXiv:1509.09308.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from mri_recon.solvers.compiled import Kernels
from mri_recon.solvers.threads import share

BLOCK = 32
"""Channels come in blocks of so many."""
TILE = 4
BAND_BYTES = 2 << 20
NARROWEST = 64
"""Of fewer channels the transforms of the tiles take longer than the multiplications that they save."""
FEWEST_TILES = 64
"""Of fewer tiles the products are too narrow, and the transformed kernel is the most of it."""

_local = threading.local()
_kernels = Kernels("mri_recon.networks.winograd_kernels")

_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def suits(n_in: int, n_out: int, image: tuple[int, int, int]) -> bool:
    """Whether a convolution is one that `convolve` does, and does more quickly.

    Parameters
    ----------
    image
        Images of the batch, their height and width.
    """
    return (
        n_in % BLOCK == n_out % BLOCK == 0
        and min(n_in, n_out) >= NARROWEST
        and _n_tiles(image) >= FEWEST_TILES
    )


def suits_weights(n_in: int, n_out: int, image: tuple[int, int, int]) -> bool:
    """Whether `weight_gradient` does, and more quickly than other ways."""
    return n_in % BLOCK == n_out % BLOCK == 0 and _n_tiles(image) >= FEWEST_TILES


def _n_tiles(image: tuple[int, int, int]) -> int:
    n, height, width = image
    return n * -(-height // TILE) * -(-width // TILE)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution with zeros around the image.

    Parameters
    ----------
    x
        `(n, in_channels, h, w)`, channels last in memory.
    weight
        `(out_channels, in_channels, 3, 3)`.
    """
    return _products(x, _transformed(weight).transpose(1, 2))


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the input, of that of the output: both channels last in memory."""
    return _products(gradient, _transformed(weight, mirrored=True))


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of the weights `(out_channels, in_channels, 3, 3)`; what it is of as in `input_gradient`."""
    n_in, n_out = x.shape[1], gradient.shape[1]
    summed = _memory(2, 36, n_out, n_in)
    for number, band in enumerate(_bands(x, n_in + n_out)):
        inputs = _memory(0, 36, band.n_tiles, n_in)
        outputs = _memory(1, 36, band.n_tiles, n_out)
        _run(_kernels.spread, x, inputs, band, from_image=True)
        _run(_kernels.spread_gradient, gradient, outputs, band, from_image=True)
        torch.baddbmm(summed, outputs.transpose(1, 2), inputs, beta=min(number, 1), out=summed)
    taps = _kernel_transform(False).t() @ summed.view(36, -1)
    return taps.view(3, 3, n_out, n_in).permute(2, 3, 0, 1)


def _products(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolution by a transformed kernel `(36, in_channels, out_channels)`."""
    n, n_in, height, width = x.shape
    n_out = kernel.shape[2]
    out = x.new_empty(n, height, width, n_out).permute(0, 3, 1, 2)
    for band in _bands(x, n_in + n_out):
        inputs, outputs = _memory(0, 36, band.n_tiles, n_in), _memory(1, 36, band.n_tiles, n_out)
        _run(_kernels.spread, x, inputs, band, from_image=True)
        torch.bmm(inputs, kernel, out=outputs)
        _run(_kernels.gather, out, outputs, band, from_image=False)
    return out


class Band(NamedTuple):
    """Some rows of tiles: of which image of the batch, the first of them, one past the last, how many tiles."""

    image: int
    first: int
    last: int
    n_tiles: int


def _bands(x: Tensor, channels: int) -> Iterator[Band]:
    n, _, height, width = x.shape
    down, across = -(-height // TILE), -(-width // TILE)
    rows = max(1, BAND_BYTES // (36 * 4 * channels * across), -(-FEWEST_TILES // across))
    n_bands = -(-down // rows)
    for image in range(n):
        for band in range(n_bands):
            first, last = down * band // n_bands, down * (band + 1) // n_bands
            yield Band(image, first, last, (last - first) * across)


def _memory(slot: int, *shape: int) -> Tensor:
    """Memory of this thread's, the same again whenever the slot is asked for: to get new memory costs more than to
    use it.
    """
    size = math.prod(shape)
    slots: dict[int, Tensor] = _local.__dict__.setdefault("slots", {})
    if slot not in slots or slots[slot].numel() < size:
        slots[slot] = torch.empty(size)
    return slots[slot][:size].view(shape)


def _run(transform: Callable[..., None], x: Tensor, tiles: Tensor, band: Band, *, from_image: bool) -> None:
    """Run a kernel on a band, from image to tiles or the other way, its rows shared out among torch's threads."""
    _, channels, height, width = x.shape
    image = x.data_ptr() + 4 * band.image * channels * height * width
    pointers = (image, tiles.data_ptr()) if from_image else (tiles.data_ptr(), image)
    sizes = (height, width, channels, band.first)

    def work(start: int, stop: int) -> None:
        transform(*pointers, _memory(3, 36 * BLOCK).data_ptr(), *sizes, start, stop, band.n_tiles)

    rows = band.last - band.first
    n = min(torch.get_num_threads(), rows)
    if n == 1:
        work(band.first, band.last)
    else:
        share(work, [(band.first + rows * i // n, band.first + rows * (i + 1) // n) for i in range(n)])


def _transformed(weight: Tensor, *, mirrored: bool = False) -> Tensor:
    """G g Gᵀ of each 3×3 kernel, `(36, out_channels, in_channels)`; of the kernel mirrored in both directions."""
    n_out, n_in = weight.shape[:2]
    taps = weight.permute(2, 3, 0, 1).reshape(9, -1)
    out = _memory(2, 36, n_out, n_in)
    torch.mm(_kernel_transform(mirrored), taps, out=out.view(36, -1))
    return out


@lru_cache(maxsize=2)
def _kernel_transform(mirrored: bool) -> Tensor:
    """`(36, 9)`: G ⊗ G."""
    g = torch.tensor(_G, dtype=torch.float64)
    whole = torch.kron(g, g).float()
    return whole.flip(1) if mirrored else whole
