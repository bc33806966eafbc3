"""The pieces networks are made of: normalisations by name and the two convolution blocks of a U-Net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from mri_recon.networks.convolution import Convolution3x3

CHANNELS_PER_GROUP = 32
LEAK = 0.2

NormName = Literal["group", "instance", "batch", "layer", "none"]


def group_norm(n_channels: int) -> nn.GroupNorm:
    """Group normalisation [1]_ over groups of 32 channels.

    A layer with fewer channels, or a number that 32 does not divide, is one group.

    References
    ----------
    .. [1] Wu and He (2018), Group normalization, ECCV.
    """
    divisible = n_channels % CHANNELS_PER_GROUP == 0
    return nn.GroupNorm(n_channels // CHANNELS_PER_GROUP if divisible else 1, n_channels)


def layer_norm(n_channels: int) -> nn.GroupNorm:
    """Layer normalisation: over all channels and pixels of an image, with a gain and bias a channel."""
    return nn.GroupNorm(1, n_channels)


def _identity(n_channels: int) -> nn.Identity:
    return nn.Identity()


NORMS: dict[NormName, Callable[[int], nn.Module]] = {
    "group": group_norm,
    "instance": nn.InstanceNorm2d,
    "batch": nn.BatchNorm2d,
    "layer": layer_norm,
    "none": _identity,
}
"""Normalisation layers by name, each made from a number of channels."""


class ConvBlock(nn.Module):
    """Twice: 3×3 convolution without bias, normalisation, leaky ReLU, dropout of whole channels."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormName, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_channels in (in_channels, out_channels):
            layers += [
                Convolution3x3(n_channels, out_channels),
                NORMS[norm](out_channels),
                # What Convolution3x3 gives may be a view, which autograd lets nobody write over.
                nn.LeakyReLU(LEAK, inplace=norm != "none"),
                # Kept as a layer at rate zero too: fastMRI's weights are named by position.
                nn.Dropout2d(dropout) if dropout else nn.Identity(),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, in_channels, h, w)` to `(n, out_channels, h, w)`."""
        return cast(Tensor, self.layers(x))


class UpBlock(nn.Module):
    """Twice the size: 2×2 transposed convolution of stride 2 without bias, normalisation, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormName) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2, bias=False),
            NORMS[norm](out_channels),
            nn.LeakyReLU(LEAK, inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(n, in_channels, h, w)` to `(n, out_channels, 2h, 2w)`."""
        return cast(Tensor, self.layers(x))


def normalise(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each slice of `(slice, height, width)` with mean 0 and standard deviation 1, as fastMRI does it.

    Returns
    -------
    tuple
        The normalised image, and the `(slice, 1, 1)` mean and (unbiased) standard deviation that undo it.
    """
    mean = image.mean(dim=(-2, -1), keepdim=True)
    std = image.std(dim=(-2, -1), keepdim=True)
    # fastMRI adds 1e-11 to a standard deviation of about 1e-5; relative to the image, so that the
    # unit of k-space does not matter. An all-zero slice stays zero.
    std = std + torch.finfo(image.dtype).tiny + 1e-6 * mean.abs()
    return (image - mean) / std, mean, std


def to_channels(image: Tensor) -> Tensor:
    """Real and imaginary part as two feature maps: `(slice, h, w)` complex to `(slice, 2, h, w)`.

    A view, and channels last already: nothing is copied.
    """
    return torch.view_as_real(image).permute(0, 3, 1, 2)


def to_complex(features: Tensor) -> Tensor:
    """Complex image of two feature maps, the inverse of `to_channels`; float32 whatever autocast made of them."""
    return torch.view_as_complex(features.float().permute(0, 2, 3, 1).contiguous())


def relative_residual(misfit: Tensor, data: Tensor) -> Tensor:
    """Norm of what is missed over that of the data, for each slice of `(slice, …)`; 0 for an empty one."""
    sizes = [x.abs().square().flatten(1).sum(1).sqrt() for x in (misfit, data)]
    return sizes[0] / torch.where(sizes[1] > 0, sizes[1], torch.ones_like(sizes[1]))
