"""The group of commands: help that costs nothing, and errors that become a line and an exit code."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from command_line import assert_one_line, run
from helpers import ROOT
from small_scans import small_scan

import mri_recon
from mri_recon.cli import main as main_module
from mri_recon.cli.main import COMMANDS
from mri_recon.data.storage import read_reconstruction, write_scan
from mri_recon.errors import ScanError

HEAVY = (
    "torch", "numpy", "scipy", "h5py", "skimage", "numba", "matplotlib", "pydantic", "ducc0", "jinja2", "PIL",
    "rich", "safetensors", "array_api_compat",
)  # fmt: skip


def python(*arguments, **keywords):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False, **keywords
    )


class TestHelp:
    def test_it_names_every_command(self, capsys):
        for arguments in (["--help"], ["-h"], []):
            outcome = run(capsys, *arguments)
            assert (outcome.code, outcome.err) == (0, "")
            for name, summary in COMMANDS.items():
                assert f"  {name} " in outcome.out
                assert summary.split()[0] in outcome.out

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_has_help_with_an_example_that_parses(self, capsys, name):
        outcome = run(capsys, name, "--help")
        assert (outcome.code, outcome.err) == (0, "")
        for option in ("--quiet", "--verbose", "--debug", "--json", "--help"):
            assert option in outcome.out
        example = " ".join(outcome.out.split("Example:")[1].split())
        program, command, *arguments = example.split()
        assert (program, command) == ("mri-recon", name)
        main_module.cli.get_command(None, name).make_context(name, arguments)

    @pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
    def test_it_loads_nothing_heavy(self, arguments):
        code = (
            "import json, sys\nfrom mri_recon.cli.main import cli\n"
            f"cli.main({arguments!r}, standalone_mode=False)\n"
            "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
        )
        done = python("-c", code)
        assert "Usage: " in done.stdout
        loaded = json.loads(done.stderr)
        assert "click" in loaded
        assert [name for name in HEAVY if name in loaded] == []

    def test_it_is_quick(self):
        """0.15 s on an idle machine; the bound leaves room for one that is not."""
        times = []
        for _ in range(5):
            start = time.perf_counter()
            assert python("-m", "mri_recon", "--help").returncode == 0
            times.append(time.perf_counter() - start)
        assert statistics.median(times) < 1

    def test_version(self, capsys):
        assert run(capsys, "--version").out == f"mri-recon, version {mri_recon.__version__}\n"


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["reconstrct", "scan.h5"], ["no command 'reconstrct'", "Did you mean 'reconstruct'?"]),
            (["magic"], [f"Known: {', '.join(sorted(COMMANDS))}."]),
            (
                ["reconstruct", "a.h5", "--acceleraton", "4"],
                ["--acceleration", "mri-recon reconstruct --help"],
            ),
            (["reconstruct"], ["Missing argument", "SCAN"]),
            (["reconstruct", "a.h5", "--method", "zerofilled"], ["Did you mean 'zero-filled'?"]),
            (["evaluate", "--method", "css"], ["no method 'css'", "Did you mean 'cs'?"]),
            (["evaluate", "--method", "CS"], ["no method 'CS'", "Did you mean 'cs'?"]),
            (["demo", "--method", "xyz"], ["Known: cs, sense, unet, varnet, wavelet, zero-filled."]),
            (["reconstruct", "a.h5", "--mask", "rand"], ["'rand' is not one of 'random'"]),
            (["reconstruct", "a.h5", "--acceleration", "four"], ["--acceleration", "'four'"]),
            (["reconstruct", "a.h5", "--slices", "3-8"], ["expected A:B such as 3:8", "'3-8'"]),
            (["reconstruct", "a.h5", "--slices", "²"], ["expected A:B"]),
            (["reconstruct", "a.h5", "--seed", "-1"], ["--seed", "-1"]),
            (["reconstruct", "a.h5", "--set", "tv_weight"], ["Expected key=value", "'tv_weight'"]),
            (["reconstruct", "a.h5", "--set", "tv_wieght=1"], ["Did you mean 'tv_weight'?"]),
            (
                ["reconstruct", "a.h5", "--method", "zero-filled", "--set", "x=1"],
                ["no key 'x'", "There are none."],
            ),
            (["reconstruct", "a.h5", "--device", "gpu"], ["no device 'gpu'"]),
            (["reconstruct", "a.h5", "--method", "cs", "--weights", "w"], ["Method cs has no weights"]),
            (["evaluate", "a.h5", "--method", "cs", "--method", "cs"], ["one is there twice"]),
            (["mask"], ["Missing option '--width'"]),
        ],
    )
    def test_mistakes_are_one_line_and_exit_2(self, capsys, tmp_path, monkeypatch, arguments, words):
        monkeypatch.chdir(tmp_path)
        assert_one_line(run(capsys, *arguments), *words)
        assert not list(tmp_path.iterdir())

    def test_python_dash_m(self):
        done = python("-m", "mri_recon", "mask", "--width", "0")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "Error: A mask needs at least one column, not 0.\n"


class TestErrors:
    @pytest.fixture
    def failing(self, monkeypatch):
        def fail_with(error):
            def fail(*arguments, **keywords):
                raise error

            monkeypatch.setattr("mri_recon.physics.masks.draw_mask", fail)

        return fail_with

    def test_debug_shows_the_traceback_before_the_line(self, capsys, failing):
        failing(ScanError("It is broken."))
        outcome = run(capsys, "mask", "--width", 9, "--debug")
        assert outcome.code == 2
        assert outcome.err.startswith("Traceback (most recent call last)")
        assert outcome.err.endswith("\nError: It is broken.\n")
        assert_one_line(run(capsys, "mask", "--width", 9), "It is broken.")

    def test_what_nobody_expected_is_one_line_that_asks_for_a_report(self, capsys, failing):
        failing(ZeroDivisionError("by\nzero"))
        outcome = run(capsys, "mask", "--width", 9)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err == (
            "Error: Unexpected ZeroDivisionError: by zero Run again with --debug and report what it shows.\n"
        )

    def test_out_of_memory_says_what_to_do(self, capsys, failing):
        failing(MemoryError())
        assert_one_line(run(capsys, "mask", "--width", 9), "Out of memory", "--slices")

    def test_ctrl_c_is_130(self, capsys, failing):
        failing(KeyboardInterrupt())
        outcome = run(capsys, "mask", "--width", 9)
        assert outcome.code == 130
        assert outcome.err.strip() == "Interrupted; what was finished is kept."

    @pytest.mark.skipif(os.name != "posix", reason="needs pipes as POSIX has them")
    def test_a_reader_that_goes_away_is_no_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as gone:
            done = subprocess.run(
                [sys.executable, "-m", "mri_recon", "mask", "--width", "100000", "--json"],
                stdout=gone,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="needs signals as POSIX has them")
def test_ctrl_c_keeps_what_was_finished_and_leaves_no_part(tmp_path):
    """A quick scan first, then one whose many iterations outlast any patience."""
    scan = small_scan()
    write_scan(tmp_path / "1_quick.h5", replace(scan, name="1_quick.h5", kspace=scan.kspace[:1], target=None))
    write_scan(tmp_path / "2_slow.h5", small_scan("2_slow.h5", height=200, width=200, n_slices=1, n_coils=8))
    settings = ["--set", "iterations=100000000", "--set", "tolerance=1e-300"]
    arguments = [str(tmp_path), "-o", str(tmp_path / "out"), "-v"]
    command = [sys.executable, "-m", "mri_recon", "reconstruct", *arguments]
    # Done first by itself, as with these settings it would not end either.
    subprocess.run([*command, "--method", "zero-filled", "--slices", "0"], capture_output=True, cwd=ROOT)
    (tmp_path / "out" / "2_slow.h5").unlink()
    (tmp_path / "out" / "2_slow.png").unlink()
    process = subprocess.Popen([*command, *settings], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    watchdog = threading.Timer(100, process.kill)
    watchdog.start()
    with process:
        err = process.stderr.readline()
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        err += process.stderr.read()
    watchdog.cancel()
    assert process.returncode == 130, err
    assert "1_quick.h5 was made by another method or settings" in err
    assert "Interrupted; what was finished is kept." in err
    assert "Traceback" not in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1_quick.h5", "1_quick.png"]
    assert read_reconstruction(tmp_path / "out" / "1_quick.h5").shape == (1, 48, 40)


def test_json_is_standard_where_a_number_is_not_finite(capsys):
    from mri_recon.cli.console import result_json

    result_json([{"snr": float("nan"), "noise": [float("inf"), 1.0]}])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == [
        {"snr": None, "noise": [None, 1.0]}
    ]
