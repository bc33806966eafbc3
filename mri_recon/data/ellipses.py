"""Closed-form Fourier transforms: ellipses, Gaussians, and either under a smooth complex weighting.

Lengths are in one common unit, frequencies in cycles per that unit, and every transform is the integral
``F(k) = ∫ f(r) exp(-2πi k·r) dr``. Nothing here is sampled in the image, so nothing here aliases.

A weighting (a coil map, a phase) is a sum of complex exponentials on a grid of half a cycle per field of
view, ``s(r) = Σ_q c_q exp(2πi q·r)``: its period is two fields of view, so that it need not be periodic on
one. The transform of ``s f`` is then exactly ``Σ_q c_q F(k - q)`` [1]_.

References
----------
.. [1] Guerquin-Kern et al. (2012), IEEE Trans Med Imaging 31:626-636.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

_kernels = Kernels("mri_recon.data.ellipse_kernels")

_EVERY, _TAPS, _BAND, _FEWEST = 4, 12, 0.15, 3
"""Strips: rows from one that is computed to the next; how many of them a row between is made of, cycles a row that
these resolve, and the ellipses from which on a strip is worth it."""

_REACH = 0.97
"""Cycles per standard deviation beyond which a Gaussian's transform is below 1e-8 of its peak."""

_NEAR = 2.0
"""Squared cycles across an ellipse up to which its transform counts as near zero frequency."""


def ellipse_transform(k_height: Floats, k_width: Floats, ellipses: Floats) -> NDArray[np.complex64]:
    r"""Fourier transform of a sum of uniform ellipses on a rectangular grid of frequencies.

    An ellipse of semi-axes a, b and intensity I has
    :math:`F(k) = 2\pi a b I \, J_1(z)/z \; e^{-2\pi i k \cdot r_0}`, with z 2π times the length of k in the
    ellipse's own axes, scaled by a and b. In single precision: within 1e-6 of an ellipse's peak.

    Of ellipses within a strip of the field of view the transform hardly changes from one row to the next, but for the
    wave of the strip's place: theirs is computed at every few rows, and interpolated to the others.

    Parameters
    ----------
    k_height, k_width
        Frequencies along the two axes; those along width rise or fall throughout.
    ellipses
        One row each: center height, center width, semi-axis 1, semi-axis 2, angle, intensity. At angle
        0 semi-axis 1 lies along height; the angle (radians) turns it towards width.

    Returns
    -------
    NDArray[np.complex64]
        `(len(k_height), len(k_width))`.
    """
    ellipses = np.asarray(ellipses, np.float64).reshape(-1, 6)
    alone, strips = _strips(k_height, ellipses)
    planes = _planes(k_height, k_width, alone)
    for center, members in strips:
        _add_strip(planes, k_height, k_width, center, members)
    joined = np.empty((planes.shape[0], planes.shape[2]), np.complex64)
    joined.real, joined.imag = planes[:, 0], planes[:, 1]
    return joined


def _planes(k_height: Floats, k_width: Floats, ellipses: Floats) -> NDArray[np.float32]:
    """Transform of ellipses as planes (row, 2, column) of its real and imaginary part."""
    height, width, semi_1, semi_2, angle, intensity = ellipses.T
    n_rows, n_columns, n_ellipses = len(k_height), len(k_width), len(height)
    planes = np.zeros((n_rows, 2, n_columns), np.float32)
    if not n_ellipses:
        return planes
    ramp, spacing = _ramp(k_width)
    c, s = np.cos(angle), np.sin(angle)
    # Cycles along each semi-axis, p and q, are linear along a row.
    slopes = np.stack([semi_1 * s, semi_2 * c], axis=-1) * spacing
    at_zero = np.stack([semi_1 * c, -semi_2 * s], axis=-1) * k_height[:, None, None]
    at_zero = at_zero + slopes * (k_width[0] / spacing)
    # In single precision p would lose what it is a small difference of: it is told where it is least.
    least = np.clip(np.rint(-at_zero / np.where(slopes == 0, 1, slopes)), 0, ramp[-1])
    lines = np.empty((n_rows, n_ellipses, 8), np.float32)
    lines[..., 0:4:2], lines[..., 1:4:2] = at_zero + slopes * least, least
    lines[..., 4:6] = _near_zero(at_zero, slopes, ramp)
    phase = _waves(k_height, height) * (2 * np.pi * semi_1 * semi_2 * intensity)[:, None]
    lines[..., 6], lines[..., 7] = phase.T.real, phase.T.imag
    phase = _waves(k_width, width)
    waves = np.ascontiguousarray(np.stack([phase.real, phase.imag], axis=1), np.float32)
    steep, places = np.ascontiguousarray(slopes, np.float32), np.ascontiguousarray(ramp, np.float32)

    def work(start: int, stop: int) -> None:
        jinc = np.empty(n_columns, np.float32)
        given = (address(a) for a in (places, lines, steep, waves, jinc, planes))
        _kernels.add_ellipses(*given, n_ellipses, n_columns, start, stop)

    share(work, ranges(n_rows, least=16))
    return planes


def _strips(k_height: Floats, ellipses: Floats) -> tuple[Floats, list[tuple[float, Floats]]]:
    """Ellipses that are computed row by row, and strips of several others with the height of their middles."""
    reach = np.hypot(ellipses[:, 2] * np.cos(ellipses[:, 4]), ellipses[:, 3] * np.sin(ellipses[:, 4]))
    steps = np.diff(k_height)
    if len(k_height) < 4 * _EVERY or np.ptp(steps) > 1e-9 * np.abs(steps).max():
        return ellipses, []
    widest = 2 * _BAND / (_EVERY * abs(steps[0]))
    low, high = ellipses[:, 0] - reach, ellipses[:, 0] + reach
    alone, strips = np.ones(len(ellipses), bool), []
    rest = np.argsort(low)
    rest = rest[high[rest] - low[rest] <= widest]
    while len(rest):
        within = high[rest] <= low[rest[0]] + widest
        members, rest = rest[within], rest[~within]
        if len(members) >= _FEWEST:
            alone[members] = False
            strips.append((float(low[members].min() + high[members].max()) / 2, ellipses[members]))
    return ellipses[alone], strips


def _add_strip(
    planes: NDArray[np.float32], k_height: Floats, k_width: Floats, center: float, ellipses: Floats
) -> None:
    """Add the transform of the ellipses of a strip to planes (row, 2, column)."""
    taps = _interpolation()
    n_rows, n_columns, n_taps = planes.shape[0], planes.shape[2], taps.shape[1]
    n_coarse = (n_rows - 1) // _EVERY + n_taps
    spacing = k_height[1] - k_height[0]
    at = k_height[0] + _EVERY * spacing * (np.arange(n_coarse) - (n_taps // 2 - 1))
    coarse = _planes(at, k_width, ellipses - [center, 0, 0, 0, 0, 0])
    wave = np.exp(-2j * np.pi * center * k_height).astype(np.complex64)

    def work(start: int, stop: int) -> None:
        sums = np.empty((2, n_columns), np.float32)
        given = (address(a) for a in (coarse, taps, wave, sums, planes))
        _kernels.add_interpolated_rows(*given, n_taps, _EVERY, n_columns, start, stop)

    share(work, ranges(n_rows, least=16))


@lru_cache(maxsize=1)
def _interpolation() -> NDArray[np.float32]:
    """Weights of `_TAPS` neighbours for each of the rows between two, that are best on the band, `(_EVERY, _TAPS)`.

    Waves of up to `_BAND` cycles a row come out right to 2e-8.
    """
    band = _BAND * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    waves = np.exp(2j * np.pi * np.outer(band, np.arange(_TAPS) - (_TAPS // 2 - 1)))
    wanted = np.exp(2j * np.pi * np.outer(band, np.arange(_EVERY) / _EVERY))
    taps, *_ = np.linalg.lstsq(
        np.concatenate([waves.real, waves.imag]), np.concatenate([wanted.real, wanted.imag]), rcond=1e-12
    )
    return np.ascontiguousarray(taps.T, np.float32)


def _ramp(k: Floats) -> tuple[Floats, float]:
    """Frequencies as multiples of the least distance of two from the first, and that distance with its sign."""
    steps = np.diff(k)
    spacing = float(steps[np.abs(steps).argmin()]) if len(steps) else 1.0
    ramp = (k - k[0]) / spacing
    whole = np.rint(ramp)
    return np.where(np.abs(ramp - whole) < 1e-6, whole, ramp), spacing


def _near_zero(at_zero: Floats, slopes: Floats, ramp: Floats) -> NDArray[Any]:
    """Columns from and to which p² + q² is below `_NEAR`, `(row, ellipse, 2)`."""
    square, middle = (slopes**2).sum(-1), (at_zero * slopes).sum(-1)
    # An ellipse without extent is near zero everywhere.
    square = np.maximum(square, 1e-30)
    reach = np.sqrt(np.maximum(middle * middle - square * ((at_zero**2).sum(-1) - _NEAR), 0)) / square
    middle /= -square
    ends = np.stack([middle - reach, middle + reach], axis=-1)
    if np.array_equal(ramp, np.arange(len(ramp))):
        return np.asarray(np.clip(np.ceil(ends), 0, len(ramp)))
    return np.asarray(np.searchsorted(ramp, ends))


def _waves(k: Floats, positions: Floats) -> NDArray[np.complex64]:
    """exp(-2πi k r), `(position, k)`: of evenly spaced k as products of few."""
    fine = 32
    steps = np.diff(k)
    if len(k) < 4 * fine or np.ptp(steps) > 1e-9 * np.abs(steps).max():
        waves: NDArray[np.complex64] = np.exp(-2j * np.pi * np.outer(positions, k)).astype(np.complex64)
        return waves
    spacing = (k[-1] - k[0]) / (len(k) - 1)
    coarse = k[0] + spacing * fine * np.arange(-(-len(k) // fine))
    starts, turns = (
        np.exp(-2j * np.pi * np.outer(positions, k)).astype(np.complex64)
        for k in (coarse, spacing * np.arange(fine))
    )
    return (starts[:, :, None] * turns[:, None, :]).reshape(len(positions), -1)[:, : len(k)]


def gaussian_transform(k_height: Floats, k_width: Floats, gaussians: Floats) -> NDArray[np.complex64]:
    """Fourier transform of a sum of Gaussians with their axes along height and width.

    Parameters
    ----------
    k_height, k_width
        Frequencies along the two axes, rising or falling throughout.
    gaussians
        One row each: center height, center width, standard deviation along height, along width, and peak.

    Returns
    -------
    NDArray[np.complex64]
        `(len(k_height), len(k_width))`. A Gaussian counts as zero where it is below 1e-8 of its peak.
    """
    gaussians = np.asarray(gaussians, np.float64).reshape(-1, 5)
    total = np.zeros((len(k_height), len(k_width)), np.complex64)
    # The wider it is, the sooner its transform is over: those of similar widths are summed as far as they reach.
    octaves = np.floor(np.log2(np.maximum(gaussians[:, 2:4], 1e-30)))
    for octave in np.unique(octaves, axis=0):
        height, width, sigma_h, sigma_w, peak = gaussians[(octaves == octave).all(axis=1)].T
        rows, columns = (
            _within(k, _REACH / 2.0**least) for k, least in zip((k_height, k_width), octave, strict=True)
        )
        along_h = _gaussian_1d(k_height[rows], height, sigma_h) * peak[:, None].astype(np.float32)
        total[rows, columns] += along_h.T @ _gaussian_1d(k_width[columns], width, sigma_w)
    return total


def weight(
    spectrum: NDArray[Any], coefficients: NDArray[Any], steps: tuple[int, int] = (1, 1)
) -> NDArray[np.complex64]:
    """Spectrum of an object times weightings that are sums of exponentials: ``Σ_q c_q F(k - q)``.

    Parameters
    ----------
    spectrum
        F at frequencies half a cycle per field of view apart, with a margin of as many frequencies
        on every side as the weighting's own highest.
    coefficients
        c_q, `(weighting, n, n)` with n odd and q = 0 in the middle, half a cycle per field of view apart.
    steps
        Keep every how-many-th frequency along height and width: 2 goes from half cycles to the whole ones that
        are measured.

    Returns
    -------
    NDArray[np.complex64]
        `(weighting, height, width)`, the margin gone.
    """
    n_weightings, n, _ = coefficients.shape
    height, width = (len(range(0, size - n + 1, s)) for size, s in zip(spectrum.shape, steps, strict=True))
    down, step = steps
    # Columns that an output takes lie side by side in planes; what is beyond the last output is not looked at.
    along = width + (n - 1) // step
    planes = np.zeros(((height - 1) * down + n, step, 2, along), np.float32)
    for b in range(step):
        part = spectrum[: len(planes), b : b + along * step : step]
        planes[:, b, 0, : part.shape[1]], planes[:, b, 1, : part.shape[1]] = part.real, part.imag
    # A convolution runs backwards over its kernel, hence the flip.
    taps = np.ascontiguousarray(coefficients[:, ::-1, ::-1], dtype=np.complex64)
    out = np.empty((n_weightings, height, width), np.complex64)

    def work(start: int, stop: int) -> None:
        sums = np.empty((2, width), np.float32)
        given = (address(a) for a in (planes, taps, sums, out))
        _kernels.weigh_spectrum(*given, n_weightings, n, down, step, height, width, start, stop)

    share(work, ranges(height, least=16))
    return out


def fit_exponentials(values: NDArray[Any], n: int) -> Complexes:
    """Coefficients c_q of the sums of exponentials that come closest to `values` on the field of view.

    Regularised least squares: half a cycle per field of view is twice as fine as a basis on one field of
    view needs, and without regularisation the coefficients would be large and cancel.

    Parameters
    ----------
    values
        `(weighting, m, m)`, sampled at `fit_positions(m)` along both axes.
    n
        Exponentials along each axis, odd.

    Returns
    -------
    Complexes
        `(weighting, n, n)`, for `weight` and `evaluate_exponentials`.
    """
    solve = _fit_matrix(values.shape[-1], n)
    return np.asarray(solve @ values @ solve.T)


def fit_positions(m: int) -> Floats:
    """Where `fit_exponentials` wants its samples: `m` positions over one field of view."""
    return np.linspace(-0.5, 0.5, m)


def evaluate_exponentials(
    coefficients: NDArray[Any], shape: tuple[int, int], fields: tuple[int, int] = (1, 1)
) -> Complexes:
    """The weightings themselves at the pixels of an image, `(weighting, height, width)`.

    Pixel (i, j) is at ``(i - height // 2) / height, (j - width // 2) / width`` of the image, which spans `fields`
    fields of view along its axes.
    """
    n = coefficients.shape[-1]
    along_h, along_w = (
        _exponentials((np.arange(size) - size // 2) / size * field, n)
        for size, field in zip(shape, fields, strict=True)
    )
    return np.asarray(along_h @ coefficients @ along_w.T)


def _exponentials(positions: Floats, n: int) -> Complexes:
    q = (np.arange(n) - n // 2) / 2
    return np.asarray(np.exp(2j * np.pi * np.outer(positions, q)))


@lru_cache(maxsize=8)
def _fit_matrix(m: int, n: int) -> Complexes:
    basis = _exponentials(fit_positions(m), n)
    gram = basis.conj().T @ basis
    return np.asarray(np.linalg.solve(gram + 1e-3 * m * np.eye(n), basis.conj().T))


def _within(k: Floats, reach: float) -> slice:
    """Where k, which rises or falls, is as near to zero as `reach`."""
    inside = np.flatnonzero(np.abs(k) <= reach)
    return slice(inside[0], inside[-1] + 1) if len(inside) else slice(0)


def _gaussian_1d(k: Floats, center: Floats, sigma: Floats) -> NDArray[np.complex64]:
    """`(Gaussian, k)`."""
    exponents = (-2 * np.pi**2 * np.outer(sigma**2, k**2)).astype(np.float32)
    decay = np.exp(exponents, out=exponents)
    decay *= (np.sqrt(2 * np.pi) * sigma)[:, None].astype(np.float32)
    return decay * _waves(k, center)
