"""scripts/lecture_study: what it plans, what it keeps, and how it sums up."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

from mri_recon.errors import OutputError, SettingsError
from mri_recon.training.config import load_config

CONFIGS = ROOT / "configs" / "lecture"


@pytest.fixture(autouse=True)
def _scripts_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


@pytest.fixture
def tiny(tmp_path):
    """The studies, on two small scans with a network of four channels."""
    folder = tmp_path / "configs"
    shutil.copytree(CONFIGS, folder)
    for name, changes in {
        "data.toml": {"train = 24": "train = 2", "val = 6": "val = 1", "n_slices = 4": "n_slices = 2"},
        "training.toml": {
            "epochs = 4": "epochs = 2",
            "channels = 32": "channels = 4",
            "levels = 2": "levels = 1",
        },
    }.items():
        text = (folder / name).read_text()
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        (folder / name).write_text(text)
    (folder / "optimizers.toml").write_text(
        'title = "Two"\nseeds = [0, 1]\nreference = "Adam"\n[[panels]]\nname = "all"\n'
        '[[arms]]\nname = "Adam"\nrates = [1e-3]\n[[arms]]\nname = "SGD"\nrates = [1e30]\n'
        'changes = { optimizer = { name = "sgd" } }\n'
    )
    return folder


def outcome(ssim, *, psnr=20.0, stopped=""):
    from lecture.running import Outcome

    row = {
        "epoch": 1,
        "loss": 0.1,
        "ssim": ssim,
        "psnr": psnr,
        "zero_filled_ssim": 0.4,
        "zero_filled_psnr": 18.0,
    }
    return Outcome((row,), stopped, 1.0)


def cell(arm, rate, ssims, seeds=None):
    from lecture.summary import Cell

    outcomes = tuple(outcome(ssim) for ssim in ssims)
    return Cell("all", arm, rate, tuple(seeds or range(len(ssims))), outcomes)


@pytest.mark.parametrize("name", ["optimizers", "norms"])
def test_every_run_of_a_study_sees_as_many_slices_and_all_have_the_same_seeds(name):
    from lecture.plan import load_study, runs

    study, plan = load_study(CONFIGS, name), list(runs(CONFIGS, name))
    n_rates = sum(len(arm.rates) for arm in study.arms) * len(study.panels)
    assert len(plan) == len(study.seeds) * n_rates
    assert n_rates >= 16
    assert len({run.key for run in plan}) == len(plan)
    assert {run.config.training.epochs for run in plan} == {4}
    assert len({run.data.model_dump_json() for run in plan}) == 1
    assert [run.seed for run in plan] == sorted(run.seed for run in plan)
    assert all(run.config.optimizer.lr == run.rate for run in plan)
    assert all(run.config.training.seed == run.seed for run in plan)
    assert len(study.seeds) >= 3


def test_the_studies_are_the_lectures():
    from lecture.plan import runs

    optimizers = {(run.config.optimizer.name, run.arm) for run in runs(CONFIGS, "optimizers")}
    assert {name for name, _ in optimizers} == {"adam", "rmsprop", "sgd"}
    momenta = {
        run.arm: run.config.optimizer.momentum for run in runs(CONFIGS, "optimizers") if "SGD" in run.arm
    }
    assert momenta == {"momentum SGD": 0.9, "plain SGD": 0.0}
    norms = {(run.config.network.norm, run.config.training.batch_size) for run in runs(CONFIGS, "norms")}
    assert norms == {
        (n, size) for n in ("group", "layer", "instance", "batch", "none") for size in (1, 4, 16)
    }
    assert all(run.config.network.norm == run.arm for run in runs(CONFIGS, "norms"))


@pytest.mark.parametrize("name", ["training", "closing"])
def test_what_the_studies_train_is_an_ordinary_configuration(name):
    config = load_config(CONFIGS / f"{name}.toml")
    assert config.network.model_dump()["channels"] == 32
    assert config.network.model_dump()["norm"] == "group"
    assert config.optimizer.name == "adam"


def test_runs_that_two_studies_share_have_one_key_and_other_data_another(tiny):
    from lecture.plan import runs

    ours = {(r.config.optimizer.lr, r.seed): r.key for r in runs(CONFIGS, "optimizers") if r.arm == "Adam"}
    theirs = {
        (r.rate, r.seed): r.key
        for r in runs(CONFIGS, "norms")
        if (r.panel, r.arm) == ("batches of 4", "group")
    }
    assert len(theirs) == 12
    assert {ours[where] for where in theirs} == set(theirs.values())
    before = [run.key for run in runs(tiny, "norms")]
    text = (tiny / "data.toml").read_text()
    (tiny / "data.toml").write_text(text.replace("seed = 0", "seed = 1"))
    assert not set(before) & {run.key for run in runs(tiny, "norms")}


def test_a_reference_that_is_no_arm_and_an_unknown_setting_are_named(tiny):
    from lecture.plan import load_data, load_study

    text = (tiny / "optimizers.toml").read_text()
    (tiny / "optimizers.toml").write_text(text.replace('reference = "Adam"', 'reference = "Eve"'))
    with pytest.raises(SettingsError, match=r"'Eve' is none of the arms, Adam, SGD"):
        load_study(tiny, "optimizers")
    (tiny / "data.toml").write_text("train = 1\nval = 1\n[simulation]\ncoils = 3\n")
    with pytest.raises(SettingsError, match="coils"):
        load_data(tiny).settings()
    with pytest.raises(SettingsError, match="cannot be read"):
        load_study(tiny / "nowhere", "optimizers")


def test_finished_runs_are_kept_and_one_that_broke_down_is_told_of(tiny, tmp_path):
    from lecture.plan import runs
    from lecture.running import carry_out, finished

    said: list[str] = []
    plan = list(runs(tiny, "optimizers", [0]))
    carry_out(plan[:1], tmp_path / "out", 1, said.append)
    assert said[0] == "1 runs to do, 0 done before"
    first = finished(tmp_path / "out", plan[0])
    assert [row["epoch"] for row in first.history] == [1, 2]
    assert first.last("ssim") == first.history[-1]["ssim"]

    said.clear()
    carry_out(plan, tmp_path / "out", 1, said.append)
    assert said[0] == "1 runs to do, 1 done before"
    assert finished(tmp_path / "out", plan[0]) == first
    broken = finished(tmp_path / "out", plan[1])
    assert broken.stopped.startswith("The loss became nan") or broken.stopped.startswith(
        "The loss became inf"
    )
    assert math.isnan(broken.last("ssim"))
    assert list((tmp_path / "out" / "running").iterdir()) == []  # weights are not kept

    said.clear()
    carry_out(plan, tmp_path / "out", 1, said.append)
    assert said == ["0 runs to do, 2 done before"]


def test_the_best_rate_is_that_of_the_mean_and_not_one_at_which_runs_broke_down():
    from lecture.summary import Cell, best

    found = [cell("a", 0.1, [0.5, 0.7]), cell("a", 0.2, [0.75, 0.3]), cell("b", 0.3, [0.9, 0.9])]
    assert best(found, "all", "a").rate == 0.1
    lucky = Cell("all", "a", 0.4, (0, 1), (outcome(0.99), outcome(0.0, stopped="The loss became nan")))
    assert best([*found, lucky], "all", "a").rate == 0.1
    assert best([lucky], "all", "a").rate == 0.4


def test_differences_are_paired_by_seed_and_their_interval_is_students():
    from lecture.summary import difference

    reference = cell("a", 0.1, [0.5, 0.7, 0.3])
    always_better = cell("b", 0.1, [0.31, 0.51, 0.71], seeds=(2, 0, 1))
    gap = difference(always_better, reference, "ssim")
    assert gap.mean == pytest.approx(0.01)
    assert gap.half_width == pytest.approx(0, abs=1e-12)
    assert gap.clear
    values = np.array([0.02, -0.01, 0.05])
    gap = difference(cell("b", 0.1, [0.52, 0.69, 0.35]), reference, "ssim")
    assert gap.half_width == pytest.approx(4.302653 * values.std(ddof=1) / math.sqrt(3), rel=1e-5)
    assert not gap.clear
    assert gap.text(3) == "+0.020 ± 0.075"
    assert difference(cell("b", 0.1, [0.6]), reference, "ssim").text(2) == "+0.10 ± ?"


def test_tables_and_curves_show_every_cell(tmp_path):
    from lecture.figures import write_figure
    from lecture.plan import Arm, Panel, Study
    from lecture.summary import at_the_edge, best_table, grid_table

    arms = (Arm(name="a", rates=(0.1, 0.2, 0.4)), Arm(name="b", rates=(0.3,)))
    study = Study(title="t", reference="a", seeds=(0, 1), panels=(Panel(name="all"),), arms=arms)
    found = [cell("a", 0.1, [0.5, 0.6]), cell("a", 0.2, [0.6, 0.7]), cell("a", 0.4, [0.1, 0.1])]
    found.append(cell("b", 0.3, [0.8, 0.7]))
    lines = best_table(study, found).splitlines()
    assert lines[2] == "| all | zero-filled |  | 18.00 | 0.4000 |  |  |"
    assert lines[3].startswith("| all | a | 0.2 | 20.00 ± 0.00 | 0.6500 ± 0.0707 |")
    assert "+0.1000 ±" in lines[4]
    assert "| all | a | **0.2** |" in grid_table(found)
    assert len(grid_table(found).splitlines()) == 2 + 4
    assert at_the_edge(study, found) == []
    assert at_the_edge(study, [cell("a", 0.1, [0.9, 0.9]), *found[1:]]) == [
        "a (all) is best at 0.1, the edge of its grid."
    ]
    write_figure(tmp_path / "t.png", study, found)
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.width > 3 * picture.height


def test_results_are_put_into_their_place_on_the_page(tmp_path):
    from lecture.document import put

    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("before\n<!-- norms -->\nold\n<!-- /norms -->\nafter\n")
    (tmp_path / "norms.md").write_text("| \\1 |\n")
    Image.new("RGB", (30, 20), "white").save(tmp_path / "norms.png")
    for _ in range(2):
        put(page, "norms", tmp_path)
        assert page.read_text().startswith("before\n<!-- norms -->\n\n![norms")
        assert page.read_text().endswith("| \\1 |\n\n<!-- /norms -->\nafter\n")
    assert "old" not in page.read_text()
    with Image.open(tmp_path / "docs" / "images" / "lecture_norms.png") as picture:
        assert picture.size == (30, 20)
    with pytest.raises(OutputError, match="no <!-- closing -->"):
        put(page, "closing", tmp_path)


def test_the_page_has_a_place_for_each_part():
    page = (ROOT / "docs" / "lecture.md").read_text(encoding="utf-8")
    for name in ("optimizers", "norms", "closing"):
        assert f"<!-- {name} -->\n" in page
        assert f"<!-- /{name} -->\n" in page


@pytest.mark.slow
def test_the_whole_of_it_in_two_processes(tiny, tmp_path):
    text = (tiny / "closing.toml").read_text()
    (tiny / "closing.toml").write_text(
        text.replace("channels = 32", "channels = 4").replace("n_slices = 150", "n_slices = 4")
    )
    (tiny / "norms.toml").write_text((tiny / "optimizers.toml").read_text())
    command = [ROOT / "scripts" / "lecture_study", "--configs", tiny, "-o", tmp_path / "out", "--jobs", "2"]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in Path(tmp_path / "out").iterdir()}
    assert {"optimizers.md", "optimizers.png", "norms.md", "norms.png", "closing.png", "closing.md"} <= names
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(results["optimizers"]) == len(results["norms"]) == 2
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    assert "0 runs to do, 4 done before" in again.stderr
