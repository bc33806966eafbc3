"""What is finished is kept and found again, unless something that it depends on has changed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from small_scans import small_scan

from mri_recon.data.storage import write_scan
from mri_recon.evaluation import journal as journal_module
from mri_recon.evaluation.journal import Journal, entry_name, journal_beside
from mri_recon.evaluation.run import evaluate

PAIRS = [(4.0, 0.08), (2.0, None)]


@pytest.fixture
def folder(tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a.h5", "b.h5"):
        write_scan(scans / name, small_scan(name))
    return scans


def run(folder, journal, methods=("zero-filled",), **options):
    """The evaluation, and for each reconstruction whether it came from the journal."""
    resumed = []
    found = evaluate(
        folder,
        methods,
        pairs=PAIRS,
        journal=journal,
        on_progress=lambda done, total, outcome: resumed.append(outcome.resumed),
        **options,
    )
    return found, resumed


class Stopped(Exception):
    """Stands in for the power cut."""


def test_what_was_finished_when_it_was_killed_is_not_done_again(folder, tmp_path):
    def cut(done, total, outcome):
        if done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        evaluate(folder, ["zero-filled"], pairs=PAIRS, journal=tmp_path / "j", on_progress=cut)
    found, resumed = run(folder, tmp_path / "j")
    assert resumed == [True, True, True, False]
    whole, _ = run(folder, None)
    assert without_time(found) == without_time(whole)
    # The seconds are those that it took, not those of looking them up.
    again, resumed = run(folder, tmp_path / "j")
    assert resumed == [True] * 4
    assert again.volumes == found.volumes


def without_time(found):
    return [replace(volume, seconds=0) for volume in found.volumes], found.notes, found.manifest


@pytest.mark.parametrize(
    ("changed", "resumed"),
    [
        ({"seed": 3}, [False] * 4),
        ({"mask": "equispaced"}, [False] * 4),
        ({"slices": (0, 1)}, [False] * 4),
        ({"metrics": ("ncc",)}, [False] * 4),
        ({"methods": ("zero-filled", "sense")}, [True, False] * 4),
        ({}, [True] * 4),
    ],
    ids=str,
)
def test_a_changed_setting_is_computed_anew(folder, tmp_path, changed, resumed):
    run(folder, tmp_path / "j")
    assert run(folder, tmp_path / "j", **changed)[1] == resumed


def test_a_changed_file_is_computed_anew(folder, tmp_path):
    run(folder, tmp_path / "j")
    scan = small_scan("a.h5")
    write_scan(folder / "a.h5", replace(scan, kspace=1.5 * scan.kspace), overwrite=True)
    assert run(folder, tmp_path / "j")[1] == [False, False, True, True]


def test_another_version_is_computed_anew(monkeypatch):
    before = entry_name({"file": "a"})
    assert entry_name({"file": "a"}) == before
    monkeypatch.setattr(journal_module, "code_sha256", lambda: "other")
    assert entry_name({"file": "a"}) != before


def test_an_entry_cut_short_is_computed_anew(folder, tmp_path):
    whole, _ = run(folder, tmp_path / "j")
    entries = sorted((tmp_path / "j").iterdir())
    assert len(entries) == 4
    assert Journal(tmp_path / "j").n_entries() == 4
    entries[0].write_text(entries[0].read_text()[:40])
    entries[1].write_text(json.dumps({"score": {"file": "a.h5"}}))
    found, resumed = run(folder, tmp_path / "j")
    assert sorted(resumed) == [False, False, True, True]
    assert without_time(found) == without_time(whole)


def test_images_are_kept_where_they_are_wanted(folder, tmp_path):
    def images(journal):
        seen = []
        found = evaluate(
            folder,
            ["zero-filled"],
            pairs=PAIRS,
            journal=journal,
            on_volume=lambda done, total, scan, result: seen.append((scan.name, result)),
        )
        return found, seen

    run(folder, tmp_path / "j")  # without images, which are then computed
    _, first = images(tmp_path / "j")
    _, second = images(tmp_path / "j")
    assert run(folder, tmp_path / "j")[1] == [True] * 4
    for (name, one), (other_name, other) in zip(first, second, strict=True):
        assert name == other_name
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.target, other.target)
        np.testing.assert_array_equal(one.mask.columns, other.mask.columns)
        assert (one.mask.acceleration, one.metrics, one.slices) == (
            other.mask.acceleration,
            other.metrics,
            other.slices,
        )


def test_it_lies_beside_the_results_and_goes(tmp_path):
    journal = Journal(journal_beside(tmp_path / "results.json"))
    assert journal.folder == tmp_path / "results.json.journal"
    journal.remove()  # where there is none
    journal.folder.mkdir()
    (journal.folder / "x.json").write_text("{}")
    journal.remove()
    assert not journal.folder.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut short"])
def test_a_damaged_image_is_computed_anew(folder, tmp_path, content):
    def again():
        resumed = []
        evaluate(
            folder,
            ["zero-filled"],
            pairs=PAIRS,
            journal=tmp_path / "j",
            on_volume=lambda *told: None,
            on_progress=lambda done, total, outcome: resumed.append(outcome.resumed),
        )
        return resumed

    again()
    next((tmp_path / "j").glob("*.npz")).write_bytes(content)
    assert sorted(again()) == [False, True, True, True]
