"""One self-contained HTML page of an evaluation: tables, pictures, masks and how to reproduce them."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image

from mri_recon.evaluation.table import Evaluation
from mri_recon.files import atomic_output
from mri_recon.physics.masks import SamplingMask
from mri_recon.reconstruct import Reconstruction
from mri_recon.report.figures import comparison_row, mask_title, preview_slices


@dataclass
class GalleryEntry:
    """The middle slice of one scan under one mask, by each method."""

    title: str
    slice_index: int
    mask: SamplingMask
    target: NDArray[np.float32] | None
    images: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass
class Gallery:
    """Pictures collected while an evaluation runs: one slice of each volume, so that memory stays small."""

    entries: list[GalleryEntry] = field(default_factory=list)

    def add(self, result: Reconstruction) -> None:
        """Keep a reconstruction's middle slice, beside those of other methods under the same mask."""
        middle = preview_slices(len(result.image))[-1 if len(result.image) < 5 else 1]
        index = result.slices[0] + middle
        title = f"{result.name}, slice {index}"
        last = self.entries[-1] if self.entries else None
        if last is None or (last.title, last.mask.sha256) != (title, result.mask.sha256):
            target = None if result.target is None else result.target[middle]
            last = GalleryEntry(title, index, result.mask, target)
            self.entries.append(last)
        last.images[result.method] = result.image[middle]


def write_report(path: Path, evaluation: Evaluation, gallery: Gallery, *, overwrite: bool = False) -> None:
    """Write the page; it needs no network and no other file.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    environment = Environment(loader=PackageLoader("mri_recon.report"), autoescape=True, trim_blocks=True)
    page = environment.get_template("report.html").render(
        summary=evaluation.summary_table(),
        volumes=evaluation.volume_table(),
        pictures=[
            {
                "title": entry.title,
                "mask": mask_title(entry.mask),
                "columns": [int(c) for c in np.flatnonzero(entry.mask.columns)],
                "width": entry.mask.columns.size,
                "data": _data_url(comparison_row(entry.images, entry.target, errors_below=True)),
                "alt": f"{entry.title}: target, then {', '.join(entry.images)}; below them their errors",
            }
            for entry in gallery.entries
        ],
        settings=json.dumps(dict(evaluation.settings), indent=2, default=str),
        notes=evaluation.notes,
        failures=evaluation.failures,
        version=evaluation.settings.get("version", ""),
    )
    with atomic_output(path, overwrite=overwrite) as part:
        part.write_text(page, encoding="utf-8")


def _data_url(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
