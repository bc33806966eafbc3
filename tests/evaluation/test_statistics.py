"""Differences between methods, and what interval is put around them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mri_recon.evaluation.scores import VolumeScore
from mri_recon.evaluation.statistics import bootstrap_interval, differences, summarise


def volume(file, method, psnr, *, acquisition="T1", acceleration=4.0, mask="m", **others) -> VolumeScore:
    return VolumeScore(
        file=file, method=method, acquisition=acquisition, acceleration=acceleration, center_fraction=0.08,
        effective_acceleration=4.1, mask="random", lines=10, mask_sha256=mask, slices=2, nmse=0.1, psnr=psnr,
        ssim=0.9, seconds=0.1, converged=None, others=others,
    )  # fmt: skip


def test_differences_are_taken_within_volumes():
    """Patients differ by 10 dB and methods by 1: the interval of the difference knows only of the latter."""
    rng = np.random.default_rng(5)
    patients = 30 + 10 * rng.standard_normal(20)
    gains = 1 + 0.1 * rng.standard_normal(20)
    volumes = [volume(f"{i}.h5", "zero-filled", p) for i, p in enumerate(patients)]
    volumes += [volume(f"{i}.h5", "cs", patients[i] + gains[i]) for i in reversed(range(20))]
    (row,) = differences(volumes)
    assert (row.method, row.than, row.acceleration, row.acquisition, row.volumes) == (
        "cs", "zero-filled", "4", "T1", 20,
    )  # fmt: skip
    assert row.psnr.mean == pytest.approx(gains.mean())
    assert row.psnr.std == pytest.approx(gains.std(ddof=1))
    assert (row.psnr.low, row.psnr.high) == pytest.approx(bootstrap_interval(gains[::-1]))
    assert 0.9 < row.psnr.low < row.psnr.high < 1.1
    plain = summarise(volumes)
    assert plain[0].psnr.high - plain[0].psnr.low > 5


def test_every_method_is_held_against_each_before_it():
    volumes = [
        volume(file, method, value, acceleration=rate)
        for file in ("a.h5", "b.h5")
        for rate in (4.0, 8.0)
        for method, value in (("zero-filled", 20.0), ("cs", 25.0), ("unet", 27.0))
    ]
    rows = {(r.acceleration, r.method, r.than): r.psnr.mean for r in differences(volumes)}
    assert rows == {
        (rate, method, than): value
        for rate in ("4", "8")
        for method, than, value in (
            ("cs", "zero-filled", 5.0),
            ("unet", "zero-filled", 7.0),
            ("unet", "cs", 2.0),
        )
    }


def test_only_what_both_scored_under_one_mask_is_compared():
    volumes = [
        volume("a.h5", "zero-filled", 20.0),
        volume("b.h5", "zero-filled", 21.0),
        volume("c.h5", "zero-filled", 22.0, mask="another"),
        volume("b.h5", "cs", 24.0),
        volume("c.h5", "cs", 90.0),
    ]
    (row,) = differences(volumes)
    assert (row.volumes, row.psnr.mean) == (1, 3.0)
    assert math.isnan(row.psnr.low)
    assert differences(volumes[:3]) == ()


def test_files_of_one_name_are_told_by_their_order():
    volumes = [volume("a.h5", "zero-filled", v) for v in (10.0, 20.0)]
    volumes += [volume("a.h5", "cs", v) for v in (11.0, 23.0)]
    (row,) = differences(volumes)
    assert (row.volumes, row.psnr.mean) == (2, 2.0)


def test_per_acquisition_and_over_all():
    volumes = [
        volume(f"{a}.h5", m, v, acquisition=a)
        for a, m, v in (("T1", "zf", 1.0), ("T1", "cs", 3.0), ("T2", "zf", 1.0), ("T2", "cs", 5.0))
    ]
    means = {(r.acquisition, r.volumes): r.psnr.mean for r in differences(volumes)}
    assert means == {("T1", 1): 2.0, ("T2", 1): 4.0, ("all", 2): 3.0}


def test_other_definitions_have_their_statistics_and_gaps():
    volumes = [volume("a.h5", "zero-filled", 1.0, hfen=0.5, residual=None)]
    volumes += [volume("a.h5", "cs", 2.0, hfen=0.2, residual=0.1)]
    first, second = summarise(volumes)
    assert (first.others["hfen"].mean, second.others["hfen"].mean) == (0.5, 0.2)
    assert math.isnan(first.others["residual"].mean)
    assert second.others["residual"].mean == 0.1
    (row,) = differences(volumes)
    assert row.others["hfen"].mean == pytest.approx(-0.3)
    assert math.isnan(row.others["residual"].mean)
    assert row.as_row()["hfen"]["mean"] == pytest.approx(-0.3)
    assert "others" not in row.as_row()


def test_two_perfect_images_do_not_differ():
    volumes = [volume("a.h5", "zero-filled", math.inf), volume("a.h5", "cs", math.inf)]
    (row,) = differences(volumes)
    assert row.psnr.mean == 0
