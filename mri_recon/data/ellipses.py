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

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import j1, jv

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

_KNOTS_PER_UNIT = 16
"""Knots of the interpolated jinc: cubic Hermite at this spacing is within 5e-9 of its peak."""


def ellipse_transform(k_height: Floats, k_width: Floats, ellipses: Floats) -> Complexes:
    r"""Fourier transform of a sum of uniform ellipses on a rectangular grid of frequencies.

    An ellipse of semi-axes a, b and intensity I has
    :math:`F(k) = 2\pi a b I \, J_1(z)/z \; e^{-2\pi i k \cdot r_0}`, with z 2π times the length of k in the
    ellipse's own axes, scaled by a and b. J₁(z)/z is interpolated (error below 1e-8 of the peak).

    Parameters
    ----------
    k_height, k_width
        Frequencies along the two axes.
    ellipses
        One row each: center height, center width, semi-axis 1, semi-axis 2, angle, intensity. At angle
        0 semi-axis 1 lies along height; the angle (radians) turns it towards width.

    Returns
    -------
    Complexes
        `(len(k_height), len(k_width))`.
    """
    real = np.zeros((len(k_height), len(k_width)))
    imag = np.zeros_like(real)
    if len(ellipses):
        height, width, semi_1, semi_2, angle, intensity = np.asarray(ellipses, dtype=np.float64).T
        c, s = np.cos(angle), np.sin(angle)
        form = np.stack(
            [(semi_1 * c) ** 2 + (semi_2 * s) ** 2, 2 * c * s * (semi_1**2 - semi_2**2),
             (semi_1 * s) ** 2 + (semi_2 * c) ** 2],
            axis=1,
        ) * (2 * np.pi * _KNOTS_PER_UNIT) ** 2  # fmt: skip
        # Up to a power of two, so that few tables are ever made.
        reach = np.hypot(np.abs(k_height).max(), np.abs(k_width).max()) * max(semi_1.max(), semi_2.max())
        phase_h = np.exp(-2j * np.pi * np.outer(height, k_height))
        phase_h *= (2 * np.pi * semi_1 * semi_2 * intensity)[:, None]
        phase_w = np.exp(-2j * np.pi * np.outer(width, k_width))
        _add_ellipses(
            np.ascontiguousarray(k_height, dtype=np.float64),
            np.ascontiguousarray(k_width, dtype=np.float64),
            form,
            phase_h,
            np.ascontiguousarray(phase_w.real),
            np.ascontiguousarray(phase_w.imag),
            _jinc_table(int(2 ** np.ceil(np.log2(2 * np.pi * reach + 2)))),
            real,
            imag,
        )
    return real + 1j * imag


def gaussian_transform(k_height: Floats, k_width: Floats, gaussians: Floats) -> Complexes:
    """Fourier transform of a sum of Gaussians with their axes along height and width.

    Parameters
    ----------
    k_height, k_width
        Frequencies along the two axes.
    gaussians
        One row each: center height, center width, standard deviation along height, along width, and peak.

    Returns
    -------
    Complexes
        `(len(k_height), len(k_width))`.
    """
    height, width, sigma_h, sigma_w, peak = np.asarray(gaussians, dtype=np.float64).reshape(-1, 5).T
    along_h = _gaussian_1d(k_height, height, sigma_h)
    along_w = _gaussian_1d(k_width, width, sigma_w)
    return (along_h * peak) @ along_w.T


def weight(spectrum: NDArray[Any], coefficients: NDArray[Any], step: int = 1) -> NDArray[np.complex64]:
    """Spectrum of an object times weightings that are sums of exponentials: ``Σ_q c_q F(k - q)``.

    Parameters
    ----------
    spectrum
        F at frequencies half a cycle per field of view apart, with a margin of as many frequencies
        on every side as the weighting's own highest.
    coefficients
        c_q, `(weighting, n, n)` with n odd and q = 0 in the middle, half a cycle per field of view apart.
    step
        Keep every how-many-th frequency: 2 goes from half cycles to the whole ones that are measured.

    Returns
    -------
    NDArray[np.complex64]
        `(weighting, height, width)`, the margin gone.
    """
    n_weightings, n, _ = coefficients.shape
    rows, columns = spectrum.shape[0] - n + 1, spectrum.shape[1] - n + 1
    spectrum = np.asarray(spectrum, dtype=np.complex64)
    # A convolution runs backwards over its kernel, hence the flip.
    flipped = np.asarray(coefficients[:, ::-1, ::-1], dtype=np.complex64)
    shape = (len(range(0, rows, step)), len(range(0, columns, step)))
    total = np.zeros((n_weightings, shape[0] * shape[1]), dtype=np.complex64)
    for a in range(n):
        shifted = np.stack([spectrum[a : a + rows : step, b : b + columns : step] for b in range(n)])
        total += flipped[:, a] @ shifted.reshape(n, -1)
    return total.reshape(n_weightings, *shape)


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


def evaluate_exponentials(coefficients: NDArray[Any], shape: tuple[int, int]) -> Complexes:
    """The weightings themselves at the pixels of an image, `(weighting, height, width)`.

    Pixel (i, j) is at ``(i - height // 2) / height, (j - width // 2) / width`` of the field of view.
    """
    n = coefficients.shape[-1]
    along_h, along_w = (_exponentials((np.arange(size) - size // 2) / size, n) for size in shape)
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
    return np.asarray(np.sqrt(2 * np.pi) * sigma * decay * np.exp(-2j * np.pi * np.outer(k, center)))


@lru_cache(maxsize=8)
def _jinc_table(reach: int) -> Floats:
    """Cubic pieces of J₁(z)/z from 0 to `reach`: row n holds the coefficients on its n-th interval."""
    z = np.arange(reach * _KNOTS_PER_UNIT + 1) / _KNOTS_PER_UNIT
    value, slope = np.full(len(z), 0.5), np.zeros(len(z))
    value[1:] = j1(z[1:]) / z[1:]
    slope[1:] = -jv(2, z[1:]) / z[1:] / _KNOTS_PER_UNIT
    rise = np.diff(value)
    return np.stack(
        [value[:-1], slope[:-1], 3 * rise - 2 * slope[:-1] - slope[1:], slope[:-1] + slope[1:] - 2 * rise],
        axis=1,
    )


def _add_ellipses_plain(
    k_height: Floats,
    k_width: Floats,
    form: Floats,
    phase_height: Complexes,
    phase_width_real: Floats,
    phase_width_imag: Floats,
    table: Floats,
    real: Floats,
    imag: Floats,
) -> None:
    """Add every ellipse to `real` and `imag`; `form` gives z² in units of the table's spacing."""
    z, jinc = np.empty(len(k_width)), np.empty(len(k_width))
    for i in range(len(k_height)):
        kh = k_height[i]
        for e in range(len(form)):
            constant, linear, quadratic = form[e, 0] * kh * kh, form[e, 1] * kh, form[e, 2]
            p_real, p_imag = phase_height[e, i].real, phase_height[e, i].imag
            # Three short loops, for the compiler vectorises the outer two: half the time of one.
            for j in range(len(k_width)):
                # Rounding can take the form of a thin ellipse just below zero.
                z[j] = np.sqrt(max(constant + (linear + quadratic * k_width[j]) * k_width[j], 0.0))
            for j in range(len(k_width)):
                n = int(z[j])
                t = z[j] - n
                jinc[j] = table[n, 0] + t * (table[n, 1] + t * (table[n, 2] + t * table[n, 3]))
            for j in range(len(k_width)):
                w_real, w_imag = phase_width_real[e, j], phase_width_imag[e, j]
                real[i, j] += jinc[j] * (p_real * w_real - p_imag * w_imag)
                imag[i, j] += jinc[j] * (p_real * w_imag + p_imag * w_real)


_add_ellipses = numba.njit(cache=True, nogil=True, fastmath=True)(_add_ellipses_plain)
