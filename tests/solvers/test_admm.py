"""ADMM on problems whose answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.solvers.admm import ProxSplitting, admm
from mri_recon.solvers.prox import soft_threshold

RHOS = [0.05, 1.0, 20.0]


def _solve_l1(b, weight, *, rho=1.0, relaxation=1.8, **settings):
    """½‖x − b‖² + weight ‖x‖₁ by ADMM, K the identity with a leading axis."""
    splitting = ProxSplitting(
        lambda x: x[None, ...],
        lambda f: f[0, ...],
        lambda z, step: soft_threshold(z, weight * step),
        b,
        1 / rho,
        relaxation,
    )
    return admm(lambda pull: (b + rho * pull) / (1 + rho), splitting, **settings)


@pytest.mark.parametrize("relaxation", [0.6, 1.0, 1.8])
@pytest.mark.parametrize("rho", RHOS)
def test_l1_is_the_soft_threshold_for_any_penalty(rho, relaxation):
    b = complex_normal(np.random.default_rng(1), (2, 9))
    solution = _solve_l1(b, 0.8, rho=rho, relaxation=relaxation, iterations=3000, tolerance=1e-10)
    assert solution.converged
    assert_close(solution.x, soft_threshold(b, 0.8), 1e-8)


@pytest.mark.parametrize("rho", RHOS)
def test_quadratics_are_a_linear_system(rho):
    """½⟨x, Qx⟩ − ⟨b, x⟩ + ½ μ ‖Kx‖² is least where (Q + μ KᴴK) x = b."""
    rng = np.random.default_rng(2)
    n, mu = 6, 0.7
    root, K = complex_normal(rng, (n, n)), complex_normal(rng, (2, n, n))
    Q = root @ root.conj().T / n + np.eye(n)
    KhK = sum(k.conj().T @ k for k in K)
    b = complex_normal(rng, (3, n))
    splitting = ProxSplitting(
        lambda x: np.stack([x @ k.T for k in K]),
        lambda f: f[0] @ K[0].conj() + f[1] @ K[1].conj(),
        lambda z, step: z / (1 + mu * step),
        b,
        1 / rho,
        1.5,
    )
    inverse = np.linalg.inv(Q + rho * KhK)
    solution = admm(lambda pull: (b + rho * pull) @ inverse.T, splitting, iterations=20000, tolerance=1e-9)
    assert solution.converged
    assert_close(solution.x, b @ np.linalg.inv(Q + mu * KhK).T, 1e-6)


def test_tells_how_it_ended():
    b = complex_normal(np.random.default_rng(3), (2, 9))
    loose, tight = (_solve_l1(b, 0.8, tolerance=t, iterations=1000) for t in (1e-2, 1e-6))
    for solution, tolerance in ((loose, 1e-2), (tight, 1e-6)):
        assert solution.converged
        assert solution.residual < tolerance
    assert 1 <= loose.iterations < tight.iterations < 1000
    cut_short = _solve_l1(b, 0.8, tolerance=1e-6, iterations=3)
    assert not cut_short.converged
    assert cut_short.iterations == 3
    assert 1e-6 <= cut_short.residual < np.inf


def test_converging_on_the_last_iteration_counts():
    b = complex_normal(np.random.default_rng(3), (2, 9))
    enough = _solve_l1(b, 0.8, tolerance=1e-6, iterations=1000).iterations
    assert _solve_l1(b, 0.8, tolerance=1e-6, iterations=enough).converged


def test_residuals_are_those_of_the_worst_of_the_batch():
    """An easy entry must not hide one that has not converged, whatever their sizes."""
    rng = np.random.default_rng(4)
    easy, hard = np.zeros((1, 9), dtype=np.complex128), complex_normal(rng, (1, 9))
    huge = np.full((1, 9), 1e6 + 0j)
    alone = _solve_l1(hard, 0.8, tolerance=1e-5, iterations=500)
    batch = _solve_l1(np.concatenate([easy, hard, huge]), 0.8, tolerance=1e-5, iterations=500)
    assert batch.iterations >= alone.iterations
    assert_close(batch.x[1:2], soft_threshold(hard, 0.8), 1e-4)


def test_the_callback_sees_every_iteration():
    b = complex_normal(np.random.default_rng(5), (1, 9))
    seen = []
    solution = _solve_l1(b, 0.8, tolerance=1e-6, callback=lambda n, x: seen.append((n, x)))
    assert [n for n, _ in seen] == list(range(1, solution.iterations + 1))
    np.testing.assert_array_equal(seen[-1][1], solution.x)
    errors = [np.linalg.norm(x - soft_threshold(b, 0.8)) for _, x in seen]
    assert errors[-1] < 1e-4 * errors[0]


def test_numpy_and_torch_agree():
    b = complex_normal(np.random.default_rng(6), (2, 9))
    by_numpy = _solve_l1(b, 0.5, tolerance=1e-8)
    by_torch = _solve_l1(torch.as_tensor(b), 0.5, tolerance=1e-8)
    assert by_torch.iterations == by_numpy.iterations
    assert_close(by_torch.x, by_numpy.x, 1e-12)
