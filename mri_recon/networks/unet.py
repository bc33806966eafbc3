"""U-Net on the magnitude of a first image: zero-filled, or of compressed sensing."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mri_recon.errors import SettingsError
from mri_recon.networks.combined import (
    N_CONDITIONS,
    brightness,
    combined,
    complete,
    conditions_of,
    evidence,
    held_out,
    magnitude,
    measured_trust,
    noise_floor,
    noise_of,
    slow_phase,
    tv_start,
    unit_maps,
)
from mri_recon.networks.layers import (
    ConvBlock,
    NormName,
    UpBlock,
    normalise,
    relative_residual,
    to_channels,
    to_complex,
)
from mri_recon.physics.coils import combine, expand, rss
from mri_recon.physics.fourier import filtered, ifftc


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
    """Magnitude of a first image, normalised slice by slice, improved by a U-Net.

    The first image is the root-sum-of-squares of the zero-filled coil images, or that of some iterations of compressed
    sensing on all coils together, which needs their maps.

    Data consistency works on coil images: the improved magnitude with the phases, and the shares of the coils, that
    the first image has. Of their k-space the acquired columns are replaced by the data ("hard"), or drawn
    towards them by a trained `dc_weight` ("soft").

    Scaling k-space scales the image.

    Parameters
    ----------
    channels
        Feature maps of the first level; each further level doubles them.
    levels
        How many times the size is halved.
    norm
        Normalisation layers: "group" (32 channels a group), "instance", "batch", "layer" or "none".
    dropout
        Probability that a feature map is zeroed in training.
    residual
        The U-Net predicts what to add to the zero-filled image rather than the image.
    data_consistency
        What is done about the acquired columns: "none", "soft" or "hard".
    first
        The first image: "zero-filled", or "tv", compressed sensing with little total variation, not iterated to its
        end.
    trust
        Share of the U-Net's image in the last one; the rest is the first image's. With "auto" each slice has its own,
        measured by columns that were acquired and are held out for it, which takes twice as long again, and
        hard data consistency; in training it is 1.
    gain
        What the last image is multiplied by before the acquired columns are put back, by hard data consistency:
        networks make small what they are unsure of.
    sees
        What the U-Net is given: the first image's "magnitude", or the "complex" image that all coils share, without
        its slow phase, which what the U-Net makes of it gets back, and the acceleration and the noise.
    """

    method = "unet"
    combination = "rss"
    crops_first = False
    crops_readout = True

    def __init__(
        self,
        channels: Annotated[int, Field(ge=1, le=512)] = 32,
        levels: Annotated[int, Field(ge=1, le=8)] = 4,
        norm: NormName = "group",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        residual: bool = True,
        data_consistency: Literal["none", "soft", "hard"] = "none",
        first: Literal["zero-filled", "tv"] = "zero-filled",
        sees: Literal["magnitude", "complex"] = "magnitude",
        trust: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0,
        gain: Annotated[float, Field(gt=0, le=2)] = 1.0,
    ) -> None:
        super().__init__()
        if (trust == "auto" or gain != 1) and data_consistency != "hard":
            raise SettingsError(
                'trust = "auto" and a gain are for columns that were not acquired, and without hard data consistency '
                'the others change too. Give data_consistency = "hard", or leave trust a number and gain at 1.'
            )
        self.first, self.sees = first, sees
        self.trust, self.gain = trust, gain
        self.needs_smaps = first == "tv" or sees == "complex"
        self.has_maps = self.needs_smaps and data_consistency != "none"
        self.residual = residual
        self.data_consistency = data_consistency
        n_in, n_out = (2 + N_CONDITIONS, 2) if sees == "complex" else (1, 1)
        self.unet = UNetCore(n_in, n_out, channels=channels, levels=levels, norm=norm, dropout=dropout)
        if data_consistency == "soft":
            self.dc_weight = nn.Parameter(torch.ones(()))

    def forward(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of slices.

        Parameters
        ----------
        kspace
            `(slice, coil, height, width)`, complex.
        mask
            `(1 or slice, 1, 1, width)` bool, True where acquired.
        smaps
            Coil maps `(slice, coil, height, width)`, for several coils where `needs_smaps` says so.

        Returns
        -------
        Tensor
            Magnitude image `(slice, height, width)`, real.

        Raises
        ------
        SettingsError
            Several coils without maps, where they are needed.
        """
        first = self._start(kspace, mask, smaps)
        image = self._trusted(first, kspace, mask, smaps)
        if self.data_consistency == "none":
            return _absolute(image) * first.scale
        return self._finished(self._coil_images(first, image), first)

    def completed(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
        """Coil images `(slice, coil, height, width)` with the acquired columns, and all others the U-Net's."""
        first = self._start(kspace, mask, smaps)
        predicted = self._improved(first)[:, None] * first.shares
        return complete(first.zero_filled, predicted, mask) * first.scale[:, None]

    def with_residual(
        self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The image, and how far it is from the acquired data of each slice, `(slice,)`.

        Relative, over the acquired columns of the coil images' k-space: zero where they were put back.
        """
        first = self._start(kspace, mask, smaps)
        image = self._trusted(first, kspace, mask, smaps)
        coil_images = self._coil_images(first, image)
        misfit = filtered(coil_images - first.zero_filled, mask, axes=(-1,))
        # Without data consistency the image is the U-Net's own, as in `forward`.
        free = self.data_consistency == "none"
        finished = _absolute(image) * first.scale if free else self._finished(coil_images, first)
        return finished, relative_residual(misfit, first.zero_filled)

    def _start(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None) -> _First:
        kspace = kspace * mask
        zero_filled = ifftc(kspace)
        size = rss(zero_filled)
        bright = brightness(size)
        # An empty slice stays empty.
        scale = torch.where(bright > 0, bright, torch.ones_like(bright))
        zero_filled, size = zero_filled / scale[:, None], size / scale
        floor, noise = torch.zeros_like(scale), noise_of(kspace, mask) / scale[:, 0]
        maps = None
        if self.needs_smaps:
            maps = unit_maps(smaps, kspace)
            from_tv = self.first == "tv"
            image = tv_start(kspace / scale[:, None], mask, maps) if from_tv else combine(zero_filled, maps)
            # What a root-sum-of-squares holds of the noise of all coils, an image combined of them does not.
            floor = noise_floor(noise, mask, kspace.shape[1])
            if self.sees == "complex":
                return _First(image, maps, maps, zero_filled, mask, floor, noise, bright)
            size = image.abs()
            shares = expand(image / torch.where(size > 0, size, torch.ones_like(size)), maps)
        else:
            shares = zero_filled / torch.where(size > 0, size, torch.ones_like(size))[:, None]
        return _First(size, shares, maps, zero_filled, mask, floor, noise, bright)

    def _trusted(self, first: _First, kspace: Tensor, mask: Tensor, smaps: Tensor | None) -> Tensor:
        """The first image with as much of the U-Net's change as is to be taken."""
        image = self._improved(first)
        if self.trust == 1 or (self.trust == "auto" and self.training):
            return self.gain * image
        if isinstance(self.trust, str):
            trust, faith = self._measured_trust(first, kspace, mask, smaps)
            return self.gain * faith * (first.image + trust * (image - first.image))
        return self.gain * (first.image + self.trust * (image - first.image))

    def _measured_trust(
        self, first: _First, kspace: Tensor, mask: Tensor, smaps: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        found = []
        for held in held_out(mask):
            without = self._start(kspace, mask & ~held, smaps)
            unit = torch.where(without.scale > 0, first.scale / without.scale, torch.ones_like(without.scale))
            images = without.image, self._improved(without)
            before, after = (image[:, None] * without.shares for image in images)
            found.append(evidence(before, after, first.zero_filled * unit[:, None], held))
        return measured_trust(found, first.floor)

    def _improved(self, first: _First) -> Tensor:
        if self.sees == "complex":
            return self._improve_complex(first)
        image = self._improve(first.image)
        # No magnitude is negative; in training it may be, or there would be no gradient from there.
        return image if self.training else image.clamp(min=0)

    def _improve_complex(self, first: _First) -> Tensor:
        turn = slow_phase(first.image)
        seen = first.image * turn.conj()
        planes = conditions_of(first.noise, first.mask)[..., None, None].expand(-1, -1, *seen.shape[-2:])
        features = torch.cat([to_channels(seen), planes], dim=1)
        correction = to_complex(self.unet(features.contiguous(memory_format=torch.channels_last)))
        return (seen + correction if self.residual else correction) * turn

    def _improve(self, image: Tensor) -> Tensor:
        x, mean, std = normalise(image)
        # Channels last, in which convolutions and their gradients are quickest (see `convolution`).
        features = x[:, None].to(memory_format=torch.channels_last)
        correction = cast(Tensor, self.unet(features))[:, 0].float()
        return (x + correction if self.residual else correction) * std + mean

    def _coil_images(self, first: _First, image: Tensor) -> Tensor:
        coil_images: Tensor = image[:, None] * first.shares
        if self.data_consistency == "none":
            return coil_images
        # Columns alone are sampled, so the misfit on the acquired ones needs transforms along the width only.
        misfit: Tensor = filtered(first.zero_filled - coil_images, first.mask, axes=(-1,))
        if self.data_consistency == "hard":
            return coil_images + misfit
        weight = self.dc_weight.clamp(min=0)
        return coil_images + weight / (1 + weight) * misfit

    def _finished(self, coil_images: Tensor, first: _First) -> Tensor:
        return combined(coil_images, first.maps, first.floor, self.combination) * first.scale


def _absolute(image: Tensor) -> Tensor:
    """A magnitude as it is, which in training may be negative; a complex image's magnitude."""
    return magnitude(image[:, None], torch.zeros_like(image.real)) if image.is_complex() else image


class _First(NamedTuple):
    """The first image, each coil's share of it, maps if there are any, and what else is to be known, of brightness 1.

    A magnitude, of which a share has the phase too; or the complex image, of which the maps are the shares.
    """

    image: Tensor
    shares: Tensor
    maps: Tensor | None
    zero_filled: Tensor
    mask: Tensor
    floor: Tensor
    noise: Tensor
    scale: Tensor
