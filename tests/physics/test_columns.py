"""The forward model along columns, compiled, beside the plain one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, complex_normal

from mri_recon.physics import columns as module
from mri_recon.physics.columns import ColumnNormal
from mri_recon.physics.operators import sense_operator
from mri_recon.solvers.threads import limited_threads


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("shape", [(2, 5, 23, 10), (1, 1, 8, 9), (3, 2, 1, 7)])
@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_column_normal_is_adjoint_after_forward(monkeypatch, shape, rows, n_threads):
    """However many rows go through at once, those left over at the end included."""
    rng = np.random.default_rng(1)
    n_slices, n_coils, height, width = shape
    smaps = complex_normal(rng, shape, np.complex64)
    x = complex_normal(rng, (n_slices, height, width), np.complex64)
    monkeypatch.setattr(module, "_CACHE_BYTES", rows * n_coils * width * x.itemsize)
    for columns in (rng.uniform(size=(1, width)) < 0.5, rng.uniform(size=(n_slices, width))):
        A = sense_operator(columns[:, None, None, :].astype(np.float32), smaps, axes=(-1,))
        before = x.copy()
        normal = ColumnNormal(columns, smaps)
        with limited_threads(n_threads):
            for _ in range(2):  # the second time in memory that the first has used
                found = normal(x)
                assert found.dtype == np.complex64
                assert_close(found, A.adjoint(A(x)), 1e-5)
        into = np.empty_like(x)
        assert normal(x, into) is into
        np.testing.assert_array_equal(into, found)
        np.testing.assert_array_equal(x, before)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("empty", [slice(0, 9), slice(None)])
def test_mixed_coils_of_maps_that_are_zero_somewhere_stay_numbers(empty):
    """As BART's and others' maps are outside the object."""
    rng = np.random.default_rng(1)
    shape, columns = (2, 6, 12, 20), rng.random((2, 20)) < 0.5
    # Three coils' worth of energy in six, so that some are mixed away.
    smaps = complex_normal(rng, shape) * np.array([1, 1, 1, 1e-3, 1e-3, 1e-3]).reshape(1, -1, 1, 1)
    smaps[..., empty] = 0
    smaps = smaps.astype(np.complex64)
    image = complex_normal(rng, (2, 12, 20), np.complex64)
    mixed = ColumnNormal(columns, smaps, drop=5e-3)
    found = mixed(image)
    assert not found[..., empty].any()
    if empty != slice(None):
        assert all(len(block) == 3 for block in mixed._compressed[0])
    assert_close(found, ColumnNormal(columns, smaps)(image), 1e-2)
