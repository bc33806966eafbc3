"""``mri-recon evaluate``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import assert_one_line, run
from helpers import real_data
from report_pages import page_data
from small_scans import small_scan

import mri_recon
from mri_recon import evaluate
from mri_recon.data.storage import read_scan, write_scan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name, n_coils in (("a.h5", 3), ("b.h5", 1)):
        write_scan(folder / name, small_scan(name, n_coils=n_coils))
    return folder


def without_time(told):
    return {**told, "volumes": [{k: v for k, v in row.items() if k != "seconds"} for row in told["volumes"]]}


def test_json_is_that_of_python(capsys, folder):
    pairs = ["--acceleration", 4, "--acceleration", 2, "--center-fraction", 0.08, "--center-fraction", 0.1]
    methods = ["--method", "zero-filled", "--method", "cs", "--set", "tv_weight=0.01"]
    outcome = run(capsys, "evaluate", folder, *methods, *pairs, "--seed", 4, "--slices", "1", "--json")
    assert outcome.code == 0
    assert all(line.startswith("Note: ") for line in outcome.err.splitlines())
    expected = evaluate(
        folder,
        ["zero-filled", "cs"],
        pairs=[(4, 0.08), (2, 0.1)],
        settings={"tv_weight": 0.01},
        seed=4,
        slices=(1, 2),
    )
    assert without_time(json.loads(outcome.out)) == without_time(json.loads(expected.json()))
    assert len(expected.volumes) == 8


def test_tables_are_plain_lines_when_piped(capsys, folder):
    outcome = run(capsys, "evaluate", folder, "--method", "zero-filled")
    assert (outcome.code, outcome.out) == (0, "")
    lines = [line.split("\t") for line in outcome.err.splitlines()]
    assert lines[0][:3] == ["file", "method", "R"]
    assert [line[0] for line in lines[1:3]] == ["a.h5", "b.h5"]
    assert lines[3][:4] == ["method", "R", "acquisition", "volumes"]
    assert lines[4][:4] == ["zero-filled", "4", "PHANTOM", "2"]
    assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", lines[4][5])


def test_results_and_report_are_written(capsys, folder, tmp_path):
    for suffix in (".csv", ".json", ".md"):
        output = tmp_path / f"results{suffix}"
        report = ["--report", tmp_path / "report.html"] if suffix == ".csv" else []
        outcome = run(capsys, "evaluate", folder, "--method", "zero-filled", "-o", output, *report)
        assert outcome.code == 0
        assert f"Wrote {output}" in outcome.err
        assert "a.h5" in output.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "results.json").read_text())["volumes"][0]["file"] == "a.h5"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = page_data(page)
    assert [entry["name"] for entry in data["entries"]] in (["a.h5", "b.h5"], ["b.h5", "a.h5"])
    assert "mri-recon evaluate" in page
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report.html",
        "results.csv",
        "results.json",
        "results.md",
    ]
    for option, name in (("-o", "results.csv"), ("--report", "report.html")):
        before = (tmp_path / name).read_bytes()
        outcome = run(capsys, "evaluate", folder, option, tmp_path / name)
        assert_one_line(outcome, f"{name} exists", "--overwrite")
        assert (tmp_path / name).read_bytes() == before


def test_a_broken_scan_is_named_and_the_others_are_scored(capsys, folder, tmp_path):
    (tmp_path / "broken.h5").write_text("not k-space")
    (tmp_path / "a.h5").symlink_to(folder / "a.h5")
    outcome = run(capsys, "evaluate", tmp_path, "--method", "zero-filled", "--json")
    assert outcome.code == 1
    told = json.loads(outcome.out)
    assert [v["file"] for v in told["volumes"]] == ["a.h5"]
    assert [f["file"] for f in told["failures"]] == ["broken.h5"]
    assert outcome.err.count("broken.h5") == 1
    assert outcome.err.startswith("Warning: ")


def test_what_the_file_dictates_is_noted(capsys, folder, tmp_path):
    scan = read_scan(folder / "a.h5")
    columns = [i % 3 == 0 or 17 <= i < 23 for i in range(40)]
    write_scan(tmp_path / "m.h5", replace(scan, name="m.h5", kspace=scan.kspace[:] * columns))
    outcome = run(capsys, "evaluate", tmp_path / "m.h5", "--method", "zero-filled", "--acceleration", 8)
    assert outcome.code == 0
    assert "Note: m.h5: The scan has data in" in outcome.err
    assert "not applied" in outcome.err


def test_without_data_it_says_what_it_uses(capsys, monkeypatch):
    monkeypatch.setattr("mri_recon.data.phantom.SampleSet.__len__", lambda self: 1)
    monkeypatch.setattr(
        "mri_recon.data.phantom.SampleSet.__getitem__", lambda self, i: [small_scan("generated.h5")][i]
    )
    outcome = run(capsys, "evaluate", "--method", "zero-filled")
    assert outcome.code == 0
    assert outcome.err.startswith(
        "No data given: using the built-in generated test set. These are not measured scans.\n"
    )
    assert "generated.h5" in outcome.err
    assert outcome.out == ""


class TestImagesMadeElsewhere:
    def test_those_of_reconstruct_score_as_it_said(self, capsys, folder, tmp_path):
        """The two commands as a pipeline that ends in one number."""
        made = run(capsys, "reconstruct", folder, "-o", tmp_path, "--json")
        outcome = run(capsys, "evaluate", "--reconstructions", tmp_path, folder, "--json")
        assert outcome.code == 0
        for told, volume in zip(json.loads(made.out), json.loads(outcome.out)["volumes"], strict=True):
            assert told["file"].endswith(volume["file"])
            for metric in ("nmse", "psnr", "ssim"):
                assert volume[metric] == pytest.approx(told[metric], rel=1e-6)

    def test_a_report_shows_them(self, capsys, folder, tmp_path):
        made, page = tmp_path / "made", tmp_path / "report.html"
        told = json.loads(run(capsys, "reconstruct", folder, "-o", made, "--slices", "1", "--json").out)
        outcome = run(capsys, "evaluate", "--reconstructions", made, folder, "--report", page)
        assert outcome.code == 0
        text = page.read_text(encoding="utf-8")
        data = page_data(text)
        assert data["methods"] == ["reconstructions"]
        names = {entry["name"] for entry in data["entries"]}
        assert names == {Path(one["file"]).name for one in told}
        for entry in data["entries"]:
            (one,) = [one for one in told if one["file"].endswith(entry["name"])]
            volume = entry["methods"]["reconstructions"]["volume"]
            assert volume["psnr"] == pytest.approx(one["psnr"], rel=1e-5)
            assert (entry["mask"], entry["first"], entry["n_slices"]) == (None, 1, 1)
            assert entry["slices"][0]["images"]["reconstructions"].startswith("data:image/")
        assert "Sampling of this volume" not in text
        assert "Time per volume" not in text

    def test_mistakes(self, capsys, folder, tmp_path):
        reconstructions = ["--reconstructions", tmp_path]
        assert_one_line(run(capsys, "evaluate", *reconstructions), "needs one DATA")
        assert_one_line(run(capsys, "evaluate", *reconstructions, folder, folder), "needs one DATA")
        assert_one_line(run(capsys, "evaluate", *reconstructions, folder), "holds no file of that name")
        absent = ["--reconstructions", tmp_path / "absent"]
        assert_one_line(run(capsys, "evaluate", *absent, folder), "absent is no folder. Name the folder")
        for idle in (["--method", "cs"], ["--acceleration", 8], ["--slices", "0:1"], ["--set", "a=1"]):
            outcome = run(capsys, "evaluate", *reconstructions, folder, *idle)
            assert_one_line(outcome, idle[0], "made already")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "results.txt"], "expected a name ending in .csv, .json, .md"),
        (["-o", "no/results.csv"], "its folder does not exist"),
        (["--report", "no/r.html"], "its folder does not exist"),
        (["--report", "r.pdf"], "Give a name ending in .html"),
        (["--mask", "random", "--mask-file", "m.npy"], "give one of them"),
        (["--mask-file", "m.npy"], "no mask file"),
        (["--acceleration", 4, "--acceleration", 8, "--acceleration", 2, "--center-fraction", 0.1,
          "--center-fraction", 0.2], "as many of one as of the other"),
        (["--set", "tvweight=1"], "Did you mean 'tv_weight'?"),
        (["--weights", "w.safetensors"], "takes weights"),
        (["--weights", "w.safetensors", "--method", "unet", "--method", "varnet"],
         "methods unet and varnet would both be given w.safetensors"),
        (["--method", "varnet", "--set", "trust=1"], "mri-recon train --set network.KEY=VALUE"),
        (["--device", "tpu"], "no device 'tpu'"),
        (["--slices", "5:9"], "slices 5:9 are not all there: it has 2"),
    ],
)  # fmt: skip
def test_mistakes(capsys, folder, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert_one_line(run(capsys, "evaluate", folder, *arguments), words)
    assert not list(tmp_path.iterdir())


def test_measured_scans(capsys):
    """A folder of real scans, every one scored."""
    outcome = run(capsys, "evaluate", real_data("kspace"), "--method", "zero-filled", "--json")
    assert outcome.code == 0
    told = json.loads(outcome.out)
    assert told["settings"]["version"] == mri_recon.__version__
    assert len(told["volumes"]) == 8
    assert all(5 < v["psnr"] < 60 and 0 < v["ssim"] < 1 for v in told["volumes"])
