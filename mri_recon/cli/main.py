"""The group of commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

import mri_recon
from mri_recon.cli.console import VERBOSITY
from mri_recon.errors import MriReconError

COMMANDS = {
    "demo": "Make a sample scan, reconstruct it by every method, show the table and pictures.",
    "reconstruct": "Reconstruct scans of any format: images, PNG previews, metrics.",
    "evaluate": "Score methods on a folder of scans.",
    "train": "Train a network.",
    "convert": "Convert between file formats: scanners', BART's, NumPy, MATLAB, NIfTI, DICOM.",
    "check": "Say what scans are, whether they are sound, and what not to trust.",
    "mask": "Show or write a sampling mask.",
    "simulate": "Write simulated scans with known truth.",
}
"""Command names and their line in --help; each is a file of this folder, imported when it is run."""


class Commands(click.Group):
    """A group that imports a command only to run it, so that --help costs nothing."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mri_recon.cli.{name}").command
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from mri_recon.errors import suggestion

            raise click.UsageError(f"There is no command '{args[0]}'. {suggestion(args[0], COMMANDS)}")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except BrokenPipeError:
            # The reader of our output went away (… | head): nothing is wrong, and nobody is left to be told.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            context.exit(0)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: mri-recon demo",
)
@click.version_option(mri_recon.__version__, prog_name="mri-recon")
@click.pass_context
def cli(context: click.Context) -> None:
    """Reconstruct accelerated MRI: zero-filled, compressed sensing and learned, on one scale, with one metric."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run a command and exit: 0 done, 1 failed in part, 2 usage or bad input, 130 interrupted."""
    # Before numpy and torch are imported. The matrices here are too small for BLAS threads, and threads that wait by
    # spinning make everything several times slower where other programs use the processors too.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Its plugins are looked for among all installed packages, which takes longer than our own start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        code = cli.main(standalone_mode=False, prog_name="mri-recon")
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        where = f" See: {error.ctx.command_path} --help" if error.ctx else ""
        _fail(f"{error.format_message()}{where}", error)
    except (MriReconError, click.ClickException) as error:
        _fail(error.format_message() if isinstance(error, click.ClickException) else str(error), error)
    except (KeyboardInterrupt, click.Abort) as error:
        _fail(str(error) or "Interrupted; what was finished is kept.", error, code=130)
    except MemoryError as error:
        _fail(
            "Out of memory. Use fewer slices (--slices), close other programs, or use a larger machine.",
            error,
        )
    except Exception as error:
        _fail(
            f"Unexpected {type(error).__name__}: {error} Run again with --debug and report what it shows.",
            error,
            code=1,
        )


def _fail(message: str, error: BaseException, code: int = 2) -> Any:
    if VERBOSITY.debug:
        import traceback

        traceback.print_exception(error)
    message = " ".join(message.split())
    click.echo(f"Error: {message}" if code != 130 else message, err=True)
    sys.exit(code)
