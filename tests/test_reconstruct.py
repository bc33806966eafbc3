"""The pipeline from a scan to images."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import h5py
import numpy as np
import pytest
from helpers import assert_close, complex_normal, real_data
from small_scans import small_scan

from mri_recon.catalog import LEARNED_METHODS, METHODS
from mri_recon.data.sampling import Sampling
from mri_recon.data.scan import Header, Scan
from mri_recon.data.storage import read_scan, write_scan
from mri_recon.errors import ScanError, SettingsError
from mri_recon.methods.tv import TotalVariation
from mri_recon.metrics import score
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import centered_columns, generate_mask
from mri_recon.reconstruct import kspace_scale, make_method, method_name_of, reconstruct
from mri_recon.solvers.threads import limited_threads

CLASSICAL = sorted(set(METHODS) - LEARNED_METHODS)


@pytest.fixture
def scan() -> Scan:
    return small_scan()


@cache
def usual(method: str, n_coils: int = 3):
    return reconstruct(small_scan(n_coils=n_coils), method)


class TestSampling:
    def test_zero_filled_is_the_adjoint_of_what_was_acquired(self, scan):
        result = usual("zero-filled")
        columns = generate_mask("random", 40, 4, 0.08, seed="small.h5")
        np.testing.assert_array_equal(result.mask.columns, columns)
        assert_close(result.image, rss(ifftc(scan.kspace * columns)), 1e-6)
        assert result.image.dtype == np.float32

    def test_every_line_gives_the_fully_sampled_image(self, scan):
        result = reconstruct(scan, "zero-filled", acceleration=1)
        assert_close(result.image, rss(ifftc(scan.kspace)), 1e-6)
        assert result.mask.n_lines == 40

    def test_the_seed_the_kind_and_the_pair_reach_the_mask(self, scan):
        for kind, seed in (("random", 3), ("equispaced", 4)):
            result = reconstruct(
                scan, "zero-filled", mask=kind, acceleration=5, center_fraction=0.1, seed=seed
            )
            np.testing.assert_array_equal(result.mask.columns, generate_mask(kind, 40, 5, 0.1, seed=seed))

    def test_a_scan_that_was_undersampled_is_used_as_acquired_and_that_is_said(self, scan):
        columns = generate_mask("equispaced", 40, 3, 0.1, seed=1)
        acquired = replace(scan, kspace=scan.kspace * columns, notes=("Said when read.",))
        result = reconstruct(acquired, "zero-filled", acceleration=8)
        np.testing.assert_array_equal(result.mask.columns, columns)
        assert_close(result.image, rss(ifftc(acquired.kspace)), 1e-6)
        assert result.notes[0] == "Said when read."
        assert "the mask asked for is not applied" in result.notes[1]
        # Fully stored, but its mask says which lines count: the others must not leak into the image.
        masked = reconstruct(replace(scan, mask=columns), "zero-filled")
        np.testing.assert_array_equal(masked.image, result.image)

    def test_a_mask_of_ones_own_from_an_array_or_a_file(self, scan, tmp_path):
        columns = centered_columns(40, 12)
        np.save(tmp_path / "mask.npy", columns)
        for mask in (columns, columns.astype(float), tmp_path / "mask.npy"):
            result = reconstruct(scan, "zero-filled", mask=mask)
            assert_close(result.image, rss(ifftc(scan.kspace * columns)), 1e-6)
        with pytest.raises(SettingsError, match="has 39 columns, k-space has 40"):
            reconstruct(scan, mask=columns[1:])

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            ({"acceleration": 0.5}, "acceleration 0.5 is out of range"),
            ({"acceleration": 41}, "use 1 (every line) to 40"),
            ({"acceleration": 8, "center_fraction": 0.2}, "Use center_fraction ≤ 0.125"),
            ({"center_fraction": 0}, "above 0 and at most 1"),
            ({"mask": "randon"}, "Did you mean 'random'?"),
            ({"acceleration": (4, 8, 10), "center_fraction": (0.08, 0.04)}, "as many of one as of the other"),
        ],
    )
    def test_masks_that_cannot_be_drawn(self, scan, asked, words):
        with pytest.raises(SettingsError) as caught:
            reconstruct(scan, **asked)
        assert words in str(caught.value)

    def test_padding_columns_stay_out_of_the_lines(self, scan):
        inside = (np.arange(40) >= 3) & (np.arange(40) < 36)
        padded = replace(scan, kspace=scan.kspace * inside, header=Header(padding=(3, 36)))
        result = reconstruct(padded, "zero-filled")
        drawn = generate_mask("random", 40, 4, 0.08, seed="small.h5")
        assert result.mask.n_lines == (drawn & inside).sum() < drawn.sum()
        assert result.notes == ()


class TestCrop:
    @pytest.mark.parametrize(
        ("shape", "target", "recon", "expected"),
        [
            ((48, 40), (32, 40), (20, 20, 1), (32, 40)),  # the target comes first
            ((48, 40), None, (24, 32, 1), (24, 32)),  # x is the readout
            ((48, 40), None, None, (48, 40)),
            ((48, 20), None, (32, 32, 1), (20, 20)),  # narrower than the crop: fastMRI's square of the width
            ((48, 40), None, (64, 30, 1), (48, 30)),
            ((47, 39), (31, 38), None, (31, 38)),
        ],
    )
    def test_to_the_target_else_the_header_else_not_at_all(self, shape, target, recon, expected):
        rng = np.random.default_rng(0)
        kspace = complex_normal(rng, (1, 2, *shape), np.complex64)
        scan = Scan(
            name="crop.h5",
            kspace=kspace,
            target=None if target is None else np.ones((1, *target), dtype=np.float32),
            header=Header(recon=recon),
        )
        image = reconstruct(scan, "zero-filled", acceleration=1).image
        assert image.shape == (1, *expected)
        top, left = (shape[0] - expected[0]) // 2, (shape[1] - expected[1]) // 2
        whole = rss(ifftc(kspace))
        assert_close(image, whole[:, top : top + expected[0], left : left + expected[1]], 1e-5)

    def test_a_readout_that_was_oversampled_twofold(self):
        """Twice the field of view along the readout: the middle half is the image."""
        image = complex_normal(np.random.default_rng(1), (1, 1, 24, 20), np.complex64)
        wide = np.zeros((1, 1, 48, 20), dtype=np.complex64)
        wide[:, :, 12:36] = image
        scan = Scan(name="os.h5", kspace=fftc(wide), target=np.abs(image)[:, 0])
        result = reconstruct(scan, "zero-filled", acceleration=1)
        assert_close(result.image, np.abs(image)[:, 0], 1e-5)
        assert result.metrics is not None
        assert result.metrics.nmse < 1e-10

    def test_a_measured_one(self):
        scan = read_scan(real_data("kspace/twixtools_phantom_2ch.h5"))
        assert scan.shape == (320, 160)
        result = reconstruct(scan, "zero-filled", acceleration=1)
        assert result.image.shape == (1, 160, 160)
        assert result.metrics is not None
        assert result.metrics.nmse < 1e-8


class TestScale:
    @pytest.mark.parametrize("n_coils", [1, 3])
    @pytest.mark.parametrize("factor", [1e-7, 1e4])
    @pytest.mark.parametrize("method", CLASSICAL)
    def test_scaling_kspace_scales_the_image(self, method, factor, n_coils):
        scan = small_scan(n_coils=n_coils)
        scaled = replace(scan, kspace=(scan.kspace * np.float32(factor)).astype(np.complex64), target=None)
        image = reconstruct(scaled, method).image.astype(np.float64) / factor
        assert_close(image, usual(method, n_coils).image.astype(np.float64), 1e-4)

    @pytest.mark.parametrize("shape", [(64, 48), (33, 27), (20, 64)])
    @pytest.mark.parametrize("n_center", [1, 9, 27])
    def test_of_a_constant_image_it_is_that_constant(self, shape, n_center):
        """RSS over coils of 3, 4i and 0 times the image: five times it, whatever the block."""
        factors = np.array([3, 4j, 0])[:, None, None]
        kspace = fftc(np.broadcast_to(factors * 0.7, (1, 3, *shape)).astype(np.complex64))
        scale = kspace_scale(kspace, centered_columns(shape[1], n_center))
        assert scale.shape == (1, 1, 1, 1)
        assert scale.item() == pytest.approx(3.5, rel=1e-5)

    def test_where_the_block_is_all_there_is_it_is_the_90th_percentile_of_the_image(self):
        images = complex_normal(np.random.default_rng(2), (2, 3, 24, 21), np.complex64)
        scale = kspace_scale(fftc(images), np.ones(21, dtype=bool))
        sorted_rss = np.sort(rss(images).reshape(2, -1), axis=-1)
        np.testing.assert_allclose(scale[:, 0, 0, 0], sorted_rss[:, int(0.9 * 24 * 21)], rtol=1e-5)

    def test_it_sees_no_more_than_the_centre(self):
        kspace = complex_normal(np.random.default_rng(3), (1, 2, 64, 60), np.complex64)
        columns = centered_columns(60, 8)
        columns[::7] = True
        outside = kspace.copy()
        outside[..., :10, :] = 1e6
        outside[..., :20] = 1e6
        assert kspace_scale(kspace, columns) == kspace_scale(outside, columns)

    def test_without_the_centre_it_is_still_in_proportion(self):
        kspace = complex_normal(np.random.default_rng(4), (2, 2, 24, 20), np.complex64)
        columns = np.arange(20) % 2 == 1
        scale = kspace_scale(kspace * columns, columns)
        assert (scale > 0).all()
        np.testing.assert_allclose(kspace_scale(1e3 * kspace * columns, columns), 1e3 * scale, rtol=1e-5)

    def test_an_empty_slice_has_the_scale_one(self):
        kspace = np.zeros((2, 1, 8, 8), dtype=np.complex64)
        kspace[1] = 1
        scale = kspace_scale(kspace, np.ones(8, dtype=bool))
        assert scale[0] == 1
        assert scale[1] > 0


class TestSlices:
    @pytest.mark.parametrize("method", CLASSICAL)
    def test_a_slice_alone_is_that_slice_of_the_volume(self, scan, method):
        volume = usual(method)
        alone = reconstruct(scan, method, slices=(1, 2))
        np.testing.assert_array_equal(alone.image, volume.image[1:])
        assert (alone.slices, volume.slices) == ((1, 2), (0, 2))
        assert alone.convergence == volume.convergence[1:]
        assert alone.metrics == score(scan.target[1:], alone.image)

    @pytest.mark.parametrize("slices", [(0, 0), (1, 1), (2, 3), (0, 3), (-1, 1), (1, 0)])
    def test_slices_that_are_not_there(self, scan, slices):
        with pytest.raises(
            SettingsError, match=rf"slices {slices[0]}:{slices[1]} .*it has 2\. Use slices within 0:2"
        ):
            reconstruct(scan, slices=slices)

    @pytest.mark.parametrize("n_coils", [1, 3])
    @pytest.mark.parametrize("method", CLASSICAL)
    def test_an_empty_slice_in_a_volume_stays_empty_and_harms_no_other(self, method, n_coils):
        scan = small_scan(n_coils=n_coils)
        kspace = scan.kspace.copy()
        kspace[0] = 0
        result = reconstruct(replace(scan, kspace=kspace), method)
        assert not result.image[0].any()
        np.testing.assert_array_equal(result.image[1], usual(method, n_coils).image[1])
        assert all(c.converged for c in result.convergence)

    def test_progress_is_told_slice_by_slice(self, scan):
        seen = []
        reconstruct(scan, "zero-filled", progress=lambda done, total: seen.append((done, total)))
        assert seen == [(1, 2), (2, 2)]

    def test_slices_are_read_one_at_a_time(self, scan):
        class OneAtATime:
            shape = scan.kspace.shape

            def __getitem__(self, index):
                block = scan.kspace[index]
                assert len(block) == 1
                return block

        result = reconstruct(replace(scan, kspace=OneAtATime()), "zero-filled")
        np.testing.assert_array_equal(result.image, usual("zero-filled").image)


class TestUnsoundKspace:
    @pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, -np.inf)])
    @pytest.mark.parametrize("method", CLASSICAL)
    def test_numbers_that_are_none_are_an_error_that_names_the_slice(self, scan, method, bad, tmp_path):
        kspace = scan.kspace.copy()
        kspace[1, 0, 24, 20] = bad
        broken = replace(scan, kspace=kspace)
        with pytest.raises(ScanError, match=r"slice 1\b"), np.errstate(invalid="ignore", over="ignore"):
            reconstruct(broken, method)
        write_scan(tmp_path / "broken.h5", scan)
        with h5py.File(tmp_path / "broken.h5", "r+") as file:
            file["kspace"][1, 0, 24, 20] = bad
        with pytest.raises(ScanError, match=r"broken.h5: slice 1 of 'kspace' holds NaN, Inf"):
            reconstruct(read_scan(tmp_path / "broken.h5"), method)

    def test_all_zero_is_an_error(self, scan):
        with pytest.raises(ScanError, match=r"small\.h5: k-space is zero everywhere"):
            reconstruct(replace(scan, kspace=np.zeros_like(scan.kspace)))


class TestMetrics:
    def test_they_are_those_of_the_target(self, scan):
        result = usual("cs")
        assert result.metrics == score(scan.target, result.image)

    def test_none_without_a_target(self, scan):
        result = reconstruct(replace(scan, target=None), "zero-filled")
        assert result.metrics is None
        assert result.notes == ()

    @pytest.mark.parametrize(
        ("target", "reason"),
        [(np.zeros((2, 48, 40)), "zero everywhere"), (np.ones((2, 6, 5)), "at least 7×7 pixels")],
    )
    def test_a_target_that_cannot_be_scored_against_does_not_lose_the_image(self, scan, target, reason):
        result = reconstruct(replace(scan, target=target.astype(np.float32)), "zero-filled")
        assert result.metrics is None
        assert len(result.notes) == 1
        assert result.notes[0].startswith("Not scored: ")
        assert reason in result.notes[0]
        assert_close(result.image, center_crop(usual("zero-filled").image, target.shape[1:]), 1e-6)


class TestMethod:
    def test_convergence_is_told_a_slice(self):
        assert usual("zero-filled").convergence == ()
        converged = usual("cs").convergence
        assert len(converged) == 2
        default = TotalVariation()
        for one in converged:
            told = TotalVariation(tv_weight=one.weight)
            assert one.converged
            assert one.residual < told.tolerance_for(several_coils=True)
        assert all(1 < c.iterations < default.iterations for c in converged)
        short = reconstruct(small_scan(), "cs", settings={"iterations": 3})
        assert [(c.iterations, c.converged) for c in short.convergence] == [(3, False)] * 2
        assert short.settings["iterations"] == 3

    def test_settings_and_a_method_made_beforehand_come_to_the_same(self, scan):
        by_name = reconstruct(scan, "cs", settings={"tv_weight": 0.05})
        made = reconstruct(scan, TotalVariation(tv_weight=0.05))
        np.testing.assert_array_equal(by_name.image, made.image)
        assert (by_name.method, made.method) == ("cs", "cs")
        assert by_name.settings == made.settings
        assert made.settings["tv_weight"] == 0.05
        # The setting is heeded: more of it leaves less variation.
        variation = [np.abs(np.diff(r.image)).sum() for r in (usual("cs"), made)]
        assert variation[1] < 0.9 * variation[0]

    def test_a_class_that_is_not_listed_has_its_own_name(self):
        class Mine(TotalVariation):
            pass

        assert method_name_of(Mine()) == "Mine"

    def test_twice_gives_the_same_twice_and_leaves_the_scan_alone(self, scan):
        before = scan.kspace.copy()
        np.testing.assert_array_equal(reconstruct(scan, "cs").image, usual("cs").image)
        np.testing.assert_array_equal(scan.kspace, before)

    def test_it_is_better_than_zero_filled(self):
        scan = small_scan("larger.h5", height=112, width=96, n_slices=1, n_coils=4)
        by_cs, by_zeros = (reconstruct(scan, method).metrics for method in ("cs", "zero-filled"))
        assert by_cs.psnr > by_zeros.psnr + 3
        assert by_cs.ssim > by_zeros.ssim + 0.1

    @pytest.mark.parametrize(
        ("method", "settings", "weights", "words"),
        [
            ("zero_filled", {}, None, "There is no method 'zero_filled'. Did you mean 'zero-filled'?"),
            ("magic", {}, None, "Known: cs, sense, unet, varnet, wavelet, zero-filled."),
            ("cs", {"tvweight": 1}, None, "Did you mean 'tv_weight'?"),
            ("cs", {"tv_weight": 0}, None, "greater than 0"),
            ("cs", {"tv_weight": "strong"}, None, "tv_weight: expected a number"),
            ("cs", {"tv_weight": float("nan")}, None, "greater than 0, or auto, got nan"),
            ("cs", {}, "w.safetensors", "Method cs has no weights"),
        ],
    )
    def test_what_cannot_be_made(self, method, settings, weights, words):
        with pytest.raises(SettingsError) as caught:
            make_method(method, settings, weights)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_unknown_device(self, scan):
        with pytest.raises(SettingsError, match="no device 'gpu'"):
            reconstruct(scan, device="gpu")


def test_a_target_that_cannot_be_read_does_not_lose_the_image(tmp_path):
    scan = small_scan()
    write_scan(tmp_path / scan.name, scan)
    with h5py.File(tmp_path / scan.name, "r+") as file:
        file["reconstruction_rss"][0, 3, 3] = np.nan
    broken = reconstruct(read_scan(tmp_path / scan.name), "zero-filled")
    whole = reconstruct(scan, "zero-filled")
    assert_close(broken.image, whole.image, 1e-5)
    assert broken.metrics is None
    assert any(note.startswith("Not scored: ") for note in broken.notes)
    np.testing.assert_array_equal(whole.target, scan.target[:])


def test_one_center_fraction_serves_several_accelerations_and_a_mask_leaves_nothing_to_draw():
    assert Sampling.of(None, (4, 8), 0.08, None).center_fractions == (0.08, 0.08)
    for asked in ((4, None, None), (None, 0.08, None), (None, None, 1)):
        with pytest.raises(SettingsError, match="leaves nothing to draw"):
            Sampling.of(np.ones(40, dtype=bool), *asked)


def test_the_scale_takes_the_unbroken_lines_of_an_asymmetric_run():
    rng = np.random.default_rng(3)
    kspace = rng.standard_normal((1, 2, 64, 64)) + 1j * rng.standard_normal((1, 2, 64, 64))
    columns = np.zeros(64, dtype=bool)
    columns[28:46] = True
    columns[50] = True
    expected = kspace_scale(kspace, columns)
    outside = kspace.copy()
    outside[..., 50] *= 1e3
    np.testing.assert_array_equal(kspace_scale(outside, columns), expected)
    inside = kspace.copy()
    inside[..., 45] *= 1e3
    assert kspace_scale(inside, columns).item() > 2 * expected.item()


@pytest.mark.parametrize("n_coils", [1, 3])
@pytest.mark.parametrize("method", CLASSICAL)
def test_slices_at_once_equal_slices_alone(method, n_coils):
    """However many threads there are, and whatever else is worked on: the same bytes."""
    scan = small_scan("volume.h5", height=40, width=32, n_slices=3, n_coils=n_coils)
    images = []
    for n in (2, 3):
        with limited_threads(n):
            images.append(reconstruct(scan, method).image)
    with limited_threads(1):
        alone = [reconstruct(scan, method, slices=(i, i + 1)).image for i in range(3)]
    for image in images:
        np.testing.assert_array_equal(image, np.concatenate(alone))


def test_progress_comes_in_order_with_slices_at_once():
    heard = []
    with limited_threads(3):
        reconstruct(
            small_scan("volume.h5", n_slices=5),
            "cs",
            settings={"tv_weight": 0.005, "iterations": 5},
            progress=lambda done, of: heard.append((done, of)),
        )
    assert heard == [(i, 5) for i in range(1, 6)]
