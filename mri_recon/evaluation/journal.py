"""What an evaluation has finished, kept on disk until its results are written.

A folder beside the results: one file for each volume by each method at each pair, written whole or not at all by
whichever process made it, under the hash of all that it depends on. What has changed has another hash, so nothing
stale is ever found; several processes and machines can share one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

import mri_recon
from mri_recon.data.scan import Scan
from mri_recon.evaluation.scores import VolumeScore
from mri_recon.files import atomic_output, make_folder
from mri_recon.methods.base import Convergence
from mri_recon.metrics import Metrics
from mri_recon.physics.masks import SamplingMask
from mri_recon.reconstruct import Reconstruction


def journal_beside(output: Path) -> Path:
    """Folder that belongs to a file of results."""
    return output.with_name(f"{output.name}.journal")


def entry_name(key: Mapping[str, Any]) -> str:
    """Name of an entry: the hash of what it depends on, mri-recon's own source among it."""
    return hashlib.sha256(json.dumps({**key, "code": code_sha256()}, sort_keys=True).encode()).hexdigest()


@cache
def code_sha256() -> str:
    """Hash of mri-recon's source: its version number stays the same while it is worked on."""
    folder = Path(mri_recon.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Journal:
    """The folder; it is made when something is kept."""

    folder: Path

    def keep(self, name: str, score: VolumeScore, result: Reconstruction, *, image: bool) -> None:
        """Keep what was finished, with the image where that is wanted too.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        make_folder(self.folder)
        if image:
            with (
                atomic_output(self.folder / f"{name}.npz", overwrite=True) as part,
                part.open("wb") as file,
            ):
                np.savez(file, image=result.image, columns=result.mask.columns)
        mask = result.mask
        content = {
            "score": asdict(score),
            "notes": result.notes,
            "settings": result.settings,
            "slices": result.slices,
            "n_center_lines": mask.n_center_lines,
            "mask_acceleration": mask.acceleration,
            "convergence": [asdict(one) for one in result.convergence],
            "kspace_residual": result.kspace_residual,
        }
        with atomic_output(self.folder / f"{name}.json", overwrite=True) as part:
            part.write_text(json.dumps(content), encoding="utf-8")

    def find(self, name: str, scan: Scan, *, image: bool) -> tuple[VolumeScore, Reconstruction] | None:
        """What was kept under that name, None where nothing sound was; without `image` the image is empty."""
        try:
            content = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            score = VolumeScore(**content["score"])
            pixels, columns = np.empty((0, 0, 0), np.float32), np.zeros(0, dtype=bool)
            if image:
                # Opened here, as numpy would leave a broken archive open.
                with (
                    (self.folder / f"{name}.npz").open("rb") as file,
                    np.load(file, allow_pickle=False) as kept,
                ):
                    pixels, columns = kept["image"], kept["columns"]
            mask = SamplingMask(
                score.mask,
                columns,
                content["n_center_lines"],
                content["mask_acceleration"],
                score.center_fraction,
            )
            first, stop = content["slices"]
            target = None if scan.target is None or not image else scan.target[first:stop]
            result = Reconstruction(
                scan.name, pixels, mask, score.method, content["settings"], (first, stop), target,
                Metrics(score.nmse, score.psnr, score.ssim), score.seconds,
                tuple(Convergence(**one) for one in content["convergence"]), tuple(content["notes"]),
                content["kspace_residual"],
            )  # fmt: skip
        except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError):
            return None  # not there, or cut short by a crash: it is computed again
        return score, result

    def n_entries(self) -> int:
        """Entries there are, of this or an earlier evaluation."""
        return sum(1 for _ in self.folder.glob("*.json")) if self.folder.is_dir() else 0

    def remove(self) -> None:
        """Take the folder away: its content is in the results."""
        shutil.rmtree(self.folder, ignore_errors=True)
