"""``mri-recon evaluate``: methods scored on a folder of scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_recon.cli import options
from mri_recon.cli.console import VERBOSITY, detail, progress, result_json, say, table, warn
from mri_recon.errors import SettingsError

if TYPE_CHECKING:
    from mri_recon.evaluation.table import Evaluation

WRITERS = {".csv": "csv", ".json": "json", ".md": "markdown"}


@click.command(
    "evaluate", epilog="Example: mri-recon evaluate scans/ --method zero-filled --method cs --acceleration 8"
)
@click.argument("data", nargs=-1, type=click.Path(path_type=Path), metavar="[DATA]")
@click.option(
    "--reconstructions", type=click.Path(path_type=Path), metavar="DIR",
    help="Score images made elsewhere: each file of DIR against the target in DATA's file of the same name.",
)  # fmt: skip
@options.method(multiple=True, default=("zero-filled", "cs"))
@options.sampling
@options.settings
@options.weights
@options.slices
@options.device
@options.threads
@options.workers
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Write the results too: .csv, .json or .md by suffix.",
)  # fmt: skip
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write a self-contained page of them.",
)
@options.overwrite
@options.as_json
@options.common
def command(
    data: tuple[Path, ...],
    reconstructions: Path | None,
    methods: tuple[str, ...],
    mask: str | None,
    acceleration: tuple[float, ...],
    center_fraction: tuple[float, ...],
    seed: int | None,
    mask_file: Path | None,
    assignments: tuple[str, ...],
    weights: Path | None,
    slices: tuple[int, int] | None,
    device: str,
    workers: int,
    output: Path | None,
    report: Path | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Reconstruct scans by one or several methods and score them: NMSE, PSNR, SSIM as fastMRI defines them.

    DATA are scans or folders of them; without any, the built-in generated test set. Several --acceleration (with
    as many --center-fraction) are each evaluated.
    """
    from mri_recon.assignments import parse_assignments
    from mri_recon.evaluation.elsewhere import score_reconstructions
    from mri_recon.evaluation.journal import Journal, journal_beside
    from mri_recon.evaluation.ranks import Ranks
    from mri_recon.evaluation.table import failure_text

    first_rank = Ranks.here().first
    if not first_rank:  # the first one speaks and writes for all that torchrun started
        VERBOSITY.quiet = True
    _check_outputs(output, report, overwrite)
    journal = None if output is None else Journal(journal_beside(output))
    gallery: Any = None
    if report is not None:
        from mri_recon.report.gallery import Gallery

        gallery = Gallery()
    if reconstructions is not None:
        _refuse_idle_options()
        if len(data) != 1:
            raise SettingsError("--reconstructions DIR needs one DATA: the folder of scans with the targets.")
        if report is not None:
            raise SettingsError(
                "--report shows reconstructions made here; with --reconstructions use -o results.json."
            )
        found = score_reconstructions(reconstructions, data[0])
    else:
        from mri_recon.evaluation.run import evaluate

        if not data:
            say("No data given: using the built-in generated test set. These are not measured scans.")
        if journal is not None and journal.n_entries():
            say(
                f"Going on: what was finished before is taken from {journal.folder} where nothing has changed."
            )
        with progress("evaluating") as update:

            def on_progress(done: int, total: int, outcome: Any) -> None:
                score = outcome.score
                update(done, total, outcome.name)
                if score is not None:
                    took = "kept from before" if outcome.resumed else f"{score.seconds:.2f} s"
                    detail(f"{score.file}: {score.method}, {score.lines} lines, {took}")

            def on_volume(done: int, total: int, scan: Any, result: Any) -> None:
                gallery.add(result)

            found = evaluate(
                list(data) or None,
                methods,
                pairs=options.pairs(acceleration, center_fraction),
                mask=options.mask_choice(mask, mask_file),
                seed=seed,
                settings=parse_assignments(assignments),
                weights=weights,
                slices=slices,
                device=device,
                workers=workers,
                journal=None if journal is None else journal.folder,
                on_volume=None if gallery is None else on_volume,
                on_progress=on_progress,
            )
    if not first_rank:
        return 1 if found.failures else 0
    if output is not None:
        _write(output, found, overwrite)
    if report is not None:
        from mri_recon.report.build import write_report

        write_report(report, found, gallery, overwrite=overwrite)
        say(f"Wrote {report}")
    if journal is not None and not found.failures:
        journal.remove()
    if as_json:
        result_json(found.json())
    else:
        show(found)
    for note in found.notes:
        say(f"Note: {note}")
    for file, reason in found.failures:
        warn(failure_text(file, reason))
    return 1 if found.failures else 0


def show(found: Evaluation) -> None:
    """Print an evaluation: the table of volumes, then the summary."""
    table(*found.volume_table())
    table(*found.summary_table())


def _refuse_idle_options() -> None:
    """Refuse options that say how to reconstruct where nothing is reconstructed."""
    from click.core import ParameterSource

    context = click.get_current_context()
    used = {
        "data",
        "reconstructions",
        "output",
        "overwrite",
        "as_json",
        "report",
        "quiet",
        "verbose",
        "debug",
    }
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in used and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise SettingsError(
                f"{parameter.opts[-1]} says how to reconstruct, and --reconstructions were made already. Leave it out."
            )


def _check_outputs(output: Path | None, report: Path | None, overwrite: bool) -> None:
    """Say before the work, not after it, what could not be written."""
    if output is not None and output.suffix not in WRITERS:
        raise SettingsError(f"{output}: expected a name ending in {', '.join(WRITERS)}.")
    for path in (output, report):
        if path is not None and path.exists() and not overwrite:
            raise SettingsError(f"{path} exists. Replace it with --overwrite, or choose another name.")
        if path is not None and not path.absolute().parent.is_dir():
            raise SettingsError(f"{path}: its folder does not exist. Create it first.")


def _write(output: Path, found: Evaluation, overwrite: bool) -> None:
    from mri_recon.files import atomic_output

    with atomic_output(output, overwrite=overwrite) as part:
        part.write_text(getattr(found, WRITERS[output.suffix])(), encoding="utf-8")
    say(f"Wrote {output}")
