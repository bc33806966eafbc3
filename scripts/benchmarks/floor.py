"""How fast this machine could be: arithmetic of FFTs and bytes that must move, at its measured rates."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

from benchmarks.problem import Problem
from mri_recon.physics.operators import sense_operator

_BYTES = 8  # complex64


def measured_floor(shape: tuple[int, int], n_coils: int, threads: int) -> list[dict[str, Any]]:
    """Rows: what, its work, the floor in ms, what was measured in ms, and the ratio.

    One coil, an iteration: the closed-form x-update is a 2-D FFT and its inverse, 10 n log₂ n operations; besides,
    the splitting's two fields must be read and written, and the image and the right-hand side each written and read:
    8 images. Many coils, a normal operator: an FFT along the width and back of every coil, 10 n log₂ w operations a
    coil; the maps must be read, the image read and the result written: coils + 2 images, and the coil images never
    leave the cache.
    """
    height, width = shape
    n = height * width
    image_bytes = n * _BYTES
    near, far = bandwidth(image_bytes, threads), bandwidth(1 << 28, threads)
    rng = np.random.default_rng(0)
    image = _random(rng, (height, width))
    coils = _random(rng, (n_coils, height, width))
    one = _best(lambda: _there_and_back(image, (0, 1), threads))
    many = _best(lambda: _there_and_back_in_cache(coils, threads))

    rows = [
        _row("bandwidth in cache", f"{image_bytes / 1e6:.1f} MB arrays: {near / 1e9:.1f} GB/s"),
        _row("bandwidth of memory", f"268 MB arrays: {far / 1e9:.1f} GB/s"),
    ]
    work = 10 * n * math.log2(n)
    rate = f"{work / 1e6:.0f} Mflop ({work / one / 1e9:.1f} Gflop/s), {8 * image_bytes / 1e6:.1f} MB"
    # The working set of one coil, a handful of images, fits a last-level cache.
    rows.append(_row("one coil: iteration", rate, one + 8 * image_bytes / near, _iteration(shape)))
    work = 10 * n_coils * n * math.log2(width)
    moved = (n_coils + 2) * image_bytes
    rate = f"{work / 1e6:.0f} Mflop ({work / many / 1e9:.1f} Gflop/s), {moved / 1e6:.1f} MB"
    rows.append(_row(f"{n_coils} coils: normal operator", rate, many + moved / far, _normal(coils)))
    return rows


def bandwidth(size: int, threads: int) -> float:
    """Bytes a second, the better of a copy (2 streams) and a sum (3) of arrays of `size` bytes."""
    n = size // 4
    a, b, c = (np.ones(n, np.float32) for _ in range(3))
    parts = [slice(n * i // threads, n * (i + 1) // threads) for i in range(threads)]
    repeats = max(1, (1 << 26) // size)

    def copy(part: slice) -> None:
        for _ in range(repeats):
            np.copyto(a[part], b[part])

    def add(part: slice) -> None:
        for _ in range(repeats):
            np.add(a[part], b[part], out=c[part])

    with ThreadPoolExecutor(threads) as pool:
        seconds = [_best(partial(_all, pool, work, parts)) for work in (copy, add)]
    return max(streams * size * repeats / s for streams, s in zip((2, 3), seconds, strict=True))


def _all(pool: ThreadPoolExecutor, work: Callable[[slice], None], parts: list[slice]) -> None:
    for _ in pool.map(work, parts):
        pass


def _there_and_back(array: NDArray[Any], axes: tuple[int, ...], threads: int) -> None:
    for forward in (True, False):
        ducc0.fft.c2c(array, axes=axes, forward=forward, inorm=1, out=array, nthreads=threads)


def _there_and_back_in_cache(coils: NDArray[Any], threads: int) -> None:
    """Along the width, in pieces that stay in a core's cache, as a fused normal operator would."""
    n_coils, height, width = coils.shape
    n_rows = max(1, min(height, (1 << 19) // (n_coils * width * _BYTES)))

    def work(thread: int) -> None:
        piece = np.zeros((n_coils, n_rows, width), coils.dtype)
        for _ in range(thread * n_rows, height, threads * n_rows):
            _there_and_back(piece, (2,), 1)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def _iteration(shape: tuple[int, int]) -> float:
    """Seconds of one of our iterations on one coil: many less few, over the difference."""
    rng = np.random.default_rng(0)
    columns = rng.random(shape[1]) < 0.3
    problem = Problem(_random(rng, (1, *shape)) * columns, columns, None, 0.01)
    problem.solve(iterations=2)
    few, many = (_best(partial(problem.solve, iterations=n, tolerance=1e-30)) for n in (10, 60))
    return (many - few) / 50


def _normal(smaps: NDArray[Any]) -> float:
    columns = np.asarray(np.random.default_rng(0).random(smaps.shape[-1]) < 0.3)
    A = sense_operator(columns[None, None, None], smaps[None], axes=(-1,))
    image = np.ascontiguousarray(smaps[:1])
    A.normal(image)
    return _best(lambda: A.normal(image))


def _best(work: Callable[[], object], repeats: int = 7) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    return rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]


def _row(what: str, work: str, floor: float | None = None, measured: float | None = None) -> dict[str, Any]:
    row = {"floor": what, "work": work, "floor (ms)": "", "measured (ms)": "", "measured / floor": ""}
    if floor is not None and measured is not None:
        row["floor (ms)"], row["measured (ms)"] = f"{floor * 1e3:.2f}", f"{measured * 1e3:.2f}"
        row["measured / floor"] = f"{measured / floor:.1f}"
    return row
