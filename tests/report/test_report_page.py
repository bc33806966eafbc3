"""The report's page: its numbers are the evaluation's, and nothing from outside becomes markup."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import shlex
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from report_pages import HOSTILE, Page, page_data, small_report

from mri_recon.errors import OutputError
from mri_recon.evaluation.table import Evaluation
from mri_recon.methods.sense import Sense
from mri_recon.methods.tv import TotalVariation
from mri_recon.methods.zero_filled import ZeroFilled
from mri_recon.report.build import error_factor, render, sampled, write_report
from mri_recon.report.gallery import Gallery
from mri_recon.report.measures import NMSE, PSNR, SSIM
from mri_recon.report.plots import axis_ticks, strip_plot
from mri_recon.report.reproduce import command


def test_the_tables_hold_the_numbers_of_the_evaluation():
    found, _, text = small_report()
    page = Page(text)
    rows = page.tables["volume-table"][1:]
    assert len(rows) == len(found.volumes) == 8
    for row, volume in zip(rows, found.volumes, strict=True):
        assert row[:4] == [volume.file, volume.method, f"{volume.acceleration:g}×", volume.acquisition]
        assert row[4:6] == [str(volume.lines), str(volume.slices)]
        assert row[6:9] == [f"{volume.ssim:.4f}", f"{volume.psnr:.2f}", f"{volume.nmse:.4f}"]
    summary = page.tables["summary-table"][1:]
    assert len(summary) == len(found.summary) == 12
    for row, group in zip(summary, found.summary, strict=True):
        assert [*row[:3], row[-1]] == [
            group.method,
            group.acceleration,
            group.acquisition,
            str(group.volumes),
        ]
        shown = [float(number) for number in re.findall(r"\d+\.\d+", row[4])]
        expected = [group.psnr.mean, group.psnr.std, group.psnr.low, group.psnr.high]
        assert shown == [round(v, 2) for v in expected if not np.isnan(v)]
    # Sorting is by the full value, in whatever form it is shown.
    raw = [float(a["data-value"]) for a in page.named("td") if "data-value" in a]
    assert all(volume.psnr in raw for volume in found.volumes)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (["4×"], " at 4×"),
        (["4×", "8×"], " at 4× and 8×"),
        (["as acquired"], ", as acquired"),
        (["4×", "made elsewhere"], " at 4×, made elsewhere"),
    ],
)
def test_a_rate_that_is_no_number_is_not_at(rates, expected):
    assert sampled(rates) == expected


def test_the_viewer_holds_scores_masks_and_pictures():
    found, gallery, text = small_report()
    data = page_data(text)
    assert data["methods"] == ["zero-filled", "sense"]
    assert len(data["entries"]) == len(gallery.entries) == 4
    best = [max(m["volume"]["ssim"] for m in entry["methods"].values()) for entry in data["entries"]]
    assert best == sorted(best)
    for entry in data["entries"]:
        assert [s["index"] for s in entry["slices"]] == list(range(entry["n_slices"]))
        for method, told in entry["methods"].items():
            (volume,) = [
                v
                for v in found.volumes
                if (v.file, v.method, v.mask_sha256) == (entry["name"], method, entry["mask"]["sha256"])
            ]
            assert told["volume"]["psnr"] == pytest.approx(volume.psnr, rel=1e-5)
            assert np.mean(told["slices"]["ssim"]) == pytest.approx(volume.ssim, rel=1e-5)
            assert len(told["slices"]["nmse"]) == volume.slices
        mask = entry["mask"]
        assert mask["lines"] == len(mask["columns"])
        columns = np.zeros(mask["width"], np.uint8)
        columns[mask["columns"]] = 1
        assert hashlib.sha256(columns.tobytes()).hexdigest() == mask["sha256"]
        assert max(mask["spread"]) == mask["spread"][mask["width"] // 2] == 0
        assert mask["lobe"] == sorted(mask["spread"])[-2]


def test_a_picture_is_the_reconstruction_up_to_compression():
    _, _, text = small_report()
    entry = next(e for e in page_data(text)["entries"] if e["name"] == "one.h5")
    for picture in entry["slices"]:
        target = decoded(picture["target"])
        for method, url in picture["images"].items():
            image, error = decoded(url), decoded(picture["errors"][method])
            # The error map is made from the data, not from the two pictures; they agree as far as those are right.
            assert np.sqrt(np.mean((np.abs(image - target) - error) ** 2)) < 0.03


def decoded(url: str) -> np.ndarray:
    """Values as fractions of the peak."""
    kind, _, data = url.partition(";base64,")
    assert kind == "data:image/webp"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return (np.asarray(picture.convert("L")) / 255.0) ** 2


def test_names_from_outside_stay_text():
    found, _, text = small_report()
    page = Page(text)
    assert HOSTILE in page.text
    assert "<b>AXT2</b>" in page.text
    assert not page.named("img")
    assert not page.named("b")
    assert text.count("<script") == 2
    assert not [a for _, a in page.elements for name in a if name.startswith("on") or name == "style"]
    assert {entry["name"] for entry in page_data(text)["entries"]} == {v.file for v in found.volumes}


def test_a_note_and_a_failure_stay_text_too():
    found, gallery, _ = small_report()
    bad = "<script>alert(1)</script>"
    changed = replace(
        found,
        notes=(f"{bad}: {bad}", f"a.h5: {bad}"),
        failures=((bad, bad),),
        settings={"version": bad, "x": bad},
    )
    text = render(changed, gallery)
    assert text.count("<script") == 2
    page = Page(text)
    assert page.text.count(bad) >= 5
    # One sentence about several files is said once.
    assert f"{bad} {bad}, a.h5" in " ".join(page.text.split())


def test_it_needs_nothing_else_and_runs_no_other_program():
    _, _, text = small_report()
    page = Page(text)
    assert not re.search(r"https?:|//\w+\.\w|url\(|@import|innerHTML|eval\(", text.replace("\\/", "/"))
    assert all(a["href"].startswith("#") for a in page.named("a"))
    policy = next(
        a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    program = re.search(r"<script>(.*?)</script>", text, re.S)[1]
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    for part in (program, style):
        assert base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() in policy


def test_labels_lead_to_controls_and_ids_are_unique():
    _, _, text = small_report()
    page = Page(text)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    pointed = [
        a[key] for _, a in page.elements for key in ("for", "data-copy", "aria-labelledby") if key in a
    ]
    assert set(pointed) <= set(ids)
    assert {a["href"][1:] for a in page.named("a")} <= set(ids)


def test_plots_describe_what_they_show():
    found, _, text = small_report()
    labels = [a["aria-label"] for a in Page(text).named("svg") if a.get("role") == "img"]
    own = [v.ssim for v in found.volumes if v.method == "sense" and v.acceleration == 3]
    (label,) = [label for label in labels if label.startswith("SSIM at 3×") and "sense: 2 volumes" in label]
    assert f"sense: 2 volumes, median {np.median(own):.4f}." in label
    assert any(label.startswith("Time at 5×, Time (s).") for label in labels)


def test_worst_volumes_come_first_and_losses_to_doing_nothing_are_named():
    found, gallery, _ = small_report()
    volumes = list(found.volumes)
    i = next(i for i, v in enumerate(volumes) if v.method == "sense")
    volumes[i] = replace(volumes[i], psnr=volumes[i - 1].psnr - 1.25, ssim=0.01)
    assert volumes[i].mask_sha256 == volumes[i - 1].mask_sha256
    text = render(Evaluation(found.settings, tuple(volumes)), gallery)
    flat = " ".join(Page(text).text.split())
    assert "sense has a lower PSNR than zero-filled on 1 volume: one.h5 3× (by 1.25 dB)" in flat
    (worst,) = re.findall(r'<ol[^>]*aria-label="Worst volumes of sense".*?</ol>', text, re.S)
    assert re.search(r"<h3>(.*?) <span>", worst)[1] == "one.h5"
    assert "0.0100" in worst[: worst.index("</li>")]


def test_without_pictures_there_are_tables_and_no_viewer():
    found, _, _ = small_report()
    text = render(found, Gallery())
    assert 'id="viewer"' not in text
    assert len(Page(text).tables["volume-table"]) == 9
    assert page_data(text)["entries"] == []


def test_numbers_that_are_not_finite_are_shown_as_such():
    found, gallery, _ = small_report()
    volumes = (replace(found.volumes[0], psnr=float("inf"), nmse=0.0), *found.volumes[1:])
    page = Page(render(Evaluation(found.settings, volumes), gallery))
    assert page.tables["volume-table"][1][7] == "∞"
    assert "1 not drawable" in "".join(a.get("aria-label", "") for a in page.named("svg"))


def test_it_is_written_whole_or_not_at_all(tmp_path):
    found, gallery, _ = small_report()
    write_report(tmp_path / "r.html", found, gallery)
    before = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert before == render(found, gallery)
    with pytest.raises(OutputError):
        write_report(tmp_path / "r.html", found, gallery)


class TestAxes:
    @pytest.mark.parametrize(("least", "most"), [(0.31, 0.92), (-3, 41), (17.2, 17.3), (5, 5), (0, 0)])
    def test_ticks_are_round_and_within(self, least, most):
        low, high, ticks = axis_ticks(least, most)
        assert low < least <= most < high
        assert 3 <= len(ticks) <= 7
        assert all(low <= value <= high and float(text.replace("−", "-")) == value for value, text in ticks)

    def test_a_logarithmic_axis(self):
        low, high, ticks = axis_ticks(0.02, 30, log=True)
        assert low < 0.02 < 30 < high
        assert [text for _, text in ticks] == ["0.1", "1", "10"]
        assert len(axis_ticks(0.03, 0.2, log=True)[2]) >= 3

    def test_positions_are_in_proportion(self):
        plot = strip_plot("t", SSIM, {"cs": [("a", 0.2), ("b", 0.4), ("c", 0.8)]}, {"cs": 0})
        a, b, c = (dot.x for dot in plot.strips[0].dots)
        assert (c - b) == pytest.approx(2 * (b - a), abs=0.3)
        log = strip_plot("t", NMSE, {"cs": [("a", 0.01), ("b", 0.1), ("c", 1.0)]}, {"cs": 0})
        a, b, c = (dot.x for dot in log.strips[0].dots)
        assert (c - b) == pytest.approx(b - a, abs=0.3)

    def test_quartiles_where_there_are_enough(self):
        values = [("v", float(v)) for v in (20, 22, 24, 26, 28)]
        (strip,) = strip_plot("t", PSNR, {"cs": values}, {"cs": 0}).strips
        by_value = {22: strip.quartiles[0], 24: strip.quartiles[1], 26: strip.quartiles[2]}
        for (_, value), dot in zip(values[1:4], strip.dots[1:4], strict=True):
            assert by_value[value] == dot.x
        assert strip_plot("t", PSNR, {"cs": values[:3]}, {"cs": 0}).strips[0].quartiles is None
        assert strip_plot("t", PSNR, {"cs": [("a", float("inf"))]}, {"cs": 0}) is None


def settings_of(*methods, **more):
    names = {ZeroFilled: "zero-filled", Sense: "sense", TotalVariation: "cs"}
    return {
        "data": ["scans/a b.h5"],
        "methods": {names[type(m)]: m.as_dict() for m in methods},
        "pairs": [[4, 0.08], [8, 0.04]],
        "mask": "random",
        "seed": "file name",
    } | more


class TestCommand:
    def test_it_says_what_is_not_the_default(self):
        text = command(settings_of(ZeroFilled(), TotalVariation(tv_weight=0.02), seed=7, slices=[2, 5]))
        assert shlex.split(text) == [
            *["mri-recon", "evaluate"], "scans/a b.h5", *["--method", "zero-filled", "--method", "cs"],
            *["--acceleration", "4", "--center-fraction", "0.08", "--acceleration", "8", "--center-fraction", "0.04"],
            *["--seed", "7", "--slices", "2:5", "--set", "tv_weight=0.02"],
        ]  # fmt: skip

    def test_other_definitions_and_the_device_are_asked_for_again(self):
        definitions = {"fastmri": "…", "slice": "…", "hfen": "…"}
        text = command(settings_of(ZeroFilled(), definitions=definitions, device="cpu"))
        assert text.endswith("--metrics slice --metrics hfen --device cpu")

    def test_the_command_line_understands_it(self):
        from mri_recon.cli.main import cli

        text = command(
            settings_of(ZeroFilled(), Sense(iterations=9), mask="magic", pairs=[[3, None], [5, None]])
        )
        context = cli.get_command(None, "evaluate").make_context("evaluate", shlex.split(text)[2:])
        assert context.params["methods"] == ("zero-filled", "sense")
        assert context.params["acceleration"] == (3.0, 5.0)
        assert context.params["center_fraction"] == ()
        assert context.params["mask"] == "magic"

    def test_a_mask_from_a_file_is_named(self):
        settings = settings_of(ZeroFilled(), mask="array", mask_columns="0110", mask_file="my masks/m.npy")
        words = shlex.split(command(settings))
        assert words[words.index("--mask-file") + 1] == "my masks/m.npy"
        assert not {"--acceleration", "--center-fraction", "--mask"} & set(words)

    @pytest.mark.parametrize(
        "settings",
        [
            settings_of(ZeroFilled(), mask="array"),
            settings_of(ZeroFilled(), pairs=[[4, None], [8, 0.04]]),
            # --set goes to every method that has the key.
            settings_of(Sense(iterations=9), TotalVariation()),
            settings_of(Sense(iterations=9), TotalVariation(iterations=8)),
            settings_of() | {"methods": {"MyMethod": {}}},
        ],
    )
    def test_what_no_command_can_say_is_not_said(self, settings):
        assert command(settings) is None

    def test_images_made_elsewhere_are_scored_again(self):
        settings = {
            "reconstructions": "my out",
            "targets": "scans",
            "definitions": {"fastmri": "", "hfen": ""},
        }
        words = ["mri-recon", "evaluate", "--reconstructions", "my out", "scans", "--metrics", "hfen"]
        assert shlex.split(command(settings)) == words

    def test_one_value_for_all_is(self):
        assert "--set iterations=9" in command(settings_of(Sense(iterations=9), TotalVariation(iterations=9)))


def test_the_error_factor_shows_a_typical_error_whole():
    _, gallery, _ = small_report()
    entries = [replace(gallery.entries[0], white=0.9, error={"a": e, "b": e}) for e in (0.05, 0.07, 0.6)]
    assert error_factor(entries) == 10
    assert error_factor([replace(entries[0], error={"a": 0.0})]) == 1
    assert error_factor([]) == 1


class Richer(Evaluation):
    """An evaluation with more to tell: another definition, paired differences, a manifest."""

    def as_dict(self):
        told = super().as_dict()
        spread = {"mean": -0.25, "std": 0.1, "low": -0.5, "high": -0.125}
        measures = dict.fromkeys(("nmse", "psnr", "ssim", "hfen"), spread)
        pair = {
            "method": "sense",
            "than": "zero-filled",
            "acceleration": "3",
            "acquisition": "all",
            "volumes": 2,
        }
        told["volumes"] = [row | {"hfen": 0.4321} for row in told["volumes"]]
        told["summary"] = [row | {"hfen": spread} for row in told["summary"]]
        return told | {"differences": [pair | measures], "manifest": {"sha256": "abc</script>"}}


class Reversed(Richer):
    """The same, where the second method is the higher one."""

    def as_dict(self):
        told = super().as_dict()
        (pair,) = told["differences"]
        higher = {"mean": 0.25, "std": 0.1, "low": 0.125, "high": 0.5}
        return told | {"differences": [{k: higher if isinstance(v, dict) else v for k, v in pair.items()}]}


def test_differences_have_signs():
    found, gallery, _ = small_report()
    page = Page(render(Reversed(found.settings, found.volumes), gallery))
    assert page.tables["difference-table"][1][4] == "+0.2500 [+0.1250, +0.5000]"


def test_other_definitions_differences_and_manifest_are_shown():
    found, gallery, _ = small_report()
    text = render(Richer(found.settings, found.volumes), gallery)
    page = Page(text)
    assert page.tables["volume-table"][0][9] == "hfen"
    assert page.tables["volume-table"][1][9] == "0.4321"
    assert page.tables["difference-table"][1] == [
        "sense", "zero-filled", "3", "all",
        "−0.2500 [−0.5000, −0.1250]", "−0.25 [−0.50, −0.12]", *["−0.2500 [−0.5000, −0.1250]"] * 2, "2",
    ]  # fmt: skip
    assert '"sha256": "abc</script>"' in page.text
    assert text.count("</script>") == 2
