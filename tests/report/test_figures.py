"""Pictures: what a viewer must be able to rely on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_scans import small_scan

from mri_recon.errors import OutputError
from mri_recon.physics.masks import SamplingMask, draw_mask
from mri_recon.reconstruct import reconstruct
from mri_recon.report.figures import (
    comparison_row,
    error_window,
    mask_title,
    point_spread,
    preview_slices,
    window,
    write_comparison,
    write_mask_picture,
    write_preview,
)

MARGIN, CAPTION = 8, 20


def pixels(picture) -> np.ndarray:
    return np.asarray(picture.convert("RGB")).astype(int)


def panels(picture, shape, factor) -> list[np.ndarray]:
    """The images of a row, each pixel once: enlarged pixels must be blocks of one colour."""
    height, width = shape[0] * factor, shape[1] * factor
    row = pixels(picture)[CAPTION : CAPTION + height]
    n = (row.shape[1] - MARGIN) // (width + MARGIN)
    assert row.shape[1] == MARGIN + n * (width + MARGIN)
    found = []
    for i in range(n):
        left = MARGIN + i * (width + MARGIN)
        panel = row[:, left : left + width]
        small = panel[::factor, ::factor]
        np.testing.assert_array_equal(np.kron(small, np.ones((factor, factor, 1))), panel)
        found.append(small)
    return found


class TestWindow:
    @pytest.mark.parametrize("shape", [(48, 40), (16, 12), (200, 200)])
    def test_one_bright_pixel_does_not_black_out_the_others(self, shape):
        rng = np.random.default_rng(1)
        image = rng.uniform(0, 1, shape).astype(np.float32)
        image[5, 7] = 0.5
        bright = image.copy()
        bright[5, 7] = 1e4
        assert 0.97 <= window(image) <= 1
        assert window(bright) == pytest.approx(window(image), rel=0.01)
        factor = max(1, -(-192 // shape[0]))
        (before,), (after,) = (panels(comparison_row({"x": i}, None), shape, factor) for i in (image, bright))
        others = np.ones(shape, dtype=bool)
        others[5, 7] = False
        assert np.abs(after - before)[others].max() <= 3
        assert after[5, 7].tolist() == [255, 255, 255]

    def test_gray_is_in_proportion_to_brightness(self):
        image = np.linspace(0, 1, 64 * 60).reshape(64, 60)
        (shown,) = panels(comparison_row({"x": image}, None), image.shape, 3)
        expected = 255 * np.clip(image / window(image), 0, 1)
        assert np.abs(shown - expected[..., None]).max() <= 1
        # Not of the scan's unit.
        (scaled,) = panels(comparison_row({"x": 1e-7 * image}, None), image.shape, 3)
        assert np.abs(scaled - shown).max() <= 1

    def test_nothing_is_black_and_no_division_by_zero(self):
        (shown,) = panels(comparison_row({"x": np.zeros((200, 200))}, None), (200, 200), 1)
        assert not shown.any()
        sparse = np.zeros((200, 200))
        sparse[3, 4] = 7
        assert window(sparse) == 7


class TestComparison:
    def test_target_image_and_error_map_with_its_factor(self):
        rng = np.random.default_rng(2)
        target = rng.uniform(0.2, 1, (200, 210))
        image = target.copy()
        image[50:60] += 0.1
        image[100:110] -= 0.05
        row = comparison_row({"cs": image}, target)
        shown_target, shown_image, error = panels(row, target.shape, 1)
        white = window(target)
        assert np.abs(shown_target - 255 * np.clip(target / white, 0, 1)[..., None]).max() <= 1
        assert np.abs(shown_image - 255 * np.clip(image / white, 0, 1)[..., None]).max() <= 1
        # The largest error is white, half of it is half way from black over red and yellow to white.
        assert error_window(target, [image]) == pytest.approx(0.1)
        assert error[55, 10].min() >= 254
        assert np.abs(error[105, 10] - [255, 127, 0]).max() <= 2
        assert not error[20].any()

    def test_errors_of_several_methods_share_one_scale(self):
        target = np.ones((200, 200))
        images = {"good": target + 0.05, "bad": target + 0.2}
        sheet = comparison_row(images, target, errors_below=True)
        below = pixels(sheet)[200 + CAPTION + MARGIN + CAPTION :][:200]
        good, bad = below[100, 2 * MARGIN + 200 + 50], below[100, 3 * MARGIN + 400 + 50]
        assert bad.tolist() == [255, 255, 255]
        assert np.abs(good - [191, 0, 0]).max() <= 2

    def test_the_caption_names_the_factor(self, monkeypatch):
        captions = []
        from PIL import ImageDraw

        original = ImageDraw.ImageDraw.text

        def text(self, xy, text, *arguments, **keywords):
            captions.append(text)
            return original(self, xy, text, *arguments, **keywords)

        monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
        target = np.ones((200, 200))
        comparison_row({"cs": target + 0.125}, target)
        assert captions == ["target", "cs", "|error| x 8.0"]

    def test_a_perfect_image_has_a_black_error(self):
        target = np.random.default_rng(3).uniform(size=(200, 200))
        assert not panels(comparison_row({"x": target}, target), target.shape, 1)[2].any()

    def test_an_image_larger_than_its_target_is_cropped_to_it(self):
        target = np.random.default_rng(4).uniform(size=(200, 190))
        image = np.zeros((220, 200))
        image[10:210, 5:195] = target
        shown = panels(comparison_row({"x": image}, target), target.shape, 1)
        np.testing.assert_array_equal(shown[0], shown[1])
        assert not shown[2].any()


@pytest.fixture
def scan():
    return small_scan()


class TestPreview:
    def test_orientation_is_as_stored(self, scan, tmp_path):
        """Bright at the top left of the array, bright at the top left of the picture."""
        image = np.full((1, 200, 210), 0.2, dtype=np.float32)
        image[0, :50, :30] = 1
        result = replace(
            reconstruct(scan, "zero-filled", slices=(1, 2)), image=image, metrics=None, slices=(0, 1)
        )
        write_preview(tmp_path / "p.png", replace(result, target=None))
        (shown,) = panels(Image.open(tmp_path / "p.png"), (200, 210), 1)
        assert (shown[:50, :30] == 255).all()
        assert (shown[50:] < 60).all()
        assert (shown[:, 30:] < 60).all()

    def test_small_images_are_enlarged_by_whole_pixels(self, scan, tmp_path):
        result = reconstruct(scan, "zero-filled", slices=(1, 2))
        write_preview(tmp_path / "p.png", result)
        target, image, _ = panels(Image.open(tmp_path / "p.png"), (48, 40), 4)
        white = window(scan.target[1])
        assert np.abs(target[..., 0] - 255 * np.clip(scan.target[1] / white, 0, 1)).max() <= 1
        assert np.abs(image[..., 0] - 255 * np.clip(result.image[0] / white, 0, 1)).max() <= 1

    def test_without_a_target_there_is_the_image_alone(self, scan, tmp_path):
        untold = replace(scan, target=None)
        write_preview(tmp_path / "p.png", reconstruct(untold, "zero-filled", slices=(0, 1)))
        assert len(panels(Image.open(tmp_path / "p.png"), (48, 40), 4)) == 1

    @pytest.mark.parametrize(
        ("n", "shown"), [(1, [0]), (2, [1]), (4, [2]), (5, [1, 2, 3]), (30, [7, 15, 22])]
    )
    def test_slices_are_the_middle_and_either_side(self, n, shown):
        assert preview_slices(n) == shown

    def test_an_existing_picture_is_kept_unless_told(self, scan, tmp_path):
        result = reconstruct(scan, "zero-filled")
        (tmp_path / "p.png").write_text("mine")
        with pytest.raises(OutputError, match="exists"):
            write_preview(tmp_path / "p.png", result)
        assert (tmp_path / "p.png").read_text() == "mine"
        write_preview(tmp_path / "p.png", result, overwrite=True)
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
        with pytest.raises(OutputError, match="folder does not exist"):
            write_comparison(tmp_path / "no" / "p.png", {"x": result.image[0]}, scan.target[0])
        assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


class TestPointSpread:
    @pytest.mark.parametrize("n", [40, 41])
    def test_full_sampling_spreads_nothing(self, n):
        spread = point_spread(np.ones(n, dtype=bool))
        assert spread[n // 2] == pytest.approx(1)
        assert np.delete(spread, n // 2).max() < 1e-12

    @pytest.mark.parametrize(("n", "step"), [(48, 4), (45, 3)])
    def test_every_rth_line_gives_r_copies(self, n, step):
        spread = point_spread(np.arange(n) % step == 0)
        copies = (np.arange(n) - n // 2) % (n // step) == 0
        np.testing.assert_allclose(spread[copies], 1, atol=1e-12)
        assert copies.sum() == step
        assert spread[~copies].max() < 1e-12

    def test_a_centre_alone_gives_a_dirichlet_kernel(self):
        n, m = 64, 9
        columns = np.abs(np.arange(n) - n // 2) <= m // 2
        x = np.arange(n) - n // 2
        expected = np.abs(
            [1 if i == 0 else np.sin(np.pi * m * i / n) / (m * np.sin(np.pi * i / n)) for i in x]
        )
        np.testing.assert_allclose(point_spread(columns), expected, atol=1e-12)


class TestMaskPicture:
    @pytest.mark.parametrize(
        "mask",
        [
            draw_mask("random", 368, seed="file1000000.h5"),
            SamplingMask("file", np.ones(40, dtype=bool), 40),
            SamplingMask("file", np.ones(1, dtype=bool), 1),
        ],
        ids=["random", "full", "one column"],
    )
    def test_it_is_a_picture(self, mask, tmp_path):
        write_mask_picture(tmp_path / "m.png", mask)
        with Image.open(tmp_path / "m.png") as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300
            assert len(np.unique(pixels(picture))) > 10
        assert [p.name for p in tmp_path.iterdir()] == ["m.png"]

    def test_the_title_says_what_it_is(self):
        drawn = draw_mask("random", 368, seed="file1000000.h5")
        assert mask_title(drawn) == "random 4×: 88 of 368 lines (4.18×), 29 in the centre"
        own = SamplingMask("file", np.arange(10) % 2 == 1, 1)
        assert mask_title(own) == "file: 5 of 10 lines (2.00×), 1 in the centre"
