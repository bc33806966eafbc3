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

_NEAR = 2.0
"""Squared cycles across an ellipse up to which its transform counts as near zero frequency."""


def ellipse_transform(k_height: Floats, k_width: Floats, ellipses: Floats) -> NDArray[np.complex64]:
    r"""Fourier transform of a sum of uniform ellipses on a rectangular grid of frequencies.

    An ellipse of semi-axes a, b and intensity I has
    :math:`F(k) = 2\pi a b I \, J_1(z)/z \; e^{-2\pi i k \cdot r_0}`, with z 2π times the length of k in the
    ellipse's own axes, scaled by a and b. In single precision: within 1e-6 of an ellipse's peak.

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
    height, width, semi_1, semi_2, angle, intensity = np.asarray(ellipses, np.float64).reshape(-1, 6).T
    n_rows, n_columns, n_ellipses = len(k_height), len(k_width), len(height)
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
    planes = np.empty((n_rows, 2, n_columns), np.float32)

    def work(start: int, stop: int) -> None:
        jinc = np.empty(n_columns, np.float32)
        given = (address(a) for a in (places, lines, steep, waves, jinc, planes))
        _kernels.add_ellipses(*given, n_ellipses, n_columns, start, stop)

    share(work, ranges(n_rows, least=16))
    return _joined(planes)


def _ramp(k: Floats) -> tuple[Floats, float]:
    """Frequencies as multiples of the least distance of two from the first, and that distance with its sign."""
    steps = np.diff(k)
    spacing = float(steps[np.abs(steps).argmin()]) if len(steps) else 1.0
    ramp = (k - k[0]) / spacing
    whole = np.rint(ramp)
    return np.where(np.abs(ramp - whole) < 1e-6, whole, ramp), spacing


def _near_zero(at_zero: Floats, slopes: Floats, ramp: Floats) -> NDArray[np.intp]:
    """Columns from and to which p² + q² is below `_NEAR`, `(row, ellipse, 2)`."""
    square, middle = (slopes**2).sum(-1), (at_zero * slopes).sum(-1)
    # An ellipse without extent is near zero everywhere.
    square = np.maximum(square, 1e-30)
    reach = np.sqrt(np.maximum(middle * middle - square * ((at_zero**2).sum(-1) - _NEAR), 0)) / square
    middle /= -square
    return np.searchsorted(ramp, np.stack([middle - reach, middle + reach], axis=-1))


def _waves(k: Floats, positions: Floats) -> Complexes:
    """exp(-2πi k r), `(position, k)`: of evenly spaced k as products of few."""
    ramp, spacing = _ramp(k)
    fine = 32
    if len(k) < 4 * fine or (ramp != np.rint(ramp)).any() or ramp[-1] >= fine * len(k):
        return np.asarray(np.exp(-2j * np.pi * np.outer(positions, k)))
    coarse, rest = np.divmod(ramp.astype(np.intp), fine)
    starts = np.exp(-2j * np.pi * np.outer(positions, k[0] + spacing * fine * np.arange(coarse[-1] + 1)))
    steps = np.exp(-2j * np.pi * np.outer(positions, spacing * np.arange(fine)))
    return np.asarray(starts[:, coarse] * steps[:, rest])


def _joined(planes: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Planes (row, 2, column) of real and imaginary parts as complex numbers."""
    joined = np.empty((planes.shape[0], planes.shape[2]), np.complex64)
    joined.real, joined.imag = planes[:, 0], planes[:, 1]
    return joined


def gaussian_transform(k_height: Floats, k_width: Floats, gaussians: Floats) -> NDArray[np.complex64]:
    """Fourier transform of a sum of Gaussians with their axes along height and width.

    Parameters
    ----------
    k_height, k_width
        Frequencies along the two axes.
    gaussians
        One row each: center height, center width, standard deviation along height, along width, and peak.

    Returns
    -------
    NDArray[np.complex64]
        `(len(k_height), len(k_width))`.
    """
    height, width, sigma_h, sigma_w, peak = np.asarray(gaussians, dtype=np.float64).reshape(-1, 5).T
    along_h = _gaussian_1d(k_height, height, sigma_h)
    along_w = _gaussian_1d(k_width, width, sigma_w)
    return np.asarray((along_h * peak).astype(np.complex64) @ along_w.T.astype(np.complex64))


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


def _gaussian_1d(k: Floats, center: Floats, sigma: Floats) -> Complexes:
    decay = np.exp(-2 * (np.pi * np.outer(k, sigma)) ** 2)
    return np.asarray(np.sqrt(2 * np.pi) * sigma * decay * _waves(k, center).T)
