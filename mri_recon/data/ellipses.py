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

from mri_recon.data.ellipse_sums import ellipse_planes, turned
from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

_kernels = Kernels("mri_recon.data.ellipse_kernels")

_REACH = 0.97
"""Cycles per standard deviation beyond which a Gaussian's transform is below 1e-8 of its peak."""


def ellipse_transform(k_height: Floats, k_width: Floats, ellipses: Floats) -> NDArray[np.complex64]:
    r"""Fourier transform of a sum of uniform ellipses on a rectangular grid of frequencies.

    An ellipse of semi-axes a, b and intensity I has
    :math:`F(k) = 2\pi a b I \, J_1(z)/z \; e^{-2\pi i k \cdot r_0}`, with z 2π times the length of k in the
    ellipse's own axes, scaled by a and b. In single precision: within 1e-6 of an ellipse's peak.

    Of small ones it is computed at few frequencies and interpolated to the others (`mri_recon.data.ellipse_sums`).

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
    planes = ellipse_planes(k_height, k_width, np.asarray(ellipses, np.float64).reshape(-1, 6))
    joined = np.empty((len(k_height), len(k_width)), np.complex64)
    joined.real, joined.imag = planes[:, 0, : len(k_width)], planes[:, 1, : len(k_width)]
    return joined


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
    turns = turned(k, center)
    return decay * (turns[:, 0] + 1j * turns[:, 1])
