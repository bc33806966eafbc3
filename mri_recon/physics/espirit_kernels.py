"""Kernels of ESPIRiT, what is done at every pixel; `mri_recon.physics.espirit` calls them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mri_recon.solvers.compiled import kernel

_ZERO, _ONE = np.float32(0), np.float32(1)
_NEAR, _FAR = np.float32(9 / 16), np.float32(-1 / 16)


@kernel("complex64*, complex64*, float32*, complex64*, float32*, int64, int64, int64, int64, int64, int64")
def power_iteration(
    g_: Any, vectors_: Any, values_: Any, product_: Any, size_: Any,
    iterations: Any, n_coils: Any, height: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Power iteration on rows start to stop of g (coil, coil, row, width), in place on vectors (coil, row, width).

    values (row, width); product (coil, width) and size (width) are scratch: a whole row at once, so that the inner
    loop runs along memory.
    """
    g = carray(g_, (n_coils, n_coils, height, width))
    vectors, values = carray(vectors_, (n_coils, height, width)), carray(values_, (height, width))
    product, size = carray(product_, (n_coils, width)), carray(size_, (width,))
    for i in range(start, stop):
        for step in range(iterations + 1):
            for j in range(width):
                size[j] = _ZERO
            for c in range(n_coils):
                for j in range(width):
                    v = vectors[c, i, j]
                    size[j] += v.real * v.real + v.imag * v.imag
            for j in range(width):
                values[i, j] = np.sqrt(size[j])
                size[j] = _ONE / values[i, j] if values[i, j] > _ZERO else _ZERO
            for c in range(n_coils):
                for j in range(width):
                    vectors[c, i, j] *= size[j]
            if step == iterations:
                break
            for c in range(n_coils):
                for j in range(width):
                    product[c, j] = g[c, 0, i, j] * vectors[0, i, j]
                for d in range(1, n_coils):
                    for j in range(width):
                        product[c, j] += g[c, d, i, j] * vectors[d, i, j]
            for c in range(n_coils):
                for j in range(width):
                    vectors[c, i, j] = product[c, j]


@kernel(
    "complex64*, complex64*, complex64*, complex64*, complex64*, float32*, "
    "int64, int64, int64, int64, int64, int64, int64, int64, int64"
)
def refine(
    coarse_: Any, reference_: Any, out_: Any, line_: Any, overlap_: Any, size_: Any,
    n_coils: Any, rows: Any, columns: Any, row_step: Any, column_step: Any,
    height: Any, width: Any, start: Any, stop: Any,
) -> None:  # fmt: skip
    """Maps on every pixel of those on every `row_step`-th row and `column_step`-th column: `_refined`, compiled.

    coarse (coil, rows, columns); reference, out (coil, height, width); line (columns), overlap and size (width) are
    scratch. Steps are 1 or 2.
    """
    coarse = carray(coarse_, (n_coils, rows, columns))
    reference, out = carray(reference_, (n_coils, height, width)), carray(out_, (n_coils, height, width))
    line, overlap, size = carray(line_, (columns,)), carray(overlap_, (width,)), carray(size_, (width,))
    for i in range(start, stop):
        for j in range(width):
            size[j] = _ZERO
            overlap[j] = 0
        r = i // row_step
        a, b = (r + rows - 1) % rows, (r + 1) % rows
        d = (r + 2) % rows
        for c in range(n_coils):
            if i % row_step == 0:
                for q in range(columns):
                    line[q] = coarse[c, r, q]
            else:
                for q in range(columns):
                    line[q] = _NEAR * (coarse[c, r, q] + coarse[c, b, q]) + _FAR * (
                        coarse[c, a, q] + coarse[c, d, q]
                    )
            if column_step == 1:
                for j in range(width):
                    out[c, i, j] = line[j]
            else:
                for q in range(columns):
                    out[c, i, 2 * q] = line[q]
                for q in range(width // 2):
                    left = line[q - 1 if q > 0 else columns - 1]
                    right, further = line[(q + 1) % columns], line[(q + 2) % columns]
                    out[c, i, 2 * q + 1] = _NEAR * (line[q] + right) + _FAR * (left + further)
            for j in range(width):
                v = out[c, i, j]
                size[j] += v.real * v.real + v.imag * v.imag
                overlap[j] += np.conj(v) * reference[c, i, j]
        for j in range(width):
            o = overlap[j]
            length = np.sqrt(o.real * o.real + o.imag * o.imag)
            unit = _ONE / np.sqrt(size[j]) if size[j] > _ZERO else _ZERO
            overlap[j] = o * (unit / length) if length > _ZERO else unit
        for c in range(n_coils):
            for j in range(width):
                out[c, i, j] *= overlap[j]
