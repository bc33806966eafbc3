"""Extrapolation of a splitting's iterates, which shortens slow tails."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Protocol

from mri_recon.solvers.admm import Splitting
from mri_recon.solvers.arrays import array_namespace

Array = Any


class MovableSplitting(Splitting, Protocol):
    """A splitting whose z and u follow from one state, the relaxed variable v = z + u."""

    def state(self) -> Array:
        """v, `(batch, …)`, real or complex; may be the splitting's own memory."""

    def move(self, state: Array, x: Array) -> None:
        """Go on from another v, `x` being the last image."""


class Extrapolated:
    """A splitting that jumps ahead now and then, by reduced rank extrapolation [1]_ [2]_.

    From `n_steps` steps g₁, g₂, … of one iteration each, the weights that sum to one and make Σ wᵢ gᵢ shortest are
    found, and v goes on from the same sum of the states they led to. A jump after which the residual is more than
    twice what it was is taken back. The minimum is the same; entries of a batch do not see each other, except that
    jumps are taken back for all.

    Parameters
    ----------
    splitting
        What is extrapolated.
    period
        Iterations from jump to jump.
    n_steps
        Steps that a jump looks at, fewer than `period`; one more state is kept.

    References
    ----------
    .. [1] Sidi (2017), Vector extrapolation methods with applications, SIAM.
    .. [2] Zhang, O'Donoghue & Boyd (2020), Globally convergent type-I Anderson acceleration for nonsmooth
       fixed-point iterations, SIAM J Optim 30:3170-3197, for the same idea in splittings.
    """

    def __init__(self, splitting: MovableSplitting, period: int = 10, n_steps: int = 5) -> None:
        self._splitting, self._period, self._n_steps = splitting, period, n_steps
        self._states: list[Array] = []
        self._calls = 0
        self._before: float | None = None
        self.taken_back = 0

    def pull(self) -> Array:
        """Kᴴ(z − u)."""
        return self._splitting.pull()

    def advance(self, x: Array, *, measure: bool) -> float | None:
        """Take in x; with `measure`, give the residual."""
        self._calls += 1
        jumped = self._before is not None
        # Kept: the state that the first of the steps starts from, and the one that each leads to.
        to_jump = -self._calls % self._period
        residual = self._splitting.advance(x, measure=measure or jumped or to_jump == 0)
        if self._before is not None and residual is not None:
            if residual > WORSE * self._before:
                self._splitting.move(self._states[-1], x)
                self.taken_back += 1
            self._before = None
            self._states = []
        if to_jump <= self._n_steps:
            self._states.append(_copy(self._splitting.state()))
        if to_jump == 0 and len(self._states) == self._n_steps + 1:
            self._before = residual
            self._splitting.move(_extrapolated(self._states), x)
        return residual if measure else None


WORSE = 2.0
"""A jump is taken back where the residual has grown by this factor."""

_REGULARISATION = 1e-5
"""Of the steps' Gram matrix, relative to its trace: well above what single precision leaves of its entries."""


def _copy(state: Array) -> Array:
    return array_namespace(state).asarray(state, copy=True)


def _extrapolated(states: list[Array]) -> Array:
    xp = array_namespace(states[0])
    steps = xp.stack([_flat(after - before) for before, after in pairwise(states)], axis=1)
    gram = steps @ xp.matrix_transpose(steps)
    n = gram.shape[-1]
    eye = xp.eye(n, dtype=gram.dtype, device=gram.device)
    trace = xp.sum(gram * eye, axis=(-2, -1), keepdims=True)
    tiny = xp.finfo(gram.dtype).tiny
    # A state that moves no more has steps of zero: then all weigh the same.
    gram = gram / xp.clip(trace, min=tiny) + _REGULARISATION * eye
    weights = xp.linalg.solve(gram, xp.ones_like(gram[..., :1]))
    weights = weights / xp.sum(weights, axis=-2, keepdims=True)
    shape = (-1,) + (1,) * (states[0].ndim - 1)
    moved = xp.zeros_like(states[0])
    for i, state in enumerate(states[1:]):
        moved = moved + xp.reshape(weights[:, i, 0], shape) * state
    return moved


def _flat(step: Array) -> Array:
    """`(batch, items)`, real: real parts, then imaginary parts."""
    xp = array_namespace(step)
    flat = xp.reshape(step, (step.shape[0], -1))
    if xp.isdtype(flat.dtype, "complex floating"):
        flat = xp.concat([xp.real(flat), xp.imag(flat)], axis=-1)
    return flat
