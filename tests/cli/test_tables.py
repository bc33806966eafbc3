"""Tables on terminals of any width: nothing is cut."""

from __future__ import annotations

import sys

import pytest

from mri_recon.cli.console import VERBOSITY, table
from mri_recon.cli.tables import narrow, numeric

RESULTS = (
    ["output", "method", "lines", "effective R", "seconds", "NMSE", "PSNR (dB)", "SSIM"],
    [
        [
            "out/a_long_name_of_a_scan_2026-11-02.h5",
            "zero-filled",
            "55",
            "3.93",
            "0.11",
            "0.0687",
            "24.03",
            "–",
        ],
        ["out/short.h5", "cs", "55", "3.93", "12.11", "0.0158", "30.41", "0.6867"],
    ],
)
SUMMARY = (
    ["method", "R", "acquisition", "volumes", "NMSE", "PSNR (dB)", "SSIM"],
    [
        [
            "zero-filled",
            "4",
            "AXFLASH",
            "2",
            "0.0637 ± 0.0056 [0.0598, 0.0676]",
            "21.83 ± 0.10 [21.76, 21.90]",
            "–",
        ],
        ["cs", "4", "AXFLASH", "2", "0.0385 ± 0.0291 [0.0179, 0.0591]", "24.74 ± 4.15 [21.81, 27.68]", "–"],
    ],
)


@pytest.mark.parametrize("width", [30, 60, 80, 100, 120])
@pytest.mark.parametrize("of", [RESULTS, SUMMARY], ids=["results", "summary"])
def test_no_word_is_cut_at_any_width(of, width):
    lines = narrow(*of, width)
    said = " ".join(lines).split()
    for cell in (cell for row in (of[0], *of[1]) for cell in row):
        assert all(word in said for word in cell.split())
    if width >= 80:
        named = {row[0] for row in of[1]}  # as headings these are as long as they are
        assert max(len(line) for line in lines if line not in named) <= width


def test_a_table_that_fits_is_a_line_a_row():
    lines = narrow(*SUMMARY, 120)
    assert len(lines) == 2 + len(SUMMARY[1])
    assert lines[2].split()[:4] == ["zero-filled", "4", "AXFLASH", "2"]


def test_names_that_do_not_fit_are_headings_above_their_rows():
    lines = narrow(*RESULTS, 80, strong=lambda text: f"*{text}*")
    assert lines[0] == "*output*"
    at = lines.index("*out/a_long_name_of_a_scan_2026-11-02.h5*")
    assert lines[at + 1].split() == RESULTS[1][0][1:]


def test_a_name_heads_all_its_rows_once():
    rows = [["a" * 60, "cs", "1.00"], ["a" * 60, "sense", "2.00"], ["b.h5", "cs", "3.00"]]
    lines = narrow(["file", "method", "PSNR (dB)"], rows, 70)
    assert lines.count("a" * 60) == 1
    assert [line.split()[-1] for line in lines[-5:]] == ["a" * 60, "1.00", "2.00", "b.h5", "3.00"]


def test_an_interval_gets_a_line_of_its_own():
    lines = narrow(*SUMMARY, 80)
    assert "[0.0598, 0.0676]" in "\n".join(lines)
    assert "0.0637 ± 0.0056" in "\n".join(lines)


@pytest.mark.parametrize("cells", [["0.1", "12"], ["+0.3 [-1, 2]", "-0.3"], ["–", "0.2"], ["−3"]])
def test_numbers_stand_flush_right(cells):
    assert numeric(cells)


@pytest.mark.parametrize("cells", [["cs", "4"], ["all"], ["made elsewhere", "–"]])
def test_words_do_not(cells):
    assert not numeric(cells)


@pytest.mark.parametrize("columns", ["60", "200"])
def test_brackets_in_a_name_are_no_markup(columns, monkeypatch, capsys):
    monkeypatch.setattr(VERBOSITY, "quiet", False)  # whatever the test before asked for
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", columns)
    table(["file", "a number with a long name", "another one"], [["scan[bold].h5", "1.0" + "0" * 12, "2"]])
    assert "scan[bold].h5" in capsys.readouterr().err
