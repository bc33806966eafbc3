"""fastMRI's networks, so that weights published for them load and give the same images.

Written from their definition (docs/networks.md); what is said of names, shapes and arithmetic here is theirs. They are
for using such weights: training is done with `UNet` and `VarNet`.

References
----------
Zbontar et al. (2018), fastMRI: an open dataset and benchmarks for accelerated MRI, arXiv:1811.08839.
Sriram et al. (2020), End-to-end variational networks for accelerated MRI reconstruction, MICCAI.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mri_recon.networks.combined import center_columns, unit_norm
from mri_recon.networks.layers import relative_residual
from mri_recon.networks.unet import UNetCore
from mri_recon.physics.coils import combine, expand, rss
from mri_recon.physics.fourier import fftc, ifftc

Tensors = Mapping[str, Tensor]

CLAMP = 6.0
TINY = 1e-11
MULTIPLE = 16
MOST_LEVELS = 16
"""A file that asks for more is none of theirs: each level doubles the weights."""


class FastMRIUNet(UNetCore):
    """fastMRI's U-Net on the cropped magnitude image, normalised, clamped, and normalised back."""

    method = "unet"
    needs_smaps = False
    crops_first = True
    crops_readout = False

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__(1, 1, channels=channels, levels=levels, norm="instance", dropout=0.0)

    @classmethod
    def of_weights(cls, tensors: Tensors) -> Self | None:
        """The network that weights of these names and shapes are for, untrained; None if they are not its own."""
        shape = _core_shape(tensors, "")
        return cls(*shape[1:]) if shape is not None and shape[0] == 1 else None

    def forward(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:  # type: ignore[override]  # from k-space, where the core goes from feature maps
        """Image `(slice, height, width)`, real, of k-space of an image that was cropped to its final size."""
        image = cast(Tensor, rss(ifftc(kspace * mask)))
        mean, std = (f(image, dim=(-2, -1), keepdim=True) for f in (torch.mean, torch.std))
        normalised = ((image - mean) / (std + TINY)).clamp(-CLAMP, CLAMP)
        return super().forward(normalised[:, None])[:, 0] * std + mean


class _NormUNet(nn.Module):
    """U-Net on a complex image, its real and imaginary part each normalised, padded to a multiple of 16."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.unet = UNetCore(2, 2, channels=channels, levels=levels, norm="instance", dropout=0.0)

    def forward(self, image: Tensor) -> Tensor:
        """Complex `(n, height, width)` to the same."""
        parts = torch.view_as_real(image).permute(0, 3, 1, 2)
        mean, std = (f(parts, dim=(-2, -1), keepdim=True) for f in (torch.mean, torch.std))
        # An empty image, which fastMRI divides by zero, stays empty.
        x = (parts - mean) / torch.where(std > 0, std, torch.ones_like(std))
        height, width = image.shape[-2:]
        below, right = -height % MULTIPLE, -width % MULTIPLE
        top, left = below // 2, right // 2
        x = self.unet(F.pad(x, (left, right - left, top, below - top)))
        x = x[..., top : top + height, left : left + width] * std + mean
        return torch.view_as_complex(x.permute(0, 2, 3, 1).contiguous())


class _Maps(nn.Module):
    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.norm_unet = _NormUNet(channels, levels)

    def forward(self, kspace: Tensor, mask: Tensor) -> Tensor:
        images = ifftc(kspace * _symmetric_center(mask))
        return unit_norm(self.norm_unet(images.flatten(0, 1)).reshape(images.shape))


class _Cascade(nn.Module):
    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.dc_weight = nn.Parameter(torch.ones(1))
        self.model = _NormUNet(channels, levels)

    def forward(self, kspace: Tensor, measured: Tensor, mask: Tensor, smaps: Tensor) -> Tensor:
        refinement: Tensor = fftc(expand(self.model(combine(ifftc(kspace), smaps)), smaps))
        return kspace - self.dc_weight * mask * (kspace - measured) - refinement


class FastMRIVarNet(nn.Module):
    """fastMRI's end-to-end VarNet: coil maps by a U-Net, cascades in k-space, RSS over coils.

    Maps come from the widest symmetric run of acquired columns at the centre, as fastMRI finds it in a mask.
    """

    method = "varnet"
    needs_smaps = False
    crops_first = False
    crops_readout = False

    def __init__(
        self, n_cascades: int, channels: int, levels: int, maps_channels: int, maps_levels: int
    ) -> None:
        super().__init__()
        self.sens_net = _Maps(maps_channels, maps_levels)
        self.cascades = nn.ModuleList(_Cascade(channels, levels) for _ in range(n_cascades))

    @classmethod
    def of_weights(cls, tensors: Tensors) -> Self | None:
        """The network that weights of these names and shapes are for, untrained; None if they are not its own."""
        maps = _core_shape(tensors, "sens_net.norm_unet.unet.")
        cascade = _core_shape(tensors, "cascades.0.model.unet.")
        if maps is None or cascade is None or not maps[0] == cascade[0] == 2:
            return None
        n_cascades = sum(key.startswith("cascades.") and key.endswith(".dc_weight") for key in tensors)
        return cls(n_cascades, *cascade[1:], *maps[1:])

    def forward(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
        """Magnitude image `(slice, height, width)`; maps are its own."""
        return self.with_residual(kspace, mask)[0]

    def with_residual(
        self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image, and how far its k-space is from the acquired columns of each slice, relative."""
        measured = kspace * mask
        smaps = self.sens_net(measured, mask)
        predicted = measured
        for cascade in self.cascades:
            predicted = cascade(predicted, measured, mask, smaps)
        return rss(ifftc(predicted)), relative_residual(mask * predicted - measured, measured)


def _symmetric_center(mask: Tensor) -> Tensor:
    """As many columns right of the centre as left of it, the shorter run counting; one if that is none."""
    width = mask.shape[-1]
    center = width // 2
    run = center_columns(mask)
    # fastMRI looks for the first gap; where there is none up to the edge, it finds one at once.
    sides = [side.sum(-1, keepdim=True) for side in (run[..., :center], run[..., center:])]
    sides = [n * (n < length) for n, length in zip(sides, (center, width - center), strict=True)]
    n_lines = (2 * torch.minimum(*sides)).clamp(min=1)
    first = torch.div(width - n_lines + 1, 2, rounding_mode="floor")
    column = torch.arange(width, device=mask.device)
    return (column >= first) & (column < first + n_lines)


def _core_shape(tensors: Tensors, prefix: str) -> tuple[int, int, int] | None:
    """Input channels, channels and levels of the U-Net whose weights have this prefix; None if there is none."""
    first = tensors.get(f"{prefix}down_sample_layers.0.layers.0.weight")
    if first is None or first.ndim != 4 or f"{prefix}conv.layers.0.weight" not in tensors:
        return None
    names = {key.removeprefix(prefix) for key in tensors if key.startswith(prefix)}
    levels = {name.split(".")[1] for name in names if name.startswith("down_sample_layers.")}
    return (first.shape[1], first.shape[0], len(levels)) if len(levels) <= MOST_LEVELS else None
