"""A trained U-Net on the zero-filled image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mri_recon.methods.learned import LearnedMethod


@dataclass(frozen=True, kw_only=True)
class UNetMethod(LearnedMethod):
    """Magnitude image of a trained U-Net [1]_: zero-filled, root-sum-of-squares, improved by the network.

    Parameters
    ----------
    weights
        Weights file that `mri-recon train` wrote, or a state dict of fastMRI's U-Net; by default the one that comes
        with mri-recon.

    References
    ----------
    .. [1] Ronneberger et al. (2015), U-Net: convolutional networks for biomedical image segmentation, MICCAI.
    """

    network: ClassVar[str] = "unet"
