"""Scans by methods, scored: the table, what becomes of failures, and the formats it is written in."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from small_scans import small_scan

from mri_recon.data.phantom import sample_set
from mri_recon.data.storage import read_reconstruction, read_scan, write_reconstruction, write_scan
from mri_recon.errors import ScanError, SettingsError
from mri_recon.evaluation.elsewhere import score_reconstructions
from mri_recon.evaluation.run import evaluate
from mri_recon.evaluation.scores import VolumeScore
from mri_recon.evaluation.statistics import bootstrap_interval
from mri_recon.evaluation.table import Evaluation
from mri_recon.methods.tv import TotalVariation
from mri_recon.metrics import score
from mri_recon.physics.masks import generate_mask
from mri_recon.reconstruct import reconstruct

PAIRS = [(4.0, 0.08), (2.0, None)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sound scans and one without a target."""
    folder = tmp_path_factory.mktemp("scans")
    write_scan(folder / "a.h5", replace(small_scan("a.h5"), acquisition="AXT1"))
    write_scan(folder / "b.h5", replace(small_scan("b.h5", n_coils=1), acquisition="AXT2"))
    write_scan(folder / "c.h5", replace(small_scan("c.h5"), target=None))
    return folder


@pytest.fixture(scope="module")
def found(folder) -> Evaluation:
    return evaluate(folder, ["zero-filled", "cs"], pairs=PAIRS)


class TestVolumes:
    def test_scores_are_those_of_reconstruct(self, folder, found):
        assert [(v.file, v.acceleration, v.method) for v in found.volumes] == [
            (name, acceleration, method)
            for name in ("a.h5", "b.h5")
            for acceleration in (4, 2)
            for method in ("zero-filled", "cs")
        ]
        for volume in found.volumes:
            scan = read_scan(folder / volume.file)
            result = reconstruct(scan, volume.method, acceleration=volume.acceleration, center_fraction=0.08)
            scores = (volume.nmse, volume.psnr, volume.ssim)
            assert scores == pytest.approx(tuple(result.metrics.as_dict().values()), rel=1e-9)
            assert (volume.lines, volume.mask_sha256) == (result.mask.n_lines, result.mask.sha256)
            assert (volume.center_fraction, volume.slices) == (0.08, 2)
            assert volume.converged is (True if volume.method == "cs" else None)
            assert volume.seconds > 0
        assert [v.acquisition for v in found.volumes] == ["AXT1"] * 4 + ["AXT2"] * 4

    def test_methods_share_the_mask(self, found):
        for pair in zip(found.volumes[::2], found.volumes[1::2], strict=True):
            assert pair[0].mask_sha256 == pair[1].mask_sha256

    def test_what_cannot_be_scored_is_listed_once_and_the_others_are_done(self, folder, found, tmp_path):
        assert found.failures == (("c.h5", "It has no target, so there is nothing to score against."),)
        (tmp_path / "broken.h5").write_text("k-space")
        for name in ("a.h5", "c.h5"):
            (tmp_path / name).symlink_to(folder / name)
        blank = small_scan("blank.h5")
        write_scan(tmp_path / "blank.h5", replace(blank, target=np.zeros_like(blank.target)))
        write_scan(tmp_path / "empty.h5", replace(blank, kspace=np.zeros_like(blank.kspace)))
        some = evaluate(tmp_path, ["zero-filled", TotalVariation(iterations=2)])
        assert [v.file for v in some.volumes] == ["a.h5", "a.h5"]
        assert [file for file, _ in some.failures] == ["blank.h5", "broken.h5", "c.h5", "empty.h5"]
        reasons = dict(some.failures)
        assert "target is zero everywhere" in reasons["blank.h5"]
        assert "not an HDF5 file" in reasons["broken.h5"]
        assert "k-space is zero everywhere" in reasons["empty.h5"]

    def test_nothing_scorable_is_an_error_that_says_why(self, folder):
        with pytest.raises(ScanError, match=r"Nothing could be scored\. c\.h5: It has no target"):
            evaluate(folder / "c.h5")
        with pytest.raises(ScanError, match=r"Nothing could be scored.*Use center_fraction ≤"):
            evaluate(folder, pairs=[(8, 0.5)])

    def test_a_scan_that_was_undersampled_is_evaluated_once(self, folder, tmp_path):
        """It is the same at every pair, and counting it twice would weigh it twice."""
        scan = small_scan("acquired.h5")
        columns = generate_mask("equispaced", 40, 3, 0.1, seed=1)
        write_scan(tmp_path / "acquired.h5", replace(scan, kspace=scan.kspace * columns, mask=columns))
        write_scan(tmp_path / "gaps.h5", replace(scan, kspace=scan.kspace * columns))
        (tmp_path / "whole.h5").symlink_to(folder / "a.h5")
        found = evaluate(tmp_path, ["zero-filled"], pairs=PAIRS)
        assert [v.file for v in found.volumes] == ["acquired.h5", "gaps.h5", "whole.h5", "whole.h5"]
        assert found.volumes[0].acceleration is None
        assert found.volumes[0].effective_acceleration == pytest.approx(40 / columns.sum(), abs=0.01)
        assert found.volumes[0].center_fraction is None
        assert any("acquired.h5: The scan carries a mask" in note for note in found.notes)

    def test_scans_in_memory_a_single_one_and_a_mixture_with_files(self, folder):
        scan = small_scan("memory.h5")
        for data, files in (
            (scan, ["memory.h5"]),
            ([scan], ["memory.h5"]),
            ([scan, folder / "a.h5"], ["memory.h5", "a.h5"]),
            (str(folder / "a.h5"), ["a.h5"]),
        ):
            assert [v.file for v in evaluate(data, ["zero-filled"]).volumes] == files

    def test_settings_go_to_the_methods_that_know_them(self, folder):
        scan = folder / "a.h5"
        found = evaluate(scan, ["zero-filled", "cs"], settings={"tv_weight": 0.05})
        assert found.settings["methods"] == {
            "zero-filled": {},
            "cs": TotalVariation(tv_weight=0.05).as_dict(),
        }
        made = reconstruct(read_scan(scan), TotalVariation(tv_weight=0.05))
        assert found.volumes[1].nmse == pytest.approx(made.metrics.nmse, rel=1e-9)
        with pytest.raises(SettingsError, match="Did you mean 'tv_weight'"):
            evaluate(scan, ["zero-filled", "cs"], settings={"tvweight": 1})
        with pytest.raises(SettingsError, match="takes weights"):
            evaluate(scan, ["zero-filled", "cs"], weights="w.safetensors")

    def test_mask_seed_and_slices_reach_the_reconstruction(self, folder):
        found = evaluate(folder / "a.h5", ["zero-filled"], mask="equispaced", seed=3, slices=(1, 2))
        scan = read_scan(folder / "a.h5")
        result = reconstruct(scan, "zero-filled", mask="equispaced", seed=3, slices=(1, 2))
        assert found.volumes[0].mask_sha256 == result.mask.sha256
        assert found.volumes[0].nmse == result.metrics.nmse
        assert found.volumes[0].slices == 1
        assert (found.settings["mask"], found.settings["seed"], found.settings["slices"]) == (
            "equispaced",
            3,
            [1, 2],
        )

    def test_one_method_twice_would_mix_its_scores(self):
        with pytest.raises(SettingsError, match="one is there twice"):
            evaluate(small_scan(), [TotalVariation(tv_weight=0.1), TotalVariation()])

    def test_on_volume_is_told_of_each(self, folder):
        seen = []
        evaluate(
            [folder / "a.h5", folder / "b.h5"],
            ["zero-filled"],
            pairs=PAIRS,
            on_volume=lambda done, total, scan, result: seen.append((done, total, scan.name, result.method)),
        )
        assert seen == [
            (i, 4, name, "zero-filled") for i, name in enumerate(["a.h5", "a.h5", "b.h5", "b.h5"], 1)
        ]

    def test_without_data_the_generated_test_set_and_a_note(self, monkeypatch):
        assert [s.name for s in sample_set("test", n_scans=1, n_slices=1)] == ["head_test_0000.h5"]
        asked = []

        def one_small(split):
            asked.append(split)
            return [small_scan("generated.h5")]

        monkeypatch.setattr("mri_recon.data.phantom.sample_set", one_small)
        found = evaluate(methods=["zero-filled"])
        assert asked == ["test"]
        assert [v.file for v in found.volumes] == ["generated.h5"]
        assert found.notes[0].startswith("No data was given: these are generated scans")
        assert found.settings["data"] == "built-in generated test set, 1 scans"


def make_volume(nmse, *, method="cs", acquisition="T1", acceleration=4.0) -> VolumeScore:
    return VolumeScore(
        f"{nmse}.h5",
        method,
        acquisition,
        acceleration,
        0.08,
        4.1,
        "random",
        10,
        "",
        2,
        nmse,
        30.0,
        0.9,
        0.1,
        True,
    )


class TestSummary:
    def test_mean_and_spread_are_numpys(self):
        values = np.array([0.1, 0.25, 0.4, 0.15])
        (row,) = Evaluation({}, tuple(map(make_volume, values))).summary
        assert (row.method, row.acceleration, row.acquisition, row.volumes) == ("cs", "4", "T1", 4)
        assert row.nmse.mean == pytest.approx(np.mean(values))
        assert row.nmse.std == pytest.approx(np.std(values, ddof=1))
        assert (row.psnr.mean, row.psnr.std, row.psnr.low, row.psnr.high) == (30, 0, 30, 30)

    def test_the_interval_is_that_of_the_mean(self):
        rng = np.random.default_rng(1)
        values = rng.normal(5, 2, 400)
        low, high = bootstrap_interval(values)
        # With this many it is the normal one: mean ± 1.96 standard errors.
        error = values.std() / 20
        assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
        assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
        assert bootstrap_interval(values) == (low, high)

    def test_two_values_lie_within_themselves(self):
        assert bootstrap_interval(np.array([1.0, 3.0])) == (1.0, 3.0)

    def test_of_one_volume_no_spread_is_known(self):
        (row,) = Evaluation({}, (make_volume(0.2),)).summary
        assert row.nmse.mean == 0.2
        assert np.isnan([row.nmse.std, row.nmse.low, row.nmse.high]).all()

    def test_groups_are_method_pair_and_acquisition_and_all_together(self):
        volumes = [
            make_volume(v, method=m, acquisition=a, acceleration=r)
            for v, m, a, r in (
                (0.1, "cs", "T1", 4),
                (0.3, "cs", "T2", 4),
                (0.5, "cs", "T1", 8),
                (0.7, "unet", "T1", 4),
            )
        ]
        rows = Evaluation({}, tuple(volumes)).summary
        means = {(r.method, r.acceleration, r.acquisition): (r.volumes, r.nmse.mean) for r in rows}
        assert means == {
            ("cs", "4", "T1"): (1, 0.1),
            ("cs", "4", "T2"): (1, 0.3),
            ("cs", "4", "all"): (2, 0.2),
            ("cs", "8", "T1"): (1, 0.5),
            ("cs", "8", "all"): (1, 0.5),
            ("unet", "4", "T1"): (1, 0.7),
            ("unet", "4", "all"): (1, 0.7),
        }


class TestFormats:
    def test_json_holds_it_all_and_is_strict(self, found):
        def no_constant(name):
            raise AssertionError(f"{name} is not JSON")

        told = json.loads(found.json(), parse_constant=no_constant)
        assert list(told) == [
            "settings",
            "volumes",
            "summary",
            "differences",
            "failures",
            "notes",
            "manifest",
        ]
        assert told["volumes"][0]["psnr"] == found.volumes[0].psnr
        assert {"file", "method", "acquisition", "acceleration", "lines", "slices", "seconds"} <= set(
            told["volumes"][0]
        )
        assert told["failures"] == [{"file": "c.h5", "reason": found.failures[0][1]}]
        assert told["settings"]["pairs"] == [[4.0, 0.08], [2.0, None]]
        assert told["settings"]["methods"]["cs"] == TotalVariation().as_dict()
        # One volume a group: its spread is not known, which JSON says with null.
        assert told["summary"][0]["volumes"] == 1
        assert told["summary"][0]["psnr"]["std"] is None
        perfect = Evaluation({}, (replace(make_volume(0.0), psnr=float("inf")),))
        assert json.loads(perfect.json(), parse_constant=no_constant)["volumes"][0]["psnr"] is None

    def test_csv_has_a_row_a_volume(self, found):
        rows = list(csv.DictReader(io.StringIO(found.csv())))
        assert [(r["file"], r["method"]) for r in rows] == [(v.file, v.method) for v in found.volumes]
        for row, volume in zip(rows, found.volumes, strict=True):
            assert [float(row[k]) for k in ("nmse", "psnr", "ssim")] == [
                volume.nmse,
                volume.psnr,
                volume.ssim,
            ]

    def test_markdown_has_both_tables(self, found):
        summary, apart, volumes = found.markdown().strip().split("\n\n")
        for text, (header, rows) in (
            (summary, found.summary_table()),
            (apart, found.difference_table()),
            (volumes, found.volume_table()),
        ):
            cells = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
            assert cells == [header, ["---"] * len(header), *rows]
        assert f"{found.volumes[0].psnr:.2f}" in volumes
        both = next(row for row in found.summary if row.acquisition == "all")
        shown = f"{both.psnr.mean:.2f} ± {both.psnr.std:.2f} [{both.psnr.low:.2f}, {both.psnr.high:.2f}]"
        assert shown in summary


class TestImagesMadeElsewhere:
    @pytest.fixture
    def images(self, folder, tmp_path):
        rng = np.random.default_rng(2)
        for name in ("a.h5", "c.h5"):
            image = np.abs(rng.standard_normal((2, 60, 60))).astype(np.float32)
            write_reconstruction(tmp_path / name, image)
        return tmp_path

    def test_scores_are_those_of_the_metrics(self, folder, images):
        found = score_reconstructions(images, folder)
        (volume,) = found.volumes
        expected = score(small_scan("a.h5").target, read_reconstruction(images / "a.h5"))
        assert (volume.nmse, volume.psnr, volume.ssim) == tuple(expected.as_dict().values())
        assert (volume.file, volume.method, volume.acquisition) == ("a.h5", "reconstructions", "AXT1")
        reasons = dict(found.failures)
        assert set(reasons) == {"b.h5", "c.h5"}
        assert "holds no file of that name" in reasons["b.h5"]
        assert "no target" in reasons["c.h5"]
        json.loads(found.json())

    def test_a_scan_of_another_suffix_is_found(self, folder, images, tmp_path):
        (tmp_path / "targets").mkdir()
        (tmp_path / "targets" / "a.hdf5").symlink_to(folder / "a.h5")
        assert [v.file for v in score_reconstructions(images, tmp_path / "targets").volumes] == ["a.hdf5"]

    def test_what_does_not_fit_is_told(self, folder, tmp_path):
        write_reconstruction(tmp_path / "a.h5", np.ones((1, 48, 40), dtype=np.float32))
        with pytest.raises(ScanError, match=r"Nothing could be scored\. a\.h5: Expected two volumes"):
            score_reconstructions(tmp_path, folder / "a.h5")
        with pytest.raises(ScanError, match=r"is no folder\. Name the folder of the reconstructions"):
            score_reconstructions(tmp_path / "nowhere", folder / "a.h5")

    def test_images_of_some_slices_are_scored_against_those(self, folder, tmp_path):
        scan = read_scan(folder / "a.h5")
        last = reconstruct(scan, "zero-filled", slices=(scan.n_slices - 1, scan.n_slices))
        write_reconstruction(tmp_path / "a.h5", last.image, attributes={"first_slice": scan.n_slices - 1})
        (volume,) = score_reconstructions(tmp_path, folder / "a.h5").volumes
        assert volume.psnr == pytest.approx(last.metrics.psnr, rel=1e-6)


class TestAsAcquired:
    @pytest.fixture
    def masked(self, tmp_path):
        """Three scans that carry different masks of one nominal acceleration, which two of them state."""
        for seed, attributes in enumerate([{"acceleration": 4}, {"acceleration": 4}, {}]):
            scan = small_scan(f"m{seed}.h5")
            mask = generate_mask("random", scan.shape[1], 4, 0.08, seed=seed)
            write_scan(tmp_path / scan.name, replace(scan, mask=mask, attributes=attributes))
        return tmp_path

    def test_volumes_are_grouped_by_what_the_files_state(self, masked):
        found = evaluate(masked, ["zero-filled"], pairs=[(4, 0.08), (8, 0.04)])
        assert [(v.acceleration, v.mask) for v in found.volumes] == [
            (4, "as acquired"),
            (4, "as acquired"),
            (None, "as acquired"),
        ]
        rows = {row.acceleration: row.volumes for row in found.summary}
        assert rows == {"4": 2, "as acquired": 1}
        assert all(v.effective_acceleration > 2 for v in found.volumes)

    def test_a_mask_nobody_asked_for_is_not_missed(self, masked):
        assert "not applied" not in " ".join(evaluate(masked, ["zero-filled"]).notes)
        assert "not applied" in " ".join(evaluate(masked, ["zero-filled"], pairs=[(4, 0.08)]).notes)


def test_a_run_cut_short_is_said(folder):
    notes = evaluate(folder / "a.h5", ["cs"], settings={"iterations": 5}).notes
    assert "a.h5: cs stopped before it converged." in notes
