"""Extrapolation of a splitting's iterates, which shortens slow tails."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from mri_recon.solvers.admm import Splitting
from mri_recon.solvers.arrays import array_namespace, device

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
    twice what it was is taken back. Where the residual is no smaller than before the jump when the next one is due,
    jumping leads nowhere, as it does where the data say nothing of a region (maps that are zero there): no jumps for
    a while, and for twice as long if the next leads nowhere either. The minimum is the same; entries of a batch do
    not see each other, except that jumps are taken back, and paused, for all.

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
        self._states: Array | None = None
        self._kept = self._calls = 0
        self._before: float | None = None
        self._at_last_jump = math.inf
        self._pause = self._to_pause = 0
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
                assert self._states is not None
                self._splitting.move(self._states[-1, ...], x)
                self.taken_back += 1
            self._before, self._kept = None, 0
        if to_jump <= self._n_steps:
            self._keep(self._splitting.state())
        if to_jump == 0 and self._kept == self._n_steps + 1:
            assert residual is not None
            if self._is_worth_it(residual):
                self._before = residual
                self._splitting.move(_extrapolated(self._states), x)
            else:
                self._kept = 0
        return residual if measure else None

    def _is_worth_it(self, residual: float) -> bool:
        """Whether the jump that is due is to be made."""
        if self._to_pause == 0 and residual >= self._at_last_jump:
            self._pause = max(2 * self._pause, 1)
            self._to_pause = self._pause
        elif self._to_pause == 0 and self._at_last_jump < math.inf:
            self._pause = 0
        if self._to_pause > 0:
            self._to_pause -= 1
            self._at_last_jump = math.inf
            return False
        self._at_last_jump = residual
        return True

    def _keep(self, state: Array) -> None:
        if self._states is None:
            xp = array_namespace(state)
            self._states = xp.empty(
                (self._n_steps + 1, *state.shape), dtype=state.dtype, device=device(state)
            )
        self._states[self._kept, ...] = state
        self._kept += 1


WORSE = 2.0
"""A jump is taken back where the residual has grown by this factor."""

_REGULARISATION = 1e-5
"""Of the steps' Gram matrix, relative to its trace: well above what single precision leaves of its entries."""


def _extrapolated(states: Array) -> Array:
    """Where `states` `(state, batch, …)` lead to, `(batch, …)`."""
    xp = array_namespace(states)
    if isinstance(states, np.ndarray) and states.dtype == np.float32:
        from mri_recon.solvers.fused import step_products, weighted_sum

        flat = [np.ascontiguousarray(states[:, i]).reshape(len(states), -1) for i in range(states.shape[1])]
        ahead = [weighted_sum(entry[1:], _weights(step_products(entry))) for entry in flat]
        return np.stack(ahead).reshape(states.shape[1:])
    steps = xp.moveaxis(xp.reshape(states[1:, ...] - states[:-1, ...], (*_but_one(states), -1)), 0, 1)
    if xp.isdtype(steps.dtype, "complex floating"):
        steps = xp.concat([xp.real(steps), xp.imag(steps)], axis=-1)
    weights = xp.moveaxis(_weights(steps @ xp.matrix_transpose(steps)), 0, 1)
    return xp.sum(
        xp.reshape(weights, (*_but_one(states), *[1] * (states.ndim - 2))) * states[1:, ...], axis=0
    )


def _but_one(states: Array) -> tuple[int, int]:
    return states.shape[0] - 1, states.shape[1]


def _weights(gram: Array) -> Array:
    """Weights `(…, step)` that sum to one and make the sum of the steps shortest, by their Gram matrix."""
    xp = array_namespace(gram)
    eye = xp.eye(gram.shape[-1], dtype=gram.dtype, device=device(gram))
    trace = xp.sum(gram * eye, axis=(-2, -1), keepdims=True)
    # A state that moves no more has steps of zero: then all weigh the same.
    gram = gram / xp.clip(trace, min=xp.finfo(gram.dtype).tiny) + _REGULARISATION * eye
    weights = xp.linalg.solve(gram, xp.ones_like(gram[..., :1]))[..., 0]
    return weights / xp.sum(weights, axis=-1, keepdims=True)
