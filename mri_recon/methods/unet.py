"""A trained U-Net on the zero-filled image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mri_recon.checkpoint import load_network
from mri_recon.errors import WeightsError
from mri_recon.methods.base import Method, Report, setting
from mri_recon.physics.fourier import Array


@dataclass(frozen=True, kw_only=True)
class UNetMethod(Method):
    """Magnitude image of a trained U-Net [1]_: zero-filled, root-sum-of-squares, improved by the network.

    Parameters
    ----------
    weights
        Weights file that `mri-recon train` wrote; by default the one that comes with mri-recon.

    References
    ----------
    .. [1] Ronneberger et al. (2015), U-Net: convolutional networks for biomedical image segmentation, MICCAI.
    """

    learned: ClassVar[bool] = True

    weights: Path | None = setting(None, "weights file that `mri-recon train` wrote", Path)

    def __call__(
        self,
        kspace: Array,
        mask: Array,
        smaps: Array | None,
        report: Report | None = None,
    ) -> Array:
        """Reconstruct a batch of slices; numpy gives numpy, torch gives torch on the same device.

        Raises
        ------
        WeightsError
            The weights cannot be used, or are those of another method's network.
        """
        device = kspace.device if isinstance(kspace, Tensor) else torch.device("cpu")
        path = self.weights or shipped_weights("unet")
        network = _cached_network(path, _changed(path), str(device))
        with torch.inference_mode():
            image = network(_tensor(kspace), _tensor(mask), None if smaps is None else _tensor(smaps))
        return image if isinstance(kspace, Tensor) else image.numpy()


def shipped_weights(method: str) -> Path:
    """File with the weights that come with mri-recon.

    Raises
    ------
    WeightsError
        This installation has none for the method.
    """
    path = Path(str(resources.files("mri_recon") / "weights" / f"{method}.safetensors"))
    if not path.is_file():
        raise WeightsError(
            f"This installation comes without weights for '{method}': {path} is missing. Train a network with "
            "`mri-recon train`, and name its best.safetensors by --weights."
        )
    return path


def _changed(path: Path) -> int:
    """When the file was last written: part of the cache's key, so that new weights are read again."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # load_network says what is wrong


@lru_cache(maxsize=4)
def _cached_network(path: Path, changed: int, device: str) -> nn.Module:
    network, info = load_network(path, device)
    if info.settings.name != "unet":
        raise WeightsError(
            f"{path} holds a network '{info.settings.name}', and method 'unet' needs a 'unet'. "
            f"Use --method {info.settings.name}, or other weights."
        )
    return network


def _tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))
