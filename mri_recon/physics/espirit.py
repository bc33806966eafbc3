"""Coil sensitivity maps from the fully sampled centre of k-space."""

from __future__ import annotations

import array_api_compat
import numpy as np

from mri_recon.errors import SettingsError
from mri_recon.physics.fourier import Array, fftc, ifftc
from mri_recon.physics.masks import Columns, center_run


def espirit_maps(
    calibration: Array,
    shape: tuple[int, int],
    *,
    kernel_size: int = 6,
    threshold: float = 0.03,
    crop: float = 0.0,
) -> Array:
    r"""Coil maps as the leading eigenvectors of the calibration data's own consistency [1]_.

    Every window of `kernel_size` squared samples over all coils lies in a subspace that the calibration data
    span. Seen in the image, projecting onto that subspace is a Hermitian coil-by-coil matrix :math:`G(r)` at
    each pixel, and the sensitivities are its eigenvector of eigenvalue one.

    Parameters
    ----------
    calibration
        `(coil, height, width)` complex: the centre of k-space, zero frequency at ``n // 2``.
    shape
        (height, width) of the maps.
    kernel_size
        Side of the window; halved where the calibration region is under twice as wide.
    threshold
        Singular values of the calibration matrix below this part of the largest are noise.
    crop
        Maps are set to zero where the eigenvalue is below this; 0 keeps them everywhere.

    Returns
    -------
    Array
        `(coil, height, width)` complex64, of unit norm over coils, in phase with the low-resolution image.

    References
    ----------
    .. [1] Uecker et al. (2014), ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI,
       Magn Reson Med 71:990-1001.
    """
    xp = array_api_compat.array_namespace(calibration)
    kernel = (
        _kernel_side(kernel_size, calibration.shape[-2]),
        _kernel_side(kernel_size, calibration.shape[-1]),
    )
    gram = _kernel_gram(_signal_subspace(calibration, kernel, threshold), kernel)
    reference = _low_resolution(calibration, shape)

    # G(r) holds only 2·kernel − 1 frequencies an axis, so two small matrix products evaluate it exactly.
    along_height = _frequencies(shape[0], kernel[0], like=calibration)
    along_width = _frequencies(shape[1], kernel[1], like=calibration)
    half = xp.matmul(gram, along_width.T)  # (coil, coil, 2·kernel − 1, width)
    chunks = []
    for top in range(0, shape[0], CHUNK_ROWS):
        g = xp.tensordot(along_height[top : top + CHUNK_ROWS, :], half, axes=((1,), (2,)))
        g = xp.permute_dims(g, (0, 3, 1, 2))  # (row, width, coil, coil)
        start = xp.permute_dims(reference[:, top : top + CHUNK_ROWS, :], (1, 2, 0))
        chunks.append(_leading_eigenvectors(g, start, crop))
    return xp.permute_dims(xp.concat(chunks, axis=0), (2, 0, 1))


CHUNK_ROWS = 32
"""Rows of maps worked on at once: bounds memory at some tens of megabytes for 32 coils."""

POWER_ITERATIONS = 20


def _kernel_side(kernel_size: int, n: int) -> int:
    """As asked, or less where a narrow calibration region would hold too few windows."""
    return max(1, min(kernel_size, (n + 1) // 2))


def _signal_subspace(calibration: Array, kernel: tuple[int, int], threshold: float) -> Array:
    """Basis of what the windows span, `(vector, coil, kernel height, kernel width)`."""
    xp = array_api_compat.array_namespace(calibration)
    n_coils, height, width = calibration.shape
    kh, kw = kernel
    # windows[(dy, dx)] is the calibration block shifted by that much: one strided view a kernel element.
    windows = xp.stack(
        [
            calibration[:, dy : height - kh + 1 + dy, dx : width - kw + 1 + dx]
            for dy in range(kh)
            for dx in range(kw)
        ],
        axis=1,
    )
    matrix = xp.reshape(windows, (n_coils * kh * kw, -1))
    values, vectors = xp.linalg.eigh(xp.matmul(matrix, xp.conj(matrix).T))
    # Eigenvalues are squared singular values.
    keep = values > threshold**2 * values[-1]
    return xp.reshape(vectors[:, keep].T, (-1, n_coils, kh, kw))


def _kernel_gram(vectors: Array, kernel: tuple[int, int]) -> Array:
    """Fourier coefficients of G(r), `(coil, coil, 2kh − 1, 2kw − 1)`, lags ordered as `_frequencies`."""
    xp = array_api_compat.array_namespace(vectors)
    size = tuple(2 * k - 1 for k in kernel)
    n_vectors, n_coils = vectors.shape[:2]
    padded = xp.zeros(
        (n_vectors, n_coils, *size), dtype=vectors.dtype, device=array_api_compat.device(vectors)
    )
    padded[:, :, : kernel[0], : kernel[1]] = vectors
    # Correlation of the kernels, through the transform: at this size nothing wraps around.
    spectrum = xp.permute_dims(fftc(padded), (2, 3, 1, 0))
    product = xp.matmul(spectrum, xp.conj(xp.permute_dims(spectrum, (0, 1, 3, 2))))
    lags = ifftc(xp.permute_dims(product, (2, 3, 0, 1)))
    return lags * (size[0] * size[1]) ** 0.5 / (kernel[0] * kernel[1])


def _frequencies(n: int, kernel: int, like: Array) -> Array:
    """Complex exponentials of the lags 1 − kernel … kernel − 1 at each of `n` pixels, `(n, 2·kernel − 1)`."""
    xp = array_api_compat.array_namespace(like)
    position = (np.arange(n) - n // 2) / n
    phase = 2j * np.pi * np.outer(position, np.arange(1 - kernel, kernel))
    return xp.asarray(np.exp(phase).astype(np.complex64), device=array_api_compat.device(like))


def _low_resolution(calibration: Array, shape: tuple[int, int]) -> Array:
    """Coil images of the calibration data alone, Hann-windowed against ringing, `(coil, height, width)`."""
    xp = array_api_compat.array_namespace(calibration)
    n_coils, cal_h, cal_w = calibration.shape
    window = np.outer(np.hanning(cal_h + 2)[1:-1], np.hanning(cal_w + 2)[1:-1]).astype(np.float32)
    device = array_api_compat.device(calibration)
    padded = xp.zeros((n_coils, *shape), dtype=calibration.dtype, device=device)
    top, left = shape[0] // 2 - cal_h // 2, shape[1] // 2 - cal_w // 2
    padded[:, top : top + cal_h, left : left + cal_w] = calibration * xp.asarray(window, device=device)
    return ifftc(padded)


def _leading_eigenvectors(g: Array, start: Array, crop: float) -> Array:
    """Leading eigenvector at each pixel by power iteration, its phase that of `start`, `(row, width, coil)`.

    The low-resolution coil images are close to the answer, and carrying their phase over makes the
    combined image nearly real: what is left of its phase does not cost total variation.
    """
    xp = array_api_compat.array_namespace(g, start)
    tiny = xp.finfo(xp.real(start[:1, :1, :1]).dtype).tiny
    v = start[..., None]
    # A pixel where the calibration data hold exactly nothing starts from equal coils.
    v = xp.where(_norm(v) > 0, v, xp.ones_like(v))
    value = _norm(v)
    for _ in range(POWER_ITERATIONS):
        v = v / xp.clip(value, min=tiny)
        v = xp.matmul(g, v)
        value = _norm(v)
    v = v / xp.clip(value, min=tiny)
    overlap = xp.sum(xp.conj(v) * start[..., None], axis=-2, keepdims=True)
    magnitude = xp.abs(overlap)
    phase = xp.where(magnitude > 0, overlap / xp.clip(magnitude, min=tiny), xp.ones_like(overlap))
    maps = v * phase
    if crop > 0:
        maps = xp.where(value >= crop, maps, xp.zeros_like(maps))
    return maps[..., 0]


def _norm(v: Array) -> Array:
    xp = array_api_compat.array_namespace(v)
    return xp.sqrt(xp.sum(xp.real(v) ** 2 + xp.imag(v) ** 2, axis=-2, keepdims=True))


def calibration_region(kspace: Array, columns: Columns, *, most: int = 32) -> Array:
    """Cut the fully sampled centre, at most `most` squared, out of k-space `(…, height, width)`.

    Symmetric about the zero frequency up to one line, so that a low-pass of it has no phase ramp.

    Raises
    ------
    SettingsError
        The centre column was not acquired.
    """
    height, width = kspace.shape[-2:]
    start, stop = center_run(columns)
    center = width // 2
    if start == stop:
        raise SettingsError(
            f"The centre column {center} of {width} was not acquired, and coil maps are estimated from the centre. "
            "Use a mask with centre lines, or method zero-filled."
        )
    below = min(center - start, stop - center - 1, most // 2)
    above = min(stop - center, below + 1, most - below)
    rows = min(most, height)
    top = height // 2 - rows // 2
    return kspace[..., top : top + rows, center - below : center + above]
