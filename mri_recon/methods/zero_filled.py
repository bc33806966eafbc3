"""The zero-filled reconstruction: the method `zero-filled`."""

from __future__ import annotations

from dataclasses import dataclass

from mri_recon.methods.base import Method, Report
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import Array, ifftc


@dataclass(frozen=True, kw_only=True)
class ZeroFilled(Method):
    """Adjoint of the Fourier transform with zeros where nothing was acquired, RSS over coils [1]_.

    References
    ----------
    .. [1] Roemer et al. (1990), The NMR phased array, Magn Reson Med 16:192-225.
    """

    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        return rss(ifftc(kspace))
