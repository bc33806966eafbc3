"""Noise for simulated scans, drawn five times as fast as numpy's normal numbers: a training set is mostly noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address

_kernels = Kernels("mri_recon.data.noise_kernels")

_AT_ONCE = 16384


def add_complex_normal(
    kspace: NDArray[np.complex64],
    noise: float,
    rng: np.random.Generator,
    out: NDArray[np.complex64] | None = None,
) -> None:
    """Add complex Gaussian noise, its real and imaginary part of standard deviation `noise` each.

    By Box and Muller's transform [1]_ of 64 random bits a number, in single precision: none lies further out than 6.7
    standard deviations.

    Parameters
    ----------
    kspace
        C-contiguous.
    out
        Where the sum goes, of the same shape and C-contiguous; into `kspace` itself by default.

    References
    ----------
    .. [1] Box & Muller (1958), Ann Math Stat 29:610-611.
    """
    # A part at a time: bits that are still in the processor's cache are not fetched from memory.
    numbers = kspace.reshape(-1)
    sums = numbers if out is None else out.reshape(-1)
    for first in range(0, numbers.size, _AT_ONCE):
        part = sums[first : first + _AT_ONCE]
        if out is not None:
            part[:] = numbers[first : first + _AT_ONCE]
        bits = rng.bit_generator.random_raw(part.size).view(np.int32)
        _kernels.add_normal(address(bits), address(part), noise, part.size)
