"""The alternating direction method of multipliers for a quadratic plus a simple function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import array_api_compat

Array = Any


@dataclass(frozen=True)
class Solution:
    """Where an iteration ended.

    `primal` and `dual` are the two residuals, each relative to the size of what it compares; the worst of a
    batch.
    """

    x: Array
    iterations: int
    primal: float
    dual: float
    converged: bool


class Splitting(Protocol):
    """The variables z (in place of Kx) and u (scaled dual) of a term g(Kx), and how they follow x."""

    def pull(self) -> Array:
        """Kᴴ(z − u), what x is drawn towards."""

    def advance(self, x: Array, *, measure: bool) -> tuple[float, float] | None:
        """Take in x; with `measure`, give the relative primal and dual residuals, else None."""


def admm(
    solve: Callable[[Array], Array],
    splitting: Splitting,
    constant: Array,
    *,
    rho: float,
    iterations: int = 200,
    tolerance: float = 1e-3,
    callback: Callable[[int, Array], None] | None = None,
) -> Solution:
    r"""Minimise :math:`\tfrac12\langle x, Qx\rangle - \langle b, x\rangle + g(Kx)` [1]_.

    Parameters
    ----------
    solve
        Solves :math:`(Q + \rho K^H K) x = v` for `x`; it may be inexact if it starts from its last answer.
    splitting
        g and K, with the prox step of g set to 1 / `rho`.
    constant
        b, `(batch, …)`; the iteration starts from zero.
    rho
        Penalty of the splitting: it changes the path, not the minimum.
    iterations, tolerance
        Stops when both residuals are below `tolerance`, or after `iterations`.
    callback
        Called with the iteration's number and x.

    References
    ----------
    .. [1] Boyd et al. (2011), Distributed optimization and statistical learning via the alternating direction
       method of multipliers, Found Trends Mach Learn 3:1-122.
    """
    primal = dual = math.inf
    x = constant
    for iteration in range(1, iterations + 1):
        x = solve(constant + rho * splitting.pull())
        look = iteration % CHECK_EVERY == 0 or iteration == iterations
        measured = splitting.advance(x, measure=look)
        if callback is not None:
            callback(iteration, x)
        if measured is not None:
            primal, dual = measured
            if max(primal, dual) < tolerance:
                return Solution(x, iteration, primal, dual, converged=True)
    return Solution(x, iterations, primal, dual, converged=False)


CHECK_EVERY = 5
"""Iterations between looks at the residuals, which cost more than an iteration's own passes."""


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

    def advance(self, x: Array, *, measure: bool) -> tuple[float, float] | None:
        """Take x in; with `measure`, give the primal and dual residuals."""
        before = self._z
        v = self._relaxation * self._transform(x) + (1 - self._relaxation) * self._z + self._u
        self._z = self._prox(v, self._step)
        self._u = v - self._z
        if not measure:
            return None
        return residuals(self._transform, self._adjoint, x, self._z, before, self._u)


def residuals(
    transform: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    x: Array,
    z: Array,
    z_before: Array,
    u: Array,
) -> tuple[float, float]:
    """‖Kx − z‖ / ‖Kx‖ and ‖Kᴴ(z − z_before)‖ / ‖Kᴴu‖, each the worst of the batch."""
    kx = transform(x)
    return _relative(kx - z, kx, lead=1), _relative(adjoint(z - z_before), adjoint(u), lead=0)


def _relative(difference: Array, reference: Array, *, lead: int) -> float:
    """Norm of `difference` over that of `reference`; `lead` axes precede the batch."""
    xp = array_api_compat.array_namespace(difference)
    axes = tuple(a for a in range(difference.ndim) if a != lead)
    norm = [xp.sum(xp.real(v) ** 2 + xp.imag(v) ** 2, axis=axes) for v in (difference, reference)]
    tiny = xp.finfo(norm[0].dtype).tiny
    return math.sqrt(float(xp.max(norm[0] / xp.clip(norm[1], min=tiny))))
