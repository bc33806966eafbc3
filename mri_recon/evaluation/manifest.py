"""What a result was made from, so that another can check it: files, masks, weights, definitions, versions, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mri_recon
from mri_recon.data.scan import Scan, Slices
from mri_recon.evaluation.definitions import definition_texts
from mri_recon.evaluation.scores import VolumeScore
from mri_recon.methods.base import Method
from mri_recon.metrics import evaluation_crop
from mri_recon.reconstruct import method_name_of
from mri_recon.solvers.threads import n_threads

CROP = "centre square of the target's width, where the target is that tall"
DATA_RANGE = "maximum of the target volume"

PACKAGES = ("numpy", "scipy", "h5py", "ducc0", "numba", "array-api-compat", "scikit-image", "torch")
"""Packages whose version may show in the digits."""


def manifest(
    files: Sequence[Mapping[str, Any]], metrics: Sequence[str], methods: Sequence[Method] = ()
) -> dict[str, Any]:
    """All of it, ready for JSON, for files that `file_record` or `target_record` described."""
    return {
        "files": [dict(file) for file in files],
        "methods": {method_name_of(method): method.as_dict() for method in methods},
        "weights": {
            method_name_of(method): weights_record(method) for method in methods if type(method).learned
        },
        "metrics": definition_texts(metrics),
        "data_range": DATA_RANGE,
        "crop": CROP,
        "interval": "95 %, bootstrap over volumes, 2000 draws of numpy's default_rng(0), percentiles 2.5 and 97.5",
        "versions": versions(),
        "machine": machine(),
    }


def file_record(
    scan: Scan, slices: tuple[int, int] | None, scores: Sequence[VolumeScore], sha256: str | None = None
) -> dict[str, Any]:
    """A scan that was evaluated: its size and sha256, its slices, and the sha256 of each mask with what drew it.

    A scan that is no file, or several, has the sha256 of its k-space in place of the file's. `scan_sha256` may have
    been called before: a scan need not be read twice for it.
    """
    first, stop = slices or (0, scan.n_slices)
    one_file = scan.path if scan.path is not None and scan.path.is_file() else None
    return {
        "file": scan.name,
        "path": None if scan.path is None else str(scan.path),
        "size": one_file.stat().st_size if one_file else None,
        "sha256": sha256 or scan_sha256(scan),
        "hashed": "file" if one_file else "k-space",
        "acquisition": scan.acquisition,
        "kspace_shape": list(scan.kspace.shape),
        "slices": [first, stop],
        **_scored(None if scan.target is None else scan.target[first:stop]),
        "masks": [dict(mask) for mask in _masks(scores)],
    }


def target_record(
    path: Path, target: Slices, image: Path, covered: slice, acquisition: str
) -> dict[str, Any]:
    """Images made elsewhere and what they were scored against.

    Of the scan the target alone is hashed: its k-space, which is most of the file, played no part.
    """
    first, stop, _ = covered.indices(target.shape[0])
    return {
        "file": path.name,
        "path": str(path),
        "size": path.stat().st_size,
        "sha256": slices_sha256(target),
        "hashed": "target",
        "acquisition": acquisition,
        "slices": [first, stop],
        **_scored(np.asarray(target[covered])),
        "reconstruction": str(image),
        "reconstruction_size": image.stat().st_size,
        "reconstruction_sha256": file_sha256(image),
    }


def scan_sha256(scan: Scan) -> str:
    """Hash of a scan's file, or of its k-space where it is no file or several."""
    one_file = scan.path is not None and scan.path.is_file()
    return file_sha256(scan.path) if scan.path and one_file else slices_sha256(scan.kspace)


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def slices_sha256(slices: Slices) -> str:
    """Hash of an array's bytes in C order, read slice by slice."""
    digest = hashlib.sha256()
    for index in range(slices.shape[0]):
        digest.update(np.ascontiguousarray(slices[index : index + 1]).data.cast("B"))
    return digest.hexdigest()


def weights_record(method: Method) -> dict[str, Any]:
    """File and hash of a learned method's weights, the shipped ones by name."""
    given = getattr(method, "weights", None)
    name = f"{method_name_of(method)}.safetensors"
    path = Path(given) if given else Path(str(resources.files("mri_recon") / "weights" / name))
    found = path.is_file()
    return {
        "file": str(given) if given else f"shipped {name}",
        "size": path.stat().st_size if found else None,
        "sha256": file_sha256(path) if found else None,
    }


def versions() -> dict[str, str]:
    """Of Python, mri-recon and the packages that compute; those not installed are left out."""
    found = {"python": platform.python_version(), "mri-recon": mri_recon.__version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """System, processor and how many of them; neither the machine's name nor the user's."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "processors": available,
        "threads": n_threads(),
        "gpu": _gpu(),
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    try:
        lines = information.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def _scored(target: NDArray[np.floating] | None) -> dict[str, Any]:
    """Maximum and size of the part of a target that was scored."""
    if target is None:
        return {"data_range": None, "crop": None}
    part, _ = evaluation_crop(target, target)
    return {"data_range": float(part.max()), "crop": list(part.shape[-2:])}


def _gpu() -> str | None:
    """Name of the GPU, where the library that could have used it was loaded."""
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_available() else None


def _masks(scores: Sequence[VolumeScore]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for score in scores:
        mask = {
            "mask": score.mask,
            "acceleration": score.acceleration,
            "center_fraction": score.center_fraction,
            "lines": score.lines,
            "sha256": score.mask_sha256,
        }
        found.setdefault((score.mask_sha256, str(mask)), mask)
    return list(found.values())
