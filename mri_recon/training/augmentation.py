"""Slices changed at random into others that a scanner might as well have measured.

Everything is done to the complex images of the coils, so that k-space, target and phase stay those of one object.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.training.config import DataSettings
from mri_recon.training.samples import Sample

STRONGEST = 2.0
"""Nowhere does a change of contrast multiply or divide an image by more: it would make a body of the noise."""


def augment(sample: Sample, settings: DataSettings, rng: np.random.Generator) -> Sample:
    """The slice with the changes that the settings ask for, drawn from `rng`."""
    for axis in (-2, -1):
        if settings.flips and rng.integers(2):
            sample = flip(sample, axis)
    if settings.rotations and rng.integers(2):
        sample = quarter_turn(sample)
    if settings.phase or settings.intensity:
        phase = settings.phase * smooth_field(rng, sample.kspace.shape[-2:])
        power = float(np.exp(rng.uniform(-settings.intensity, settings.intensity)))
        sample = recolour(sample, phase, power)
    if settings.noise:
        deviation = rng.uniform(0, settings.noise) * sample.data_range
        noise = rng.standard_normal((*sample.kspace.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        # Columns that were never measured have no noise either.
        noise *= np.float32(deviation) * sample.acquired
        sample = sample._replace(kspace=sample.kspace + noise)
    return sample


def flip(sample: Sample, axis: int) -> Sample:
    """The slice with its image reversed along one axis, done to k-space.

    Left as it is where the target cannot be reversed to match: when the crop to its size is off centre by
    half a pixel.
    """
    n, n_target = sample.kspace.shape[axis], sample.target.shape[axis]
    if (n - n_target) % 2:
        return sample
    # Reversing k-space about its centre mirrors the image about pixel n // 2; for even n a shift by one
    # pixel, a phase ramp, makes of that a plain reversal.
    shift = 1 - n % 2
    kspace = np.roll(np.flip(sample.kspace, axis), shift, axis)
    ramp = np.exp(2j * np.pi * shift * (np.arange(n) - n // 2) / n).astype(np.complex64)
    kspace = kspace * (ramp[:, None] if axis == -2 else ramp)
    acquired = np.roll(sample.acquired[::-1], shift) if axis == -1 else sample.acquired
    return sample._replace(kspace=kspace, acquired=acquired, target=np.flip(sample.target, axis))


def quarter_turn(sample: Sample) -> Sample:
    """The slice turned by 90°: what was read out is now phase-encoded.

    Left as it is unless k-space and target are square, every column was measured, and the crop is centred.
    """
    (height, width), (h, w) = sample.kspace.shape[-2:], sample.target.shape
    if height != width or h != w or (height - h) % 2 or not sample.acquired.all():
        return sample
    exchanged = sample._replace(
        kspace=np.swapaxes(sample.kspace, -2, -1), target=np.swapaxes(sample.target, -2, -1)
    )
    return flip(exchanged, -2)


def recolour(sample: Sample, phase: NDArray[np.floating], power: float) -> Sample:
    """The slice of an object with more phase, and with its magnitude raised to a power.

    The magnitude is that of the RSS image over the volume's maximum, so that the maximum stays what it is; coil
    maps stay as they are too. Left as it is unless every column was measured: the changed object would have signal
    in the others.

    Parameters
    ----------
    phase
        `(height, width)`, in radians.
    """
    if not sample.acquired.all():
        return sample
    images = ifftc(sample.kspace)
    target = sample.target
    factor = np.exp(1j * phase).astype(np.complex64)
    if power != 1:
        relative = np.maximum(rss(images) / sample.data_range, np.finfo(np.float32).tiny)
        gain = np.clip(relative ** (power - 1), 1 / STRONGEST, STRONGEST).astype(np.float32)
        factor *= gain
        target = target * center_crop(gain, (target.shape[0], target.shape[1]))
    return sample._replace(kspace=fftc(images * factor), target=target)


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A random polynomial of second order over the image `(height, width)`, between −1 and 1."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    y, x = y[:, None], x[None, :]
    terms = (np.ones_like(y * x), y + 0 * x, x + 0 * y, y * y + 0 * x, y * x, x * x + 0 * y)
    weights = rng.standard_normal(len(terms)).astype(np.float32)
    field = sum((w * term for w, term in zip(weights, terms, strict=True)), np.float32(0))
    return np.asarray(field / np.abs(field).max() * np.float32(rng.uniform(0, 1)), dtype=np.float32)
