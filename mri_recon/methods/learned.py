"""What all learned methods share: weights from a file, and the network in them called on numpy or torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mri_recon.checkpoint import SHIPPED, load_network, shipped_weights
from mri_recon.errors import SettingsError, WeightsError
from mri_recon.methods.base import Convergence, Method, Report, recalibration, setting
from mri_recon.physics.fourier import Array, fftc


@dataclass(frozen=True, kw_only=True)
class LearnedMethod(Method):
    """A trained network as a method. Subclasses say by `network` whose networks they take: those that name it.

    Whether coil maps are needed, and whether images are cropped beforehand, depends on the network.
    """

    learned: ClassVar[bool] = True
    network: ClassVar[str]

    weights: Path | None = setting(
        None, "weights file that `mri-recon train` or fastMRI wrote, or shipped", Path
    )
    combination: str = setting(
        "rss", "how coil images make the image: rss as scanners do it, or maps, which is quieter", str,
        words=("rss", "maps"),
    )  # fmt: skip
    recalibrate: int = recalibration(24)

    def __post_init__(self) -> None:
        super().__post_init__()
        if str(self.weights) == SHIPPED:  # as `mri-recon train --weights` has it
            object.__setattr__(self, "weights", None)

    @property
    def needs_smaps(self) -> bool:  # type: ignore[override]  # known from the weights alone
        """Whether the network is to be given coil maps."""
        return bool(self.load().needs_smaps)

    @property
    def crops_first(self) -> bool:  # type: ignore[override]  # known from the weights alone
        """Whether the network expects the image cropped to its final size."""
        return bool(self.load().crops_first)

    @property
    def crops_readout(self) -> bool:  # type: ignore[override]  # known from the weights alone
        """Whether the network was trained without readout oversampling."""
        return bool(self.load().crops_readout)

    def load(self, device: torch.device | str = "cpu") -> nn.Module:
        """The network with its weights, kept for the next call.

        Raises
        ------
        WeightsError
            The weights cannot be used, or are those of another method's network.
        SettingsError
            Coil images to be combined by maps, of a network that is given none.
        """
        path = self.weights or shipped_weights(self.network)
        network = _cached_network(path, _changed(path), str(device), self.combination)
        if network.method != self.network:
            raise WeightsError(
                f"{path} holds a network of method '{network.method}', and this is method '{self.network}'. "
                f"Use --method {network.method}, or other weights."
            )
        if self.combination != "rss" and not getattr(network, "has_maps", False):
            raise SettingsError(
                f"combination: expected rss, got '{self.combination}': the network of {path} ends without coil images "
                "and maps to combine them by. Leave combination at rss, or use other weights."
            )
        return network

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
        network = self.load(kspace.device if isinstance(kspace, Tensor) else "cpu")
        inputs = _tensor(kspace), _tensor(mask), None if smaps is None else _tensor(smaps)
        with torch.inference_mode():
            if report is None or not hasattr(network, "with_residual"):
                image = network(*inputs)
            else:
                image, residual = network.with_residual(*inputs)  # type: ignore[operator]  # a method of its own
                for misfit in residual.tolist():
                    report(Convergence(None, misfit, None))
        return image if isinstance(kspace, Tensor) else image.numpy()

    def completed(self, kspace: Array, mask: Array, smaps: Array) -> Array:
        """K-space of all coils as acquired, and elsewhere as the network has it, followed all the way."""
        network = self.load(kspace.device if isinstance(kspace, Tensor) else "cpu")
        with torch.inference_mode():
            completed = fftc(network.completed(_tensor(kspace), _tensor(mask), _tensor(smaps)))  # type: ignore[operator]  # of those that need maps
        return completed if isinstance(kspace, Tensor) else completed.numpy()


def _changed(path: Path) -> int:
    """When the file was last written: part of the cache's key, so that new weights are read again."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # load_network says what is wrong


@lru_cache(maxsize=4)
def _cached_network(path: Path, changed: int, device: str, combination: str) -> nn.Module:
    network = load_network(path, device)[0]
    network.combination = combination  # type: ignore[assignment]  # of ours alone, and no part of the weights
    return network


def _tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.from_numpy(np.ascontiguousarray(array))
