"""Quadratic problems solved by their operator alone, remembering where they were."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mri_recon.solvers.arrays import array_namespace

Array = Any


class WarmCG:
    r"""Solve H x = b again and again for slowly changing b, a few operator applications each time.

    Every step minimises the quadratic over the plane of the preconditioned residual and the previous step,
    which is conjugate gradients written so that it need not start anew when b moves [1]_: the residual is
    corrected by the change of b, so a new right-hand side costs no application of H.

    Parameters
    ----------
    operator
        H, Hermitian and positive definite on each batch entry.
    precondition
        An approximate inverse of H, Hermitian and positive definite.
    steps
        Applications of H for each right-hand side.

    References
    ----------
    .. [1] Knyazev (2001), Toward the optimal preconditioned eigensolver: locally optimal block preconditioned
       conjugate gradient method, SIAM J Sci Comput 23:517-541.
    """

    def __init__(
        self,
        operator: Callable[[Array], Array],
        precondition: Callable[[Array], Array] = lambda residual: residual,
        *,
        steps: int,
    ) -> None:
        self._operator = operator
        self._precondition = precondition
        self._steps = steps
        self._x: Array = None
        self._rhs: Array = None
        self._residual: Array = None
        self._step: Array = None
        self._operator_step: Array = None

    def __call__(self, rhs: Array) -> Array:
        """Improve on the last solution for `rhs`, `(batch, …)`; the first call starts from zero."""
        if self._x is None:
            self._x, self._residual = 0 * rhs, rhs
        else:
            self._residual = self._residual + (rhs - self._rhs)
        self._rhs = rhs
        for _ in range(self._steps):
            self._advance()
        return self._x

    def _advance(self) -> None:
        xp = array_namespace(self._residual)
        q = self._precondition(self._residual)
        hq = self._operator(q)
        qhq, qr = _dot(q, hq), _dot(q, self._residual)
        tiny = xp.finfo(qhq.dtype).tiny
        if self._step is None:
            scale = qr / xp.clip(qhq, min=tiny)
            step, operator_step = scale * q, scale * hq
        else:
            s, hs = self._step, self._operator_step
            qhs, shs, sr = _dot(q, hs), _dot(s, hs), _dot(s, self._residual)
            # Orthogonalised in the H inner product first: the plain 2×2 system loses digits near convergence.
            slope = qhs / xp.clip(shs, min=tiny)
            denominator = qhq - slope * qhs
            along_q = (qr - slope * sr) / xp.clip(denominator, min=1e-6 * qhq + tiny)
            along_s = sr / xp.clip(shs, min=tiny) - slope * along_q
            step = along_q * q + along_s * s
            operator_step = along_q * hq + along_s * hs
        self._x = self._x + step
        self._residual = self._residual - operator_step
        self._step, self._operator_step = step, operator_step


def _dot(x: Array, y: Array) -> Array:
    """Real inner product of each batch entry, kept broadcastable."""
    if isinstance(x, np.ndarray):
        products = [np.vdot(a, b).real for a, b in zip(x, y, strict=True)]
        return np.asarray(products, dtype=x.real.dtype).reshape(-1, *[1] * (x.ndim - 1))
    xp = array_namespace(x, y)
    product = xp.real(x) * xp.real(y) + xp.imag(x) * xp.imag(y)
    return xp.sum(product, axis=tuple(range(1, x.ndim)), keepdims=True)


@dataclass(frozen=True)
class LinearSolution:
    """Where conjugate gradients ended; the iterations and the relative residual are the worst of the batch."""

    x: Array
    iterations: int
    residual: float
    converged: bool


def conjugate_gradient(
    operator: Callable[[Array], Array],
    rhs: Array,
    *,
    iterations: int,
    tolerance: float,
    callback: Callable[[int, Array], None] | None = None,
) -> LinearSolution:
    r"""Solve H x = b by conjugate gradients from zero [1]_, each batch entry on its own.

    Parameters
    ----------
    operator
        H, Hermitian and positive semidefinite on each batch entry.
    rhs
        b, `(batch, …)`, in the range of H.
    iterations
        Most applications of H.
    tolerance
        An entry stops, and stays as it is, when :math:`\|b - Hx\| \le` `tolerance` :math:`\|b\|`.
    callback
        Called with the iteration's number and x.

    References
    ----------
    .. [1] Hestenes & Stiefel (1952), Methods of conjugate gradients for solving linear systems,
       J Res Natl Bur Stand 49:409-436.
    """
    xp = array_namespace(rhs)
    x, residual, direction = 0 * rhs, rhs, rhs
    square = _dot(residual, residual)
    # An entry of zeros is solved by zeros: one stands in for its size, which ratios are taken of.
    size = _nonzero(square)
    going = square > tolerance**2 * size
    iteration = 0
    while iteration < iterations and xp.any(going):
        iteration += 1
        moved = operator(direction)
        curvature = _dot(direction, moved)
        step = xp.where(going & (curvature > 0), square / _nonzero(curvature), 0 * square)
        x = x + step * direction
        residual = residual - step * moved
        before, square = square, _dot(residual, residual)
        direction = residual + square / _nonzero(before) * direction
        going = square > tolerance**2 * size
        if callback is not None:
            callback(iteration, x)
    worst = math.sqrt(float(xp.max(square / size)))
    return LinearSolution(x, iteration, worst, not bool(xp.any(going)))


def _nonzero(x: Array) -> Array:
    """Ones in place of zeros."""
    xp = array_namespace(x)
    return xp.where(x != 0, x, xp.ones_like(x))
