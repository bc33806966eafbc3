"""What the user sees: messages and tables on standard error, results on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click


@dataclass
class Verbosity:
    """How much is said; one for the process, set by the shared options."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False


VERBOSITY = Verbosity()


def say(message: str) -> None:
    """Tell the user something, unless asked to be quiet."""
    if not VERBOSITY.quiet:
        click.echo(message, err=True)


def detail(message: str) -> None:
    """Tell the user something only --verbose asks for."""
    if VERBOSITY.verbose:
        click.echo(message, err=True)


def warn(message: str) -> None:
    """Tell the user something even when quiet: it bears on whether a result can be trusted."""
    click.echo(f"Warning: {message}", err=True)


def result_json(value: Any) -> None:
    """Print a result object, alone on standard output, in standard JSON: numbers that are not finite are null."""
    from mri_recon.evaluation.formats import json_text

    click.echo(value if isinstance(value, str) else json_text(value))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard error: drawn on a terminal, as wide as that is, tab-separated lines when piped."""
    if VERBOSITY.quiet:
        return
    if not sys.stderr.isatty():
        for line in (header, *rows):
            click.echo("\t".join(line), err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mri_recon.cli.tables import narrow, natural_widths, numeric

    console = Console(stderr=True)
    framed = sum(natural_widths(header, rows)) + 3 * len(header) + 1
    if framed > console.width:
        for line in narrow(header, rows, console.width, strong=lambda text: click.style(text, bold=True)):
            click.echo(line, err=True)
        click.echo(err=True)  # without frames, tables one below the other would run together
        return
    drawn = Table(header_style="bold")
    for name, column in zip(header, zip(*rows, strict=True) if rows else [()] * len(header), strict=True):
        drawn.add_column(Text(name), justify="right" if numeric(column) else "left")
    for row in rows:
        # As text, for brackets in a file's name are no markup.
        drawn.add_row(*map(Text, row))
    console.print(drawn)


@contextmanager
def progress(label: str) -> Iterator[Any]:
    """A function ``(done, total, what)`` that moves a progress bar on a terminal and is silent when piped."""
    if VERBOSITY.quiet or not sys.stderr.isatty():
        yield lambda done, total, what="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, what="")

        def update(done: int, total: int, what: str = "") -> None:
            bar.update(task, completed=done, total=total, what=what)

        yield update
