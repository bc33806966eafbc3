"""PNG and TIFF: PNG to look at, TIFF with the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from mri_recon.data.formats.base import Format, WriteOptions
from mri_recon.data.geometry import displayed
from mri_recon.data.images import Images, white_of
from mri_recon.errors import OutputError
from mri_recon.files import atomic_folder, atomic_output, one_line


class Png(Format):
    """A folder of 16-bit PNG pictures, one a slice; or one file for one slice."""

    name: ClassVar[str] = "png"
    suffix: ClassVar[str] = ".png"
    suffixes: ClassVar[tuple[str, ...]] = (".png",)
    folder: ClassVar[bool] = True
    kspace: ClassVar[bool] = False

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start.startswith(b"\x89PNG\r\n\x1a\n")

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        from PIL import Image

        pixels, _, _ = displayed(images.pixels, images.placed)
        white = white_of(pixels)
        gray = np.round(65535 * np.clip(pixels / white, 0, 1)).astype(np.uint16)
        if path.suffix.lower() == cls.suffix:
            if len(gray) > 1:
                raise one_file_only(path, len(gray), cls.name)
            with atomic_output(path, overwrite=overwrite) as part:
                Image.fromarray(gray[0]).save(part, format="PNG")
        else:
            with atomic_folder(path, overwrite=overwrite, suffix=cls.suffix) as folder:
                for i, picture in enumerate(gray, 1):
                    Image.fromarray(picture).save(folder / f"{i:04}.png", format="PNG")
        return (f"PNG holds shades, not numbers: {white:.6g} and above is white. TIFF keeps the numbers.",)


class Tiff(Format):
    """A TIFF of 32-bit floats, a page a slice."""

    name: ClassVar[str] = "tiff"
    suffix: ClassVar[str] = ".tiff"
    suffixes: ClassVar[tuple[str, ...]] = (".tiff", ".tif")
    kspace: ClassVar[bool] = False

    @classmethod
    def recognises(cls, path: Path, start: bytes) -> bool:
        return start[:4] in (b"II*\x00", b"MM\x00*")

    @classmethod
    def write_images(
        cls, path: Path, images: Images, options: WriteOptions, *, overwrite: bool
    ) -> tuple[str, ...]:
        from PIL import Image

        pixels, _, voxel = displayed(images.pixels, images.placed)
        told = {"method": images.attributes.get("method"), "voxel_mm": voxel if images.placed.voxel else None}
        about = ", ".join(f"{name}={value}" for name, value in told.items() if value is not None)
        pages = [Image.fromarray(page.astype(np.float32)) for page in pixels]
        with atomic_output(path, overwrite=overwrite) as part:
            pages[0].save(
                part,
                format="TIFF",
                save_all=True,
                append_images=pages[1:],
                tiffinfo={270: about} if about else {},
            )
        return ()


def one_file_only(path: Path, n_slices: int, name: str) -> OutputError:
    """The error of a volume that one file cannot hold."""
    return OutputError(
        f"{one_line(path)} is one file, and the volume has {n_slices} slices, a file each. "
        f"Name a folder, with -f {name}."
    )
