"""U-Net on the zero-filled magnitude image."""

from __future__ import annotations

from typing import Annotated, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mri_recon.errors import SettingsError
from mri_recon.networks.layers import ConvBlock, NormName, UpBlock, normalise
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc


class UNetCore(nn.Module):
    """The U-Net [1]_ itself, from feature maps to feature maps of the same size, with fastMRI's layer names.

    Each of `levels` levels halves the size and doubles the channels, up to `widest`; odd sizes are made even
    again on the way up by reflecting the last row or column.

    References
    ----------
    .. [1] Ronneberger et al. (2015), U-Net: convolutional networks for biomedical image segmentation,
       MICCAI; without biases, with transposed convolutions, as Zbontar et al. (2018), arXiv:1811.08839.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        channels: int,
        levels: int,
        norm: NormName,
        dropout: float,
        widest: int | None = None,
    ) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels + 1)]
        if widest is not None:
            widths = [min(width, max(widest, channels)) for width in widths]
        self.down_sample_layers = nn.ModuleList(
            ConvBlock(before, after, norm, dropout)
            for before, after in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.conv = ConvBlock(widths[-2], widths[-1], norm, dropout)
        upwards = list(zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True))
        self.up_transpose_conv = nn.ModuleList(UpBlock(below, here, norm) for below, here in upwards)
        self.up_conv = nn.ModuleList(ConvBlock(2 * here, here, norm, dropout) for _, here in upwards)
        self.up_conv[-1] = nn.Sequential(self.up_conv[-1], nn.Conv2d(channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(n, in_channels, h, w)` to `(n, out_channels, h, w)`; h and w at least 2 to the levels."""
        n_levels = len(self.down_sample_layers)
        if min(x.shape[-2:]) < 2**n_levels:
            raise SettingsError(
                f"A U-Net of {n_levels} levels needs images of {2**n_levels}×{2**n_levels} or more; this one is "
                f"{x.shape[-2]}×{x.shape[-1]}. Use a network with fewer levels."
            )
        skips = []
        for down in self.down_sample_layers:
            x = down(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        x = self.conv(x)
        for up, conv in zip(self.up_transpose_conv, self.up_conv, strict=True):
            x, skip = up(x), skips.pop()
            below, right = skip.shape[-2] - x.shape[-2], skip.shape[-1] - x.shape[-1]
            if below or right:
                x = F.pad(x, (0, right, 0, below), mode="reflect")
            x = conv(torch.cat([x, skip], dim=1))
        return x


class UNet(nn.Module):
    """Zero-filled root-sum-of-squares image, normalised slice by slice, improved by a U-Net.

    Scaling k-space scales the image.

    Parameters
    ----------
    channels
        Feature maps of the first level; each further level doubles them.
    levels
        How many times the size is halved.
    norm
        Normalisation layers: "group" (32 channels a group), "instance" or "none".
    dropout
        Probability that a feature map is zeroed in training.
    residual
        The U-Net predicts what to add to the zero-filled image rather than the image.
    """

    needs_smaps = False

    def __init__(
        self,
        channels: Annotated[int, Field(ge=1, le=512)] = 32,
        levels: Annotated[int, Field(ge=1, le=8)] = 4,
        norm: NormName = "group",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.unet = UNetCore(1, 1, channels=channels, levels=levels, norm=norm, dropout=dropout)

    def forward(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of slices.

        Parameters
        ----------
        kspace
            `(slice, coil, height, width)`, complex.
        mask
            `(1 or slice, 1, 1, width)` bool, True where acquired.
        smaps
            Not used: the signature is that of every network.

        Returns
        -------
        Tensor
            Magnitude image `(slice, height, width)`, real.
        """
        x, mean, std = normalise(rss(ifftc(kspace * mask)))
        # Channels last: a step of training is about a fifth faster on a CPU.
        features = x[:, None].to(memory_format=torch.channels_last)
        correction = cast(Tensor, self.unet(features))[:, 0]
        image = (x + correction if self.residual else correction) * std + mean
        # No magnitude is negative; in training it may be, or there would be no gradient from there.
        return image if self.training else image.clamp(min=0)
