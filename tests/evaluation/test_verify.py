"""A result and its manifest are enough to make it again, and to tell when it cannot be."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from small_scans import small_scan

from mri_recon.data.storage import read_reconstruction, read_scan, write_reconstruction, write_scan
from mri_recon.errors import SettingsError
from mri_recon.evaluation.elsewhere import score_reconstructions
from mri_recon.evaluation.run import evaluate
from mri_recon.evaluation.verify import read_results, verify
from mri_recon.physics.masks import generate_mask

METRICS = ("fastmri", "slice", "residual")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    write_scan(folder / "a.h5", replace(small_scan("a.h5"), acquisition="AXT1"))
    write_scan(folder / "b.h5", replace(small_scan("b.h5", n_coils=1), acquisition="AXT2"))
    write_scan(folder / "c.h5", replace(small_scan("c.h5"), target=None))
    return folder


def written(path, found):
    path.write_text(found.json(), encoding="utf-8")
    return path


@pytest.fixture
def results(folder, tmp_path):
    found = evaluate(
        folder, ["zero-filled", "sense"], pairs=[(4.0, 0.08), (2.0, None)], metrics=METRICS,
        settings={"l2_weight": 0.02}, slices=(0, 1),
    )  # fmt: skip
    return written(tmp_path / "results.json", found)


def changed(results, change):
    told = json.loads(results.read_text())
    change(told)
    results.write_text(json.dumps(told))
    return results


class TestManifest:
    def test_it_says_what_the_numbers_were_made_of(self, folder, results):
        told = json.loads(results.read_text())
        manifest = told["manifest"]
        assert [f["file"] for f in manifest["files"]] == ["a.h5", "b.h5"]
        for record in manifest["files"]:
            contents = (folder / record["file"]).read_bytes()
            assert (record["size"], record["hashed"]) == (len(contents), "file")
            assert record["sha256"] == hashlib.sha256(contents).hexdigest()
            assert record["slices"] == [0, 1]
            # 48 × 40 is scored as its centre square.
            assert record["crop"] == [40, 40]
            target = read_scan(folder / record["file"]).target[0:1]
            assert record["data_range"] == target[:, 4:44].max()
            masks = [generate_mask("random", 40, r, 0.08, seed=record["file"]) for r in (4, 2)]
            assert [m["sha256"] for m in record["masks"]] == [
                hashlib.sha256(mask.astype(np.uint8).tobytes()).hexdigest() for mask in masks
            ]
            assert [m["lines"] for m in record["masks"]] == [int(mask.sum()) for mask in masks]
        assert manifest["methods"]["sense"]["l2_weight"] == 0.02
        assert set(manifest["metrics"]) == set(METRICS)
        assert {"data_range", "crop", "interval"} <= set(manifest)
        assert manifest["versions"]["numpy"] == np.__version__
        assert {"system", "processor", "processors"} <= set(manifest["machine"])

    def test_scans_in_memory_have_the_hash_of_their_kspace(self):
        scan = small_scan()
        (record,) = evaluate(scan, ["zero-filled"]).manifest["files"]
        assert (record["path"], record["hashed"]) == (None, "k-space")
        assert record["sha256"] == hashlib.sha256(scan.kspace.tobytes()).hexdigest()

    def test_weights_are_hashed(self, folder):
        found = evaluate(folder / "b.h5", ["unet"], slices=(0, 1))
        record = found.manifest["weights"]["unet"]
        assert record["file"] == "shipped unet.safetensors"
        assert len(record["sha256"]) == 64
        assert record["size"] > 10000


class TestVerify:
    def test_what_was_not_touched_is_equal(self, results):
        found = verify(results)
        assert (found.equal, found.differences, found.notes) == (True, (), ())
        # Two scans, two accelerations and methods; three metrics, three by slice and the residual.
        assert found.compared == 8 * 7

    def test_the_volume_method_and_digit_are_named(self, results):
        told = json.loads(results.read_text())
        row = next(i for i, v in enumerate(told["volumes"]) if (v["file"], v["method"]) == ("b.h5", "sense"))
        value = told["volumes"][row]["psnr"]
        told["volumes"][row]["psnr"] = value * (1 + 3e-6)
        results.write_text(json.dumps(told))
        (difference,) = verify(results).differences
        assert difference.startswith("b.h5, sense, 4×: psnr differs in digit 6: ")
        assert repr(value) in difference
        assert verify(results, digits=5).equal

    def test_a_lost_mask_and_a_lost_row_are_named(self, results):
        def change(told):
            told["volumes"][0]["mask_sha256"] = "0" * 64
            told["volumes"].pop()

        differences = verify(changed(results, change)).differences
        assert any(d.startswith("a.h5, zero-filled, 4×: mask_sha256 is ") for d in differences)
        assert any(d == "b.h5, sense, 2×: was not there." for d in differences)
        assert len(differences) == 2

    def test_missing_and_changed_files_are_named_and_the_others_compared(self, folder, results):
        (folder / "a.h5").unlink()
        with (folder / "b.h5").open("ab") as file:
            file.write(b"x")
        found = verify(results)
        assert f"{folder / 'a.h5'} is missing." in found.differences
        assert any(d.startswith(f"{folder / 'b.h5'} has changed: its sha256") for d in found.differences)
        assert "a.h5, sense, 4×: not there this time." in found.differences
        assert found.compared == 4 * 7  # what b.h5 holds is what it was
        assert not any("digit" in d for d in found.differences)

    def test_nothing_left_is_no_crash(self, folder, results):
        for path in folder.iterdir():
            path.unlink()
        found = verify(results)
        assert not found.equal
        assert any("a.h5 is missing" in d for d in found.differences)

    def test_scans_that_were_moved_are_found(self, folder, results, tmp_path):
        folder.rename(tmp_path / "moved")
        assert not verify(results).equal
        assert verify(results, tmp_path / "moved").equal

    def test_scans_of_one_name_are_found_in_their_folders(self, folder, tmp_path):
        """By their names alone, both would be taken for one file."""
        for site, seed in (("one", 1), ("two", 2)):
            (folder / site).mkdir()
            write_scan(folder / site / "same.h5", small_scan("same.h5", n_coils=seed))
        paths = [folder / "one" / "same.h5", folder / "two" / "same.h5"]
        results = written(tmp_path / "results.json", evaluate(paths, ["zero-filled"]))
        folder.rename(tmp_path / "moved")
        assert verify(results, tmp_path / "moved").equal
        (tmp_path / "flat").mkdir()
        (tmp_path / "moved" / "one" / "same.h5").rename(tmp_path / "flat" / "same.h5")
        with pytest.raises(SettingsError, match=r"Several scans .* called same\.h5"):
            verify(results, tmp_path / "flat")

    def test_masks_of_ones_own(self, folder, tmp_path):
        columns = generate_mask("equispaced", 40, 3, 0.1, seed=1)
        np.save(tmp_path / "m.npy", columns)
        for mask in (columns, tmp_path / "m.npy"):
            found = evaluate(folder / "a.h5", ["zero-filled"], mask=mask)
            named = str(mask) if mask is not columns else None
            assert found.settings.get("mask_file") == named
            assert verify(written(tmp_path / "results.json", found)).equal

    def test_seed_and_kind_of_mask(self, folder, tmp_path):
        found = evaluate(folder / "a.h5", ["zero-filled"], mask="magic", seed=7, pairs=[(3, 0.1)])
        assert verify(written(tmp_path / "results.json", found)).equal

    def test_other_versions_are_a_note(self, results):
        def older(told):
            told["manifest"]["versions"]["numpy"] = "1.0"

        found = verify(changed(results, older))
        assert found.equal
        assert found.notes == (f"Versions differ: numpy {np.__version__} (1.0 then).",)

    def test_another_machine_is_a_note(self, results):
        def elsewhere(told):
            told["manifest"]["machine"] |= {"threads": 999, "gpu": None}

        (note,) = verify(changed(results, elsewhere)).notes
        assert note.startswith("The machine differs: threads ")
        assert note.endswith(" (999 then).")

    def test_infinite_scores_are_equal(self, folder, tmp_path):
        scan = read_scan(folder / "b.h5")
        target = scan.target[:]
        write_reconstruction(tmp_path / "b.h5", target)
        found = score_reconstructions(tmp_path, folder / "b.h5")
        assert found.volumes[0].psnr == math.inf
        assert verify(written(tmp_path / "results.json", found)).equal

    def test_scans_of_a_program_cannot_be_run_again(self, tmp_path):
        path = written(tmp_path / "r.json", evaluate(small_scan(), ["zero-filled"]))
        with pytest.raises(SettingsError, match="Only evaluations of files"):
            verify(path)


class TestImagesMadeElsewhere:
    @pytest.fixture
    def made(self, folder, tmp_path):
        images = tmp_path / "images"
        images.mkdir()
        rng = np.random.default_rng(1)
        for name in ("a.h5", "b.h5"):
            write_reconstruction(images / name, rng.random((2, 60, 60)).astype(np.float32))
        return images

    def test_equal_then_changed(self, folder, made, tmp_path):
        results = written(
            tmp_path / "results.json", score_reconstructions(made, folder, metrics=("hfen", "ncc"))
        )
        found = verify(results)
        assert (found.equal, found.compared) == (True, 2 * 5)
        image = read_reconstruction(made / "b.h5")
        write_reconstruction(made / "b.h5", image * np.float32(1.0001), overwrite=True)
        differences = verify(results).differences
        assert any("b.h5 has changed" in d for d in differences)
        assert any(
            d.startswith("b.h5, reconstructions, made elsewhere: psnr differs in digit") for d in differences
        )
        assert not any(d.startswith("a.h5") for d in differences)

    def test_another_target_is_told(self, folder, made, tmp_path):
        results = written(tmp_path / "results.json", score_reconstructions(made, folder))
        scan = small_scan("a.h5")
        target = scan.target * np.float32(2)
        write_scan(folder / "a.h5", replace(scan, target=target, acquisition="AXT1"), overwrite=True)
        assert "a.h5: its target has changed." in verify(results).differences

    def test_what_needs_kspace_is_refused(self, folder, made):
        with pytest.raises(SettingsError, match="complex images"):
            score_reconstructions(made, folder, metrics=("residual",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no evaluation"),
        ('{"settings": {}, "volumes": [], "failures": []}', "holds no evaluation"),
        (
            '{"settings": {}, "volumes": [{}], "failures": [], "manifest": {"files": []}}',
            "holds no evaluation",
        ),
        (
            '{"settings": {}, "volumes": [], "failures": [], "manifest": {"files": [{}]}}',
            "holds no evaluation",
        ),
    ],
)
def test_what_is_no_result(tmp_path, text, says):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_results(tmp_path / "nowhere.json")
