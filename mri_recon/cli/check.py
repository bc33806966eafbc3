"""``mri-recon check``: what files are, and whether a number measured on them can be trusted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mri_recon.cli import options
from mri_recon.cli.console import VERBOSITY, progress, result_json, say
from mri_recon.errors import MriReconError

if TYPE_CHECKING:
    from mri_recon.inspection.soundness import ScanReport

MANY = 20
"""Files above which the middle slice of each has to do."""


@click.command("check", epilog="Example: mri-recon check scans/ -v")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option(
    "--all-slices", is_flag=True,
    help=f"Look at every slice.  [default: three about the middle; the middle one of more than {MANY} files]",
)  # fmt: skip
@options.axes
@options.threads
@options.as_json
@options.common
def command(
    paths: tuple[Path, ...], all_slices: bool, axes: str | None, variable: str | None, as_json: bool
) -> int:
    """Say what scans (files or folders) are, whether they are sound, and what to know before trusting a score.

    A line a file; with -v a page. Looks for contradictions between header and data, for a target that is not the
    image of its k-space, and for signs that k-space was made from an image rather than measured. Exit code 0: all
    sound, 1: warnings, 2: some file cannot be used.
    """
    import time

    from mri_recon.data.formats.registry import find_raw
    from mri_recon.inspection.soundness import ALL, UNUSABLE, WARNING, ScanReport, check_file
    from mri_recon.solvers.threads import in_order, n_threads

    read = options.read_options(axes, variable)
    started = time.perf_counter()
    reports: list[ScanReport] = []
    files: list[Path] = []
    for path in paths:
        try:
            files += [file for file in find_raw([path]) if file not in files]
        except MriReconError as error:
            reports.append(ScanReport(str(path), UNUSABLE, str(error)))
            _show(reports[-1], as_json)

    at_most = ALL if all_slices else 1 if len(files) > MANY else 3

    def one(index: int) -> tuple[ScanReport, ...]:
        return check_file(files[index], at_most=at_most, options=read)

    with progress("checking") as update:
        for done, found in enumerate(in_order(one, range(len(files)), n_threads()), 1):
            for report in found:
                reports.append(report)
                _show(report, as_json)
            update(done, len(files), files[done - 1].name)
    if as_json:
        result_json([report.as_dict() for report in reports])
    bad, doubtful = (sum(report.status == status for report in reports) for status in (UNUSABLE, WARNING))
    if len(reports) > 1:
        sound = len(reports) - bad - doubtful
        seconds = time.perf_counter() - started
        say(
            f"{len(reports)} scans: {sound} sound, {doubtful} with warnings, {bad} unusable ({seconds:.1f} s)"
        )
    return 2 if bad else 1 if doubtful else 0


def _show(report: ScanReport, as_json: bool) -> None:
    """Print a line, or with --verbose a page; with --quiet only what is not sound, with --json nothing."""
    from mri_recon.inspection.page import page, summary_line
    from mri_recon.inspection.soundness import SOUND

    if as_json or (VERBOSITY.quiet and report.status == SOUND):
        return
    # Not click.echo, which goes past the progress bar that has taken hold of standard error.
    sys.stderr.write((page(report) if VERBOSITY.verbose else summary_line(report)) + "\n")
