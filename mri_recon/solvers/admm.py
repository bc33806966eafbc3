"""The alternating direction method of multipliers for a quadratic plus a simple function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mri_recon.solvers.arrays import array_namespace

Array = Any


@dataclass(frozen=True)
class Solution:
    """Where an iteration ended: its solution and the residual of `Splitting.advance`, the worst of a batch."""

    x: Array
    iterations: int
    residual: float
    converged: bool


class Splitting(Protocol):
    """The variables z (in place of Kx) and u (scaled dual) of a term g(Kx), and how they follow x."""

    def pull(self) -> Array:
        """Kᴴ(z − u), what x is drawn towards."""

    def advance(self, x: Array, *, measure: bool) -> float | None:
        """Take in x; with `measure`, give the residual ‖Kx − z‖ / ‖Kx‖, z from before, else None.

        It is the step that z and u together still want to take: zero at a minimum and nowhere else, for it
        holds the primal residual and the change of z, the dual one, both.
        """


def admm(
    solve: Callable[[Array], Array],
    splitting: Splitting,
    *,
    iterations: int = 200,
    tolerance: float = 1e-3,
    callback: Callable[[int, Array], None] | None = None,
) -> Solution:
    r"""Minimise :math:`\tfrac12\langle x, Qx\rangle - \langle b, x\rangle + g(Kx)` [1]_.

    Parameters
    ----------
    solve
        Solves :math:`(Q + \rho K^H K) x = b + \rho v` for `x`, given v; it may be inexact if it starts from its last
        answer.
    splitting
        g and K, with the prox step of g set to 1 / ρ. ρ changes the path, not the minimum.
    iterations, tolerance
        Stops when the residual is below `tolerance`, or after `iterations`.
    callback
        Called with the iteration's number and x.

    References
    ----------
    .. [1] Boyd et al. (2011), Distributed optimization and statistical learning via the alternating direction
       method of multipliers, Found Trends Mach Learn 3:1-122.
    """
    residual = math.inf
    for iteration in range(1, iterations + 1):
        x = solve(splitting.pull())
        look = iteration % CHECK_EVERY == 0 or iteration == iterations
        measured = splitting.advance(x, measure=look)
        if callback is not None:
            callback(iteration, x)
        if measured is not None:
            residual = measured
        if residual < tolerance:
            return Solution(x, iteration, residual, converged=True)
    return Solution(x, iterations, residual, converged=False)


CHECK_EVERY = 5
"""Iterations between looks at the residual, which on a GPU has to be waited for."""


class ProxSplitting:
    """A splitting made of K, its adjoint and the proximal operator of g, over-relaxed; any kind of array.

    Parameters
    ----------
    transform, adjoint
        K and its adjoint; `transform` adds a leading axis to `(batch, …)`.
    prox
        ``prox(z, step)``, the proximal operator of g.
    like
        An array of the shape and kind of x.
    step
        1 / rho of `admm`.
    relaxation
        Over-relaxation in (0, 2).
    """

    def __init__(
        self,
        transform: Callable[[Array], Array],
        adjoint: Callable[[Array], Array],
        prox: Callable[[Array, float], Array],
        like: Array,
        step: float,
        relaxation: float,
    ) -> None:
        self._transform, self._adjoint, self._prox = transform, adjoint, prox
        self._step, self._relaxation = step, relaxation
        self._z = self._u = transform(0 * like)

    def pull(self) -> Array:
        """Kᴴ(z − u)."""
        return self._adjoint(self._z - self._u)

    def state(self) -> Array:
        """v = z + u, `(batch, axis of K, …)`."""
        return array_namespace(self._z).moveaxis(self._z + self._u, 0, 1)

    def move(self, state: Array, x: Array) -> None:
        """Go on from another v."""
        self._enter(array_namespace(state).moveaxis(state, 1, 0))

    def advance(self, x: Array, *, measure: bool) -> float | None:
        """Take x in; with `measure`, give the residual."""
        kx = self._transform(x)
        apart = kx - self._z
        self._enter(self._z + self._u + self._relaxation * apart)
        return _relative(apart, kx, lead=1) if measure else None

    def _enter(self, v: Array) -> None:
        self._z = self._prox(v, self._step)
        self._u = v - self._z


def _relative(difference: Array, reference: Array, *, lead: int) -> float:
    """Norm of `difference` over that of `reference`; `lead` axes precede the batch."""
    xp = array_namespace(difference)
    axes = tuple(a for a in range(difference.ndim) if a != lead)
    norm = [xp.sum(xp.real(v) ** 2 + xp.imag(v) ** 2, axis=axes) for v in (difference, reference)]
    tiny = xp.finfo(norm[0].dtype).tiny
    return math.sqrt(float(xp.max(norm[0] / xp.clip(norm[1], min=tiny))))
