"""Coil sensitivity maps from the fully sampled centre of k-space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import SettingsError
from mri_recon.physics.fourier import Array, fftc, ifftc
from mri_recon.physics.masks import Columns, center_run
from mri_recon.solvers.arrays import array_namespace, has_kernels
from mri_recon.solvers.arrays import device as device_of
from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

_kernels = Kernels("mri_recon.physics.espirit_kernels")


def espirit_maps(
    calibration: Array,
    shape: tuple[int, int],
    *,
    kernel_size: int = 6,
    threshold: float = 0.02,
    crop: float = 0.0,
    soft: bool = False,
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
        Side of the window, less along an axis where the calibration region is narrow.
    threshold
        Singular values of the calibration matrix below this part of the largest are noise. BART's ``ecalib -t`` is on
        their squares: its 0.001 is 0.0316 here.
    crop
        Where the eigenvalue is below this there is taken to be no object, and the maps are zero, as in ``ecalib -c``;
        0 keeps all.
    soft
        Fade the maps out about `crop` instead, by the weights of ``ecalib -S`` (to 0.003, fitted to what it gives).

    Returns
    -------
    Array
        `(coil, height, width)` complex64, in phase with the low-resolution image; of unit norm over coils where they
        are not cropped.

    References
    ----------
    .. [1] Uecker et al. (2014), ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI,
       Magn Reson Med 71:990-1001.
    """
    xp = array_namespace(calibration)
    n_coils = calibration.shape[0]
    if not xp.any(calibration != 0):
        # An empty slice prefers no coil.
        equal = xp.ones((n_coils, *shape), dtype=calibration.dtype, device=device_of(calibration))
        return equal / n_coils**0.5
    kernel = (
        _kernel_side(kernel_size, calibration.shape[-2]),
        _kernel_side(kernel_size, calibration.shape[-1]),
    )
    gram = _kernel_gram(_signal_subspace(calibration, kernel, threshold), kernel)
    reference = _low_resolution(calibration, shape)
    # Maps are smooth: on large images every other row and column is enough.
    steps = tuple(2 if n >= COARSE_FROM * k else 1 for n, k in zip(shape, kernel, strict=True))
    coarse, values = _leading_eigenvectors(gram, reference[:, :: steps[0], :: steps[1]], shape, kernel, steps)
    maps = _refined(coarse, reference, steps)
    return maps * _support(values, shape, steps, crop, soft=soft) if crop > 0 else maps


CHUNK_BYTES = 4 << 20
"""Size of the matrices G(r) held at once, by each thread."""

POWER_ITERATIONS = 20

COARSE_FROM = 20
"""Pixels for each sample of the kernel from which on maps are worked out on every other pixel.

They have at most a cycle for every 20 pixels then, which four-point interpolation gets to within 2e-4.
"""


def _kernel_side(kernel_size: int, n: int) -> int:
    """As asked, or about a third of a narrow calibration region: with few windows a larger kernel fits noise."""
    return max(1, min(kernel_size, max(2, (n + 1) // 3), (n + 1) // 2))


def _signal_subspace(calibration: Array, kernel: tuple[int, int], threshold: float) -> Array:
    """Basis of what the windows span, `(vector, coil, kernel height, kernel width)`."""
    xp = array_namespace(calibration)
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
    # The smaller of the two Gram matrices will do; its eigenvalues are squared singular values.
    wide = matrix.shape[0] > matrix.shape[1]
    small = xp.conj(matrix).T if wide else matrix
    values, vectors = xp.linalg.eigh(xp.matmul(small, xp.conj(small).T))
    keep = values > threshold**2 * values[-1]
    vectors = vectors[:, keep]
    if wide:
        vectors = xp.matmul(matrix, vectors) / xp.sqrt(values[keep])
    return xp.reshape(vectors.T, (-1, n_coils, kh, kw))


def _kernel_gram(vectors: Array, kernel: tuple[int, int]) -> Array:
    """Fourier coefficients of G(r), `(coil, coil, 2kh − 1, 2kw − 1)`, lags ordered as `_frequencies`."""
    xp = array_namespace(vectors)
    size = tuple(2 * k - 1 for k in kernel)
    n_vectors, n_coils = vectors.shape[:2]
    padded = xp.zeros((n_vectors, n_coils, *size), dtype=vectors.dtype, device=device_of(vectors))
    padded[:, :, : kernel[0], : kernel[1]] = vectors
    # Correlation of the kernels, through the transform: at this size nothing wraps around.
    spectrum = xp.permute_dims(fftc(padded), (2, 3, 1, 0))
    product = xp.matmul(spectrum, xp.conj(xp.permute_dims(spectrum, (0, 1, 3, 2))))
    lags = ifftc(xp.permute_dims(product, (2, 3, 0, 1)))
    return lags * (size[0] * size[1]) ** 0.5 / (kernel[0] * kernel[1])


def _frequencies(n: int, kernel: int, like: Array) -> Array:
    """Complex exponentials of the lags 1 − kernel … kernel − 1 at each of `n` pixels, `(n, 2·kernel − 1)`."""
    xp = array_namespace(like)
    position = (np.arange(n) - n // 2) / n
    phase = 2j * np.pi * np.outer(position, np.arange(1 - kernel, kernel))
    return xp.asarray(np.exp(phase).astype(np.complex64), device=device_of(like))


def _low_resolution(calibration: Array, shape: tuple[int, int]) -> Array:
    """Coil images of the calibration data alone, Hann-windowed against ringing, `(coil, height, width)`."""
    xp = array_namespace(calibration)
    n_coils, cal_h, cal_w = calibration.shape
    window = np.outer(_hann(cal_h), _hann(cal_w)).astype(np.float32)
    device = device_of(calibration)
    padded = xp.zeros((n_coils, *shape), dtype=calibration.dtype, device=device)
    top, left = shape[0] // 2 - cal_h // 2, shape[1] // 2 - cal_w // 2
    padded[:, top : top + cal_h, left : left + cal_w] = calibration * xp.asarray(window, device=device)
    return ifftc(padded)


def _hann(n: int) -> NDArray[np.float64]:
    """Hann window symmetric about the zero frequency ``n // 2``, so that it adds no phase, even for even `n`."""
    window: NDArray[np.float64] = np.cos(np.pi / 2 * (np.arange(n) - n // 2) / ((n + 1) // 2)) ** 2
    return window


def _leading_eigenvectors(
    gram: Array, start: Array, shape: tuple[int, int], kernel: tuple[int, int], steps: tuple[int, ...]
) -> tuple[Array, Array]:
    """Leading eigenvectors of G on every `steps`-th pixel by power iteration, in phase with `start`, and values.

    The low-resolution coil images are close to the answer, and carrying their phase over makes the
    combined image nearly real: what is left of its phase does not cost total variation.
    """
    xp = array_namespace(gram, start)
    # G(r) holds only 2·kernel − 1 frequencies an axis, so two small matrix products evaluate it exactly.
    along_height = _frequencies(shape[0], kernel[0], like=start)[:: steps[0], :]
    along_width = _frequencies(shape[1], kernel[1], like=start)[:: steps[1], :]
    half = xp.matmul(gram, along_width.T)  # (coil, coil, 2·kernel − 1, width)
    # A pixel where the calibration data hold exactly nothing starts from equal coils.
    v = xp.where(_norm(start) > 0, start, xp.ones_like(start))
    n_coils, height, width = v.shape
    n_rows = max(1, CHUNK_BYTES // (8 * n_coils**2 * width))

    def matrices(top: int) -> Array:
        g = xp.tensordot(along_height[top : top + n_rows, :], half, axes=((1,), (2,)))
        return xp.permute_dims(g, (1, 2, 0, 3))  # (coil, coil, row, width)

    if has_kernels(v):
        starts = [v[:, top : top + n_rows] for top in range(0, height, n_rows)]
        pieces: list[tuple[Array, Array]] = [(v, v)] * len(starts)

        def work(first: int, last: int) -> None:
            for i in range(first, last):
                pieces[i] = _compiled_power_iteration(matrices(i * n_rows), starts[i])

        share(work, ranges(len(pieces)))
    else:
        pieces = [
            power_iteration(matrices(top), v[:, top : top + n_rows, :], POWER_ITERATIONS)
            for top in range(0, height, n_rows)
        ]
    v = xp.concat([vectors for vectors, _ in pieces], axis=1)
    return v * _phase(v, start), xp.concat([values for _, values in pieces], axis=0)


def _compiled_power_iteration(
    g: Array, start: Array, iterations: int = POWER_ITERATIONS
) -> tuple[Array, Array]:
    """`power_iteration` for numpy's complex64."""
    g, v = np.ascontiguousarray(g), np.array(start, np.complex64, order="C")
    n_coils, height, width = v.shape
    values, size = np.empty((height, width), np.float32), np.empty(width, np.float32)
    product = np.empty((n_coils, width), np.complex64)
    at = [address(a) for a in (g, v, values, product, size)]
    _kernels.power_iteration(*at, iterations, n_coils, height, width, 0, height)
    return v, values


def _refined(coarse: Array, reference: Array, steps: tuple[int, ...]) -> Array:
    """Maps `(coil, height, width)` of maps on every `steps`-th pixel: of unit norm, in phase with `reference`."""
    xp = array_namespace(coarse, reference)
    if has_kernels(coarse):
        coarse, reference = np.ascontiguousarray(coarse), np.ascontiguousarray(reference)
        out = np.empty_like(reference)
        n_coils, height, width = out.shape

        def work(start: int, stop: int) -> None:
            line, overlap = np.empty(coarse.shape[2], np.complex64), np.empty(width, np.complex64)
            size = np.empty(width, np.float32)
            at = [address(a) for a in (coarse, reference, out, line, overlap, size)]
            _kernels.refine(*at, n_coils, *coarse.shape[1:], *steps, height, width, start, stop)

        share(work, ranges(height, least=16))
        return out
    coarse = _interpolated(coarse, reference.shape[-2:], steps)
    tiny = xp.finfo(xp.real(coarse[:1, :1, :1]).dtype).tiny
    unit = coarse / xp.clip(_norm(coarse), min=tiny)
    return unit * _phase(unit, reference)


def _interpolated(coarse: Array, shape: tuple[int, int], steps: tuple[int, ...]) -> Array:
    """Values `(…, height, width)` of those on every `steps`-th pixel, from the four nearest along an axis."""
    xp = array_namespace(coarse)
    for axis, step in zip((1, 2), steps, strict=True):
        if step == 2:
            near = coarse + xp.roll(coarse, -1, axis=axis)
            far = xp.roll(coarse, 1, axis=axis) + xp.roll(coarse, -2, axis=axis)
            pairs = xp.stack([coarse, (9 * near - far) / 16], axis=axis + 1)
            longer = [*coarse.shape]
            longer[axis] *= 2
            coarse = xp.reshape(pairs, tuple(longer))
            coarse = coarse[:, : shape[0], :] if axis == 1 else coarse[:, :, : shape[1]]
    return coarse


def _support(
    values: Array, shape: tuple[int, int], steps: tuple[int, ...], crop: float, *, soft: bool
) -> Array:
    """Weights `(height, width)` of maps from their eigenvalues."""
    xp = array_namespace(values)
    values = _interpolated(xp.real(values)[None, ...], shape, steps)[0, ...]
    if not soft:
        return xp.astype(values >= crop, values.dtype)
    width = 1.15 * (1 - crop)
    weights = xp.clip((xp.sqrt(xp.clip(values, min=0)) - crop + width) / (2 * width), min=0, max=1)
    for _ in range(2):
        weights = weights * weights * (3 - 2 * weights)
    return weights


def _phase(v: Array, reference: Array) -> Array:
    """The phase that turns `v` towards `reference`; one where they have nothing in common."""
    xp = array_namespace(v, reference)
    overlap = xp.sum(xp.conj(v) * reference, axis=0)
    magnitude = xp.abs(overlap)
    tiny = xp.finfo(magnitude.dtype).tiny
    return xp.where(magnitude > 0, overlap / xp.clip(magnitude, min=tiny), xp.ones_like(overlap))


def power_iteration(g: Array, start: Array, iterations: int) -> tuple[Array, Array]:
    """Leading eigenvectors and values of `g`, `(coil, coil, row, width)`, from `start`, `(coil, row, width)`."""
    xp = array_namespace(g, start)
    matrices = xp.permute_dims(g, (2, 3, 0, 1))
    v = xp.permute_dims(start, (1, 2, 0))[..., None]
    v = v / xp.linalg.vector_norm(v, axis=-2, keepdims=True)
    value = v[..., 0, 0]
    for _ in range(iterations):
        v = xp.matmul(matrices, v)
        length = xp.linalg.vector_norm(v, axis=-2, keepdims=True)
        v, value = v / length, length[..., 0, 0]
    return xp.permute_dims(v[..., 0], (2, 0, 1)), value


def _norm(v: Array) -> Array:
    xp = array_namespace(v)
    return xp.sqrt(xp.sum(xp.real(v) ** 2 + xp.imag(v) ** 2, axis=0, keepdims=True))


def estimate_maps(kspace: Array, columns: Columns) -> Array:
    """Coil maps of each slice from its own centre lines, shaped as `kspace`, `(slice, coil, height, width)`.

    Raises
    ------
    SettingsError
        The centre column was not acquired.
    """
    xp = array_namespace(kspace)
    shape = (kspace.shape[-2], kspace.shape[-1])
    return xp.stack(
        [espirit_maps(calibration_region(kspace[s, ...], columns), shape) for s in range(kspace.shape[0])]
    )


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
