"""The minimum of ½‖MFSx − y‖² + λ TV(x): its splitting and the steps of it, for one coil and many."""

from __future__ import annotations

from collections.abc import Callable

from mri_recon.physics.coils import combine
from mri_recon.physics.differences import gradient, gradient_adjoint, laplacian_symbol
from mri_recon.physics.fourier import Array, filtered, ifftc, uncentred
from mri_recon.physics.one_coil import closed_form
from mri_recon.physics.operators import circulant_symbol, sense_operator
from mri_recon.solvers.admm import ProxSplitting, Solution, Splitting, admm
from mri_recon.solvers.arrays import array_namespace, has_kernels
from mri_recon.solvers.arrays import device as device_of
from mri_recon.solvers.cg import WarmCG
from mri_recon.solvers.extrapolation import Extrapolated, MovableSplitting
from mri_recon.solvers.prox import joint_soft_threshold

RHO = 8.0
"""A stiffer splitting has smaller gaps sooner, but the large smooth parts of the image, which make its PSNR, later."""


def tv_minimum(
    kspace: Array,
    mask: Array,
    smaps: Array | None,
    *,
    weight: float,
    iterations: int,
    tolerance: float,
    rho: float = RHO,
) -> Solution:
    """Minimise over complex images, by ADMM.

    Parameters
    ----------
    kspace
        `(slice, coil, height, width)`, complex, zero where `mask` is False.
    mask
        `(1, 1, 1, width)` bool, True where acquired.
    smaps
        Coil maps shaped as `kspace`; None for one coil.
    weight
        λ, in units of the image's magnitude.
    iterations, tolerance
        Stops when the residual, relative to the differences, is below `tolerance`, or after `iterations`.
    rho
        ADMM penalty, in units of `weight`.
    """
    if smaps is None:
        rho = rho * weight
        # With circular differences ∇ᴴ∇ is diagonal in Fourier space.
        solve = closed_form(kspace, mask[:, 0, ...] + rho * _laplacian(kspace), rho)
        splitting: Splitting = _splitting(kspace[:, 0, ...], weight, rho)
    else:
        solve, rho = _many_coils(kspace, mask, smaps, rho * weight)
        # With one coil an iteration is so quick that the jumps would cost what they save.
        splitting = Extrapolated(_splitting(kspace[:, 0, ...], weight, rho))
    return admm(solve, splitting, iterations=iterations, tolerance=tolerance)


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


RELAXATION = 1.8

CG_STEPS = (2, 3)
"""Normal-operator applications an ADMM iteration: for stiff splittings, and for soft ones, which leave more to do."""

STIFF = 0.2
"""Least rho of a stiff splitting."""

MANY_COILS = 3.0
"""Factor on `rho` for several coils: steps that are solved inexactly want a stiffer splitting."""

LEAST_RHO = 0.07
"""For several coils and tiny weights (below 0.003): a softer splitting leaves more to each step than it can do."""


def _laplacian(like: Array) -> Array:
    """Symbol of ∇ᴴ∇ as an array of the kind, device and precision of `like`."""
    xp = array_namespace(like)
    real = xp.real(like[..., :1, :1])
    symbol = xp.asarray(laplacian_symbol(*like.shape[-2:]), device=device_of(like))
    return xp.astype(symbol, real.dtype)
