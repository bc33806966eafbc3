"""Jumps ahead: the same minimum, sooner, and back where they led astray."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.physics.differences import gradient, gradient_adjoint
from mri_recon.solvers.admm import ProxSplitting, admm
from mri_recon.solvers.extrapolation import Extrapolated
from mri_recon.solvers.fused import FusedTotalVariation
from mri_recon.solvers.prox import joint_soft_threshold, soft_threshold
from mri_recon.solvers.threads import limited_threads


def _ill_conditioned(rng, n=12):
    """½‖Ax − b‖² + 0.01 ‖x‖₁ with singular values from 1 down to 0.03: a slow tail."""
    left, _ = np.linalg.qr(complex_normal(rng, (n, n)))
    A = left * np.geomspace(1, 0.03, n)
    A = A @ np.linalg.qr(complex_normal(rng, (n, n)))[0]
    return A, complex_normal(rng, (2, n))


def _solve(A, b, *, jump, rho=0.5, **settings):
    def xp(a):
        return torch.as_tensor(a) if isinstance(b, torch.Tensor) else a

    inverse = np.linalg.inv(A.conj().T @ A + rho * np.eye(len(A)))
    constant = b @ xp(A.conj())
    splitting = ProxSplitting(
        lambda x: x[None, ...], lambda f: f[0, ...], lambda z, s: soft_threshold(z, 0.01 * s), b, 1 / rho, 1.8
    )
    splitting = Extrapolated(splitting) if jump else splitting
    return admm(lambda pull: (constant + rho * pull) @ xp(inverse.T), splitting, **settings), splitting


def test_the_minimum_is_the_same_and_reached_sooner():
    A, b = _ill_conditioned(np.random.default_rng(0))
    plain, _ = _solve(A, b, jump=False, iterations=20000, tolerance=1e-8)
    sooner, _ = _solve(A, b, jump=True, iterations=20000, tolerance=1e-8)
    assert plain.converged
    assert sooner.converged
    assert sooner.iterations < 0.7 * plain.iterations
    assert_close(sooner.x, plain.x, 1e-5)


def test_numpy_and_torch_agree():
    A, b = _ill_conditioned(np.random.default_rng(1))
    by_numpy, _ = _solve(A, b, jump=True, iterations=60, tolerance=1e-12)
    by_torch, _ = _solve(A, torch.as_tensor(b), jump=True, iterations=60, tolerance=1e-12)
    assert_close(by_torch.x, by_numpy.x, 1e-8)


def test_a_bad_jump_is_taken_back(monkeypatch):
    A, b = _ill_conditioned(np.random.default_rng(2))
    monkeypatch.setattr(
        "mri_recon.solvers.extrapolation._extrapolated",
        lambda states: states[-1] + 100 * np.ones_like(states[-1]),
    )
    plain, _ = _solve(A, b, jump=False, iterations=20000, tolerance=1e-6)
    solution, splitting = _solve(A, b, jump=True, iterations=20000, tolerance=1e-6)
    assert solution.converged
    # The last one may have had no time to be.
    assert splitting.taken_back in (solution.iterations // 10, solution.iterations // 10 - 1)
    # One iteration lost to each, no more.
    assert solution.iterations <= 1.25 * plain.iterations
    assert_close(solution.x, plain.x, 1e-4)


def test_entries_of_a_batch_do_not_see_each_other():
    A, b = _ill_conditioned(np.random.default_rng(3))
    together, _ = _solve(A, b, jump=True, iterations=35, tolerance=0)
    alone, _ = _solve(A, b[1:], jump=True, iterations=35, tolerance=0)
    assert_close(together.x[1:], alone.x, 1e-10)


def test_a_splitting_that_moves_no_more_stays_where_it_is():
    splitting = Extrapolated(FusedTotalVariation((1, 6, 5), 0.1, 1.8))
    image = np.zeros((1, 6, 5), np.complex64)
    for _ in range(25):
        residual = splitting.advance(image, measure=True)
    assert residual == 0
    np.testing.assert_array_equal(splitting.pull(), 0)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("shape", [(2, 8, 10), (1, 133, 2), (2, 200, 17)])
def test_the_fused_splitting_moves_as_the_plain_one(shape, n_threads):
    """States are the same numbers, and after a move both go on the same way, the threads' own rows included."""
    rng = np.random.default_rng(4)
    with limited_threads(n_threads):
        fused = FusedTotalVariation(shape, 0.4, 1.8)
        like = np.zeros(shape, np.complex64)
        prox = lambda z, step: joint_soft_threshold(z, step)  # noqa: E731
        plain = ProxSplitting(gradient, gradient_adjoint, prox, like, 0.4, 1.8)
        for _ in range(3):
            x = complex_normal(rng, shape, np.complex64)
            for splitting in (fused, plain):
                splitting.advance(x, measure=False)
            state = plain.state()
            planes = np.stack(
                [part(state[:, axis]) for axis in (0, 1) for part in (np.real, np.imag)], axis=1
            )
            # Which difference comes first is the kernel's own affair; each has its place.
            found = fused.state()
            order = [
                int(np.argmin([np.abs(found[:, i] - planes[:, j]).max() for j in range(4)])) for i in range(4)
            ]
            assert sorted(order) == [0, 1, 2, 3]
            assert_close(found, planes[:, order], 1e-5)
            moved = complex_normal(rng, state.shape, np.complex64)
            plain.move(moved, x)
            planes = np.stack(
                [part(moved[:, axis]) for axis in (0, 1) for part in (np.real, np.imag)], axis=1
            )
            fused.move(planes[:, order], x)
            assert_close(fused.pull(), plain.pull(), 1e-5)


class _Scripted:
    """A splitting whose residuals are told, and that notes when it is moved."""

    def __init__(self, residual):
        self.residual, self.calls, self.moved = residual, 0, []

    def pull(self):
        return None

    def state(self):
        return np.full((1, 2), float(self.calls) ** 2)

    def move(self, state, x):
        self.moved.append(self.calls)

    def advance(self, x, *, measure):
        self.calls += 1
        return self.residual(self.calls)


@pytest.mark.parametrize(
    ("residual", "jumps"),
    [
        # Without progress from one jump to the next, pauses of one period, two, four …
        (lambda call: 1.0, [10, 30, 60, 110]),
        (lambda call: 0.99**call, list(range(10, 121, 10))),
        # After progress the next pause is a short one.
        (lambda call: 1.0 if call <= 20 else 0.99**call if call < 70 else 0.9, [10, 30, 40, 50, 60, 80, 110]),
    ],
)
def test_jumps_that_lead_nowhere_pause(residual, jumps):
    splitting = _Scripted(residual)
    jumping = Extrapolated(splitting)
    for _ in range(125):
        jumping.advance(np.zeros((1, 2)), measure=False)
    assert splitting.moved[: len(jumps)] == jumps
    assert jumping.taken_back == 0
