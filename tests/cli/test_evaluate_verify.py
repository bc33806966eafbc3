"""``mri-recon evaluate`` under several definitions, as LaTeX, and verified."""

from __future__ import annotations

import json

import pytest
from command_line import assert_one_line, run
from small_scans import small_scan

from mri_recon.cli.evaluate import METRICS
from mri_recon.data.storage import write_scan
from mri_recon.evaluation.definitions import DEFINITIONS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name, n_coils in (("a_1.h5", 3), ("b.h5", 1)):
        write_scan(folder / name, small_scan(name, n_coils=n_coils))
    return folder


def test_a_result_is_verified_and_a_forged_one_found_out(capsys, folder, tmp_path):
    results = tmp_path / "results.json"
    made = run(capsys, "evaluate", folder, "--method", "zero-filled", "--metrics", "slice", "-o", results)
    assert made.code == 0
    outcome = run(capsys, "evaluate", "--verify", results)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "Equal: 12 numbers agree in 12 digits, files and masks in their sha256.\n"
    told = json.loads(results.read_text())
    told["volumes"][1]["ssim"] += 1e-4
    results.write_text(json.dumps(told))
    outcome = run(capsys, "evaluate", "--verify", results, "--json")
    assert outcome.code == 1
    assert "Warning: b.h5, zero-filled, 4×: ssim differs in digit" in outcome.err
    assert "1 differences in 12 numbers" in outcome.err
    answer = json.loads(outcome.out)
    assert (answer["equal"], answer["compared"], len(answer["differences"])) == (False, 12, 1)
    assert run(capsys, "evaluate", "--verify", results, "--digits", 3).code == 0


def test_definitions_stand_side_by_side(capsys, folder, tmp_path):
    options = [word for name in METRICS for word in ("--metrics", name)]
    outcome = run(
        capsys, "evaluate", folder, "--method", "zero-filled", "--method", "sense", *options, "--json"
    )
    volumes = json.loads(outcome.out)["volumes"]
    for volume in volumes:
        assert {"psnr", "slice_psnr", "hfen", "ncc", "residual"} <= set(volume)
        assert volume["slice_psnr"] != volume["psnr"]
        # A root of sums of squares has no phase to hold against k-space.
        assert (volume["residual"] is None) == (volume["method"] == "zero-filled")
    assert all(0 < v["residual"] < 0.5 for v in volumes if v["method"] == "sense")
    shown = (
        run(capsys, "evaluate", folder, "--method", "zero-filled", *options).err.splitlines()[0].split("\t")
    )
    assert shown[5:-1] == [
        "NMSE", "PSNR (dB)", "SSIM", "NMSE by slice", "PSNR by slice (dB)", "SSIM by slice", "HFEN", "NCC",
        "k-space residual",
    ]  # fmt: skip
    csv = tmp_path / "r.csv"
    run(capsys, "evaluate", folder, "--method", "zero-filled", *options, "-o", csv)
    assert csv.read_text().splitlines()[0].endswith("slice_nmse,slice_psnr,slice_ssim,hfen,ncc,residual")


def test_the_choices_are_the_definitions():
    assert tuple(DEFINITIONS) == METRICS


def test_latex_and_markdown_hold_summary_and_differences(capsys, folder, tmp_path):
    for name in ("r.tex", "r.md"):
        words = ["evaluate", folder, "--method", "zero-filled", "--method", "sense", "-o", tmp_path / name]
        assert run(capsys, *words).code == 0
    latex = (tmp_path / "r.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert latex.count(r"\toprule") == 2
    rows = [line.strip() for line in latex.splitlines() if line.endswith(r"\\")]
    assert [row.split(" & ")[0] for row in rows] == ["method", "zero-filled", "sense", "method", "sense"]
    assert all(row.count(" & ") == 6 for row in rows[:3])
    assert r"$\pm$" in rows[1]
    assert "±" not in latex
    assert latex.isascii()
    tables = (tmp_path / "r.md").read_text().strip().split("\n\n")
    assert [t.splitlines()[0].split("|")[1].strip() for t in tables] == ["method", "method", "file"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--verify", "none.json"], ["none.json cannot be read"]),
        (["--verify", "r.json", "--method", "cs"], ["--method", "taken from the results"]),
        (["--verify", "r.json", "-o", "x.json"], ["--output", "taken from the results"]),
        (["--verify", "r.json", "a", "b"], ["one DATA at most"]),
        (["--digits", "5"], ["--digits", "--verify"]),
        (["--metrics", "psnr"], ["'psnr' is not one of"]),
    ],
)
def test_mistakes(capsys, folder, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    assert_one_line(run(capsys, "evaluate", *words), *says)
