"""``mri-recon mask``: show or write a sampling mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mri_recon.catalog import MASKS
from mri_recon.cli import options
from mri_recon.cli.console import detail, result_json, say
from mri_recon.errors import SettingsError

if TYPE_CHECKING:
    from mri_recon.physics.masks import SamplingMask

EXAMPLE = "mri-recon mask --mask random --width 368 --acceleration 4 --name file1000000.h5 -o mask.png"


@click.command("mask", epilog=f"Example: {EXAMPLE}")
@click.option(
    "--mask", "kind", type=click.Choice(list(MASKS)), default="random", show_default=True, help="Kind."
)
@click.option("--width", type=int, required=True, metavar="N", help="Number of phase-encode columns.")
@click.option(
    "--acceleration",
    type=float,
    multiple=True,
    metavar="R",
    help="Nominal acceleration; repeatable.  [default: 4]",
)
@click.option(
    "--center-fraction",
    type=float,
    multiple=True,
    metavar="F",
    help="Fully sampled centre, as a fraction of the lines; repeatable, pairs with --acceleration: "
    "of several the seed picks one.  "
    "[default: 0.08 up to 4×, 0.32 / R above]",
)
@click.option(
    "--name", metavar="FILE", help="File name that seeds the mask, with its extension, as in fastMRI."
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Seed, in place of --name.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write it: .npy the columns, for --mask-file; .png a picture with the point-spread function.",
)
@options.overwrite
@options.as_json
@options.common
def command(
    kind: str,
    width: int,
    acceleration: tuple[float, ...],
    center_fraction: tuple[float, ...],
    name: str | None,
    seed: int | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show a sampling mask: its columns, lines and effective acceleration."""
    from mri_recon.data.sampling import Sampling
    from mri_recon.physics.masks import draw_mask

    if name is not None and seed is not None:
        raise SettingsError("--name and --seed both seed the mask; give one of them.")
    chosen = Sampling.of(kind, acceleration or None, center_fraction or None)
    drawn = draw_mask(
        kind,
        width,
        chosen.accelerations,
        chosen.center_fractions,
        seed=Path(name).name if name else seed or 0,
    )
    if output is not None:
        _write(output, drawn, overwrite)
    if as_json:
        result_json(
            {
                "mask": kind,
                "width": width,
                "lines": drawn.n_lines,
                "n_center_lines": drawn.n_center_lines,
                "effective_acceleration": round(drawn.effective_acceleration, 2),
                "columns": [int(c) for c in drawn.columns.nonzero()[0]],
                "sha256": drawn.sha256,
            }
        )
        return
    from mri_recon.report.figures import mask_title

    say(mask_title(drawn))
    say("".join("|" if acquired else "." for acquired in drawn.columns))
    if name is None and seed is None:
        say("Drawn with seed 0; --name draws the mask of a scan, --seed another one.")
    detail(f"Pair drawn: acceleration {drawn.acceleration:g}, center_fraction {drawn.center_fraction:g}")


def _write(output: Path, drawn: SamplingMask, overwrite: bool) -> None:
    import numpy as np

    from mri_recon.files import atomic_output
    from mri_recon.report.figures import write_mask_picture

    if output.suffix == ".png":
        write_mask_picture(output, drawn, overwrite=overwrite)
    elif output.suffix == ".npy":
        with atomic_output(output, overwrite=overwrite) as part, part.open("wb") as file:
            np.save(file, drawn.columns)
    else:
        raise SettingsError(f"{output}: expected a name ending in .npy (columns) or .png (picture).")
    say(f"Wrote {output}")
