"""Where the images of a scan go, and what is there already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mri_recon
from mri_recon.catalog import FORMATS, look_up
from mri_recon.data.formats.base import Format, WriteOptions
from mri_recon.data.images import images_of
from mri_recon.data.sampling import AS_ACQUIRED, Sampling
from mri_recon.data.scan import Scan
from mri_recon.errors import MriReconError, OutputError
from mri_recon.files import make_folder
from mri_recon.methods.base import Method
from mri_recon.reconstruct import Reconstruction


@dataclass(frozen=True)
class Place:
    """Where results go, and in which format."""

    folder: Path
    format_name: str
    options: WriteOptions
    overwrite: bool
    preview: bool

    @property
    def format(self) -> type[Format]:
        """The format's class."""
        found: type[Format] = look_up("format", FORMATS, self.format_name)
        return found

    def target(self, name: str) -> Path:
        """The file or folder that the images of a scan go to."""
        stem = Path(name).stem
        # A folder beside the preview of the same name needs a name of its own.
        return self.folder / (
            f"{stem}_{self.format_name}" if self.format.folder else f"{stem}{self.format.suffix}"
        )

    def picture(self, target: Path) -> Path:
        """The preview of a result."""
        stem = target.name.removesuffix(f"_{self.format_name}" if self.format.folder else self.format.suffix)
        return target.with_name(f"{stem}.png")

    def refuse_clashes(self, paths: Sequence[Path]) -> None:
        """Refuse results that would replace a scan or one another.

        Raises
        ------
        OutputError
            They would.
        """
        sources: dict[Path, Path] = {}
        for path in paths:
            target = self.target(path.name)
            if target.exists() and target.resolve() == path.resolve():
                raise OutputError(
                    f"{target} is the scan itself and would be replaced. Choose another folder with -o."
                )
            if target in sources:
                raise OutputError(
                    f"{sources[target]} and {path} would both be written to {target}. Reconstruct them in turn, into "
                    "two folders."
                )
            sources[target] = path

    def refuse_existing(self, target: Path) -> None:
        """Say before the work, not after it, that the result has no place to go.

        Raises
        ------
        OutputError
            Something is there.
        """
        for path in [target, *([self.picture(target)] if self.preview else [])]:
            if path.exists() and not self.overwrite:
                raise OutputError(
                    f"{path} exists. Replace it with --overwrite, or choose another folder with -o."
                )

    def refuse_other(self, target: Path, method: Method, method_name: str, asked: Mapping[str, Any]) -> None:
        """Refuse to keep a result that this call would have made differently, as far as its file says.

        Raises
        ------
        OutputError
            It is another's.
        """
        from mri_recon.data.storage import reconstruction_attributes

        if self.format_name != "h5":
            return
        told = reconstruction_attributes(target)
        if told.get("method") != method_name or told.get("settings") != json.dumps(method.as_dict()):
            raise OutputError(
                f"{target} was made by another method or settings; use --overwrite, or another folder with -o."
            )
        try:
            before = json.loads(str(told.get("asked")))
        except (ValueError, RecursionError):
            return  # of a version that did not say
        if not isinstance(before, dict):
            return
        # A scan that says itself which columns it has is the same whatever mask was to be drawn.
        drawn = told.get("mask") != AS_ACQUIRED or asked["columns"] or before.get("columns")
        other = [name for name in asked if before.get(name) != asked[name] and (drawn or name not in DRAWN)]
        if other:
            raise OutputError(
                f"{target} was made with {other[0]} {_shown(before.get(other[0]))}, not {_shown(asked[other[0]])}; use "
                "--overwrite, or another folder with -o."
            )

    def write(
        self, target: Path, scan: Scan, result: Reconstruction, asked: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Write the images; what the format cannot keep comes back."""
        attributes = _attributes(result) | {"asked": json.dumps(asked)}
        images = images_of(scan, result.image, slices=result.slices, attributes=attributes)
        # Another job that made the folder and then failed has removed it, if nothing was in it by then.
        make_folder(target.parent)
        return self.format.write_images(target, images, self.options, overwrite=self.overwrite)

    def draw(self, target: Path, result: Reconstruction) -> None:
        """Write the preview where one is wanted, unless another job drew it meanwhile."""
        if not self.preview:
            return
        from mri_recon.report.figures import write_preview

        picture = self.picture(target)
        try:
            write_preview(picture, result, overwrite=self.overwrite)
        except OutputError:
            if self.overwrite or not picture.exists():
                raise

    def add_missing_preview(self, target: Path, path: Path) -> None:
        """Draw the preview of a result that has none, as when its process was killed between the two."""
        if not self.preview or self.picture(target).exists() or self.format_name != "h5":
            return
        result: Reconstruction | None = None
        # A scan that is done already need not be one that can still be read.
        with suppress(MriReconError):
            result = self._written(target, path)
        if result is not None:
            self.draw(target, result)

    def _written(self, target: Path, path: Path) -> Reconstruction:
        """A result as far as a preview shows it, read from its file and its scan's."""
        from mri_recon.data.formats.registry import read_scan
        from mri_recon.data.storage import read_reconstruction, reconstruction_attributes
        from mri_recon.physics.masks import SamplingMask

        told = reconstruction_attributes(target)
        image = read_reconstruction(target)
        first = int(told["first_slice"])
        scan = read_scan(path)
        shown = None if scan.target is None else scan.target[first : first + len(image)]
        mask = SamplingMask(str(told["mask"]), np.zeros(0, dtype=bool), 0)
        slices = first, first + len(image)
        return Reconstruction(scan.name, image, mask, str(told["method"]), {}, slices, shown, None, 0.0)


DRAWN = ("mask", "accelerations", "center_fractions", "seed")
"""What `asked_of` tells of a mask that is drawn."""


def asked_of(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """What arguments of `reconstruct` change in its images, besides the method, ready for JSON; defaults are filled in.

    Raises
    ------
    SettingsError
        A mask file that cannot be used.
    """
    sampling = Sampling.of(
        *(keywords.get(name) for name in ("mask", "acceleration", "center_fraction", "seed"))
    )
    columns, smaps, slices = sampling.columns, keywords.get("smaps"), keywords.get("slices")
    return {
        "mask": sampling.kind,
        "accelerations": list(sampling.accelerations),
        "center_fractions": list(sampling.center_fractions),
        "seed": sampling.seed,
        "columns": None if columns is None else hashlib.sha256(columns.tobytes()).hexdigest(),
        "slices": None if slices is None else list(slices),
        "smaps": Path(smaps).name if isinstance(smaps, str | Path) else None,
    }


def _shown(value: Any) -> str:
    return "its default" if value is None else json.dumps(value)


def _attributes(result: Reconstruction) -> dict[str, Any]:
    """What a reader of the output needs to know about how it was made."""
    mask = result.mask
    return {
        "method": result.method,
        "settings": json.dumps(dict(result.settings)),
        "mask": mask.kind,
        "lines": mask.n_lines,
        "effective_acceleration": mask.effective_acceleration,
        "mask_sha256": mask.sha256,
        "first_slice": result.slices[0],
        "mri_recon_version": mri_recon.__version__,
    }
