"""``mri-recon reconstruct``: scans to images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mri_recon.catalog import FORMATS
from mri_recon.cli import options
from mri_recon.cli.batch import summarise, told_of
from mri_recon.errors import SettingsError

if TYPE_CHECKING:
    from mri_recon.batch.work import Outcome


@click.command("reconstruct", epilog="Example: mri-recon reconstruct scan.h5 --method cs -o out")
@click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SCAN…")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("out"), show_default=True, metavar="DIR",
    help="Folder for the results: DIR/<same name> and a PNG preview of each scan.",
)  # fmt: skip
@options.method(multiple=False, default="cs")
@options.sampling
@options.settings
@options.weights
@options.smaps
@options.slices
@options.device
@options.threads
@options.workers
@options.max_memory
@options.log_file
@click.option("--no-preview", is_flag=True, help="Write no PNG previews.")
@options.file_format(tuple(n for n, f in FORMATS.items() if f.images), "h5")
@options.keep_identity
@options.axes
@options.overwrite
@options.as_json
@options.common
def command(
    scans: tuple[Path, ...],
    output: Path,
    method: str,
    mask: str | None,
    acceleration: tuple[float, ...],
    center_fraction: tuple[float, ...],
    seed: int | None,
    mask_file: Path | None,
    assignments: tuple[str, ...],
    weights: Path | None,
    smaps: Path | None,
    slices: tuple[int, int] | None,
    device: str,
    workers: int,
    max_memory: int | None,
    log_file: Path | None,
    no_preview: bool,
    file_format: str | None,
    keep_identity: bool,
    axes: str | None,
    variable: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Reconstruct scans (files or folders) into images.

    Each becomes DIR/<same name>.h5 with the data set `reconstruction`, float32 (slices, h, w), or what -f says, and
    a PNG preview; metrics are printed where the file has a target. What a file is, its content says: fastMRI or
    ISMRMRD HDF5, Siemens raw data, BART cfl, NumPy, MATLAB; raw data of several contrasts or repetitions becomes an
    image file each. A scan with a mask, or with columns missing, is used as acquired; a fully sampled one is
    undersampled first, unless --acceleration 1 says otherwise. On several machines:
    torchrun --nproc-per-node N -m mri_recon reconstruct SCAN…
    """
    from mri_recon.assignments import parse_assignments
    from mri_recon.batch.log import open_log
    from mri_recon.batch.place import Place
    from mri_recon.batch.run import merged, run
    from mri_recon.batch.work import Task
    from mri_recon.data.formats.base import WriteOptions
    from mri_recon.data.formats.registry import find_raw
    from mri_recon.device import resolve_device
    from mri_recon.files import make_folder, no_empty_folder
    from mri_recon.reconstruct import make_method
    from mri_recon.sharing.ranks import Ranks, joined

    ranks = Ranks.here()
    if as_json and ranks.size > 1 and not ranks.hear_each_other:
        raise SettingsError(
            "--json prints one list, and these processes cannot exchange results (no MASTER_ADDR). Use --log-file, or "
            "start them with torchrun."
        )
    made = make_method(method, parse_assignments(assignments), weights)
    resolve_device(device, learned=made.learned)
    options.refuse_idle_identity(keep_identity, file_format or "h5")
    place = Place(output, file_format or "h5", WriteOptions(keep_identity), overwrite, not no_preview)
    paths = find_raw(scans)
    place.refuse_clashes(paths)
    if ranks.size == 1:  # of several processes another may be about to write there
        click.get_current_context().with_resource(no_empty_folder(output))
    make_folder(output)
    task = Task(
        place,
        made,
        method,
        options.read_options(axes, variable),
        len(paths) > 1,
        {
            "mask": options.mask_choice(mask, mask_file),
            "acceleration": acceleration or None,
            "center_fraction": center_fraction or None,
            "seed": seed,
            "smaps": smaps,
            "slices": slices,
            "device": device,
        },
    )
    found: list[Outcome] = []
    with open_log(log_file, ranks) as log, told_of(len(paths), workers, ranks) as tell:

        def on_start(path: Path) -> None:
            tell.began(path)
            if log is not None:
                log.began(path)

        for outcome in run(
            task,
            paths,
            workers=workers,
            most_bytes=max_memory,
            ranks=ranks,
            on_start=on_start,
            progress=tell.slices,
        ):
            if log is not None:
                log.ended(outcome)
            if outcome.error is not None and outcome.alone and ranks.size == 1:
                raise outcome.error
            tell.ended(outcome)
            found.append(outcome)
    if ranks.hear_each_other:
        with joined() as heard:
            found = [outcome for of_one in heard.gather(found) for outcome in of_one]
    found = merged(found, paths)
    if ranks.first or not ranks.hear_each_other:
        summarise(found, as_json=as_json)
    if any(outcome.status == "failed" for outcome in found):
        return 1 if any(outcome.status != "failed" for outcome in found) else 2
    return 0
