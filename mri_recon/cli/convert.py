"""``mri-recon convert``: from one file format to another."""

from __future__ import annotations

from pathlib import Path

import click

from mri_recon.catalog import FORMATS
from mri_recon.cli import options
from mri_recon.cli.console import result_json, say
from mri_recon.errors import SettingsError


@click.command("convert", epilog="Example: mri-recon convert meas.mrd scan.h5")
@click.argument("source", type=click.Path(path_type=Path), metavar="IN")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT")
@options.file_format(tuple(n for n, f in FORMATS.items() if f.kspace or f.images), "by OUT's suffix")
@options.axes
@click.option("--prewhiten", is_flag=True, help="Decorrelate the coils with the file's noise scan.")
@click.option("--remove-oversampling", is_flag=True, help="Cut the readout to the field of view asked for.")
@options.keep_identity
@options.overwrite
@options.as_json
@options.common
def command(
    source: Path,
    output: Path,
    file_format: str | None,
    axes: str | None,
    variable: str | None,
    prewhiten: bool,
    remove_oversampling: bool,
    keep_identity: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Convert IN to OUT: k-space to k-space, images to images.

    What IN is, its content says; what OUT is to be, its suffix or -f. K-space stays as measured, to the last digit;
    what OUT cannot keep is said. Images come from reconstructions, NIfTI, DICOM, or the target in a scan's file.
    """
    from mri_recon.data.formats.base import WriteOptions
    from mri_recon.data.formats.convert import convert
    from mri_recon.data.formats.registry import format_for, format_of, located

    options.refuse_idle_identity(keep_identity, format_for(output, file_format).name)
    found = format_of(located(source)).name
    if (prewhiten or remove_oversampling) and found not in ("mrd", "twix"):
        raise SettingsError(
            f"--prewhiten and --remove-oversampling are for scanners' raw data (mrd, twix); {source.name} is "
            f"{found}. Leave them out."
        )
    done = convert(
        source,
        output,
        format=file_format,
        read=options.read_options(
            axes, variable, remove_oversampling=remove_oversampling, prewhiten=prewhiten
        ),
        write=WriteOptions(keep_identity=keep_identity),
        overwrite=overwrite,
    )
    for note in done.notes:
        say(f"{source.name}: {note}")
    if as_json:
        result_json(
            {
                "input": str(source),
                "input_format": done.source_format,
                "outputs": [str(path) for path in done.outputs],
                "format": done.format,
                "what": done.what,
                "notes": list(done.notes),
            }
        )
    for path in done.outputs:
        say(f"Wrote {path} ({done.what}, {done.format})")
