"""What every reconstruction method is: frozen settings that can be called on k-space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from mri_recon.physics.fourier import Array
from mri_recon.settings import Settings


@dataclass(frozen=True)
class Convergence:
    """How an iterative method ended, for a batch of slices."""

    iterations: int
    residual: float
    converged: bool


Report = Callable[[Convergence], None]


class Method(Settings, ABC):
    """A reconstruction method: its settings, and a call from k-space to image.

    Subclasses declare settings as fields; they become ``--set key=value`` and configuration keys.
    """

    needs_smaps: ClassVar[bool] = False
    learned: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        """Reconstruct a batch of slices.

        Parameters
        ----------
        kspace
            `(slice, coil, height, width)` complex64, zero where `mask` is False, on the scale of
            `mri_recon.reconstruct.kspace_scale`.
        mask
            `(1, 1, 1, width)` bool, True where acquired.
        smaps
            Coil maps shaped as `kspace`, for methods with `needs_smaps`; else None.
        report
            Called with a `Convergence` by methods that iterate.

        Returns
        -------
        Array
            Image `(slice, height, width)`, complex or magnitude, uncropped.
        """
