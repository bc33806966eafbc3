"""What is told of a scan, and of one that contradicts itself."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from helpers import real_data
from measured import image_of, measured_slice

from mri_recon.data.scan import Header, Scan
from mri_recon.data.storage import find_scans, read_scan, write_scan
from mri_recon.inspection.cost import estimate
from mri_recon.inspection.find import CRIMES, crime_notes, find_crimes, merge, telling_slices
from mri_recon.inspection.finding import Finding
from mri_recon.inspection.page import page, summary_line
from mri_recon.inspection.soundness import ALL, check_file, check_scan
from mri_recon.inspection.support import noise_levels
from mri_recon.physics.masks import generate_mask


def scan_of(*slices: np.ndarray, **changes) -> Scan:
    kspace = np.stack(slices)
    target = image_of(kspace).astype(np.float32)
    return dataclasses.replace(Scan("scan.h5", kspace, target, acquisition="AXT2"), **changes)


KSPACE = measured_slice()
SOUND = scan_of(KSPACE, KSPACE * np.float32(0.5))


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e12, 1e18])
def test_units_change_nothing_but_the_noise(factor):
    """K-space in other units, whose squares single precision does not hold."""
    there = dataclasses.replace(
        SOUND, kspace=SOUND.kspace * np.float32(factor), target=SOUND.target * np.float32(factor)
    )
    usual, report = check_scan(SOUND), check_scan(there)
    assert (report.status, report.warnings) == ("sound", ())
    np.testing.assert_allclose(report.noise, np.array(usual.noise) * factor, rtol=1e-4)
    np.testing.assert_allclose(report.snr, usual.snr, rtol=1e-4)
    assert report.snr_combined == pytest.approx(usual.snr_combined, rel=1e-4)
    for found, expected in zip(report.findings, usual.findings, strict=True):
        assert found.value == pytest.approx(expected.value, rel=1e-3, abs=1e-3), found.crime


class TestReport:
    def test_a_sound_scan(self):
        report = check_scan(SOUND)
        assert (report.status, report.reason, report.warnings) == ("sound", "", ())
        assert report.slices == (0, 1)
        assert [finding.crime for finding in report.findings] == list(CRIMES)
        lines = report.lines
        assert (lines.kind, lines.n_lines, lines.n_center_lines) == ("fully sampled", 128, 128)
        # The middle slice is the second one.
        assert report.noise == pytest.approx(noise_levels(KSPACE) / 2)
        assert min(report.snr) > 5
        assert report.snr_combined > max(report.snr)

    def test_snr_is_what_noise_was_added(self):
        rng = np.random.default_rng(0)
        level = 5 * float(noise_levels(KSPACE).mean())
        noise = rng.standard_normal((2, *KSPACE.shape)).astype(np.float32) * level
        noisier = check_scan(scan_of(KSPACE + noise[0] + 1j * noise[1]))
        assert noisier.noise == pytest.approx([np.hypot(level, n) for n in noise_levels(KSPACE)], rel=0.1)
        assert noisier.snr_combined < 0.35 * check_scan(scan_of(KSPACE)).snr_combined

    def test_a_mask_is_told(self):
        mask = generate_mask("random", 128, 4, 0.08, seed=0)
        report = check_scan(scan_of(KSPACE * mask, mask=mask, target=image_of(KSPACE)[None]))
        assert report.status == "sound"
        assert report.lines.kind == "mask in the file"
        assert report.lines.n_lines == mask.sum()
        assert report.lines.effective_acceleration == 128 / mask.sum()
        assert report.lines.n_center_lines >= 10
        assert "mask in the file" in summary_line(report)

    def test_partial_fourier_is_told_and_no_warning(self):
        kspace = KSPACE.copy()
        kspace[:, :, :30] = 0
        report = check_scan(scan_of(kspace))
        assert report.status == "sound"
        assert report.lines.empty == (30, 0)
        assert report.lines.n_lines == 98
        assert "30 before the data, 0 after" in page(report)

    def test_a_crime_is_a_warning(self):
        report = check_scan(scan_of(KSPACE, target=2 * image_of(KSPACE)[None]))
        assert report.status == "warning"
        assert [finding.crime for finding in report.crimes] == ["target-mismatch"]
        assert summary_line(report).endswith("target-mismatch")
        assert "times 2" in page(report)
        assert "limit" in page(report)

    def test_what_the_file_says_of_itself_is_a_warning(self):
        told = "Data crime: made of magnitude images."
        report = check_scan(scan_of(KSPACE, attributes={"data_crime": told}))
        assert [finding.crime for finding in report.crimes] == ["stated"]
        assert told in report.warnings[0]
        assert check_scan(scan_of(KSPACE, attributes={"data_crime": "Generated."})).status == "sound"

    def test_nothing_to_reconstruct_is_unusable(self):
        report = check_scan(scan_of(np.zeros_like(KSPACE)))
        assert report.status == "unusable"
        assert "zero" in report.reason
        assert "zero" in summary_line(report)
        assert report.reason in page(report)

    def test_the_report_is_plain_json(self):
        told = check_scan(SOUND).as_dict()
        assert json.loads(json.dumps(told)) == told
        assert told["lines"] == 128
        assert told["coils"] == 3
        assert len(told["crimes"]) == len(CRIMES)
        assert told["estimate"]["memory_mib"] > 100


class TestContradictions:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"header": Header(encoded=(160, 120, 1))}, "160×120 samples, k-space is 160×128"),
            (
                {"header": Header(encoded=(160, 128, 1), recon=(80, 80, 1))},
                "the image is 80×80, the target is 160×128",
            ),
            ({"header": Header(padding=(4, 128))}, "4 columns that the header calls padding hold data"),
            (
                {"header": Header(xml="<a:receiverChannels>16</a:receiverChannels>")},
                "16 receiver channels, k-space has 3",
            ),
            ({"notes": ("The ISMRMRD header was ignored: it is broken.",)}, "it is broken"),
            ({"attributes": {"max": 1e9}}, "maximum is 1e+09"),
        ],
    )
    def test_of_header_and_data(self, changes, words):
        report = check_scan(dataclasses.replace(scan_of(KSPACE), **changes))
        assert report.status == "warning"
        assert [words in text for text in report.contradictions] == [True]

    def test_none_of_what_is_right(self):
        header = Header(
            encoded=(320, 128, 1), recon=(160, 128, 1), xml="<receiverChannels>3</receiverChannels>"
        )
        target = image_of(KSPACE)[None]
        right = scan_of(
            KSPACE, header=header, attributes={"max": float(target.max())}, notes=("Read as it is.",)
        )
        assert check_scan(right).contradictions == ()

    def test_of_mask_and_data(self):
        mask = generate_mask("random", 128, 4, 0.08, seed=0)
        more, fewer = mask.copy(), mask.copy()
        more[np.flatnonzero(~mask)[20:23]] = True
        fewer[np.flatnonzero(mask)[5:7]] = False
        report = check_scan(scan_of(KSPACE * mask, mask=more, target=None))
        assert "3 columns acquired that hold zeros" in " ".join(report.contradictions)
        report = check_scan(scan_of(KSPACE * mask, mask=fewer, target=None))
        assert "2 columns that the mask calls not acquired hold data" in " ".join(report.contradictions)

    def test_empty_slices_and_silent_coils_are_named(self):
        kspace = KSPACE.copy()
        kspace[1] = 0
        found = " ".join(check_scan(scan_of(np.zeros_like(KSPACE), kspace)).contradictions)
        assert "zero in slice 0" in found
        assert "Coil 1 of 3" in found


class TestFiles:
    def test_a_damaged_slice_makes_it_unusable_with_the_slice_named(self, tmp_path):
        bad = np.stack([KSPACE] * 3)
        bad[1, 0, 5, 5] = np.nan
        path = tmp_path / "bad.h5"
        write_scan(path, Scan("bad.h5", np.nan_to_num(bad)))
        import h5py

        with h5py.File(path, "r+") as file:
            file["kspace"][1] = bad[1]
        (report,) = check_file(path)
        assert report.status == "unusable"
        assert "slice 1" in report.reason

    def test_what_is_no_scan_is_unusable(self, tmp_path):
        (tmp_path / "text.h5").write_text("not a scan")
        (report,) = check_file(tmp_path / "text.h5")
        assert (report.status, report.name) == ("unusable", "text.h5")
        assert report.as_dict() == {"file": "text.h5", "status": "unusable", "reason": report.reason}

    def test_all_slices_are_looked_at_on_request(self):
        scan = scan_of(*[KSPACE] * 6)
        assert check_scan(scan).slices == (1, 3, 4)
        assert check_scan(scan, at_most=1).slices == (3,)
        assert check_scan(scan, at_most=ALL).slices == (0, 1, 2, 3, 4, 5)


class TestFindCrimes:
    def test_one_odd_slice_of_three_is_no_crime_two_are(self):
        padded = np.zeros_like(KSPACE)
        padded[:, 20:-20, 16:-16] = KSPACE[:, 20:-20, 16:-16]
        assert crime_notes(scan_of(KSPACE, padded, KSPACE, KSPACE)) == []
        (note,) = crime_notes(scan_of(KSPACE, padded, padded, padded))
        assert "zero-filling" in note

    def test_empty_slices_are_passed_over(self):
        findings = find_crimes(scan_of(np.zeros_like(KSPACE), KSPACE))
        assert [finding.crime for finding in findings] == list(CRIMES)
        assert find_crimes(scan_of(np.zeros_like(KSPACE))) == ()

    def test_the_middle_finding_counts(self):
        findings = [Finding("x", value, 1, "", "found" if value > 1 else "") for value in (5, 0, 3)]
        assert merge([(finding,) for finding in findings])[0].value == 3

    @pytest.mark.parametrize(("n", "slices"), [(1, [0]), (2, [1, 0]), (3, [1, 0, 2]), (36, [18, 9, 27])])
    def test_which_slices_are_looked_at(self, n, slices):
        assert telling_slices(n) == slices

    def test_measured_scans_are_clean(self):
        for path in find_scans([real_data("kspace")]):
            assert crime_notes(read_scan(path)) == [], path.name


def test_estimates_grow_with_the_scan():
    one, two = (estimate(scan_of(*[KSPACE] * n)) for n in (1, 20))
    assert two.cs_seconds[1] == pytest.approx(20 * one.cs_seconds[1])
    assert one.cs_seconds[0] < one.cs_seconds[1]
    assert two.memory_mib > one.memory_mib
    assert "estimates" in one.text()
