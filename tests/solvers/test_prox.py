"""Every proximal operator against Moreau's identity and against what it minimises.

The operators are found by looking: one that has no case here fails the suite.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from helpers import assert_close, assert_moreau, complex_normal

from mri_recon.solvers import prox as prox_module
from mri_recon.solvers.prox import joint_soft_threshold, soft_threshold


def _onto_unit_discs(x, step):
    """Prox of the conjugate of the ℓ1 norm: projection of every number onto the unit disc."""
    return x / np.maximum(np.abs(x), 1)


def _onto_unit_balls(x, step):
    """Prox of the conjugate of the ℓ2,1 norm: projection of every vector along the first axis."""
    return x / np.maximum(np.linalg.norm(x, axis=0, keepdims=True), 1)


# name: the operator, the prox of the conjugate, and g itself
CASES = {
    "soft_threshold": (soft_threshold, _onto_unit_discs, lambda x: np.abs(x).sum()),
    "joint_soft_threshold": (
        joint_soft_threshold,
        _onto_unit_balls,
        lambda x: np.linalg.norm(x, axis=0).sum(),
    ),
}
STEPS = [1e-3, 0.7, 2.0, 1e3]


def test_every_prox_has_a_case():
    public = {
        name
        for name, thing in vars(prox_module).items()
        if inspect.isfunction(thing) and thing.__module__ == prox_module.__name__ and not name.startswith("_")
    }
    assert public == set(CASES)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", CASES)
class TestEveryProx:
    def test_moreau(self, name, step):
        prox, conjugate_prox, _ = CASES[name]
        for seed, shape in enumerate([(2, 3, 7, 8), (1, 5), (4, 1)]):
            x = complex_normal(np.random.default_rng(seed), shape)
            assert_moreau(prox, conjugate_prox, x, step)
            assert_moreau(prox, conjugate_prox, x.real.copy(), step)

    def test_nothing_nearby_is_lower(self, name, step):
        prox, _, g = CASES[name]
        rng = np.random.default_rng(1)
        x = complex_normal(rng, (2, 4, 5))

        def cost(z):
            return step * g(z) + 0.5 * np.linalg.norm(z - x) ** 2

        best = prox(x, step)
        for size in (1e-3, 1e-1, 1.0):
            for _ in range(20):
                assert cost(best) <= cost(best + size * complex_normal(rng, x.shape)) * (1 + 1e-12)
        assert cost(best) <= min(cost(x), cost(0 * x))

    def test_numpy_and_torch_agree(self, name, step):
        prox = CASES[name][0]
        x = complex_normal(np.random.default_rng(2), (2, 3, 4), np.complex64)
        shrunk = prox(x, step)
        assert shrunk.dtype == np.complex64
        assert_close(prox(torch.as_tensor(x), step), shrunk, 1e-6)


@pytest.mark.parametrize("name", CASES)
def test_zeros_stay_zero_and_a_step_of_nothing_does_nothing(name):
    prox = CASES[name][0]
    np.testing.assert_array_equal(prox(np.zeros((2, 3), dtype=np.complex64), 0.5), 0)
    x = complex_normal(np.random.default_rng(3), (2, 3))
    np.testing.assert_array_equal(prox(x, 0), x)


def test_known_values():
    shrunk = soft_threshold(np.array([3 + 4j, -0.5, 0, -2]), 1.0)
    np.testing.assert_allclose(shrunk, [2.4 + 3.2j, 0, 0, -1], atol=1e-15)
    shrunk = joint_soft_threshold(np.array([[3.0, 0.3], [4j, 0.4]]), 1.0)
    np.testing.assert_allclose(shrunk, [[2.4, 0], [3.2j, 0]], atol=1e-15)
