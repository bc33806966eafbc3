"""Compressed sensing with wavelets: the method `wavelet`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from mri_recon.methods.auto_weight import each_with_its_weight
from mri_recon.methods.base import Convergence, Method, Report, recalibration, setting
from mri_recon.physics.coils import combine
from mri_recon.physics.fourier import Array, filtered, ifftc, uncentred
from mri_recon.physics.one_coil import closed_form
from mri_recon.physics.operators import circulant_symbol, sense_operator
from mri_recon.physics.wavelets import n_levels, prox_of_wavelets, shift_weights, wavelet, wavelet_adjoint
from mri_recon.solvers.admm import ProxSplitting, Splitting, admm
from mri_recon.solvers.arrays import array_namespace, has_kernels
from mri_recon.solvers.cg import WarmCG
from mri_recon.solvers.prox import soft_threshold


@dataclass(frozen=True, kw_only=True)
class Wavelet(Method):
    r"""Compressed sensing with Daubechies' wavelets of four taps, the same at every shift of the image [1]_ [2]_.

    .. math::
        \hat x = \arg\min_x \tfrac12 \|MFSx - y\|_2^2 + \lambda\, \mathrm{mean}_s \|W T_s x\|_1

    over complex x, with λ = `wavelet_weight` for k-space on the scale of `mri_recon.reconstruct.kspace_scale`, W
    the orthonormal wavelet transform and :math:`T_s` all circular shifts. ``bart pics -R W:3:0:λ`` and SigPy draw
    one shift an iteration, which settles near the minimum of this mean; here it is reached. As with BART, all
    bands count, the coarsest too.

    References
    ----------
    .. [1] Lustig, Donoho & Pauly (2007), Sparse MRI: the application of compressed sensing for rapid MR imaging,
       Magn Reson Med 58:1182-1195.
    .. [2] Coifman & Donoho (1995), Translation-invariant de-noising, in Wavelets and Statistics, 125-150.
    """

    needs_smaps: ClassVar[bool] = True

    wavelet_weight: float | Literal["auto"] = setting(
        "auto", "strength λ of the wavelets; auto chooses it for each slice", above=0, words=("auto",)
    )
    levels: int = setting(6, "most levels of the transform", int, least=1)
    iterations: int = setting(500, "most iterations", int, least=1)
    tolerance: float = setting(5e-5, "stop when the residual is below this", above=0)
    rho: float = setting(5.0, "ADMM penalty, in units of wavelet_weight", above=0)
    recalibrate: int = recalibration(0)

    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        if self.wavelet_weight == "auto":
            return each_with_its_weight(self, "wavelet_weight", kspace, mask, smaps, report)
        weight = self.wavelet_weight
        if smaps is None:
            rho = self.rho * weight
            # The frame is tight: KᴴK is the identity.
            real = array_namespace(kspace).real(kspace[:1, 0, :1, :1]).dtype
            solve = closed_form(kspace, array_namespace(mask).astype(mask[:, 0, ...], real) + rho, rho)
        else:
            solve, rho = _many_coils(kspace, mask, smaps, self.rho * weight)
        levels = min(self.levels, n_levels(*kspace.shape[-2:]))
        solution = admm(
            solve,
            _splitting(kspace[:, 0, ...], weight, levels, rho),
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        if report is not None:
            report(Convergence(solution.iterations, solution.residual, solution.converged))
        return solution.x


def _splitting(like: Array, wavelet_weight: float, levels: int, rho: float) -> Splitting:
    """λ times the mean over shifts, as a splitting."""
    weights = [wavelet_weight * weight for weight in shift_weights(levels)]
    if has_kernels(like):
        from mri_recon.physics.fused_wavelets import FusedWavelets

        return FusedWavelets(like.shape, [weight / rho for weight in weights], RELAXATION)
    prox = prox_of_wavelets(soft_threshold, weights)
    transform = lambda image: wavelet(image, levels)  # noqa: E731
    return ProxSplitting(transform, wavelet_adjoint, prox, like, 1 / rho, RELAXATION)


def _many_coils(
    kspace: Array, mask: Array, smaps: Array, rho: float
) -> tuple[Callable[[Array], Array], float]:
    """(AᴴA + ρ)⁻¹ by conjugate gradients, preconditioned with the closest circulant operator."""
    rho = max(MANY_COILS * rho, LEAST_RHO)
    # The readout is sampled whole, so its transform is taken off the data once and for all: Aᴴy.
    A = sense_operator(mask, smaps, axes=(-1,))
    constant = combine(ifftc(kspace), smaps)
    inverse = 1 / (circulant_symbol(A) + rho)
    if has_kernels(constant):
        from mri_recon.physics.columns import mixed_normal
        from mri_recon.physics.filters import FusedFilter
        from mri_recon.solvers.fused import FusedCG

        normal, exact = mixed_normal(A)
        precondition = FusedFilter(uncentred(inverse))
        return FusedCG(normal, precondition, constant, rho, CG_STEPS, exact, penalty="identity"), rho
    cg = WarmCG(
        lambda image: A.normal(image) + rho * image,
        lambda residual: filtered(residual, inverse),
        steps=CG_STEPS,
    )
    return lambda pull: cg(constant + rho * pull), rho


RELAXATION = 1.8

CG_STEPS = 3
"""Normal-operator applications an ADMM iteration."""

MANY_COILS = 4.0
"""Factor on `rho` for several coils: steps that are solved inexactly want a stiffer splitting."""

LEAST_RHO = 0.1
"""For several coils and tiny weights: a softer splitting leaves more to each step than CG_STEPS can do."""
