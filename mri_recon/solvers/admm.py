"""The alternating direction method of multipliers for a quadratic plus a simple function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def admm(
    solve: Callable[[Array], Array],
    transform: Callable[[Array], Array],
    adjoint: Callable[[Array], Array],
    prox: Callable[[Array, float], Array],
    constant: Array,
    *,
    rho: float,
    relaxation: float = 1.8,
    iterations: int = 200,
    tolerance: float = 1e-3,
    callback: Callable[[int, Array], None] | None = None,
) -> Solution:
    r"""Minimise :math:`\tfrac12\langle x, Qx\rangle - \langle b, x\rangle + g(Kx)` [1]_.

    Parameters
    ----------
    solve
        Solves :math:`(Q + \rho K^H K) x = v` for `x`; it may be inexact if it starts from its last answer.
    transform, adjoint
        K and its adjoint; `transform` adds a leading axis to `(batch, …)`.
    prox
        ``prox(z, step)``, the proximal operator of g.
    constant
        b, `(batch, …)`; the iteration starts from zero.
    rho
        Penalty of the splitting: it changes the path, not the minimum.
    relaxation
        Over-relaxation in (0, 2).
    iterations, tolerance
        Stops when both residuals are below `tolerance`, or after `iterations`.
    callback
        Called with the iteration's number and x.

    References
    ----------
    .. [1] Boyd et al. (2011), Distributed optimization and statistical learning via the alternating direction
       method of multipliers, Found Trends Mach Learn 3:1-122.
    """
    z = transform(0 * constant)
    u = z
    primal = dual = float("inf")
    x = constant
    for iteration in range(1, iterations + 1):
        x = solve(constant + rho * adjoint(z - u))
        kx = transform(x)
        relaxed = relaxation * kx + (1 - relaxation) * z + u
        previous, z = z, prox(relaxed, 1 / rho)
        u = relaxed - z
        if callback is not None:
            callback(iteration, x)
        if iteration % CHECK_EVERY == 0 or iteration == iterations:
            primal = _relative(kx - z, kx, lead=1)
            dual = _relative(adjoint(z - previous), adjoint(u), lead=0)
            if max(primal, dual) < tolerance:
                return Solution(x, iteration, primal, dual, converged=True)
    return Solution(x, iterations, primal, dual, converged=False)


CHECK_EVERY = 5
"""Iterations between looks at the residuals, which cost about as much as an iteration's own passes."""


def _relative(difference: Array, reference: Array, *, lead: int) -> float:
    """Norm of `difference` over that of `reference`, the worst of the batch; `lead` axes precede the batch."""
    xp = array_api_compat.array_namespace(difference)
    axes = tuple(a for a in range(difference.ndim) if a != lead)
    norm = [xp.sum(xp.real(v) ** 2 + xp.imag(v) ** 2, axis=axes) for v in (difference, reference)]
    tiny = xp.finfo(norm[0].dtype).tiny
    return math.sqrt(float(xp.max(norm[0] / xp.clip(norm[1], min=tiny))))
