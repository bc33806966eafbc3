"""``mri-recon evaluate``: methods scored on a folder of scans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_recon.cli import options
from mri_recon.cli.console import VERBOSITY, detail, progress, result_json, say, table, warn
from mri_recon.errors import SettingsError

if TYPE_CHECKING:
    from mri_recon.evaluation.table import Evaluation

WRITERS = {".csv": "csv", ".json": "json", ".md": "markdown", ".tex": "latex"}

METRICS = ("fastmri", "slice", "hfen", "ncc", "residual")


@click.command(
    "evaluate", epilog="Example: mri-recon evaluate scans/ --method zero-filled --method cs --acceleration 8"
)
@click.argument("data", nargs=-1, type=click.Path(path_type=Path), metavar="[DATA…]")
@click.option(
    "--reconstructions", type=click.Path(path_type=Path), metavar="DIR",
    help="Score images made elsewhere: each file of DIR against the target in DATA's file of the same name.",
)  # fmt: skip
@click.option(
    "--verify", type=click.Path(path_type=Path), metavar="RESULTS.json",
    help="Run the evaluation that wrote RESULTS.json again and compare every digit. DATA is where its scans are now, "
    "if they were moved.",
)  # fmt: skip
@click.option(
    "--digits", type=click.IntRange(1, 15), default=12, show_default=True, metavar="N",
    help="Significant digits in which --verify asks numbers to agree.",
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
    "--metrics", multiple=True, type=click.Choice(METRICS), default=("fastmri",), show_default=True,
    help="Definition of the scores, repeatable: fastMRI's are always there, others stand beside them under names of "
    "their own.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Write the results too: .csv, .json, .md or .tex by suffix.",
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
    verify: Path | None,
    digits: int,
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
    metrics: tuple[str, ...],
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
    from mri_recon.evaluation.table import failure_text
    from mri_recon.sharing.ranks import Ranks

    first_rank = Ranks.here().first
    if not first_rank:  # the first one speaks and writes for all that torchrun started
        VERBOSITY.quiet = True
    if verify is not None:
        return _verify(verify, data, digits, workers, as_json=as_json)
    if _was_given("digits"):
        raise SettingsError("--digits says how closely --verify looks. Give --verify RESULTS.json too.")
    _check_outputs(output, report, overwrite)
    journal = None if output is None else Journal(journal_beside(output))
    gallery: Any = None
    if report is not None:
        from mri_recon.report.gallery import Gallery

        gallery = Gallery()
    if reconstructions is not None:
        _refuse_idle_options(
            USED_ELSEWHERE, "says how to reconstruct, and --reconstructions were made already"
        )
        if len(data) != 1:
            raise SettingsError("--reconstructions DIR needs one DATA: the folder of scans with the targets.")
        found = score_reconstructions(
            reconstructions, data[0], metrics=metrics, on_volume=None if gallery is None else gallery.add
        )
    else:
        from mri_recon.evaluation.run import evaluate

        if not data:
            say("No data given: using the built-in generated test set. These are not measured scans.")
        if journal is not None and journal.n_entries():
            say(
                f"Going on: what was finished before is taken from {journal.folder} where nothing has changed."
            )
        with progress("evaluating") as update, _told_what_is_kept(journal is not None):

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
                metrics=metrics,
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


@contextmanager
def _told_what_is_kept(anything: bool) -> Iterator[None]:
    """Ctrl-C says what becomes of the scores there are: without a file for results they are nowhere."""
    try:
        yield
    except KeyboardInterrupt as error:
        if anything:
            raise
        raise KeyboardInterrupt(
            "Interrupted; nothing is kept. With -o results.json what is finished is, and the same command goes on."
        ) from error


def show(found: Evaluation) -> None:
    """Print an evaluation: the table of volumes, then the summary and what differs between methods."""
    from mri_recon.evaluation.statistics import ALL

    table(*found.volume_table())
    table(*found.summary_table())
    header, rows = found.difference_table()
    if rows:
        # Those of single acquisitions, which are many, are in the files.
        last = [row for row, of in zip(rows, found.differences, strict=True) if of.acquisition == ALL]
        table(header, last or rows)


def _verify(results: Path, data: tuple[Path, ...], digits: int, workers: int, *, as_json: bool) -> int:
    """Run an evaluation again; say what is not as it was."""
    from dataclasses import asdict

    from mri_recon.evaluation.verify import verify
    from mri_recon.sharing.ranks import Ranks

    _refuse_idle_options(USED_BY_VERIFY, "is taken from the results that --verify runs again")
    if len(data) > 1:
        raise SettingsError(
            "--verify takes one DATA at most: the folder that holds the scans now. Leave the others out."
        )
    first_rank = Ranks.here().first
    with progress("running it again") as update:

        def on_progress(done: int, total: int, outcome: Any) -> None:
            update(done, total, outcome.name)

        found = verify(
            results, data[0] if data else None, digits=digits, workers=workers, on_progress=on_progress
        )
    if not first_rank:
        return 0 if found.equal else 1
    for note in found.notes:
        say(f"Note: {note}")
    if as_json:
        result_json({"equal": found.equal, **asdict(found)})
    for difference in found.differences:
        warn(difference)
    if found.equal:
        say(f"Equal: {found.compared} numbers agree in {digits} digits, files and masks in their sha256.")
    else:
        warn(f"{len(found.differences)} differences in {found.compared} numbers; not equal.")
    return 0 if found.equal else 1


_ALWAYS = {"data", "as_json", "quiet", "verbose", "debug", "threads"}

USED_ELSEWHERE = _ALWAYS | {"reconstructions", "metrics", "output", "overwrite", "report"}
USED_BY_VERIFY = _ALWAYS | {"verify", "digits", "workers"}


def _refuse_idle_options(used: set[str], why: str) -> None:
    """Refuse options that would do nothing."""
    for parameter in click.get_current_context().command.params:
        name = parameter.name or ""
        if name not in used and _was_given(name):
            raise SettingsError(f"{parameter.opts[-1]} {why}. Leave it out.")


def _was_given(name: str) -> bool:
    from click.core import ParameterSource

    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _check_outputs(output: Path | None, report: Path | None, overwrite: bool) -> None:
    """Say before the work, not after it, what could not be written."""
    from mri_recon.files import check_writable

    if output is not None and output.suffix not in WRITERS:
        raise SettingsError(f"{output}: expected a name ending in {', '.join(WRITERS)}.")
    if report is not None and report.suffix not in (".html", ".htm"):
        raise SettingsError(f"{report}: the page is HTML. Give a name ending in .html.")
    for path in (output, report):
        if path is not None and path.exists() and not overwrite:
            raise SettingsError(f"{path} exists. Replace it with --overwrite, or choose another name.")
        if path is not None and not path.absolute().parent.is_dir():
            raise SettingsError(f"{path}: its folder does not exist. Create it first.")
        if path is not None:
            check_writable(path)


def _write(output: Path, found: Evaluation, overwrite: bool) -> None:
    from mri_recon.files import atomic_output

    with atomic_output(output, overwrite=overwrite) as part:
        part.write_text(getattr(found, WRITERS[output.suffix])(), encoding="utf-8")
    say(f"Wrote {output}")
