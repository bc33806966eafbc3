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

    References
    ----------
    .. [1] Hammernik et al. (2018), Learning a variational network for reconstruction of accelerated MRI data,
       Magn Reson Med 79:3055-3071.
    .. [2] Sriram et al. (2020), End-to-end variational networks for accelerated MRI reconstruction, MICCAI.
    """

    network: ClassVar[str] = "varnet"
