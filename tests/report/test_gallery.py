"""Which pictures of an evaluation are kept, and that they fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from report_pages import small_report
from small_scans import small_scan

from mri_recon.metrics import evaluation_crop, nmse, psnr, ssim
from mri_recon.physics.masks import draw_mask
from mri_recon.reconstruct import reconstruct
from mri_recon.report.build import render
from mri_recon.report.gallery import (
    MOST_SLICES,
    OPEN_VOLUMES,
    Gallery,
    Kept,
    choose_slices,
    fit,
    keep,
    to_levels,
)
from mri_recon.report.slice_scores import SliceScores, score_slices


def made(name="a.h5", method="cs", *, n_slices=3, size=32, ssims=None, seed=1, noise=0) -> Kept:
    """A reconstruction of noise, or of one gray."""
    rng = np.random.default_rng(noise)
    shape = (n_slices, size, size)
    levels = rng.integers(0, 256, shape).astype(np.uint8) if noise else np.full(shape, 90, np.uint8)
    ssims = tuple(ssims if ssims is not None else np.linspace(0.9, 0.8, n_slices))
    scores = SliceScores((0.1,) * n_slices, (30.0,) * n_slices, ssims)
    mask = draw_mask("random", 64, 4, 0.08, seed=seed)
    return Kept(name, method, mask, 0, levels, levels, levels, 0.9, 0.1, scores, float(np.mean(ssims)))


class TestSliceScores:
    def test_they_are_the_volumes_own_definition(self):
        result = reconstruct(small_scan(n_slices=3), "zero-filled", acceleration=4)
        target, image = evaluation_crop(result.target, result.image)
        scores = score_slices(target, image)
        assert np.mean(scores.ssim) == pytest.approx(result.metrics.ssim, rel=1e-6)
        mse = np.mean([10 ** (-p / 10) for p in scores.psnr])
        assert -10 * np.log10(mse) == pytest.approx(result.metrics.psnr, rel=1e-6)
        assert scores.nmse[1] == pytest.approx(nmse(target[1], image[1]), rel=1e-9)
        assert scores.psnr[2] == pytest.approx(psnr(target[2], image[2], float(target.max())), rel=1e-9)
        assert scores.ssim[0] == pytest.approx(ssim(target[:1], image[:1], float(target.max())), rel=1e-9)

    def test_an_empty_slice_has_no_nmse(self):
        target = np.ones((2, 8, 8))
        target[1] = 0
        assert np.isnan(score_slices(target, target).nmse[1])


class TestKeep:
    def test_levels_give_the_values_back(self):
        values = np.linspace(0, 2, 101)
        levels = to_levels(values, 1.0)
        assert levels.dtype == np.uint8
        back = (levels / 255.0) ** 2
        inside = values <= 1
        assert np.abs(np.sqrt(back[inside]) - np.sqrt(values[inside])).max() <= 0.5 / 255 + 1e-12
        assert (back[~inside] == 1).all()

    def test_it_takes_what_is_scored(self):
        scan = small_scan(height=64, width=40)
        result = reconstruct(scan, "zero-filled", acceleration=4)
        kept = keep(result)
        assert kept.image.shape == kept.errors.shape == (2, 40, 40)
        peak = result.target.max()
        error = np.abs(result.image - result.target)[:, 12:52]
        assert np.abs(kept.errors / 255.0 - np.sqrt(error / peak)).max() <= 0.51 / 255
        assert 0 < kept.error < kept.white <= 1
        again = pickle.loads(pickle.dumps(kept))
        assert again.scores == kept.scores
        np.testing.assert_array_equal(again.image, kept.image)


class TestChoice:
    def test_the_middle_then_the_worst_of_the_best_method(self):
        good = SliceScores((), (), tuple(0.9 - 0.3 * (i == 30) for i in range(36)))
        bad = SliceScores((), (), tuple(0.5 - 0.3 * (i == 3) for i in range(36)))
        chosen = choose_slices(36, {"bad": 0.5, "good": 0.9}, {"bad": bad, "good": good})
        assert chosen[:3] == [
            (18, "middle"),
            (30, "lowest SSIM of good"),
            (3, "lowest SSIM of bad"),
        ]
        assert len({place for place, _ in chosen}) == MOST_SLICES
        assert all(0 <= place < 36 for place, _ in chosen)

    @pytest.mark.parametrize("n_slices", [1, 2, 5])
    def test_a_thin_volume_is_shown_whole(self, n_slices):
        scores = SliceScores((), (), (float("nan"),) * n_slices)
        chosen = choose_slices(n_slices, {"cs": 0.9}, {"cs": scores})
        assert sorted(place for place, _ in chosen) == list(range(n_slices))


class TestGallery:
    def test_methods_of_one_mask_stand_together_in_any_order(self):
        gallery = Gallery()
        for kept in (made("a.h5", "x"), made("b.h5", "x"), made("a.h5", "y"), made("a.h5", "x", seed=2)):
            gallery.add(kept)
        assert [(e.name, list(e.ssim)) for e in gallery.entries] == [
            ("a.h5", ["x", "y"]),
            ("b.h5", ["x"]),
            ("a.h5", ["x"]),
        ]

    def test_two_files_of_one_name_are_not_mixed(self):
        gallery = Gallery()
        for _ in range(2):
            gallery.add(made("a.h5", "x"))
            gallery.add(made("a.h5", "y"))
        assert [list(e.ssim) for e in gallery.entries] == [["x", "y"], ["x", "y"]]

    def test_few_volumes_are_kept_whole_and_late_methods_still_come_in(self):
        gallery = Gallery()
        for i in range(OPEN_VOLUMES + 3):
            gallery.add(made(f"{i}.h5", "x", n_slices=12))
        assert sum(e.open is not None for e in gallery.entries) == OPEN_VOLUMES
        gallery.add(made("0.h5", "y", n_slices=12))
        first = gallery.entries[0]
        assert all(set(p.images) == {"x", "y"} == set(p.errors) for p in first.pictures)
        assert len(first.pictures) == MOST_SLICES

    def test_every_volume_gets_a_slice_before_any_gets_two(self):
        gallery = Gallery()
        for i in range(5):
            gallery.add(made(f"{i}.h5", n_slices=9, noise=i + 1))
        whole = fit(gallery.entries, 10**9)
        assert [len(p) for p in whole] == [MOST_SLICES] * 5
        assert all([p.index for p in one] == sorted(p.index for p in one) for one in whole)
        one = max(p.characters for pictures in whole for p in pictures)
        some = fit(gallery.entries, 7 * one)
        assert sum(p.characters for pictures in some for p in pictures) <= 7 * one
        assert {len(p) for p in some} == {1, 2}
        # Where there is no room for all, the first come first.
        assert [bool(p) for p in fit(gallery.entries, int(2.2 * one))] == [True, True, False, False, False]

    def test_the_page_says_how_many_it_has_room_for(self, monkeypatch):
        found, gallery, page = small_report()
        assert "There was room for" not in page
        one = max(p.characters for e in gallery.entries for p in e.pictures)
        monkeypatch.setattr("mri_recon.report.gallery.fit.__defaults__", (int(1.2 * one),))
        assert "There was room for 1 of 4 volumes" in render(found, gallery)

    def test_without_webp_there_is_jpeg(self, monkeypatch):
        from mri_recon.report import gallery

        monkeypatch.setattr(gallery.features, "check", lambda name: False)
        assert gallery.data_url(np.zeros((8, 8), np.uint8), 80).startswith("data:image/jpeg;base64,")


@pytest.mark.slow
def test_ten_volumes_by_four_methods_stay_below_eight_megabytes():
    found, _, _ = small_report()
    gallery, volumes = Gallery(), []
    for i in range(10):
        for method in ("zero-filled", "sense", "cs", "wavelet"):
            kept = made(f"{i}.h5", method, n_slices=36, size=320, noise=4 * i + 1)
            gallery.add(kept)
            volumes.append(
                type(found.volumes[0])(
                    **vars(found.volumes[0])
                    | {"file": kept.name, "method": method, "mask_sha256": kept.mask.sha256, "slices": 36}
                )
            )
    page = render(type(found)(found.settings, tuple(volumes)), gallery)
    assert 5_000_000 < len(page.encode()) < 8_000_000
