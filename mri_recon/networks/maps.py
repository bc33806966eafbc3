"""Coil maps estimated by a small network, in place of ESPIRiT."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mri_recon.networks.combined import center_columns, unit_norm
from mri_recon.networks.layers import NormName, to_channels, to_complex
from mri_recon.networks.unet import UNetCore
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc


class MapsNetwork(nn.Module):
    """Maps from the coil images of the centre lines, each coil by itself through one small U-Net [1]_.

    The U-Net's output is added to the images divided by their root-sum-of-squares, which are fair maps already.

    References
    ----------
    .. [1] Sriram et al. (2020), End-to-end variational networks for accelerated MRI reconstruction, MICCAI.
    """

    def __init__(self, *, channels: int, levels: int, norm: NormName) -> None:
        super().__init__()
        self.unet = UNetCore(2, 2, channels=channels, levels=levels, norm=norm, dropout=0.0)

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Maps `(slice, coil, height, width)` of k-space of that shape; of unit norm."""
        images = ifftc(kspace * center_columns(mask))
        size = rss(images)[:, None]
        level = size.amax(dim=(-2, -1), keepdim=True)
        tiny = torch.finfo(size.dtype).tiny
        # Flattened where there is nothing but noise, so that the U-Net sees where the object is.
        maps = images / (size + 0.01 * level).clamp(min=tiny)
        features = to_channels(maps.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        return unit_norm(maps + to_complex(self.unet(features)).reshape(maps.shape))
