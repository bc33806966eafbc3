"""The command line run inside the test's own process, as `mri-recon` would be."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from mri_recon.cli.console import VERBOSITY
from mri_recon.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """Exit code, and what was said where."""

    code: int
    out: str
    err: str


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Outcome:
    """Run ``mri-recon`` with arguments: through `main`, where errors become a line and an exit code."""
    before = sys.argv
    sys.argv = ["mri-recon", *map(str, arguments)]
    VERBOSITY.quiet = VERBOSITY.verbose = VERBOSITY.debug = False
    capsys.readouterr()
    try:
        with pytest.raises(SystemExit) as stopped:
            main()
    finally:
        sys.argv = before
        VERBOSITY.quiet = VERBOSITY.verbose = VERBOSITY.debug = False
    out, err = capsys.readouterr()
    return Outcome(int(stopped.value.code or 0), out, err)


def assert_one_line(outcome: Outcome, *words: str, code: int = 2) -> None:
    """Bad input ends in its exit code, with one line that says so and nothing else."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("\n")
    assert "Traceback" not in outcome.err
    assert "Unexpected" not in outcome.err
    for word in words:
        assert word in outcome.err
