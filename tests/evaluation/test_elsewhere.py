"""Images made elsewhere get the numbers that fastMRI's evaluate gives them."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import fields

import numpy as np
import pytest
from helpers import ROOT, golden, golden_volumes, write_evaluate_files

from mri_recon.evaluation.elsewhere import score_reconstructions
from mri_recon.metrics import score
from mri_recon.solvers.threads import limited_threads


@pytest.fixture(scope="module")
def expected():
    return golden("evaluate")


@pytest.fixture(scope="module")
def folders(expected, tmp_path_factory):
    return write_evaluate_files(tmp_path_factory.mktemp("elsewhere"), expected["cases"])


def test_the_folder_has_fastmris_means_and_deviations(folders, expected):
    targets, images = folders
    (row,) = score_reconstructions(images, targets).summary
    assert row.volumes == len(expected["cases"])
    for name in ("nmse", "psnr", "ssim"):
        found, theirs = getattr(row, name), expected["found"][name]
        assert found.mean == pytest.approx(theirs["mean"], abs=1e-6)
        assert found.std == pytest.approx(theirs["std"], abs=1e-6)


def test_each_volume_has_its_own_scores_whatever_the_threads(folders, expected):
    targets, images = folders
    found = []
    for n in (1, 3):
        with limited_threads(n):
            found.append(score_reconstructions(images, targets).volumes)
    for one, other, case in zip(*found, expected["cases"], strict=True):
        seed, target_shape, image_shape = case
        target, image = golden_volumes(seed, tuple(target_shape), tuple(image_shape), "float32")
        scores = score(target, image)
        assert one.file == f"file{seed}.h5"
        assert (one.nmse, one.psnr, one.ssim) == (scores.nmse, scores.psnr, scores.ssim)
        for field in fields(one):
            if field.name != "seconds":
                assert getattr(one, field.name) == getattr(other, field.name)


def test_the_manifest_knows_both_files(folders):
    targets, images = folders
    record = score_reconstructions(images, targets).manifest["files"][0]
    target, _ = golden_volumes(31, (3, 40, 40), (3, 40, 40), "float32")
    assert record["sha256"] == hashlib.sha256(np.ascontiguousarray(target)).hexdigest()
    made = (images / record["file"]).read_bytes()
    assert record["reconstruction_sha256"] == hashlib.sha256(made).hexdigest()
    assert record["slices"] == [0, 3]


@pytest.mark.skipif(importlib.util.find_spec("fastmri") is None, reason="fastMRI is not installed")
def test_the_golden_numbers_are_what_fastmri_says_today(folders, expected, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from benchmarks.fastmri_evaluate import evaluate

    targets, images = folders
    for name, value in evaluate(images, targets, "singlecoil").items():
        assert value == pytest.approx(expected["found"][name], rel=1e-9)
