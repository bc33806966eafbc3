"""scripts/benchmark_cs: that it compares like with like, and runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mri_recon import sample_scan
from mri_recon.data.sampling import Sampling, choose_mask
from mri_recon.physics.differences import total_variation
from mri_recon.physics.fourier import fftc
from mri_recon.reconstruct import kspace_scale

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture(autouse=True)
def _scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.fixture(scope="module")
def small() -> tuple[Any, Any]:
    """K-space `(coil, height, width)` on our scale, and its columns."""
    scan = sample_scan(height=48, width=40, n_coils=1)
    columns = choose_mask(scan, Sampling.of(acceleration=3, center_fraction=0.1))[0].columns
    kspace = scan.kspace[0:1] * columns
    return (kspace / kspace_scale(kspace, columns))[0].astype(np.complex64), columns


@pytest.mark.parametrize("shape", [(6, 8), (7, 5)])
def test_mirrored_turns_forward_differences_into_backward_ones(shape):
    from benchmarks.problem import mirrored

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, *shape)) + 1j * rng.standard_normal((1, *shape))
    backward = [x - np.roll(x, 1, axis=axis) for axis in (-2, -1)]
    expected = float(np.sum(np.sqrt(sum(np.abs(d) ** 2 for d in backward))))
    assert float(total_variation(mirrored(x))[0]) == pytest.approx(expected)
    assert float(total_variation(x)[0]) != pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(fftc(mirrored(x)), mirrored(fftc(x)), atol=1e-12)
    np.testing.assert_array_equal(mirrored(mirrored(x)), x)


def test_bart_minimises_our_objective(small, tmp_path):
    from benchmarks import bart
    from benchmarks.problem import Problem

    if bart.version() is None:
        pytest.skip("no program `bart`")
    kspace, columns = small
    problem = Problem(kspace, columns, None, 0.01)
    best, _ = problem.optimum(tmp_path, 600)
    bart.write_cfl(tmp_path / "kspace", kspace)
    bart.write_cfl(tmp_path / "maps", np.ones_like(kspace))
    np.testing.assert_array_equal(bart.read_cfl(tmp_path / "kspace"), kspace)
    bart.pics(tmp_path / "kspace", tmp_path / "maps", tmp_path / "image", 0.01, 0.1, 800)
    gap = problem.objective(bart.read_cfl(tmp_path / "image")[0]) / best - 1
    # Without mirroring it stays above 1e-2.
    assert -1e-6 < gap < 1e-3


def test_sigpy_with_the_isotropic_prox_minimises_our_objective(small, tmp_path):
    from benchmarks import sigpy_tv
    from benchmarks.problem import Problem, mirrored

    if sigpy_tv.version() is None:
        pytest.skip("no package sigpy")
    kspace, columns = small
    problem = Problem(kspace, columns, None, 0.01)
    best, _ = problem.optimum(tmp_path, 600)
    data = mirrored(kspace), np.ones_like(kspace), 0.01, [20, 500], 0.1
    gaps = {}
    for isotropic in (True, False):
        (first, early, _), (last, late, image) = sigpy_tv.checkpoints(*data, isotropic=isotropic)
        assert (first, last) == (20, 500)
        assert 0 < early < late
        gaps[isotropic] = problem.objective(mirrored(image)) / best - 1
    assert -1e-6 < gaps[True] < 3e-3 < gaps[False]


def test_best_tuned_is_the_quickest_that_is_good_enough():
    from benchmarks.tuning import Point, quickest, quickest_by_psnr

    points = [
        Point(0.1, 30, 1.0, 0.5, 30.99),
        Point(0.1, 50, 2.0, 0.02, 28.0),
        Point(0.1, 100, 4.0, 0.009, 30.99),
        Point(0.1, 140, 5.0, 0.008, 31.0),
        Point(0.1, 400, 16.0, 0.001, 31.2),
    ]
    assert quickest(points, 40.0).iterations == 400, "0.02 dB are missing"
    assert quickest(points, 31.005).iterations == 100, "above the optimum's own PSNR nothing is gained"
    assert quickest_by_psnr(points, 31.005).iterations == 30, "the gap is not asked for"
    assert quickest(points[:2], 40.0).iterations == 50, "none is good, so the smallest gap"


def test_peak_memory_is_the_childs_alone():
    from benchmarks.process import measure

    held = np.ones(40_000_000)  # 320 MB here must not count there
    large = measure([sys.executable, "-S", "-c", "b = bytearray(200 << 20)"])
    little = measure([sys.executable, "-S", "-c", "pass"])
    assert held.sum() > 0
    assert 200 << 20 < large.peak_bytes < 260 << 20
    assert little.peak_bytes < 60 << 20
    with pytest.raises(RuntimeError, match="no such thing"):
        measure([sys.executable, "-c", "raise SystemExit('no such thing')"])


def run(folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    command = [SCRIPTS / "benchmark_cs", "--quick", "--threads", "1", "-o", folder / "results.md", *options]
    environment = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    text = (folder / "results.md").read_text()
    assert text.strip() == done.stdout.strip()
    return json.loads((folder / "results.json").read_text()), text


def test_ours_alone(tmp_path):
    results, text = run(tmp_path, "--case", "one-coil", "--without", "bart", "--without", "sigpy")
    (row,) = results["rows"]
    assert (row["case"], row["program"], row["settings"]) == ("one-coil", "mri-recon", "defaults")
    assert -1e-6 < row["gap"] < 1e-3
    assert row["psnr"] > 18
    assert len(row["seconds"]) == 1
    assert row["seconds"][0] > 0
    assert "bart left out, sigpy left out" in text
    assert "| one-coil | 4 | 0.01 | mri-recon | defaults |" in text


@pytest.mark.slow
def test_against_bart(tmp_path):
    from benchmarks import bart

    if bart.version() is None:
        pytest.skip("no program `bart`")
    results, text = run(tmp_path, "--case", "one-coil", "--without", "sigpy")
    rows = {row["program"]: row for row in results["rows"]}
    ours, theirs = rows["mri-recon"], rows["BART"]
    assert ours["gap"] <= theirs["gap"] < 0.02
    assert ours["psnr"] >= theirs["psnr"] - 0.005
    assert f"bart {bart.version()}" in text
    assert "| one-coil | BART | ≥ 8 |" in text


@pytest.mark.slow
def test_time_to_gap_is_that_of_the_first_run_below_it(tmp_path):
    from benchmarks.cases import Bench, Plan
    from benchmarks.output import Results, plot

    plan = Plan(
        tmp_path,
        bart=False,
        sigpy=False,
        accelerations=((4, 0.08),),
        weights=(0.01,),
        shape=(32, 32),
        n_coils=2,
        repeats=1,
        optimum_iterations=600,
    )
    bench = Bench(plan, Results({}), lambda: None)
    bench.time_to_gap()
    assert [row["case"] for row in bench.results.gap_rows] == ["one-coil", "many-coils"]
    for row, curves in zip(bench.results.gap_rows, bench.results.curves.values(), strict=True):
        below = [seconds for seconds, gap, _ in curves["mri-recon"] if gap <= 1e-3]
        assert row["1e-3"] == min(below)
        assert row["1e-3"] <= row["1e-4"]
        assert curves["mri-recon"][0][1] > 1e-3 > curves["mri-recon"][-1][1] > -1e-6
    pictures = plot(bench.results, tmp_path)
    assert [picture.name for picture in pictures] == ["one-coil.png", "many-coils.png"]
    assert all(picture.stat().st_size > 10_000 for picture in pictures)
