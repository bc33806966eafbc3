"""Pictures: previews of reconstructions, and of masks with their point-spread function.

Previews are drawn with Pillow alone, because every reconstruction writes one and a plotting library takes
longer to load than a slice takes to reconstruct.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mri_recon.files import atomic_output
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import SamplingMask
from mri_recon.reconstruct import Reconstruction

Gray = NDArray[np.floating]

WINDOW_PERCENTILE = 99.7
"""Brightness shown as white: a percentile, so that one bright pixel cannot black out the image."""

_MARGIN, _CAPTION, _BACKGROUND, _INK = 8, 20, (17, 17, 17), (230, 230, 230)
_SMALLEST = 192


def window(image: Gray) -> float:
    """The value to show as white."""
    # The lower of two neighbours: between them, the one bright pixel of a tiny image would count in part.
    top = float(np.percentile(image, WINDOW_PERCENTILE, method="lower"))
    return top if top > 0 else float(image.max()) or 1.0


def error_window(target: Gray, images: Sequence[Gray]) -> float:
    """The error to show as brightest: the worst image's 99.7th percentile, so that maps can be compared."""
    return max(window(np.abs(image - target)) for image in images)


def write_preview(path: Path, result: Reconstruction, *, overwrite: bool = False) -> None:
    """Picture of a reconstruction; with a target, of the target and of the error as well.

    Up to three slices, orientation as stored. All images of a row share one window.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    rows = [
        comparison_row(
            {f"{result.method}, slice {result.slices[0] + i}": result.image[i]},
            None if result.target is None else result.target[i],
        )
        for i in preview_slices(len(result.image))
    ]
    write_png(path, _stack(rows), overwrite=overwrite)


def write_comparison(
    path: Path, images: Mapping[str, Gray], target: Gray, *, overwrite: bool = False
) -> None:
    """Picture of one slice by several methods, errors below at one scale.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    write_png(path, comparison_row(images, target, errors_below=True), overwrite=overwrite)


def preview_slices(n_slices: int) -> list[int]:
    """The middle slice, and of thick volumes one either side."""
    return [n_slices // 2] if n_slices < 5 else [n_slices // 4, n_slices // 2, 3 * n_slices // 4]


def comparison_row(
    images: Mapping[str, Gray], target: Gray | None, *, errors_below: bool = False
) -> Image.Image:
    """Target, images and error maps side by side, or the errors in a row below."""
    if target is None:
        return _row([(name, _gray(image, window(image))) for name, image in images.items()])
    images = {name: center_crop(image, target.shape) for name, image in images.items()}
    white = window(target)
    shown = [("target", _gray(target, white))]
    shown += [(name, _gray(image, white)) for name, image in images.items()]
    comparable = [image for image in images.values() if image.shape == target.shape]
    if not comparable:
        return _row(shown)
    brightest = error_window(target, comparable)
    errors = [
        (
            f"|error| x {white / brightest:.1f}" if brightest else "|error|",
            _heat(np.abs(image - target), brightest),
        )
        for image in comparable
    ]
    if not errors_below:
        return _row(shown + errors)
    blank = ("", np.broadcast_to(np.array(_BACKGROUND, np.uint8), (*target.shape, 3)))
    return _stack([_row(shown), _row([blank, *errors])])


def write_mask_picture(path: Path, mask: SamplingMask, *, overwrite: bool = False) -> None:
    """Picture of a mask: its columns, and the point-spread function they give a single bright pixel.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width = mask.columns.size
    spread = point_spread(mask.columns)
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, height_ratios=[1, 2])
        top.imshow(np.tile(mask.columns, (24, 1)), cmap="gray", aspect="auto", interpolation="nearest")
        top.set(yticks=[], xlabel="phase-encode column", title=mask_title(mask))
        bottom.plot(np.arange(width) - width // 2, 20 * np.log10(np.maximum(spread, 1e-4)), linewidth=0.9)
        aliasing = np.delete(spread, width // 2)
        peak = 20 * np.log10(max(float(aliasing.max()) if aliasing.size else 0.0, 1e-4))
        bottom.axhline(peak, color="tab:red", linewidth=0.8, linestyle="--")
        bottom.set(
            ylim=(-60, 3),
            xlabel="pixels from the source",
            ylabel="point spread (dB)",
            title=f"largest side lobe {peak:.1f} dB",
        )
        with atomic_output(path, overwrite=overwrite) as part:
            figure.savefig(part, format="png", dpi=130)


def point_spread(columns: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Magnitude of what one pixel of brightness one becomes along the phase encode, `(width,)`, peak one."""
    from mri_recon.physics.fourier import ifftc

    spread = np.abs(ifftc(columns.astype(np.complex128), axes=(-1,)))
    return np.asarray(spread / max(float(spread[columns.size // 2]), 1e-30))


def mask_title(mask: SamplingMask) -> str:
    """A line that says what a mask is."""
    nominal = f" {mask.acceleration:g}×" if mask.acceleration is not None else ""
    return (
        f"{mask.kind}{nominal}: {mask.n_lines} of {mask.columns.size} lines "
        f"({mask.effective_acceleration:.2f}×), {mask.n_center_lines} in the centre"
    )


def write_png(path: Path, picture: Image.Image, *, overwrite: bool = False) -> None:
    """Write a picture, whole or not at all."""
    with atomic_output(path, overwrite=overwrite) as part:
        # Packing it harder takes more than twice as long and saves nothing.
        picture.save(part, format="PNG", compress_level=3)


def _gray(image: Gray, white: float) -> NDArray[np.uint8]:
    levels = (255 * np.clip(image / white, 0, 1)).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def _heat(error: Gray, brightest: float) -> NDArray[np.uint8]:
    """Black through red and yellow to white, each colour a third of the range."""
    level = np.clip(error / (brightest or 1.0), 0, 1)[..., None]
    ramps = np.clip(3 * level - np.array([0.0, 1.0, 2.0]), 0, 1)
    return np.asarray((255 * ramps).astype(np.uint8))


def _row(panels: Sequence[tuple[str, NDArray[np.uint8]]]) -> Image.Image:
    """Panels of one scale side by side, captions above; small images are enlarged by whole pixels."""
    tallest = max(pixels.shape[0] for _, pixels in panels)
    factor = max(1, -(-_SMALLEST // tallest))
    pictures = [Image.fromarray(np.ascontiguousarray(pixels)) for _, pixels in panels]
    pictures = [p.resize((p.width * factor, p.height * factor), Image.Resampling.NEAREST) for p in pictures]
    width = sum(p.width for p in pictures) + _MARGIN * (len(pictures) + 1)
    height = max(p.height for p in pictures) + _CAPTION + _MARGIN
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    font: Any = ImageFont.load_default(size=13)
    left = _MARGIN
    for (caption, _), picture in zip(panels, pictures, strict=True):
        draw.text((left, 2), _fitted(caption, draw, font, picture.width), fill=_INK, font=font)
        sheet.paste(picture, (left, _CAPTION))
        left += picture.width + _MARGIN
    return sheet


def _fitted(caption: str, draw: ImageDraw.ImageDraw, font: Any, width: int) -> str:
    while len(caption) > 1 and draw.textlength(caption, font=font) > width:
        caption = caption[:-2] + "…"
    return caption


def _stack(rows: Sequence[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (max(r.width for r in rows), sum(r.height for r in rows)), _BACKGROUND)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
