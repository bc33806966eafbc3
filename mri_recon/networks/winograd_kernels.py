"""Kernels of Winograd's convolution; `mri_recon.networks.winograd` calls them and says what they compute.

Images are (height, width, channel), tiles (point, tile, channel) of 36 points, six rows of six; channels come in blocks
of 32. A block of a tile is worked on in scratch memory of known strides, so that the compiler sees what does not
overlap. As in `mri_recon.solvers.kernels`, indices are unsigned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray

from mri_recon.solvers.compiled import kernel

_U = np.uint64
_F = np.float32


@kernel("float32*, float32*, float32*, int64, int64, int64, int64, int64, int64, int64")
def spread(
    image_: Any,
    tiles_: Any,
    scratch_: Any,
    height: Any,
    width: Any,
    channels: Any,
    first: Any,
    start: Any,
    stop: Any,
    n_tiles: Any,
) -> None:
    """Bᵀ d B of the 6×6 pixels around tiles of 4×4, rows `start` to `stop` of tiles, of which `first` is the first.

    Beyond the image there are zeros. `scratch` is 36 × 32.
    """
    image = carray(image_, (height * width * channels,))
    tiles = carray(tiles_, (36 * n_tiles * channels,))
    p = carray(scratch_, (36 * 32,))
    h, w, c, plane = _U(height), _U(width), _U(channels), _U(n_tiles * channels)
    across = (w + _U(3)) // _U(4)
    a1, a2, a3, a4, a5 = _U(32), _U(64), _U(96), _U(128), _U(160)
    b1, b2, b3, b4, b5 = _U(192), _U(384), _U(576), _U(768), _U(960)
    for ty in range(_U(start), _U(stop)):
        for tx in range(across):
            tile = ((ty - _U(first)) * across + tx) * c
            for block in range(c // _U(32)):
                for i in range(_U(6)):
                    y = _U(4) * ty + i  # one more than the row, which may be -1
                    for j in range(_U(6)):
                        x = _U(4) * tx + j
                        to = (i * _U(6) + j) * _U(32)
                        if y >= _U(1) and y <= h and x >= _U(1) and x <= w:
                            of = ((y - _U(1)) * w + x - _U(1)) * c + block * _U(32)
                            for k in range(_U(32)):
                                p[to + k] = image[of + k]
                        else:
                            for k in range(_U(32)):
                                p[to + k] = _F(0)
                for j in range(_U(6)):
                    q = j * _U(32)
                    for k in range(_U(32)):
                        d0, d1, d2 = p[q + k], p[q + b1 + k], p[q + b2 + k]
                        d3, d4, d5 = p[q + b3 + k], p[q + b4 + k], p[q + b5 + k]
                        e, o = d4 - _F(4) * d2, d3 - _F(4) * d1
                        f, g = d4 - d2, _F(2) * (d3 - d1)
                        p[q + k] = _F(4) * d0 - _F(5) * d2 + d4
                        p[q + b1 + k] = e + o
                        p[q + b2 + k] = e - o
                        p[q + b3 + k] = f + g
                        p[q + b4 + k] = f - g
                        p[q + b5 + k] = _F(4) * d1 - _F(5) * d3 + d5
                for i in range(_U(6)):
                    q = i * _U(192)
                    for k in range(_U(32)):
                        d0, d1, d2 = p[q + k], p[q + a1 + k], p[q + a2 + k]
                        d3, d4, d5 = p[q + a3 + k], p[q + a4 + k], p[q + a5 + k]
                        e, o = d4 - _F(4) * d2, d3 - _F(4) * d1
                        f, g = d4 - d2, _F(2) * (d3 - d1)
                        p[q + k] = _F(4) * d0 - _F(5) * d2 + d4
                        p[q + a1 + k] = e + o
                        p[q + a2 + k] = e - o
                        p[q + a3 + k] = f + g
                        p[q + a4 + k] = f - g
                        p[q + a5 + k] = _F(4) * d1 - _F(5) * d3 + d5
                for n in range(_U(36)):
                    to = n * plane + tile + block * _U(32)
                    for k in range(_U(32)):
                        tiles[to + k] = p[n * _U(32) + k]


@kernel("float32*, float32*, float32*, int64, int64, int64, int64, int64, int64, int64")
def gather(
    tiles_: Any,
    image_: Any,
    scratch_: Any,
    height: Any,
    width: Any,
    channels: Any,
    first: Any,
    start: Any,
    stop: Any,
    n_tiles: Any,
) -> None:
    """Aᵀ m A, the 4×4 pixels of each tile, into the image; arguments as of `spread`."""
    image = carray(image_, (height * width * channels,))
    tiles = carray(tiles_, (36 * n_tiles * channels,))
    p = carray(scratch_, (36 * 32,))
    h, w, c, plane = _U(height), _U(width), _U(channels), _U(n_tiles * channels)
    across = (w + _U(3)) // _U(4)
    a1, a2, a3, a4, a5 = _U(32), _U(64), _U(96), _U(128), _U(160)
    b1, b2, b3, b4, b5 = _U(192), _U(384), _U(576), _U(768), _U(960)
    for ty in range(_U(start), _U(stop)):
        for tx in range(across):
            tile = ((ty - _U(first)) * across + tx) * c
            for block in range(c // _U(32)):
                for n in range(_U(36)):
                    of = n * plane + tile + block * _U(32)
                    for k in range(_U(32)):
                        p[n * _U(32) + k] = tiles[of + k]
                for j in range(_U(6)):
                    q = j * _U(32)
                    for k in range(_U(32)):
                        m0, m1, m2 = p[q + k], p[q + b1 + k], p[q + b2 + k]
                        m3, m4, m5 = p[q + b3 + k], p[q + b4 + k], p[q + b5 + k]
                        s, t, u, v = m1 + m2, m1 - m2, m3 + m4, m3 - m4
                        p[q + k] = m0 + s + u
                        p[q + b1 + k] = t + _F(2) * v
                        p[q + b2 + k] = s + _F(4) * u
                        p[q + b3 + k] = t + _F(8) * v + m5
                for i in range(_U(4)):
                    q = i * _U(192)
                    for k in range(_U(32)):
                        m0, m1, m2 = p[q + k], p[q + a1 + k], p[q + a2 + k]
                        m3, m4, m5 = p[q + a3 + k], p[q + a4 + k], p[q + a5 + k]
                        s, t, u, v = m1 + m2, m1 - m2, m3 + m4, m3 - m4
                        p[q + k] = m0 + s + u
                        p[q + a1 + k] = t + _F(2) * v
                        p[q + a2 + k] = s + _F(4) * u
                        p[q + a3 + k] = t + _F(8) * v + m5
                for i in range(_U(4)):
                    y = _U(4) * ty + i
                    for j in range(_U(4)):
                        x = _U(4) * tx + j
                        if y < h and x < w:
                            to = (y * w + x) * c + block * _U(32)
                            of = (i * _U(6) + j) * _U(32)
                            for k in range(_U(32)):
                                image[to + k] = p[of + k]


@kernel("float32*, float32*, float32*, int64, int64, int64, int64, int64, int64, int64")
def spread_gradient(
    image_: Any,
    tiles_: Any,
    scratch_: Any,
    height: Any,
    width: Any,
    channels: Any,
    first: Any,
    start: Any,
    stop: Any,
    n_tiles: Any,
) -> None:
    """A g Aᵀ of the 4×4 pixels of each tile, the adjoint of `gather`; arguments as of `spread`."""
    image = carray(image_, (height * width * channels,))
    tiles = carray(tiles_, (36 * n_tiles * channels,))
    p = carray(scratch_, (36 * 32,))
    h, w, c, plane = _U(height), _U(width), _U(channels), _U(n_tiles * channels)
    across = (w + _U(3)) // _U(4)
    a1, a2, a3, a4, a5 = _U(32), _U(64), _U(96), _U(128), _U(160)
    b1, b2, b3, b4, b5 = _U(192), _U(384), _U(576), _U(768), _U(960)
    for ty in range(_U(start), _U(stop)):
        for tx in range(across):
            tile = ((ty - _U(first)) * across + tx) * c
            for block in range(c // _U(32)):
                for i in range(_U(4)):
                    y = _U(4) * ty + i
                    for j in range(_U(4)):
                        x = _U(4) * tx + j
                        to = (i * _U(6) + j) * _U(32)
                        if y < h and x < w:
                            of = (y * w + x) * c + block * _U(32)
                            for k in range(_U(32)):
                                p[to + k] = image[of + k]
                        else:
                            for k in range(_U(32)):
                                p[to + k] = _F(0)
                for j in range(_U(4)):
                    q = j * _U(32)
                    for k in range(_U(32)):
                        g0, g1, g2, g3 = p[q + k], p[q + b1 + k], p[q + b2 + k], p[q + b3 + k]
                        s, t = g0 + g2, g1 + g3
                        u, v = g0 + _F(4) * g2, _F(2) * g1 + _F(8) * g3
                        p[q + b1 + k] = s + t
                        p[q + b2 + k] = s - t
                        p[q + b3 + k] = u + v
                        p[q + b4 + k] = u - v
                        p[q + b5 + k] = g3
                for i in range(_U(6)):
                    q = i * _U(192)
                    for k in range(_U(32)):
                        g0, g1, g2, g3 = p[q + k], p[q + a1 + k], p[q + a2 + k], p[q + a3 + k]
                        s, t = g0 + g2, g1 + g3
                        u, v = g0 + _F(4) * g2, _F(2) * g1 + _F(8) * g3
                        p[q + a1 + k] = s + t
                        p[q + a2 + k] = s - t
                        p[q + a3 + k] = u + v
                        p[q + a4 + k] = u - v
                        p[q + a5 + k] = g3
                for n in range(_U(36)):
                    to = n * plane + tile + block * _U(32)
                    for k in range(_U(32)):
                        tiles[to + k] = p[n * _U(32) + k]
