"""Compiled kernels index memory unchecked: here they run as Python, where every index is checked.

Addresses become numpy arrays again that end where the memory ends, so an index beyond it, or below it (a huge one,
being unsigned), is an IndexError. What comes out is what the compiled kernels give.
"""

from __future__ import annotations

import importlib
import math
import sys
import threading

import numpy as np
import pytest
from helpers import assert_close, complex_normal

from mri_recon.data import ellipse_sums, ellipses, noise
from mri_recon.physics import columns, filters, fused_wavelets
from mri_recon.physics.columns import ColumnNormal
from mri_recon.physics.filters import FusedFilter
from mri_recon.physics.fused_wavelets import FusedWavelets
from mri_recon.solvers import fused
from mri_recon.solvers.fused import FusedCG, FusedTotalVariation
from mri_recon.solvers.threads import limited_threads

CALLERS = (fused, filters, columns, fused_wavelets, ellipses, ellipse_sums, noise)
SHAPES = [(1, 5, 6), (2, 3, 4), (1, 1, 4), (1, 4, 1), (1, 66, 2)]


class CheckedKernels:
    """The kernels of a module as Python functions on the arrays that addresses were taken of."""

    def __init__(self, module: str, arrays: list[np.ndarray]) -> None:
        self._kernels = importlib.import_module(module)
        self._arrays = arrays

    def __getattr__(self, name):
        function = getattr(self._kernels, name)
        kinds = [kind.strip() for kind in function.signature.split(",")]

        def call(*values):
            with np.errstate(over="ignore"):  # unsigned numbers wrap around
                function(*(self._value(v, kind) for v, kind in zip(values, kinds, strict=True)))

        return call

    def _value(self, value, kind):
        if not kind.endswith("*"):
            return np.float32(value) if kind == "float32" else int(value)
        there = [a for a in self._arrays if a.ctypes.data <= value < a.ctypes.data + a.nbytes]
        assert there, "an address of no array that is known"
        longest = max(there, key=lambda a: a.ctypes.data + a.nbytes)
        size = 8 if kind == "float64*" else 4
        return longest.reshape(-1).view(kind[:-1])[(value - longest.ctypes.data) // size :]


def checked_carray(memory, shape):
    size = math.prod(shape)
    assert size <= memory.size, f"{size} numbers asked for, {memory.size} are there"
    return memory[:size].reshape(shape)


@pytest.fixture
def checked(monkeypatch):
    """All kernels run as Python."""
    arrays: list[np.ndarray] = []

    def address(array):
        assert array.flags.c_contiguous
        # The array that owns the memory, of which this one may be a part.
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        arrays.extend([array, owner] if owner.flags.c_contiguous else [array])
        return array.ctypes.data

    monkeypatch.setattr(fused, "REFRESH_EVERY", 2)
    monkeypatch.setattr(columns, "_local", threading.local())  # memory whose address was taken before
    for caller in CALLERS:
        module = caller._kernels._module
        monkeypatch.setattr(caller, "_kernels", CheckedKernels(module, arrays))
        monkeypatch.setattr(caller, "address", address)
        kernels = sys.modules[module]
        monkeypatch.setattr(kernels, "carray", checked_carray)
        for name, value in vars(kernels).items():
            if hasattr(value, "py_func"):
                monkeypatch.setattr(kernels, name, value.py_func)


def steps_of(shape, n_threads):
    """What every step gives for the same random images."""
    rng = np.random.default_rng(1)
    image = lambda: complex_normal(rng, shape, np.complex64)  # noqa: E731
    with limited_threads(n_threads):
        variation = FusedTotalVariation(shape, 0.3, 1.8)
        for _ in range(2):
            yield variation.advance(image())
            yield variation.pull().copy()
        variation.move(
            complex_normal(rng, (*variation.state().shape[:-1], shape[2]), np.complex64).real.copy(), image()
        )
        yield variation.pull().copy()
        states = rng.standard_normal((4, 37), dtype=np.float32)
        yield fused.step_products(states)
        yield fused.weighted_sum(states, rng.uniform(size=4).astype(np.float32))
        wavelets = FusedWavelets(shape, [0.2, 0.1, 0.1], 1.8)
        for _ in range(2):
            yield wavelets.advance(image())
            yield wavelets.pull().copy()
        weight = rng.uniform(0.5, 1, size=shape).astype(np.float32)
        yield FusedFilter(weight, image())(image()).copy()
        frequencies = [np.arange(n) / 2 for n in shape[1:]]
        yield ellipses.ellipse_transform(*frequencies, rng.uniform(0, 0.9, (3, 6)))
        yield ellipses.ellipse_transform(np.arange(17) / 2, frequencies[1], rng.uniform(0, 0.05, (3, 6)))
        noisy = image()
        noise.add_complex_normal(noisy, 0.3, rng)
        yield noisy
        for steps in ((1, 1), (2, 2), (1, 3)):
            taps = complex_normal(rng, (2, 3, 3))
            yield ellipses.weight(complex_normal(rng, (shape[1] + 2, shape[2] + 2)), taps, steps)
        smaps = complex_normal(rng, (shape[0], 3, *shape[1:]), np.complex64)
        mask = rng.uniform(size=(1, shape[2])) < 0.6
        for drop in (0.0, 0.2):
            yield ColumnNormal(mask, smaps, drop)(image())
        yield columns.combined(complex_normal(rng, smaps.shape, np.complex64), smaps)
        for penalty in ("laplacian", "identity"):
            cg = FusedCG(
                lambda x, out: np.multiply(weight, x, out=out),
                FusedFilter(weight),
                image(),
                0.4,
                2,
                lambda x, out: np.multiply(weight, x, out=out),
                penalty=penalty,
            )
            for _ in range(2):
                yield cg(image()).copy()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_index_is_out_of_bounds(shape, n_threads, request):
    compiled = list(steps_of(shape, n_threads))
    request.getfixturevalue("checked")
    in_python = list(steps_of(shape, n_threads))
    for found, expected in zip(in_python, compiled, strict=True):
        assert_close(np.asarray(found), np.asarray(expected), 1e-3)
