"""``mri-recon simulate``: training and test sets of generated scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mri_recon.cli import options
from mri_recon.cli.console import detail, progress, result_json, say, warn
from mri_recon.errors import SettingsError

_KINDS = ("head", "shepp-logan", "synthetic", "mixed")


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases of click
    """Height and width such as ``320x256``."""

    name = "HxW"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        height, _, width = str(value).lower().replace("×", "x").partition("x")
        if not (height.isdecimal() and width.isdecimal()):
            self.fail(f"expected height and width such as 320x256, got '{value}'.", parameter, context)
        return int(height), int(width)


class _Range(click.ParamType):  # type: ignore[type-arg]
    """One number such as ``40``, or a range such as ``20:80``."""

    name = "A[:B]"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        low, colon, high = str(value).partition(":")
        try:
            return float(low), float(high if colon else low)
        except ValueError:
            self.fail(
                f"expected a number such as 40 or a range such as 20:80, got '{value}'.", parameter, context
            )


@click.command(
    "simulate", epilog="Example: mri-recon simulate -o set --n-scans 20 --val 4 --snr 20:80 --size 256x256"
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the scans.",
)
@click.option(
    "--kind", type=click.Choice(_KINDS), default="head", show_default=True,
    help="head, shepp-logan: analytic phantoms; synthetic: generated images; mixed: heads and synthetic.",
)  # fmt: skip
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="PATH",
    help="Magnitude volumes to use instead: NIfTI, a folder of PNG slices, or a folder of either.",
)  # fmt: skip
@click.option(
    "--n-scans", type=click.IntRange(min=0), metavar="N",
    help="Scans to make; those for training if --val or --test is given.  [default: 10, or every volume]",
)  # fmt: skip
@click.option(
    "--val", type=click.IntRange(min=0), default=0, metavar="N", help="Scans for validation, in DIR/val."
)
@click.option(
    "--test", type=click.IntRange(min=0), default=0, metavar="N", help="Scans for testing, in DIR/test."
)
@click.option(
    "--slices", type=click.IntRange(min=1), metavar="N",
    help="Slices a scan; the middle ones of a volume.  [default: 4, or all]",
)  # fmt: skip
@click.option(
    "--size",
    type=_Size(),
    metavar="HxW",
    help="Height and width of the images.  [default: 320x320, or the volume's]",
)
@click.option(
    "--coils", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Receiver coils."
)
@click.option(
    "--snr", type=_Range(), default=(40.0, 40.0),
    help="Mean signal over the noise of one coil; a range is drawn from for each scan; inf for none.  [default: 40]",
)  # fmt: skip
@click.option(
    "--partial-fourier", type=float, default=1.0, show_default=True, metavar="F",
    help="Part of the phase-encoding lines that is measured, above 0.5.",
)  # fmt: skip
@click.option(
    "--oversampling",
    type=click.IntRange(1, 2),
    default=1,
    show_default=True,
    metavar="N",
    help="Of the readout: 1 or 2.",
)
@click.option("--maps", is_flag=True, help="Store the coil maps, too; they double the files.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of everything.",
)
@options.threads
@options.overwrite
@options.as_json
@options.common
def command(
    output: Path,
    kind: str,
    source: Path | None,
    n_scans: int | None,
    val: int,
    test: int,
    slices: int | None,
    size: tuple[int, int] | None,
    coils: int,
    snr: tuple[float, float],
    partial_fourier: float,
    oversampling: int,
    maps: bool,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Write simulated scans with known truth in fastMRI's layout, for training and testing.

    The same options give the same files, byte for byte on one machine, whatever the number of threads. Each file says
    that it is simulated and of what. Files that are there are kept: after Ctrl-C, the same command goes on.
    """
    from mri_recon.data.magnitudes import find_volumes
    from mri_recon.data.simulate import Simulation, simulate

    given = click.get_current_context().get_parameter_source("kind")
    if source is not None and given is ParameterSource.COMMANDLINE:
        raise SettingsError(
            "--kind says what to generate, and --from gives the images. Leave one of them out."
        )
    if n_scans is None:
        n_scans = 10 if source is None else max(len(find_volumes(source)) - val - test, 0)
    settings = Simulation(
        kind=kind,
        source=source,
        n_slices=slices if slices or source else 4,
        size=size,
        n_coils=coils,
        snr=snr,
        partial_fourier=partial_fourier,
        oversampling=oversampling,
        maps=maps,
        seed=seed,
    )
    with progress("simulating") as update:

        def on_scan(done: int, total: int, path: Path, new: bool) -> None:
            update(done, total, path.name)
            if new:
                detail(f"Wrote {path}")

        counts = {"train": n_scans, "val": val, "test": test}
        found = simulate(settings, output, counts, overwrite=overwrite, on_scan=on_scan)
    kept = len(found.files) - len(found.made)
    new = f"{len(found.made)} simulated scan{'' if len(found.made) == 1 else 's'}"
    say(f"Wrote {new} to {output}{f', kept {kept} that were there' if kept else ''}.")
    for name, reason in found.failures:
        warn(f"{name} was not made: {reason}")
    if source is not None:
        warn(
            "this k-space was made of processed images. Scores on it are higher than on measured k-space; every file "
            "says so (data_crime)."
        )
    if as_json:
        made = set(found.made)
        result_json([{"file": str(path), "made": path in made} for path in found.files])
    return 1 if found.failures else 0
