"""Compressed sensing with total variation: the method `cs`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import array_api_compat
import numpy as np
from pydantic import Field

from mri_recon.methods.base import Convergence, Method, Report
from mri_recon.physics.differences import gradient, gradient_adjoint, laplacian_symbol
from mri_recon.physics.fourier import Array, fftc, filtered, ifftc
from mri_recon.physics.operators import SenseOperator, sense_operator
from mri_recon.solvers.admm import ProxSplitting, Splitting, admm
from mri_recon.solvers.cg import WarmCG
from mri_recon.solvers.prox import joint_soft_threshold


class TotalVariation(Method):
    r"""Compressed sensing with isotropic total variation [1]_ [2]_.

    .. math::
        \hat x = \arg\min_x \tfrac12 \|MFSx - y\|_2^2 +
        \lambda \sum \sqrt{|\partial_h x|^2 + |\partial_w x|^2}

    over complex x, with circular differences and λ = `tv_weight` for k-space on the scale of
    `mri_recon.reconstruct.kspace_scale`: the objective of ``bart pics -R T:7:0:λ``.

    References
    ----------
    .. [1] Lustig, Donoho & Pauly (2007), Sparse MRI: the application of compressed sensing for rapid MR imaging,
       Magn Reson Med 58:1182-1195.
    .. [2] Block, Uecker & Frahm (2007), Undersampled radial MRI with multiple coils: iterative image
       reconstruction using a total variation constraint, Magn Reson Med 57:1086-1098.
    """

    needs_smaps: ClassVar[bool] = True

    tv_weight: float = Field(default=0.005, gt=0, strict=True, description="strength λ of total variation")
    iterations: int = Field(default=500, ge=1, strict=True, description="most iterations")
    tolerance: float = Field(
        default=3e-4, gt=0, strict=True, description="stop when both residuals are below this"
    )
    rho: float = Field(default=12.0, gt=0, strict=True, description="ADMM penalty, in units of tv_weight")

    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        rho = self.rho * self.tv_weight
        if smaps is None:
            constant = ifftc(kspace)[:, 0, ...]
            solve = _one_coil_solver(kspace, mask, rho)
        else:
            # The readout is sampled whole, so its transform is taken off the data once and for all.
            rho = max(MANY_COILS * rho, LEAST_RHO)
            A = sense_operator(mask, smaps, axes=(-1,))
            constant = A.adjoint(ifftc(kspace, axes=(-2,)))
            solve = _many_coil_solver(A, constant, rho)
        solution = admm(
            solve,
            _splitting(constant, self.tv_weight, rho),
            constant,
            rho=rho,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        if report is not None:
            residual = max(solution.primal, solution.dual)
            report(Convergence(solution.iterations, residual, solution.converged))
        return solution.x


RELAXATION = 1.8


def _splitting(like: Array, tv_weight: float, rho: float) -> Splitting:
    """λ TV as a splitting: compiled for numpy, plain for every other kind of array."""
    if isinstance(like, np.ndarray):
        from mri_recon.solvers.kernels import FusedTotalVariation

        return FusedTotalVariation(gradient, gradient_adjoint, like, tv_weight / rho, RELAXATION)
    prox = lambda field, step: joint_soft_threshold(field, tv_weight * step)  # noqa: E731
    return ProxSplitting(gradient, gradient_adjoint, prox, like, 1 / rho, RELAXATION)


def _one_coil_solver(kspace: Array, mask: Array, rho: float) -> Callable[[Array], Array]:
    """(FᴴMF + ρ∇ᴴ∇)⁻¹ in closed form: with circular differences it is diagonal in Fourier space."""
    xp = array_api_compat.array_namespace(kspace)
    symbol = mask[:, 0, ...] + rho * _laplacian(kspace)
    # Without the centre column nothing tells the mean, the one frequency of no total variation: it stays zero.
    inverse = xp.where(symbol > 0, 1 / xp.where(symbol > 0, symbol, 1), 0)
    return lambda rhs: filtered(rhs, inverse)


def _many_coil_solver(A: SenseOperator, like: Array, rho: float) -> Callable[[Array], Array]:
    """(AᴴA + ρ∇ᴴ∇)⁻¹ by conjugate gradients, preconditioned with the closest circulant operator."""
    symbol = _normal_symbol(A) + rho * _laplacian(like)

    def operator(image: Array) -> Array:
        return A.normal(image) + rho * gradient_adjoint(gradient(image))

    return WarmCG(operator, lambda residual: filtered(residual, 1 / symbol), steps=CG_STEPS)


CG_STEPS = 3
"""Normal-operator applications an ADMM iteration; two or five take longer to a gap of 1e-4."""

MANY_COILS = 3.0
"""Factor on `rho` for several coils: steps that are solved inexactly want a stiffer splitting."""

LEAST_RHO = 0.05
"""For several coils and tiny weights: a softer splitting leaves more to each step than CG_STEPS can do."""


def _laplacian(like: Array) -> Array:
    """Symbol of ∇ᴴ∇ as an array of the kind, device and precision of `like`."""
    xp = array_api_compat.array_namespace(like)
    real = xp.real(like[..., :1, :1])
    symbol = xp.asarray(laplacian_symbol(*like.shape[-2:]), device=array_api_compat.device(like))
    return xp.astype(symbol, real.dtype)


def _normal_symbol(A: SenseOperator) -> Array:
    r"""Diagonal of F AᴴA Fᴴ, `(slice, 1, width)`: the circulant operator closest to AᴴA [1]_.

    Each frequency is seen through the maps' spectra: :math:`\sum_c |\hat s_c|^2 \ast m`.

    References
    ----------
    .. [1] Chan (1988), An optimal circulant preconditioner for Toeplitz systems, SIAM J Sci Stat Comput 9:766-771.
    """
    xp = array_api_compat.array_namespace(A.smaps)
    spectra = fftc(A.smaps, axes=(-1,))
    power = xp.mean(xp.sum(xp.real(spectra) ** 2 + xp.imag(spectra) ** 2, axis=1, keepdims=True), axis=-2)
    power = power / power.shape[-1]  # (slice, 1, width)
    weights = xp.astype(A.mask[:, 0, 0, :], power.dtype)[:, None, :]
    # The spectrum of a product over circular shifts is the circular convolution of the two along width.
    n = power.shape[-1] ** 0.5
    convolved = fftc(ifftc(power + 0j, axes=(-1,)) * ifftc(weights + 0j, axes=(-1,)), axes=(-1,)) * n
    # A frequency that no coil can reach must not be divided by zero.
    return xp.clip(xp.real(convolved), min=1e-3)
