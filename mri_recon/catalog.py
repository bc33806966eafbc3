"""Everything that can be chosen by name, as import paths: listing it imports nothing.

A new reconstruction method, mask, network or file format is one file and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
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
    "unet": Entry("mri_recon.methods.unet:UNetMethod", "U-Net on a first image (learned)"),
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


@dataclass(frozen=True)
class FormatEntry(Entry):
    """A file format, and whether k-space and images are written in it."""

    kspace: bool = False
    images: bool = False


FORMATS = {
    "mrd": FormatEntry("mri_recon.data.formats.ismrmrd:Ismrmrd", "ISMRMRD raw data", kspace=True),
    "twix": FormatEntry("mri_recon.data.formats.twix:Twix", "Siemens raw data, read only"),
    "cfl": FormatEntry("mri_recon.data.formats.cfl:Cfl", "BART's cfl and hdr", kspace=True, images=True),
    "npy": FormatEntry("mri_recon.data.formats.arrays:Npy", "a NumPy array", kspace=True, images=True),
    "npz": FormatEntry("mri_recon.data.formats.arrays:Npz", "an archive of them", kspace=True, images=True),
    "mat": FormatEntry("mri_recon.data.formats.arrays:Mat", "MATLAB arrays", kspace=True, images=True),
    "nifti": FormatEntry("mri_recon.data.formats.nifti:Nifti", "NIfTI images", images=True),
    "dicom": FormatEntry("mri_recon.data.formats.dicom:Dicom", "a DICOM series", images=True),
    "png": FormatEntry("mri_recon.data.formats.pictures:Png", "PNG pictures, a slice each", images=True),
    "tiff": FormatEntry("mri_recon.data.formats.pictures:Tiff", "a TIFF of floats", images=True),
    "h5": FormatEntry("mri_recon.data.formats.fastmri:FastMri", "fastMRI's HDF5", kspace=True, images=True),
}
"""Formats; a file is of the first that recognises it."""


def ready_methods() -> tuple[str, ...]:
    """Methods that need nothing more: all but learned ones whose weights this installation does not have."""
    weights = Path(__file__).parent / "weights"
    return tuple(
        name for name in METHODS if name not in LEARNED_METHODS or (weights / f"{name}.safetensors").is_file()
    )


def known_setting(key: str, known: Iterable[str]) -> str:
    """End of an error message about a setting that there is not: whose it is, else the closest of those known.

    Methods that import torch are looked at last: who misspelt a classical setting need not wait for it.
    """
    known = sorted(known)
    listed = f"Known: {', '.join(known) or 'none'}."
    owners = _methods_with(key, METHODS.keys() - LEARNED_METHODS)
    close = suggestion(key, known)
    if not owners and close != listed:
        return close
    owners += _methods_with(key, LEARNED_METHODS)
    if owners:
        return f"It is a setting of {' and '.join(owners)}. {listed}"
    if key == "network" or any(key in signature(entry.load()).parameters for entry in NETWORKS.values()):
        return (
            f"What a network is made of is kept with its weights: `mri-recon train --set network.KEY=VALUE` makes "
            f"others. {listed}"
        )
    return close


def _methods_with(setting: str, names: Iterable[str]) -> list[str]:
    return [name for name in sorted(names) if setting in look_up("method", METHODS, name).settings()]


def look_up(kind: str, table: Mapping[str, Entry], name: str) -> Any:
    """Import what `table` holds under `name`.

    Raises
    ------
    SettingsError
        Nothing of that name; the message suggests the closest.
    """
    if name not in table:
        raise SettingsError(f"There is no {kind} '{name}'. {suggestion(name, table)}")
    return table[name].load()
