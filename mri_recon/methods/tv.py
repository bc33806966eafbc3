"""Compressed sensing with total variation: the method `cs`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from mri_recon.methods.auto_weight import each_with_its_weight
from mri_recon.methods.base import Convergence, Method, Report, setting
from mri_recon.methods.one_coil import closed_form
from mri_recon.physics.coils import combine
from mri_recon.physics.differences import gradient, gradient_adjoint, laplacian_symbol
from mri_recon.physics.fourier import Array, filtered, ifftc, uncentred
from mri_recon.physics.operators import circulant_symbol, sense_operator
from mri_recon.solvers.admm import ProxSplitting, Splitting, admm
from mri_recon.solvers.arrays import array_namespace, has_kernels
from mri_recon.solvers.arrays import device as device_of
from mri_recon.solvers.cg import WarmCG
from mri_recon.solvers.extrapolation import Extrapolated, MovableSplitting
from mri_recon.solvers.prox import joint_soft_threshold


@dataclass(frozen=True, kw_only=True)
class TotalVariation(Method):
    r"""Compressed sensing with isotropic total variation [1]_ [2]_.

    .. math::
        \hat x = \arg\min_x \tfrac12 \|MFSx - y\|_2^2 +
        \lambda \sum \sqrt{|\partial_h x|^2 + |\partial_w x|^2}

    over complex x, with circular forward differences and λ = `tv_weight` for k-space on the scale of
    `mri_recon.reconstruct.kspace_scale`. ``bart pics -R T:3:0:λ`` takes backward differences: the same objective for
    the mirrored image.

    References
    ----------
    .. [1] Lustig, Donoho & Pauly (2007), Sparse MRI: the application of compressed sensing for rapid MR imaging,
       Magn Reson Med 58:1182-1195.
    .. [2] Block, Uecker & Frahm (2007), Undersampled radial MRI with multiple coils: iterative image
       reconstruction using a total variation constraint, Magn Reson Med 57:1086-1098.
    """

    needs_smaps: ClassVar[bool] = True

    tv_weight: float | Literal["auto"] = setting(
        "auto", "strength λ of total variation; auto chooses it for each slice", above=0, words=("auto",)
    )
    iterations: int = setting(1000, "most iterations", int, least=1)
    tolerance: float | Literal["auto"] = setting(
        "auto",
        "stop when the residual is below this; auto is 0.0005 with one coil, 0.0001 with several",
        above=0,
        words=("auto",),
    )
    rho: float = setting(12.0, "ADMM penalty, in units of tv_weight", above=0)

    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        if self.tv_weight == "auto":
            return each_with_its_weight(self, "tv_weight", kspace, mask, smaps, report)
        weight = self.tv_weight
        if smaps is None:
            rho = self.rho * weight
            # With circular differences ∇ᴴ∇ is diagonal in Fourier space.
            solve = closed_form(kspace, mask[:, 0, ...] + rho * _laplacian(kspace), rho)
            splitting: Splitting = _splitting(kspace[:, 0, ...], weight, rho)
        else:
            solve, rho = _many_coils(kspace, mask, smaps, self.rho * weight)
            # With one coil an iteration is so quick that the jumps would cost what they save.
            splitting = Extrapolated(_splitting(kspace[:, 0, ...], weight, rho))
        solution = admm(
            solve,
            splitting,
            iterations=self.iterations,
            tolerance=self.tolerance_for(several_coils=smaps is not None),
        )
        if report is not None:
            report(Convergence(solution.iterations, solution.residual, solution.converged))
        return solution.x

    def tolerance_for(self, *, several_coils: bool) -> float:
        """The residual at which it stops."""
        if self.tolerance == "auto":
            return SEVERAL_COILS_TOLERANCE if several_coils else ONE_COIL_TOLERANCE
        return self.tolerance


def _splitting(like: Array, tv_weight: float, rho: float) -> MovableSplitting:
    """λ TV as a splitting."""
    if has_kernels(like):
        from mri_recon.solvers.fused import FusedTotalVariation

        return FusedTotalVariation(like.shape, tv_weight / rho, RELAXATION)
    prox = lambda field, step: joint_soft_threshold(field, tv_weight * step)  # noqa: E731
    return ProxSplitting(gradient, gradient_adjoint, prox, like, 1 / rho, RELAXATION)


def _many_coils(
    kspace: Array, mask: Array, smaps: Array, rho: float
) -> tuple[Callable[[Array], Array], float]:
    """(AᴴA + ρ∇ᴴ∇)⁻¹ by conjugate gradients, preconditioned with the closest circulant operator."""
    rho = max(MANY_COILS * rho, LEAST_RHO)
    steps = CG_STEPS[0] if rho >= STIFF else CG_STEPS[1]
    # The readout is sampled whole, so its transform is taken off the data once and for all: Aᴴy.
    A = sense_operator(mask, smaps, axes=(-1,))
    constant = combine(ifftc(kspace), smaps)
    inverse = 1 / (circulant_symbol(A) + rho * _laplacian(constant))
    if has_kernels(constant):
        from mri_recon.physics.columns import mixed_normal
        from mri_recon.physics.filters import FusedFilter
        from mri_recon.solvers.fused import FusedCG

        normal, exact = mixed_normal(A)
        precondition = FusedFilter(uncentred(inverse))
        return FusedCG(normal, precondition, constant, rho, steps, exact), rho

    def operator(image: Array) -> Array:
        return A.normal(image) + rho * gradient_adjoint(gradient(image))

    cg = WarmCG(operator, lambda residual: filtered(residual, inverse), steps=steps)
    return lambda pull: cg(constant + rho * pull), rho


ONE_COIL_TOLERANCE, SEVERAL_COILS_TOLERANCE = 5e-4, 1e-4
"""Residuals at which measured scans are within 0.05 dB of the optimum. Stiffer splittings and steps that are solved
inexactly make the same residual mean more distance where there are several coils."""

RELAXATION = 1.8

CG_STEPS = (2, 3)
"""Normal-operator applications an ADMM iteration: for stiff splittings, and for soft ones, which leave more to do."""

STIFF = 0.2
"""Least rho of a stiff splitting."""

MANY_COILS = 3.0
"""Factor on `rho` for several coils: steps that are solved inexactly want a stiffer splitting."""

LEAST_RHO = 0.05
"""For several coils and tiny weights: a softer splitting leaves more to each step than it can do."""


def _laplacian(like: Array) -> Array:
    """Symbol of ∇ᴴ∇ as an array of the kind, device and precision of `like`."""
    xp = array_namespace(like)
    real = xp.real(like[..., :1, :1])
    symbol = xp.asarray(laplacian_symbol(*like.shape[-2:]), device=device_of(like))
    return xp.astype(symbol, real.dtype)
