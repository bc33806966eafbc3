"""``mri-recon demo``."""

from __future__ import annotations

import base64
import io
import json
import re

import pytest
from command_line import assert_one_line, run
from PIL import Image
from report_pages import Page, page_data

from mri_recon.data import phantom
from mri_recon.data.storage import read_scan

FILES = ["comparison.png", "head_2026.h5", "mask.png", "report.html"]


@pytest.fixture
def small_head(monkeypatch):
    """The demo's own head, of a size that takes no time."""
    whole = phantom.sample_scan

    def small(*arguments, **keywords):
        return whole(*arguments, **keywords | {"height": 64, "width": 60, "n_coils": 3})

    monkeypatch.setattr(phantom, "sample_scan", small)


@pytest.mark.usefixtures("small_head")
def test_it_leaves_scan_pictures_and_report_and_says_what_next(capsys, tmp_path):
    arguments = ["demo", "-o", tmp_path, "--method", "zero-filled", "--method", "cs", "--json"]
    outcome = run(capsys, *arguments)
    assert outcome.code == 0
    told = json.loads(outcome.out)
    assert [v["method"] for v in told["volumes"]] == ["zero-filled", "cs"]
    assert told["volumes"][1]["ssim"] > told["volumes"][0]["ssim"]
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES
    assert read_scan(tmp_path / "head_2026.h5").kspace.shape == (3, 3, 64, 60)
    for name in ("comparison.png", "mask.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.format == "PNG"
    assert "networks" not in outcome.err  # none was asked for
    # What it proposes next works.
    proposed = re.search(r"Next: mri-recon (.*)", outcome.err)[1].split()
    assert run(capsys, *proposed, "-q").code == 0
    # A second demo replaces the first.
    assert run(capsys, "demo", "-o", tmp_path, "--method", "zero-filled", "-q").code == 0


@pytest.mark.usefixtures("small_head")
def test_the_report_needs_nothing_else(capsys, tmp_path):
    assert run(capsys, "demo", "-o", tmp_path, "--method", "zero-filled", "-q").code == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    references = [a[key] for _, a in page.elements for key in ("src", "href", "srcset", "data") if key in a]
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert not re.search(r"https?://|url\(|@import", text)
    (entry,) = page_data(text)["entries"]
    assert [picture["index"] for picture in entry["slices"]] == [0, 1, 2]
    for picture in entry["slices"]:
        data = base64.b64decode(picture["images"]["zero-filled"].partition(",")[2])
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == (60, 60)
    assert entry["mask"]["text"].startswith("random 4×")
    assert '"seed": "file name"' in page.text


@pytest.mark.usefixtures("small_head")
def test_a_method_that_fails_is_named_and_the_others_are_shown(capsys, tmp_path, monkeypatch):
    from mri_recon.errors import WeightsError
    from mri_recon.methods.tv import TotalVariation

    def fail(*arguments, **keywords):
        raise WeightsError("There are no weights.")

    monkeypatch.setattr(TotalVariation, "__call__", fail)
    outcome = run(capsys, "demo", "-o", tmp_path, "--method", "zero-filled", "--method", "cs")
    assert outcome.code == 1
    assert "Warning: head_2026.h5: There are no weights." in outcome.err
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES


def test_a_folder_that_cannot_be(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert_one_line(run(capsys, "demo", "-o", tmp_path / "file"), "it is a file, not a folder")


@pytest.mark.usefixtures("small_head")
def test_why_networks_score_low_here_is_said(capsys, tmp_path):
    outcome = run(capsys, "demo", "-o", tmp_path, "--method", "zero-filled", "--method", "unet")
    assert outcome.code == 0
    assert "The target here holds no noise" in outcome.err
