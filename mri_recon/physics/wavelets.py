"""The stationary wavelet transform: Daubechies' wavelets of four taps, at every shift of the image."""

from __future__ import annotations

from collections.abc import Callable

from mri_recon.physics.fourier import Array
from mri_recon.solvers.arrays import array_namespace

LOW = tuple(tap / 8 for tap in (1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5))
"""Daubechies' scaling filter of two vanishing moments, over √2: with `HIGH` it keeps the energy at every shift."""

HIGH = (LOW[3], -LOW[2], LOW[1], -LOW[0])

LEAST_SIZE = 16
"""Least size of the shorter side that is split once more, were the low bands decimated as BART does."""


def n_levels(height: int, width: int) -> int:
    """Levels of the transform of an image: as many as BART takes."""
    size, levels = min(height, width), 0
    while size >= LEAST_SIZE:
        size, levels = (size + 3) // 2, levels + 1
    return levels


def wavelet(image: Array, levels: int) -> Array:
    r"""Stationary wavelet transform, circular [1]_ [2]_: `(…, h, w)` to `(3·levels + 1, …, h, w)`.

    All circular shifts of the decimated orthonormal transform at once, each coefficient once, scaled to a tight
    frame: `wavelet_adjoint` is its inverse, for images of any size, odd ones too. With the weights of
    `shift_weights` its ℓ1 norm is the mean over all shifts of the orthonormal transform's.

    Parameters
    ----------
    levels
        How often the low band is split. Bands come finest first, three a level: high along width, along height,
        along both; the coarsest low band last.

    References
    ----------
    .. [1] Daubechies (1988), Orthonormal bases of compactly supported wavelets, Comm Pure Appl Math 41:909-996.
    .. [2] Coifman & Donoho (1995), Translation-invariant de-noising, in Wavelets and Statistics, 125-150.
    """
    xp = array_namespace(image)
    bands = []
    for level in range(levels):
        low, high = _split(image, -2, 2**level)
        image, across = _split(low, -1, 2**level)
        bands += [across, *_split(high, -1, 2**level)]
    return xp.stack([*bands, image])


def wavelet_adjoint(bands: Array) -> Array:
    """Adjoint and inverse of `wavelet`: `(3·levels + 1, …, h, w)` to `(…, h, w)`."""
    image = bands[-1, ...]
    for level in range((bands.shape[0] - 1) // 3 - 1, -1, -1):
        across, along, both = (bands[3 * level + i, ...] for i in range(3))
        low = _merge(image, across, -1, 2**level)
        image = _merge(low, _merge(along, both, -1, 2**level), -2, 2**level)
    return image


def shift_weights(levels: int) -> list[float]:
    r"""Weight of each level's bands, and of the coarsest, with which the ℓ1 norm is the mean over all shifts.

    At level j the orthonormal transform of one shift has a :math:`4^{-j}`-th of all coefficients, and `wavelet`
    has them over :math:`2^j`: their mean is :math:`2^{-j}` of the sum here.
    """
    return [0.5**level for level in range(1, levels + 1)] + [0.5**levels]


def prox_of_wavelets(
    prox: Callable[[Array, float], Array], weights: list[float]
) -> Callable[[Array, float], Array]:
    """A proximal operator on every band of `wavelet`, its step times the level's weight."""
    bands = [weight for weight in weights[:-1] for _ in range(3)] + weights[-1:]

    def apply(coefficients: Array, step: float) -> Array:
        xp = array_namespace(coefficients)
        return xp.stack([prox(coefficients[i, ...], weight * step) for i, weight in enumerate(bands)])

    return apply


def _split(x: Array, axis: int, hole: int) -> tuple[Array, Array]:
    """Low and high band of one axis, the filters' taps `hole` apart."""
    xp = array_namespace(x)
    taps = [x, *(xp.roll(x, -k * hole, axis=axis) for k in (1, 2, 3))]
    low, high = (sum(c * tap for c, tap in zip(f, taps, strict=True)) for f in (LOW, HIGH))
    return low, high


def _merge(low: Array, high: Array, axis: int, hole: int) -> Array:
    """Adjoint of `_split`."""
    xp = array_namespace(low)
    parts = [a * low + b * high for a, b in zip(LOW, HIGH, strict=True)]
    return parts[0] + sum(xp.roll(part, k * hole, axis=axis) for k, part in enumerate(parts[1:], start=1))
