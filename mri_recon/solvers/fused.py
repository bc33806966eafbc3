"""The solvers' steps in as few passes over memory as they can be had, for single-precision images on a CPU.

Each class does what a plain one beside it does (`mri_recon.solvers.admm.ProxSplitting`,
`mri_recon.solvers.cg.WarmCG`), with the kernels of `mri_recon.solvers.kernels`. Images are
`(batch, height, width)` complex64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mri_recon.solvers.compiled import Kernels, address
from mri_recon.solvers.threads import ranges, share

Image = NDArray[np.complex64]
Floats = NDArray[np.float32]

_kernels = Kernels("mri_recon.solvers.kernels")

_LEAST_ROWS = 32
"""Fewer rows a thread are done sooner than a thread is woken."""


class FusedTotalVariation:
    """`mri_recon.solvers.admm.ProxSplitting` for isotropic total variation, in one pass over memory.

    The relaxed variable v = αKx + (1 − α)z + u is all the state there is: z = shrink(v), u = v − z.
    """

    def __init__(self, shape: tuple[int, int, int], step: float, relaxation: float) -> None:
        batch, height, width = shape
        self._ranges = ranges(height, least=_LEAST_ROWS)
        self._step, self._relaxation = step, relaxation
        self._state = np.zeros((batch, 4, height, width), np.float32)
        self._halos = np.zeros((batch, len(self._ranges), 4, width), np.float32)
        self._scratch = np.empty((len(self._ranges), 10, width + 1), np.float32)
        self._sums = np.empty((height, 2), np.float32)
        self._pull: Image = np.zeros(shape, np.complex64)

    def pull(self) -> Image:
        """∇ᴴ(z − u); the same memory each time."""
        return self._pull

    def state(self) -> Floats:
        """v, `(batch, 4, height, width)`: real and imaginary parts of both differences; the same memory each time."""
        return self._state

    def move(self, state: Floats, x: Image) -> None:
        """Go on from another v."""
        self._state[:] = state
        for part, (start, _) in enumerate(self._ranges):
            self._halos[:, part] = state[:, :, start - 1]
        # An advance of no length: v stays, and what follows from it is made.
        self._advance(x, 0.0)

    def advance(self, x: Image, *, measure: bool = True) -> float:
        """Take x in; the residual, which costs nothing here."""
        return self._advance(x, self._relaxation)

    def _advance(self, x: Image, relaxation: float) -> float:
        worst = 0.0
        height, width = x.shape[-2:]
        for image, state, halos, pull in zip(x, self._state, self._halos, self._pull, strict=True):
            fixed = address(image), address(state), address(pull), address(self._sums)

            def work(start: int, stop: int, halos: Floats = halos, fixed: Any = fixed) -> None:
                part = self._ranges.index((start, stop))
                image_at, state_at, pull_at, sums_at = fixed
                _kernels.tv_advance(
                    image_at, state_at, address(halos[part]), address(self._scratch[part]), pull_at, sums_at,
                    self._step, relaxation, height, width, start, stop,
                )  # fmt: skip

            share(work, self._ranges)
            apart, size = self._sums.sum(axis=0, dtype=np.float64)
            worst = max(worst, math.sqrt(apart / max(size, 1e-30)))
        return worst


GROWN = 10.0
"""Factor on the least squared residual of those computed anew, above which the next one counts as growth."""


class FusedCG:
    """`mri_recon.solvers.cg.WarmCG` for H = Q + rho·KᴴK and right-hand sides b + rho·pull.

    Parameters
    ----------
    normal
        Q, ``normal(image, out)``.
    precondition
        An approximate inverse of H, ``precondition(image, out)``.
    constant
        b.
    steps
        Applications of Q for each right-hand side.
    exact
        Q itself, where `normal` is a quicker operator close to it. Steps are then those of `normal`, and every
        few right-hand sides the residual is computed anew: what is approached is the solution for Q.
    penalty
        KᴴK: the circular Laplacian ∇ᴴ∇, or the identity.
    """

    def __init__(
        self,
        normal: Callable[[Image, Image], Image],
        precondition: Callable[[Image, Image], Image],
        constant: Image,
        rho: float,
        steps: int,
        exact: Callable[[Image, Image], Image] | None = None,
        penalty: Literal["laplacian", "identity"] = "laplacian",
    ) -> None:
        self._normal, self._precondition, self._rho, self._steps = normal, precondition, rho, steps
        self._exact, self._constant, self._calls = exact, constant, 0
        self._least = float("inf")  # squared residual of all that were computed anew
        self._penalty = penalty
        self.x: Image = np.zeros_like(constant)
        self._residual = constant.copy()
        self._pull, self._step, self._h_step = (np.zeros_like(constant) for _ in range(3))
        self._q, self._hq = (np.empty_like(constant) for _ in range(2))

    def __call__(self, pull: Image) -> Image:
        """Improve on the last solution for the new `pull`; the same memory each time."""
        n = pull[0].size
        self._calls += 1
        if self._exact is not None and self._calls % REFRESH_EVERY == 0:
            self._refresh()
        for i in range(len(pull)):
            at = address(self._residual[i]), address(pull[i]), address(self._pull[i])
            share(partial(_kernels.move, *at, self._rho), ranges(n, least=1 << 14))
        for _ in range(self._steps):
            self._advance()
        return self.x

    def _refresh(self) -> None:
        """The residual of the last right-hand side, from Q itself."""
        assert self._exact is not None
        hx = self._hq
        self._exact(self.x, hx)
        for i in range(len(hx)):
            self._add_penalty(self.x[i], hx[i])
        np.multiply(self._pull, np.float32(self._rho), out=self._residual)
        self._residual += self._constant
        self._residual -= hx
        size = float(np.vdot(self._residual, self._residual).real)
        if size > GROWN * self._least:
            # Steps of an operator that is not close enough overshoot, more each time: from here on those of Q.
            self._normal, self._exact = self._exact, None
            self._step[:], self._h_step[:] = 0, 0
        self._least = min(self._least, size)

    def _add_penalty(self, image: Image, out: Image) -> None:
        at = address(image), address(out), self._rho
        if self._penalty == "laplacian":
            share(partial(_kernels.add_laplacian, *at, *image.shape), ranges(len(image), least=_LEAST_ROWS))
        else:
            share(partial(_kernels.add_scaled, *at), ranges(image.size, least=1 << 14))

    def _advance(self) -> None:
        q, hq = self._q, self._hq
        self._precondition(self._residual, q)
        self._normal(q, hq)
        n = q[0].size
        blocks = -(-n // _BLOCK)
        sums = np.empty((blocks, 5), np.float32)
        for i in range(len(q)):
            of_q, of_hq, of_s, of_hs, of_r, of_x = (
                address(a[i]) for a in (q, hq, self._step, self._h_step, self._residual, self.x)
            )

            def products(start: int, stop: int, at: Any = (of_q, of_hq, of_s, of_hs, of_r)) -> None:
                for part in range(start, stop):
                    end = min((part + 1) * _BLOCK, n)
                    _kernels.cg_products(*at, address(sums), part, part * _BLOCK, end)

            self._add_penalty(q[i], hq[i])
            share(products, ranges(blocks))
            along_q, along_s = _plane_minimum(*sums.sum(axis=0, dtype=np.float64).tolist())
            at = of_x, of_r, of_s, of_hs, of_q, of_hq
            share(partial(_kernels.cg_update, *at, along_q, along_s), ranges(n, least=1 << 14))


def step_products(states: Floats) -> NDArray[np.float64]:
    """Gram matrix of the steps from each of `states` (state, items) to the next."""
    n_states, n = states.shape
    blocks = -(-n // _BLOCK)
    # The kernel fills the lower half alone, and what memory held in the other may be infinite.
    products = np.zeros((blocks, n_states - 1, n_states - 1), np.float32)
    fixed = address(states), address(products), n_states, n

    def work(first: int, last: int) -> None:
        for part in range(first, last):
            _kernels.step_products(*fixed, part, part * _BLOCK, min((part + 1) * _BLOCK, n))

    share(work, ranges(blocks))
    lower = np.tril(products.sum(axis=0, dtype=np.float64))
    full: NDArray[np.float64] = lower + np.tril(lower, -1).T
    return full


def weighted_sum(states: Floats, weights: Floats) -> Floats:
    """Sum of `states` (state, items), each times its weight."""
    n_states, n = states.shape
    out = np.empty(n, np.float32)
    weights = np.ascontiguousarray(weights, np.float32)
    fixed = address(states), address(weights), address(out), n_states, n

    def work(first: int, last: int) -> None:
        for start in range(first, last, _BLOCK):
            _kernels.weighted_sum(*fixed, start, min(start + _BLOCK, last))

    share(work, ranges(n, least=_BLOCK))
    return out


REFRESH_EVERY = 8
"""Right-hand sides between exact residuals."""

_BLOCK = 1 << 14
"""Items whose products are summed in single precision; blocks are summed in double, whatever the threads."""


def _plane_minimum(qhq: float, qr: float, qhs: float, shs: float, sr: float) -> tuple[float, float]:
    """Where ½⟨p, Hp⟩ − ⟨r, p⟩ is least for p in the plane of q and s: p's parts along them."""
    tiny = 1e-30
    # Orthogonalised in the H inner product first: the plain 2×2 system loses digits near convergence.
    slope = qhs / max(shs, tiny)
    along_q = (qr - slope * sr) / max(qhq - slope * qhs, 1e-6 * qhq + tiny)
    return along_q, sr / max(shs, tiny) - slope * along_q
