"""What networks on coil-combined images share: the first image, scale, noise, and the way back to coils."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from mri_recon.errors import SettingsError
from mri_recon.physics.coils import combine, rss
from mri_recon.physics.fourier import filtered
from mri_recon.physics.operators import SenseOperator
from mri_recon.physics.tv_minimum import tv_minimum
from mri_recon.solvers.cg import conjugate_gradient

SENSE_ITERATIONS = 6
SENSE_L2_WEIGHT = 0.01
TV_WEIGHT = 0.04
TV_WEIGHT_OF_COILS = -0.75
"""The weight for one coil, relative to the image's brightness, and the power of the number of coils it falls with: the
more they say, the less is left to guess. On measured scans at 4× and 8× it is near the best for 1, 2, 4, 7 and 16."""
TV_ITERATIONS = 40
TV_TOLERANCE = 1e-3
TV_RHO = 12.0
"""So few iterations do not reach the minimum, and where they end is what networks were trained to start from: the
penalty is part of their architecture."""

PHASE_CYCLES = 16
"""Where the slow phase of an image ends: periods in the field of view, the standard deviation of a Gaussian. On
measured scans the phase is followed better by fewer where it is smooth, by more in gradient echoes."""

HELD_OUT_EVERY, HELD_OUT = 4, (1, 2)
"""Of four columns outside the centre the first is held out, and then the second. On sixteen pairs of measured scan and
acceleration the mean of two such shares gained 0.05 dB over one, and that of all four 0.07 more in twice the time."""
FEWEST_HELD_OUT = 2
UNMEASURED_TRUST = 0.5
"""Where fewer columns could be held out to measure it by."""

N_CONDITIONS = 2
NOISE_RANGE = (-3.5, -0.5)
"""Decimal logarithms of the least and most noise that a network is told of, relative to the image."""

EPSILON = 1e-6
"""Relative to the image's brightness, beside which it vanishes in single precision."""


def unit_maps(smaps: Tensor | None, kspace: Tensor) -> Tensor:
    """Maps of unit norm over coils where they are not zero; ones for one coil without any."""
    if smaps is None:
        if kspace.shape[1] > 1:
            raise SettingsError(
                f"This network needs coil maps for k-space of {kspace.shape[1]} coils, and got none. Estimate them "
                'with mri_recon.physics.espirit.estimate_maps, or train a varnet with maps = "network".'
            )
        return kspace.new_ones((1, 1, 1, 1))
    return unit_norm(smaps)


def unit_norm(smaps: Tensor) -> Tensor:
    """Maps of unit norm over coils, wherever they are not zero."""
    norm = cast(Tensor, rss(smaps))[:, None]
    # The gradient of a root is infinite at zero, and a constant's is zero.
    safe = torch.where(norm > 0, norm, torch.ones_like(norm))
    return smaps / safe


def brightness(image: Tensor) -> Tensor:
    """About the level of the object in each magnitude image, `(slice, 1, 1)`, however much of it is background.

    The mean weighted by the image itself: for an object of one level that level, whatever part it fills.
    """
    total = image.sum(dim=(-2, -1), keepdim=True)
    return image.square().sum(dim=(-2, -1), keepdim=True) / total.clamp(min=torch.finfo(image.dtype).tiny)


@torch.no_grad()
def noise_of(kspace: Tensor, mask: Tensor) -> Tensor:
    """Noise of each slice, `(slice, 1)`: the standard deviation of the real part of a sample of one coil.

    From the median magnitude at both ends of the readout, where little else is; zero where nothing was acquired.
    """
    edge = max(1, kspace.shape[-2] // 16)
    ends = torch.cat([kspace[..., :edge, :], kspace[..., -edge:, :]], dim=-2).abs()
    ends = torch.where(mask, ends, torch.nan).flatten(1)
    # Of the versions of torch that are supported few have this median on "mps".
    ends = ends.cpu() if kspace.device.type == "mps" else ends
    median = ends.nanmedian(dim=1, keepdim=True).values.nan_to_num(nan=0.0)
    return median.to(kspace.device) / MEDIAN_OF_RAYLEIGH


MEDIAN_OF_RAYLEIGH = 1.1774


def conditions_of(noise: Tensor, mask: Tensor) -> Tensor:
    """What a network is told of each slice: its acceleration and its noise, `(slice, 2)`, about 0 to 1.

    Parameters
    ----------
    noise
        `(slice, 1)`, relative to the image's brightness.
    """
    acquired = mask.float().mean(-1).reshape(-1, 1).clamp(min=1e-6)
    low, high = NOISE_RANGE
    told = (torch.log10(noise.clamp(min=1e-12)).clamp(low, high) - low) / (high - low)
    acceleration = (-torch.log2(acquired) / 4).clamp(0, 1)
    return torch.cat([acceleration.expand(len(noise), 1), told], dim=1)


def complete(coil_images: Tensor, predicted: Tensor, mask: Tensor) -> Tensor:
    """Coil images with the columns that were acquired, of zero-filled ones, and all others of those `predicted`."""
    completed: Tensor = coil_images + filtered(predicted, ~mask, axes=(-1,))
    return completed


def center_columns(mask: Tensor) -> Tensor:
    """The unbroken run of acquired columns around the centre of each mask `(…, width)`, as a mask."""
    center = mask.shape[-1] // 2
    right = mask[..., center:].int().cumprod(-1)
    left = mask[..., :center].int().flip(-1).cumprod(-1).flip(-1) * right[..., :1]
    return torch.cat([left, right], dim=-1).bool()


def held_out(mask: Tensor) -> list[Tensor]:
    """Masks of columns to measure trust by: of those acquired outside the centre every fourth, twice, none in both.

    Each like `mask`, `(…, width)`; fewer than two where there is nothing to hold out.
    """
    outside = mask & ~center_columns(mask)
    number = outside.int().cumsum(-1) % HELD_OUT_EVERY
    each = [outside & (number == remainder) for remainder in HELD_OUT]
    return [held for held in each if held.any()]


class Evidence(NamedTuple):
    """Inner products over columns held out, `(slice,)`: of first image, the network's change of it, and data."""

    first: Tensor
    change: Tensor
    cross: Tensor
    first_data: Tensor
    change_data: Tensor

    @property
    def share(self) -> Tensor:
        """The share of the change that brings the first image nearest to the data; NaN for unknown.

        1 for all of it, below 0 where the opposite would have been better.
        """
        return _ratio(self.change_data - self.cross, self.change)

    def factor(self, share: Tensor) -> Tensor:
        """What the first image with that share of the change is to be multiplied by to be nearest; NaN for unknown."""
        size = self.first + 2 * share * self.cross + share**2 * self.change
        return _ratio(self.first_data + share * self.change_data, size)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 0, a / b, torch.full_like(a, torch.nan))


def evidence(first: Tensor, found: Tensor, data: Tensor, held: Tensor) -> Evidence:
    """What columns that were held out say of images made without them, in least squares over all coils.

    Parameters
    ----------
    first, found
        Coil images `(slice, coil, height, width)` of the first image and of the network's, both made without the
        columns held out.
    data
        Coil images of what was acquired, those columns too, in the same unit.
    held
        Which they are, `(1 or slice, 1, 1, width)`. Fewer than two say nothing.
    """
    enough = held.sum(dim=(1, 2, 3)) >= FEWEST_HELD_OUT
    before, change, there = (filtered(x, held, axes=(-1,)) for x in (first, found - first, data))
    pairs = (before, before), (change, change), (before, change), (before, there), (change, there)
    products = ((a.conj() * b).real.sum(dim=(1, 2, 3)) for a, b in pairs)
    return Evidence(*(torch.where(enough, p, torch.full_like(p, torch.nan)) for p in products))


def measured_trust(found: Sequence[Evidence], like: Tensor) -> tuple[Tensor, Tensor]:
    """How far to follow a network, and how far what comes of it, `(slice, 1, 1)` each, from 0 to 1.

    The first is the mean of the shares that several sets of columns bear out. The second is 1 unless one of
    the sets bears out less than half of the image so made: where an image is invented from too little, by network or
    compressed sensing, the zero-filled one is nearer.

    Parameters
    ----------
    like
        `(slice, …)`, for how many slices there are where nothing could be measured.
    """
    if not found:
        return like.new_full((len(like), 1, 1), UNMEASURED_TRUST), like.new_ones((len(like), 1, 1))
    shares = torch.stack([one.share for one in found]).nanmean(dim=0)
    trust = shares.nan_to_num(nan=UNMEASURED_TRUST).clamp(0, 1)
    factors = torch.stack([one.factor(trust) for one in found]).nan_to_num(nan=1.0)
    return trust[:, None, None], (2 * factors.amin(dim=0)).clamp(0, 1)[:, None, None]


def noise_floor(noise: Tensor, mask: Tensor, n_coils: int) -> Tensor:
    """Power that the noise of the columns not acquired adds to a root-sum-of-squares image, `(slice or 1, 1, 1)`.

    A combined image holds the noise of one coil; that of the others is missing.

    Parameters
    ----------
    noise
        `(slice, 1)`, the standard deviation of the real part of one coil's.
    """
    missing = (~mask).float().mean(-1)
    return 2 * (n_coils - 1) * missing * noise[:, None].square()


def magnitude(coil_images: Tensor, floor: Tensor) -> Tensor:
    """Root-sum-of-squares of coil images of brightness about 1, with a floor under their power."""
    power = coil_images.real.square() + coil_images.imag.square()
    # A root of exactly zero has no gradient.
    return torch.sqrt(power.sum(dim=1) + floor + EPSILON**2)


def combined(coil_images: Tensor, maps: Tensor | None, floor: Tensor, combination: str) -> Tensor:
    """Magnitude of coil images of brightness about 1, `(slice, height, width)`.

    Parameters
    ----------
    maps
        Of unit norm, shaped as the coil images.
    floor
        Power of the noise that a root-sum-of-squares image would hold besides.
    combination
        "rss", or "maps": what the maps have in common with the coil images, and none of the other noise.
    """
    if combination == "rss" or maps is None:
        return magnitude(coil_images, floor)
    return magnitude(combine(coil_images, maps)[:, None], torch.zeros_like(floor))


@torch.no_grad()
def sense_start(A: SenseOperator, zero_filled: Tensor) -> Tensor:
    """A few iterations of CG-SENSE: what the coils alone say."""
    image: Tensor = conjugate_gradient(
        lambda x: A.normal(x) + SENSE_L2_WEIGHT * x,
        zero_filled,
        iterations=SENSE_ITERATIONS,
        tolerance=1e-3,
    ).x
    return image


@torch.no_grad()
def slow_phase(image: Tensor) -> Tensor:
    """exp(i phase) of images `(slice, height, width)` seen at a low resolution; 1 where there is nothing."""
    rows, columns = (
        torch.exp(-0.5 * ((torch.arange(n, device=image.device) - n // 2) / PHASE_CYCLES).square())
        for n in image.shape[-2:]
    )
    smooth = filtered(image, (rows[:, None] * columns).to(image.real.dtype))
    size = smooth.abs()
    turned: Tensor = torch.where(size > EPSILON, smooth / size.clamp(min=EPSILON), torch.ones_like(smooth))
    return turned


@torch.no_grad()
def tv_start(kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
    """Some iterations of compressed sensing, `(slice, height, width)`: what can be had without training.

    Parameters
    ----------
    kspace
        `(slice, coil, height, width)` of images of brightness 1.
    mask, maps
        As `VarNet.forward` takes them, with maps of one coil of unit norm.
    """
    one_coil = kspace.shape[1] == 1
    images = []
    # No part of it is a layer: autocast would take the small systems of its jumps to half precision.
    with torch.autocast(kspace.device.type, enabled=False):
        for index, one in enumerate(kspace):
            inputs = [one[None], mask[index if len(mask) > 1 else 0][None]]
            if not one_coil:
                inputs.append(maps[index if len(maps) > 1 else 0][None])
            by_numpy = _by_numpy(kspace.device)
            arrays = [x.cpu().numpy() for x in inputs] if by_numpy else inputs
            x = tv_minimum(
                arrays[0],
                arrays[1],
                None if one_coil else arrays[2],
                weight=TV_WEIGHT * kspace.shape[1] ** TV_WEIGHT_OF_COILS,
                iterations=TV_ITERATIONS,
                tolerance=TV_TOLERANCE,
                rho=TV_RHO,
            ).x
            images.append(torch.from_numpy(x).to(kspace.device) if by_numpy else x)
    image = torch.cat(images)
    return combine(image[:, None], maps) if one_coil else image


def _by_numpy(device: torch.device) -> bool:
    """Whether numpy iterates rather than torch: it has compiled kernels, and shares a CPU's memory.

    For "mps", too: double precision, of which filters are made, and complex linear algebra are not there.
    """
    return device.type in ("cpu", "mps")
