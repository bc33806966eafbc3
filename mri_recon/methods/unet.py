"""A trained U-Net on a first image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mri_recon.methods.learned import LearnedMethod


@dataclass(frozen=True, kw_only=True)
class UNetMethod(LearnedMethod):
    """Magnitude image of a trained U-Net [1]_, which improves a first image.

    That is zero-filled, or compressed sensing with the acquired columns put back, as the weights say that the network
    was trained; the weights that come with mri-recon have the second.

    Parameters
    ----------
    weights
        Weights file that `mri-recon train` wrote, or a state dict of fastMRI's U-Net; by default the one that comes
        with mri-recon.
    combination
        "rss": the root-sum-of-squares of the coil images, as scanners' references are; "maps": the coil images
        combined by their maps [2]_, which has less noise and is nearer to an object that has none.

    References
    ----------
    .. [1] Ronneberger et al. (2015), U-Net: convolutional networks for biomedical image segmentation, MICCAI.
    .. [2] Roemer et al. (1990), The NMR phased array, Magn Reson Med 16:192-225.
    """

    network: ClassVar[str] = "unet"
