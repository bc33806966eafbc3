"""What the splittings of compressed sensing have in common where there is one coil."""

from __future__ import annotations

from collections.abc import Callable

from mri_recon.physics.fourier import Array, filtered, ifftc, spectrum, uncentred
from mri_recon.solvers.arrays import array_namespace, has_kernels


def closed_form(kspace: Array, symbol: Array, rho: float) -> Callable[[Array], Array]:
    """Solve (FᴴMF + ρP) x = FᴴMy + ρ·pull for x by one filter: with one coil, and P diagonal in Fourier space, all is.

    Parameters
    ----------
    kspace
        My, `(slice, 1, height, width)`.
    symbol
        M + ρP in Fourier space, centred, `(slice or 1, height or 1, width)`, real. Where it is zero nothing tells
        that frequency of x, and it stays zero.
    """
    xp = array_namespace(kspace)
    constant = ifftc(kspace)[:, 0, ...]
    inverse = xp.where(symbol > 0, 1 / xp.where(symbol > 0, symbol, 1), 0)
    inverse = xp.broadcast_to(inverse, constant.shape)
    if has_kernels(constant):
        from mri_recon.physics.filters import FusedFilter

        inverse = uncentred(inverse)
        return FusedFilter(rho * inverse, inverse * spectrum(constant))
    return lambda pull: filtered(constant + rho * pull, inverse)
