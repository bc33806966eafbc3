"""Kernels of the forward model's passes over coils; `mri_recon.physics.columns` calls them.

As in `mri_recon.solvers.kernels`, complex numbers are pairs of floats and indices are unsigned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mri_recon.solvers.compiled import kernel

_U = np.uint64


@kernel("float32*, float32*, float32*, int64, int64, int64, int64")
def expand(image_: Any, smaps_: Any, coils_: Any, n_rows: Any, n_coils: Any, width: Any, apart: Any) -> None:
    """Coil images (coil, row, width) of an image (row, width); the maps of coils lie `apart` complex numbers apart."""
    line = _U(2 * width)
    image = carray(image_, (n_rows * 2 * width,))
    smaps = carray(smaps_, (((n_coils - 1) * apart + n_rows * width) * 2,))
    coils = carray(coils_, (n_rows * n_coils * 2 * width,))
    one, two = _U(1), _U(2)
    for c in range(_U(n_coils)):
        for row in range(_U(n_rows)):
            x = row * line
            s = two * c * _U(apart) + x
            y = c * _U(n_rows) * line + x
            for j in range(_U(width)):
                p = two * j
                a, b = smaps[s + p], smaps[s + p + one]
                re, im = image[x + p], image[x + p + one]
                coils[y + p] = a * re - b * im
                coils[y + p + one] = a * im + b * re


@kernel("float32*, float32*, float32*, int64, int64, int64, int64")
def combine(coils_: Any, smaps_: Any, image_: Any, n_rows: Any, n_coils: Any, width: Any, apart: Any) -> None:
    """An image (row, width) of its coil images (coil, row, width): adjoint of `expand`."""
    line = _U(2 * width)
    image = carray(image_, (n_rows * 2 * width,))
    smaps = carray(smaps_, (((n_coils - 1) * apart + n_rows * width) * 2,))
    coils = carray(coils_, (n_rows * n_coils * 2 * width,))
    one, two = _U(1), _U(2)
    for row in range(_U(n_rows)):
        x = row * line
        for i in range(line):
            image[x + i] = np.float32(0)
        for c in range(_U(n_coils)):
            s = two * c * _U(apart) + x
            y = c * _U(n_rows) * line + x
            for j in range(_U(width)):
                p = two * j
                a, b = smaps[s + p], smaps[s + p + one]
                re, im = coils[y + p], coils[y + p + one]
                image[x + p] += a * re + b * im
                image[x + p + one] += a * im - b * re


@kernel("float32*, float32*, int64, int64")
def weigh(lines_: Any, weights_: Any, n_lines: Any, width: Any) -> None:
    """Multiply each of (line, width) complex by weights (width,)."""
    lines, weights = carray(lines_, (n_lines * 2 * width,)), carray(weights_, (width,))
    one, two = _U(1), _U(2)
    for row in range(_U(n_lines)):
        begin = row * _U(2 * width)
        for j in range(_U(width)):
            p = begin + two * j
            lines[p] *= weights[j]
            lines[p + one] *= weights[j]
