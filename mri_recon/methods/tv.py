"""Compressed sensing with total variation: the method `cs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mri_recon.methods.auto_weight import each_with_its_weight
from mri_recon.methods.base import Convergence, Method, Report, recalibration, setting
from mri_recon.physics.fourier import Array
from mri_recon.physics.tv_minimum import RHO, tv_minimum

ONE_COIL_TOLERANCE, SEVERAL_COILS_TOLERANCE = 1.5e-3, (1e-4, 2.5e-4)
"""Residuals at which measured scans are within 0.05 dB of the optimum. Stiffer splittings and steps that are solved
inexactly make the same residual mean more distance where there are several coils, most where λ is small."""

WEIGHT_PER_TOLERANCE = 40.0
"""λ over the tolerance, between the two of several coils."""


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
    iterations: int = setting(1500, "most iterations", int, least=1)
    tolerance: float | Literal["auto"] = setting(
        "auto",
        "stop when the residual is below this; auto is 0.0015 with one coil, 0.0001 to 0.00025 with several",
        above=0,
        words=("auto",),
    )
    rho: float = setting(RHO, "ADMM penalty, in units of tv_weight", above=0)
    recalibrate: int = recalibration(0)

    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        if self.tv_weight == "auto":
            return each_with_its_weight(self, "tv_weight", kspace, mask, smaps, report)
        solution = tv_minimum(
            kspace,
            mask,
            smaps,
            weight=self.tv_weight,
            iterations=self.iterations,
            tolerance=self.tolerance_for(several_coils=smaps is not None),
            rho=self.rho,
        )
        if report is not None:
            report(Convergence(solution.iterations, solution.residual, solution.converged))
        return solution.x

    def tolerance_for(self, *, several_coils: bool) -> float:
        """The residual at which it stops; for several coils and a weight still to be chosen, the least it may be."""
        if self.tolerance != "auto":
            return self.tolerance
        if not several_coils:
            return ONE_COIL_TOLERANCE
        least, most = SEVERAL_COILS_TOLERANCE
        if self.tv_weight == "auto":
            return least
        return min(max(self.tv_weight / WEIGHT_PER_TOLERANCE, least), most)
