"""A trained unrolled network, the physics of the measurement inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mri_recon.methods.learned import LearnedMethod


@dataclass(frozen=True, kw_only=True)
class VarNetMethod(LearnedMethod):
    """Magnitude image of a trained variational network [1]_ [2]_: cascades of data consistency and a U-Net.

    Parameters
    ----------
    weights
        Weights file that `mri-recon train` wrote, or a state dict of fastMRI's end-to-end VarNet; by default the one
        that comes with mri-recon.
    combination
        "rss": the root-sum-of-squares of the coil images, as scanners' references are; "maps": the coil images
        combined by their maps [3]_, which has less noise and is nearer to an object that has none.

    References
    ----------
    .. [1] Hammernik et al. (2018), Learning a variational network for reconstruction of accelerated MRI data,
       Magn Reson Med 79:3055-3071.
    .. [2] Sriram et al. (2020), End-to-end variational networks for accelerated MRI reconstruction, MICCAI.
    .. [3] Roemer et al. (1990), The NMR phased array, Magn Reson Med 16:192-225.
    """

    network: ClassVar[str] = "varnet"
