"""Everything that can be chosen by name, as import paths: listing it imports nothing.

A new reconstruction method, mask or network is one file and one line here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from mri_recon.errors import SettingsError, suggestion


@dataclass(frozen=True)
class Entry:
    """One thing that can be chosen by name: where it lives and what it is, in a line."""

    path: str
    summary: str

    def load(self) -> Any:
        """Import it."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)


METHODS = {
    "zero-filled": Entry("mri_recon.methods.zero_filled:ZeroFilled", "inverse FFT, RSS over coils"),
    "cs": Entry("mri_recon.methods.tv:TotalVariation", "compressed sensing with total variation"),
    "wavelet": Entry("mri_recon.methods.wavelet:Wavelet", "compressed sensing with wavelets"),
    "sense": Entry("mri_recon.methods.sense:Sense", "CG-SENSE, least squares over coils"),
    "unet": Entry("mri_recon.methods.unet:UNetMethod", "U-Net on the zero-filled image (learned)"),
    "varnet": Entry(
        "mri_recon.methods.varnet:VarNetMethod", "unrolled network with the physics inside (learned)"
    ),
}

LEARNED_METHODS = frozenset({"unet", "varnet"})

MASKS = {
    "random": Entry("mri_recon.physics.masks:RandomMask", "random columns around a full centre"),
    "equispaced": Entry("mri_recon.physics.masks:EquispacedMask", "every R-th column plus the centre"),
    "equispaced_fraction": Entry(
        "mri_recon.physics.masks:EquispacedFractionMask", "equispaced, corrected to reach R in all"
    ),
    "magic": Entry("mri_recon.physics.masks:MagicMask", "equispaced, offset between the two halves"),
    "magic_fraction": Entry("mri_recon.physics.masks:MagicFractionMask", "magic, corrected to reach R"),
}

NETWORKS = {
    "unet": Entry("mri_recon.networks.unet:UNet", "U-Net with group normalisation"),
    "varnet": Entry("mri_recon.networks.varnet:VarNet", "unrolled network with the physics inside"),
}

FOREIGN_NETWORKS = {
    "fastmri-unet": Entry("mri_recon.networks.fastmri:FastMRIUNet", "fastMRI's U-Net"),
    "fastmri-varnet": Entry("mri_recon.networks.fastmri:FastMRIVarNet", "fastMRI's end-to-end VarNet"),
}
"""Networks of others, whose weights are recognised by the names in them: not trained here."""


def look_up(kind: str, table: dict[str, Entry], name: str) -> Any:
    """Import what `table` holds under `name`.

    Raises
    ------
    SettingsError
        Nothing of that name; the message suggests the closest.
    """
    if name not in table:
        raise SettingsError(f"There is no {kind} '{name}'. {suggestion(name, table)}")
    return table[name].load()
