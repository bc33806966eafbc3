"""Parallel imaging without compressed sensing: the method `sense`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mri_recon.methods.base import Convergence, Method, Report, recalibration, setting
from mri_recon.physics.coils import combine
from mri_recon.physics.fourier import Array, ifftc
from mri_recon.physics.operators import sense_operator
from mri_recon.solvers.cg import conjugate_gradient


@dataclass(frozen=True, kw_only=True)
class Sense(Method):
    r"""CG-SENSE: least squares with an optional penalty on the energy [1]_ [2]_.

    .. math::
        \hat x = \arg\min_x \tfrac12 \|MFSx - y\|_2^2 + \tfrac{\mu}{2} \|x\|_2^2

    with μ = `l2_weight`. From many coils it is found by conjugate gradients. One coil says nothing of what
    was not acquired, which is then zero: the zero-filled image, divided by 1 + μ.

    References
    ----------
    .. [1] Pruessmann, Weiger, Scheidegger & Boesiger (1999), SENSE: sensitivity encoding for fast MRI,
       Magn Reson Med 42:952-962.
    .. [2] Pruessmann, Weiger, Boernert & Boesiger (2001), Advances in sensitivity encoding with arbitrary
       k-space trajectories, Magn Reson Med 46:638-651.
    """

    needs_smaps: ClassVar[bool] = True

    l2_weight: float = setting(0.01, "strength of the penalty on energy", least=0)
    iterations: int = setting(200, "most iterations", int, least=1)
    tolerance: float = setting(1e-3, "stop when the relative residual is below this", above=0)
    recalibrate: int = recalibration(0)

    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        if smaps is None:
            if report is not None:
                report(Convergence(iterations=1, residual=0.0, converged=True))
            return ifftc(mask * kspace)[:, 0, ...] / (1 + self.l2_weight)
        # The readout is sampled whole, so its transform is taken off the data once and for all: Aᴴy.
        A = sense_operator(mask, smaps, axes=(-1,))
        solution = conjugate_gradient(
            lambda image: A.normal(image) + self.l2_weight * image,
            combine(ifftc(kspace), smaps),
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        if report is not None:
            report(Convergence(solution.iterations, solution.residual, solution.converged))
        return solution.x
