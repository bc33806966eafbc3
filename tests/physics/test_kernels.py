"""The compiled kernels beside the plain versions that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, complex_normal

from mri_recon.physics import kernels
from mri_recon.physics.espirit import power_iteration
from mri_recon.physics.kernels import ColumnNormal, leading_eigenvectors
from mri_recon.physics.operators import sense_operator
from mri_recon.solvers import threads

PRECISIONS = [(np.complex128, 1e-12), (np.complex64, 1e-5)]


@pytest.fixture(params=[1, 3])
def n_threads(request, monkeypatch):
    monkeypatch.setattr(threads, "n_threads", lambda: request.param)
    return request.param


@pytest.mark.usefixtures("n_threads")
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("shape", [(2, 5, 23, 10), (1, 1, 8, 9), (3, 2, 1, 7)])
@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_column_normal_is_adjoint_after_forward(monkeypatch, shape, rows, dtype, tolerance):
    """However many rows go through at once, those left over at the end included."""
    rng = np.random.default_rng(1)
    n_slices, n_coils, height, width = shape
    smaps, x = complex_normal(rng, shape, dtype), complex_normal(rng, (n_slices, height, width), dtype)
    monkeypatch.setattr(kernels, "_CACHE_BYTES", rows * n_coils * width * x.itemsize)
    for columns in (rng.uniform(size=(1, width)) < 0.5, rng.uniform(size=(n_slices, width))):
        A = sense_operator(columns[:, None, None, :].astype(x.real.dtype), smaps, axes=(-1,))
        before = x.copy()
        normal = ColumnNormal(columns, smaps)
        for _ in range(2):  # the second time in memory that the first has used
            found = normal(x)
            assert found.dtype == dtype
            assert_close(found, A.adjoint(A(x)), tolerance)
        np.testing.assert_array_equal(x, before)


@pytest.mark.usefixtures("n_threads")
@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("shape", [(4, 11, 7), (1, 1, 3), (8, 5, 2)])
@pytest.mark.parametrize("iterations", [0, 1, 6])
def test_leading_eigenvectors_are_those_of_the_plain_power_iteration(shape, iterations, dtype, tolerance):
    rng = np.random.default_rng(2)
    n_coils, height, width = shape
    root = complex_normal(rng, (n_coils, n_coils, height, width), dtype)
    g = np.einsum("iahw,jahw->ijhw", root, root.conj()).astype(dtype)
    start = complex_normal(rng, shape, dtype)
    vectors = start.copy()
    values = leading_eigenvectors(g, vectors, iterations)
    plain, plain_values = power_iteration(g, start, iterations)
    assert_close(vectors, plain, tolerance)
    if iterations:
        assert_close(values, np.real(plain_values), tolerance)


def test_enough_iterations_give_the_largest_eigenvalue():
    rng = np.random.default_rng(3)
    root = complex_normal(rng, (5, 6, 4, 4))
    g = np.einsum("hwia,hwja->ijhw", root.transpose(2, 3, 0, 1), root.transpose(2, 3, 0, 1).conj())
    vectors = complex_normal(rng, (5, 4, 4))
    values = leading_eigenvectors(g, vectors, 3000)
    expected = np.linalg.eigvalsh(np.moveaxis(g, (0, 1), (2, 3)))[..., -1]
    np.testing.assert_allclose(values, expected, rtol=1e-8)
    assert_close(np.einsum("ijhw,jhw->ihw", g, vectors), values * vectors, 1e-6)


def test_a_pixel_without_signal_stays_finite():
    vectors = np.ones((3, 2, 2), dtype=np.complex64)
    values = leading_eigenvectors(np.zeros((3, 3, 2, 2), dtype=np.complex64), vectors, 5)
    assert not values.any()
    assert np.isfinite(vectors).all()
