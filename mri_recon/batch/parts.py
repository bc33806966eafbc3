"""Slices of one volume made by several ranks: kept on disk until all of them are there.

Where there are fewer volumes than ranks, each rank makes a share of the slices and puts it into a hidden folder beside
the result. Whoever finds all shares there puts them together, so nobody waits for anybody; a run that is started again
makes only what is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from mri_recon.data.formats.base import ReadOptions
from mri_recon.data.scan import Scan
from mri_recon.evaluation.journal import entry_name
from mri_recon.files import atomic_output, make_folder
from mri_recon.methods.base import Convergence, Method
from mri_recon.physics.masks import SamplingMask
from mri_recon.reconstruct import Reconstruction, score_image


def share_of(slices: tuple[int, int], k: int, n: int) -> tuple[int, int]:
    """The k-th of n shares of a range of slices, as even as can be; empty where there are fewer slices than shares."""
    first, stop = slices
    return first + (stop - first) * k // n, first + (stop - first) * (k + 1) // n


def joined_parts(scan: Scan, parts: Sequence[Reconstruction]) -> Reconstruction:
    """The whole of parts in order, scored."""
    slices = parts[0].slices[0], parts[-1].slices[1]
    image = np.concatenate([part.image for part in parts])
    target, metrics, unscored = score_image(scan, slices, image)
    return replace(
        parts[0],
        image=image,
        slices=slices,
        target=target,
        metrics=metrics,
        seconds=sum(part.seconds for part in parts),
        convergence=tuple(one for part in parts for one in part.convergence),
        notes=(*parts[0].notes, *unscored),
    )


@dataclass(frozen=True)
class Parts:
    """The folder of the parts of one result; `key` stands for all that they depend on."""

    folder: Path
    key: str
    name: str

    @classmethod
    def of(
        cls,
        target: Path,
        scan: Scan,
        method: Method,
        method_name: str,
        reading: ReadOptions,
        keywords: Mapping[str, Any],
    ) -> Parts:
        """Those of the scan, read so, that becomes `target` by a method with these arguments of `reconstruct`."""
        settings = method.as_dict()
        given = {name: str(value) for name, value in keywords.items()}
        # Each rank has a GPU of its own, and parts are put together of all of them.
        given["device"] = given.get("device", "").partition(":")[0]
        files = [scan.path, *(v for v in (*settings.values(), *keywords.values()))]
        key = {
            "scan": [scan.name, list(scan.kspace.shape)],
            "reading": asdict(reading),
            "method": method_name,
            "settings": settings,
            "given": given,
            "files": [_stamp(file) for file in files if isinstance(file, str | Path)],
        }
        return cls(target.with_name(f".{target.name}.slices"), entry_name(key), scan.name)

    def keep(self, part: Reconstruction) -> None:
        """Keep a part.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        make_folder(self.folder)
        mask = part.mask
        told = {
            "method": part.method,
            "settings": dict(part.settings),
            "mask": [mask.kind, int(mask.n_center_lines), mask.acceleration, mask.center_fraction],
            "seconds": part.seconds,
            "convergence": [asdict(one) for one in part.convergence],
            "notes": part.notes,
        }
        with atomic_output(self._path(part.slices), overwrite=True) as path, path.open("wb") as file:
            np.savez(file, image=part.image, columns=mask.columns, told=np.array(json.dumps(told)))

    def find(self, slices: tuple[int, int]) -> Reconstruction | None:
        """The part of these slices; None where nothing sound is kept."""
        try:
            # Opened here, as numpy would leave a broken archive open.
            with self._path(slices).open("rb") as file, np.load(file, allow_pickle=False) as kept:
                image, columns = kept["image"], kept["columns"]
                told = json.loads(str(kept["told"]))
            kind, n_center, acceleration, center_fraction = told["mask"]
            mask = SamplingMask(kind, columns, n_center, acceleration, center_fraction)
            convergence = tuple(Convergence(**one) for one in told["convergence"])
            return Reconstruction(
                self.name, image, mask, told["method"], told["settings"], slices, None, None, told["seconds"],
                convergence, tuple(told["notes"]),
            )  # fmt: skip
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError):
            return None

    def remove(self) -> None:
        """Take the folder away: its content is in the result."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, slices: tuple[int, int]) -> Path:
        return self.folder / f"{self.key[:32]}-{slices[0]}-{slices[1]}.npz"


def _stamp(file: str | Path) -> list[Any] | None:
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return None
    return [str(file), status.st_size, status.st_mtime_ns]
