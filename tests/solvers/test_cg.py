"""Conjugate gradients that stay warm, against dense solves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal

from mri_recon.solvers.cg import WarmCG, conjugate_gradient

N = 12


def _positive_definite(rng, batch, eigenvalues):
    """Hermitian matrices of those eigenvalues, `(batch, n, n)`."""
    bases = np.linalg.qr(complex_normal(rng, (batch, len(eigenvalues), len(eigenvalues))))[0]
    return (bases * eigenvalues) @ bases.conj().swapaxes(-1, -2)


def _apply(matrices):
    return lambda x: (matrices @ x[..., None])[..., 0]


@pytest.mark.parametrize("eigenvalues", [np.linspace(1, 2, N), np.geomspace(1, 1e4, N)], ids=["easy", "hard"])
def test_solves_as_a_dense_solver_does(eigenvalues):
    rng = np.random.default_rng(1)
    H = _positive_definite(rng, 3, eigenvalues)
    b = complex_normal(rng, (3, N))
    x = WarmCG(_apply(H), steps=6 * N)(b)
    assert_close(x, np.linalg.solve(H, b[..., None])[..., 0], 1e-8)


def test_ends_after_as_many_steps_as_there_are_eigenvalues():
    """What makes it conjugate gradients, not steepest descent."""
    rng = np.random.default_rng(2)
    H = _positive_definite(rng, 1, np.repeat([1.0, 7.0, 50.0], 4))
    b = complex_normal(rng, (1, N))
    expected = np.linalg.solve(H, b[..., None])[..., 0]
    assert np.abs(WarmCG(_apply(H), steps=2)(b) - expected).max() > 1e-3
    assert_close(WarmCG(_apply(H), steps=3)(b), expected, 1e-9)


def test_an_exact_preconditioner_needs_one_step():
    rng = np.random.default_rng(3)
    H = _positive_definite(rng, 2, np.geomspace(1, 1e3, N))
    b = complex_normal(rng, (2, N))
    inverse = np.linalg.inv(H)
    assert_close(WarmCG(_apply(H), _apply(inverse), steps=1)(b), _apply(inverse)(b), 1e-11)


def test_a_preconditioner_changes_the_path_and_not_the_answer():
    rng = np.random.default_rng(4)
    H = _positive_definite(rng, 1, np.linspace(1, 1.5, N))
    scale = np.geomspace(1, 30, N)
    H = scale[:, None] * H * scale
    b = complex_normal(rng, (1, N))
    expected = np.linalg.solve(H, b[..., None])[..., 0]
    plain, helped = (WarmCG(_apply(H), p, steps=8)(b) for p in (lambda r: r, lambda r: r / scale**2))
    assert np.linalg.norm(helped - expected) < 0.1 * np.linalg.norm(plain - expected)
    assert_close(WarmCG(_apply(H), lambda r: r / scale**2, steps=40)(b), expected, 1e-9)


def test_follows_a_right_hand_side_that_moves():
    """Two steps each time are enough once warm, and far from enough from zero."""
    rng = np.random.default_rng(5)
    H = _positive_definite(rng, 2, np.geomspace(1, 100, N))
    start, way = complex_normal(rng, (2, N)), complex_normal(rng, (2, N))
    warm = WarmCG(_apply(H), steps=2)
    for iteration in range(200):
        b = start + way * 0.9**iteration
        x = warm(b)
    expected = np.linalg.solve(H, b[..., None])[..., 0]
    assert_close(x, expected, 1e-6)
    cold = WarmCG(_apply(H), steps=2)(b)
    assert np.abs(cold - expected).max() > 1e-2 * np.abs(expected).max()


def test_a_jump_of_the_right_hand_side_is_solved_too():
    rng = np.random.default_rng(6)
    H = _positive_definite(rng, 2, np.geomspace(1, 100, N))
    solver = WarmCG(_apply(H), steps=60)
    for _ in range(3):
        b = complex_normal(rng, (2, N))
        # Slower than from zero: the direction left over from the last answer is of no use.
        assert_close(solver(b), np.linalg.solve(H, b[..., None])[..., 0], 1e-4)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_entries_of_a_batch_do_not_know_of_each_other(library):
    rng = np.random.default_rng(7)
    H = library(_positive_definite(rng, 3, np.geomspace(1, 100, N)))
    # Entries of very different size, and one that is solved before it starts.
    sides = [library(complex_normal(rng, (3, N)) * np.array([[1e-6], [1e3], [0]])) for _ in range(4)]
    together = WarmCG(_apply(H), steps=3)
    alone = [WarmCG(_apply(H[i : i + 1]), steps=3) for i in range(3)]
    for b in sides:
        x = together(b)
        for i in range(3):
            assert_close(x[i : i + 1], alone[i](b[i : i + 1]), 1e-9)


def test_going_on_after_convergence_does_no_harm_in_single_precision():
    rng = np.random.default_rng(8)
    H = _positive_definite(rng, 2, np.linspace(1, 20, N)).astype(np.complex64)
    b = complex_normal(rng, (2, N), np.complex64)
    solver = WarmCG(_apply(H), steps=10)
    for _ in range(50):
        x = solver(b)
    assert x.dtype == np.complex64
    assert_close(x, np.linalg.solve(H, b[..., None])[..., 0], 1e-4)


class TestConjugateGradient:
    @pytest.mark.parametrize("eigenvalues", [np.linspace(1, 2, N), np.geomspace(1, 1e3, N)])
    def test_solves_as_a_dense_solver_does(self, eigenvalues):
        rng = np.random.default_rng(11)
        H, b = _positive_definite(rng, 3, eigenvalues), complex_normal(rng, (3, N))
        solution = conjugate_gradient(_apply(H), b, iterations=10 * N, tolerance=1e-10)
        assert solution.converged
        assert_close(solution.x, np.linalg.solve(H, b[..., None])[..., 0], 1e-7)
        relative = np.linalg.norm(b - _apply(H)(solution.x), axis=1) / np.linalg.norm(b, axis=1)
        assert relative.max() <= 1.1e-10

    def test_each_entry_stops_by_itself_and_stays(self):
        rng = np.random.default_rng(12)
        easy, hard = (
            _positive_definite(rng, 1, np.ones(N)),
            _positive_definite(rng, 1, np.geomspace(1, 100, N)),
        )
        b = complex_normal(rng, (2, N))
        seen = []
        solution = conjugate_gradient(
            _apply(np.concatenate([easy, hard])), b, iterations=50, tolerance=1e-8,
            callback=lambda _, x: seen.append(x.copy()),
        )  # fmt: skip
        assert len(seen) == solution.iterations > 5
        for x in seen:
            np.testing.assert_array_equal(x[0], seen[0][0])
        alone = conjugate_gradient(_apply(hard), b[1:], iterations=50, tolerance=1e-8)
        assert alone.iterations == solution.iterations
        assert_close(solution.x[1:], alone.x, 1e-12)

    def test_ends_after_as_many_steps_as_there_are_eigenvalues(self):
        rng = np.random.default_rng(13)
        H, b = _positive_definite(rng, 1, np.repeat([1.0, 7.0, 50.0], 4)), complex_normal(rng, (1, N))
        solution = conjugate_gradient(_apply(H), b, iterations=50, tolerance=1e-9)
        assert solution.iterations == 3

    def test_nothing_to_solve_takes_no_step(self):
        solution = conjugate_gradient(lambda x: x, np.zeros((2, N), complex), iterations=5, tolerance=1e-3)
        assert (solution.iterations, solution.residual, solution.converged) == (0, 0.0, True)
        np.testing.assert_array_equal(solution.x, 0)

    def test_says_when_it_was_cut_short(self):
        rng = np.random.default_rng(14)
        H, b = _positive_definite(rng, 1, np.geomspace(1, 1e4, N)), complex_normal(rng, (1, N))
        solution = conjugate_gradient(_apply(H), b, iterations=2, tolerance=1e-8)
        assert (solution.iterations, solution.converged) == (2, False)
        expected = np.linalg.norm(b - _apply(H)(solution.x)) / np.linalg.norm(b)
        assert solution.residual == pytest.approx(expected, rel=1e-9)
        by_torch = conjugate_gradient(
            _apply(torch.as_tensor(H)), torch.as_tensor(b), iterations=2, tolerance=1e-8
        )
        assert_close(by_torch.x, solution.x, 1e-12)
