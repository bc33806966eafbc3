"""From the settings of an evaluation, what to type to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mri_recon.catalog import METHODS


def command(settings: Mapping[str, Any]) -> str | None:
    """The command line of an evaluation; None where none can say it.

    That is so for a mask that was an array in a Python program rather than a file, methods that are not in the catalog,
    and settings in which methods differ though they share the key. Scans that a program made stand by their names.
    """
    if "reconstructions" in settings:
        words = ["mri-recon", "evaluate", "--reconstructions", str(settings["reconstructions"])]
        return shlex.join([*words, str(settings.get("targets", "")), *_definitions(settings)])
    methods, mask = settings.get("methods"), str(settings.get("mask") or "random")
    mask_file = settings.get("mask_file")
    if not isinstance(methods, Mapping) or any(name not in METHODS for name in methods):
        return None
    if mask == "array" and mask_file is None:
        return None
    data, seed, slices = (settings.get(key) for key in ("data", "seed", "slices"))
    words = ["mri-recon", "evaluate", *(map(str, data) if isinstance(data, list) else ())]
    for name in methods:
        words += ["--method", name]
    # A mask of one's own leaves nothing to draw.
    pairs = settings.get("pairs") or () if mask_file is None else ()
    if len({fraction is None for _, fraction in pairs}) > 1:
        return None
    for acceleration, fraction in pairs:
        words += ["--acceleration", f"{acceleration:g}"]
        words += [] if fraction is None else ["--center-fraction", f"{fraction:g}"]
    if mask_file is not None:
        words += ["--mask-file", str(mask_file)]
    elif mask != "random":
        words += ["--mask", mask]
    if isinstance(seed, int):
        words += ["--seed", str(seed)]
    if isinstance(slices, Sequence):
        words += ["--slices", f"{slices[0]}:{slices[1]}"]
    words += _definitions(settings)
    if settings.get("device", "auto") != "auto":
        words += ["--device", str(settings["device"])]
    assignments = _assignments(methods)
    if assignments is None:
        return None
    for key, value in assignments.items():
        words += ["--weights", str(value)] if key == "weights" else ["--set", f"{key}={value}"]
    return shlex.join(words)


def _definitions(settings: Mapping[str, Any]) -> list[str]:
    """Options for the definitions of scores beside those that are always there."""
    names = settings.get("definitions") or ()
    return [word for name in names if name != "fastmri" for word in ("--metrics", name)]


def _assignments(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Settings that are not the defaults, if one value serves all methods that have the key."""
    found: dict[str, Any] = {}
    for name, values in methods.items():
        fields = METHODS[name].load().settings()
        for key, value in values.items():
            if key in fields and value != fields[key].default and found.setdefault(key, value) != value:
                return None
    for values in methods.values():
        if any(key in values and values[key] != value for key, value in found.items()):
            return None
    return found
