"""Unrolled network: cascades of data consistency and a U-Net, on the image that all coils share."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from mri_recon.networks.combined import (
    N_CONDITIONS,
    brightness,
    combined,
    complete,
    conditions_of,
    evidence,
    held_out,
    measured_trust,
    noise_floor,
    noise_of,
    sense_start,
    slow_phase,
    tv_start,
    unit_maps,
)
from mri_recon.networks.layers import NormName, relative_residual, to_channels, to_complex
from mri_recon.networks.maps import MapsNetwork
from mri_recon.networks.unet import UNetCore
from mri_recon.physics.coils import combine, expand, rss
from mri_recon.physics.fourier import filtered, ifftc
from mri_recon.physics.operators import SenseOperator, sense_operator

MAPS_CHANNELS = 8

FIRST_PULL = 0.2
"""Weight μ that the pull towards the data begins its training with: near the best on scans of 2 to 16 coils."""
PULL_RANGE = (0.01, 100.0)
"""Least and most weight: below the least, so few iterations would not get there."""


class Cascade(nn.Module):
    """One unrolled iteration: x ← x − t Aᴴ(Ax − y) + U-Net, the gradient being one of the U-Net's inputs too.

    Parameters
    ----------
    memory_in, memory_out
        Feature maps taken over from the cascade before, and handed to the next.
    align
        Show the U-Net image and gradient without the image's slow phase, and give what it adds that phase.
    """

    def __init__(
        self,
        memory_in: int,
        memory_out: int,
        *,
        channels: int,
        levels: int,
        widest: int,
        norm: NormName,
        dropout: float,
        align: bool,
    ) -> None:
        super().__init__()
        self.align = align
        self.step = nn.Parameter(torch.ones(()))
        self.unet = UNetCore(
            4 + memory_in + N_CONDITIONS,
            2 + memory_out,
            channels=channels,
            levels=levels,
            widest=widest,
            norm=norm,
            dropout=dropout,
        )
        with torch.no_grad():
            # To begin with no cascade adds anything: the network starts as gradient descent.
            for parameter in self.last.parameters():
                parameter[:2] = 0

    @property
    def last(self) -> nn.Module:
        """The last layer of the U-Net, a 1×1 convolution."""
        return cast(nn.Module, self.unet.up_conv[-1][-1])  # type: ignore[index]

    def forward(
        self, image: Tensor, gradient: Tensor, memory: Tensor, conditions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next image `(slice, h, w)` and memory `(slice, memory_out, h, w)`."""
        planes = conditions[..., None, None].expand(-1, -1, *image.shape[-2:])
        seen, slope = image, gradient
        turn = slow_phase(image) if self.align else None
        if turn is not None:
            seen, slope = image * turn.conj(), gradient * turn.conj()
        features = torch.cat([to_channels(seen), to_channels(slope), memory, planes], dim=1)
        out = self.unet(features.contiguous(memory_format=torch.channels_last))
        added = to_complex(out[:, :2])
        return image - self.step * gradient + (added if turn is None else added * turn), out[:, 2:].float()


class DataPull(nn.Module):
    r"""A last image brought towards the data of all coils: argmin ½‖MFSx − y‖² + μ/2 ‖x − image‖² [1]_.

    The weight μ is learned, log-linear in what is told of each slice.

    Parameters
    ----------
    iterations
        Of conjugate gradients. The Hessian's eigenvalues lie between μ and 1 + μ, so that a few will do.

    References
    ----------
    .. [1] Aggarwal, Mani & Jacob (2019), MoDL: model-based deep learning architecture for inverse problems, IEEE
       Trans Med Imaging 38:394-405.
    """

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.log_weight = nn.Linear(N_CONDITIONS, 1)
        with torch.no_grad():
            self.log_weight.weight.zero_()
            self.log_weight.bias.fill_(math.log(FIRST_PULL))

    def forward(self, image: Tensor, A: SenseOperator, zero_filled: Tensor, conditions: Tensor) -> Tensor:
        """What nearly minimises it, `(slice, height, width)`; `zero_filled` is Aᴴy."""
        weight = self.log_weight(conditions).float().exp().clamp(*PULL_RANGE)[..., None]
        residual = zero_filled - A.normal(image)
        direction, size = residual, _energy(residual)
        tiny = torch.finfo(size.dtype).tiny
        for _ in range(self.iterations):
            curved = A.normal(direction) + weight * direction
            step = size / (direction.conj() * curved).real.sum((1, 2), keepdim=True).clamp(min=tiny)
            image = image + step * direction
            residual = residual - step * curved
            before, size = size, _energy(residual)
            direction = residual + size / before.clamp(min=tiny) * direction
        return image


def _energy(image: Tensor) -> Tensor:
    return (image.real.square() + image.imag.square()).sum((1, 2), keepdim=True)


class VarNet(nn.Module):
    r"""Cascades of data consistency and a U-Net [1]_ [2]_ on the coil-combined complex image.

    Each cascade takes a step along the gradient of :math:`\tfrac12 \|MFSx - y\|^2` and adds what its U-Net
    makes of the image, of that gradient and of feature maps which the cascade before left in memory. The first
    image is that of some iterations of compressed sensing [3]_, or of CG-SENSE.

    What was acquired is then put back into every coil's k-space, and the image returned is the root-sum-of-squares
    over coils: where all was acquired it is the fully sampled image, whatever the weights. The noise of the lines not
    acquired, which such an image holds from every coil and a combined one from one, is added as a floor, estimated
    from the data and weighted pixel by pixel by the last cascade.

    Scaling k-space scales the image; each slice is treated by itself. Maps are brought to unit norm over coils.

    Parameters
    ----------
    cascades
        Unrolled iterations.
    channels
        Feature maps of a U-Net's first level; each further level doubles them.
    levels
        How many times a U-Net halves the size.
    widest
        Most feature maps of a level: deep ones cost little time and most of the weights.
    memory
        Feature maps handed from cascade to cascade.
    norm
        Normalisation layers of the U-Nets.
    dropout
        Probability that a feature map is zeroed in training.
    align
        Take the slow phase of the image off what each U-Net sees, and put it back on what it adds. Nearly all of an
        object is then real, and most of what is imaginary is error, whatever the phase of the scan.
    pull
        Iterations of conjugate gradients by which the last image is pulled towards the data of all coils, with a weight
        that is learned: what a U-Net adds last is checked against them too. 0 for none.
    maps
        Where coil maps come from: "espirit" for those it is given, or a small "network" of its own.
    start
        What the first image is of: "tv", compressed sensing with little total variation, not iterated to its end, or
        "sense", a few iterations of CG-SENSE, which with one coil is the zero-filled image.
    trust
        Share of the cascades' image in the last one; the rest is the first image's. Below 1 for networks used on scans
        unlike those they were trained on. With "auto" each slice has its own, measured by columns that were acquired
        and are held out for it, which takes twice as long again; in training it is 1.
    gain
        What the last image is multiplied by before the acquired columns are put back. Networks and compressed sensing
        make small what they are unsure of: on measured scans the columns not acquired come out too small.

    References
    ----------
    .. [1] Hammernik et al. (2018), Learning a variational network for reconstruction of accelerated MRI data,
       Magn Reson Med 79:3055-3071.
    .. [2] Sriram et al. (2020), End-to-end variational networks for accelerated MRI reconstruction, MICCAI.
    .. [3] Block, Uecker & Frahm (2007), Undersampled radial MRI with multiple coils: iterative image
       reconstruction using a total variation constraint, Magn Reson Med 57:1086-1098.
    """

    method = "varnet"
    has_maps = True
    combination = "rss"
    crops_first = False
    crops_readout = True

    def __init__(
        self,
        cascades: Annotated[int, Field(ge=1, le=64)] = 8,
        channels: Annotated[int, Field(ge=1, le=512)] = 16,
        levels: Annotated[int, Field(ge=1, le=8)] = 3,
        widest: Annotated[int, Field(ge=1, le=4096)] = 64,
        memory: Annotated[int, Field(ge=0, le=512)] = 8,
        norm: NormName = "group",
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        align: bool = False,
        pull: Annotated[int, Field(ge=0, le=64)] = 0,
        maps: Literal["espirit", "network"] = "espirit",
        start: Literal["tv", "sense"] = "tv",
        trust: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = 1.0,
        gain: Annotated[float, Field(gt=0, le=2)] = 1.0,
    ) -> None:
        super().__init__()
        self.trust, self.gain = trust, gain
        self.start = start
        self.needs_smaps = maps == "espirit"
        self.maps_network = (
            None if self.needs_smaps else MapsNetwork(channels=MAPS_CHANNELS, levels=levels, norm=norm)
        )
        # The last cascade's memory weights the noise floor of the image.
        memories = [0, *[memory] * (cascades - 1), 1]
        self.cascades = nn.ModuleList(
            Cascade(
                before,
                after,
                channels=channels,
                levels=levels,
                widest=widest,
                norm=norm,
                dropout=dropout,
                align=align,
            )
            for before, after in pairwise(memories)
        )
        self.pull = DataPull(pull) if pull else None

    def forward(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
        """Reconstruct a batch of slices.

        Parameters
        ----------
        kspace
            `(slice, coil, height, width)`, complex.
        mask
            `(1 or slice, 1, 1, width)` bool, True where acquired.
        smaps
            Coil maps `(slice, coil, height, width)`. One coil needs none, nor does a network that estimates them.

        Returns
        -------
        Tensor
            Magnitude image `(slice, height, width)`, real.

        Raises
        ------
        SettingsError
            Several coils without maps.
        """
        return self._finished(self._unroll(kspace, mask, smaps))

    def completed(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
        """Coil images `(slice, coil, height, width)` with the acquired columns, and all others the cascades'."""
        unrolled = self._cascaded(kspace * mask, mask, smaps)
        coil_images = complete(unrolled.coil_images, expand(unrolled.image, unrolled.maps), mask)
        return coil_images * unrolled.scale[:, None]

    def with_residual(
        self, kspace: Tensor, mask: Tensor, smaps: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""The image, and how well the cascades' own image agrees with the data of each slice.

        :math:`\|MFSx - y\| / \|y\|`, `(slice,)`, before what was acquired is put back; after that it is zero.
        """
        unrolled = self._unroll(kspace, mask, smaps)
        predicted = filtered(expand(unrolled.image, unrolled.maps), mask, axes=(-1,))
        return self._finished(unrolled), relative_residual(
            predicted - unrolled.coil_images, unrolled.coil_images
        )

    def _unroll(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None) -> _Unrolled:
        unrolled = self._cascaded(kspace * mask, mask, smaps)
        trust: Tensor | float = 1.0
        faith: Tensor | float = 1.0
        if self.trust != "auto":
            trust = self.trust
        elif not self.training:
            trust, faith = self._measured_trust(unrolled, kspace, mask, smaps)
        first = unrolled.first
        return unrolled._replace(image=self.gain * faith * (first + trust * (unrolled.image - first)))

    def _measured_trust(
        self, unrolled: _Unrolled, kspace: Tensor, mask: Tensor, smaps: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        found = []
        for held in held_out(mask):
            without = self._cascaded(kspace * (mask & ~held), mask & ~held, smaps)
            unit = torch.where(
                without.scale > 0, unrolled.scale / without.scale, torch.ones_like(without.scale)
            )
            before, after = (expand(image, without.maps) for image in (without.first, without.image))
            found.append(evidence(before, after, unrolled.coil_images * unit[:, None], held))
        return measured_trust(found, unrolled.floor)

    def _cascaded(self, kspace: Tensor, mask: Tensor, smaps: Tensor | None) -> _Unrolled:
        if self.maps_network is not None:  # of one coil it is the phase alone
            smaps = self.maps_network(kspace, mask)
        maps = unit_maps(smaps, kspace)
        coil_images = ifftc(kspace)
        true_scale = brightness(rss(coil_images))
        # An empty slice stays empty.
        scale = torch.where(true_scale > 0, true_scale, torch.ones_like(true_scale))
        coil_images = coil_images / scale[:, None]
        noise = noise_of(kspace, mask) / scale[:, 0]
        conditions = conditions_of(noise, mask)

        # The readout is sampled whole: its transform is taken off once, and A transforms the width alone.
        A = sense_operator(mask, maps, axes=(-1,))
        zero_filled = combine(coil_images, maps)
        if self.start == "tv":
            image = tv_start(kspace / scale[:, None], mask, maps)
        else:
            image = zero_filled if kspace.shape[1] == 1 else sense_start(A, zero_filled)
        memory, first = conditions.new_zeros((len(image), 0, *image.shape[-2:])), image
        for cascade in self.cascades:
            image, memory = cascade(image, A.normal(image) - zero_filled, memory, conditions)
        if self.pull is not None and kspace.shape[1] > 1:  # of one coil it moves what is put back anyway
            image = self.pull(image, A, zero_filled, conditions)
        floor = noise_floor(noise, mask, kspace.shape[1]) * 2 * torch.sigmoid(memory[:, 0])
        return _Unrolled(first, image, floor, coil_images, maps, mask, true_scale)

    def _finished(self, unrolled: _Unrolled) -> Tensor:
        _, image, floor, coil_images, maps, mask, scale = unrolled
        return (
            combined(complete(coil_images, expand(image, maps), mask), maps, floor, self.combination) * scale
        )


class _Unrolled(NamedTuple):
    """What the cascades leave: first and last image, power of the noise floor, zero-filled coil images, and so on."""

    first: Tensor
    image: Tensor
    floor: Tensor
    coil_images: Tensor
    maps: Tensor
    mask: Tensor
    scale: Tensor
