"""The automatic weight: close to the best one in hindsight, sensible about noise, and never at a loss."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from helpers import complex_normal, real_data

from mri_recon.data.phantom import sample_scan
from mri_recon.data.scan import Scan
from mri_recon.data.storage import read_scan
from mri_recon.device import to_numpy
from mri_recon.errors import SettingsError
from mri_recon.methods.auto_weight import CAUTION, REACH, ROWS, STEP, _downhill, automatic_weight
from mri_recon.methods.tv import TotalVariation
from mri_recon.methods.wavelet import Wavelet
from mri_recon.metrics import psnr
from mri_recon.physics.coils import rss
from mri_recon.physics.espirit import estimate_maps
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.masks import generate_mask
from mri_recon.reconstruct import kspace_scale, reconstruct

USUAL = 0.005


def by_total_variation(weight, kspace, mask, smaps):
    return TotalVariation(tv_weight=weight, iterations=30)(kspace, mask, smaps)


@cache
def problem(n_coils: int, noise: float, acceleration: int = 4, size: tuple[int, int] = (80, 72)):
    """K-space on the common scale, mask and maps of a generated head, and the full scan."""
    scan = sample_scan(height=size[0], width=size[1], n_coils=n_coils, noise=noise, seed=3)
    return prepared(scan, acceleration), scan


def prepared(scan: Scan, acceleration: int, center_fraction: float = 0.1):
    columns = generate_mask("random", scan.kspace.shape[-1], acceleration, center_fraction, seed=scan.name)
    kspace = scan.kspace[0:1] * columns
    kspace = (kspace / kspace_scale(kspace, columns)).astype(np.complex64)
    smaps = estimate_maps(kspace, columns) if kspace.shape[1] > 1 else None
    return kspace, columns.reshape(1, 1, 1, -1), smaps


class Solver:
    """A method that foretells what it is told to, and remembers how it was asked."""

    def __init__(self, best: float, sharpness: float = 1.0) -> None:
        self.best, self.sharpness = best, sharpness
        self.weights: list[float] = []
        self.masks: list[np.ndarray] = []
        self.shapes: set[tuple[int, ...]] = set()
        self.truth: np.ndarray | None = None

    def __call__(self, weight, kspace, mask, smaps):
        self.weights.append(weight)
        self.masks.append(np.asarray(mask))
        self.shapes.add(kspace.shape)
        # Off by an amount that grows with the distance from the best weight.
        off = self.sharpness * np.log(weight / self.best) ** 2
        return (1 + off) * np.asarray(self.truth)


def one_coil_data(height=40, width=48, seed=0):
    """An image, and its k-space in two columns of three."""
    image = complex_normal(np.random.default_rng(seed), (1, height, width), np.complex64)
    columns = np.arange(width) % 3 != 1
    columns[width // 2 - 2 : width // 2 + 2] = True
    return image, (fftc(image)[:, None] * columns).astype(np.complex64), columns.reshape(1, 1, 1, -1)


class TestSearch:
    def test_follows_the_unit_of_kspace(self):
        """λ scales as k-space does, if the usual one does: what the common scale relies on."""
        image, kspace, mask = one_coil_data()
        weights = []
        for unit in (1e-3, 1.0, 256.0):
            solver = Solver(0.013 * unit, sharpness=10.0)
            solver.truth = np.complex64(0.8 * unit) * image
            weights.append(
                automatic_weight(kspace * np.float32(unit), mask, None, solver, usual=USUAL * unit) / unit
            )
        np.testing.assert_allclose(weights, weights[1], rtol=1e-3)
        assert weights[1] > 1.5 * USUAL

    @pytest.mark.parametrize("best", [0.001, 0.004, 0.005, 0.02, 0.06])
    def test_finds_the_weight_that_foretells_best(self, best):
        image, kspace, mask = one_coil_data()
        solver = Solver(best, sharpness=30.0)
        solver.truth = 0.7 * image
        weight = automatic_weight(kspace, mask, None, solver, usual=USUAL)
        assert abs(np.log(weight / best)) < 0.35
        assert len(set(solver.weights)) <= 6

    def test_every_outer_line_is_left_out_once_and_the_centre_never(self):
        image, kspace, mask = one_coil_data()
        solver = Solver(USUAL)
        solver.truth = image
        automatic_weight(kspace, mask, None, solver)
        first = [m for m, w in zip(solver.masks, solver.weights, strict=True) if w == solver.weights[0]]
        left_out = sum(mask.astype(int) - m for m in first)[0, 0, 0]
        columns = mask[0, 0, 0]
        middle = columns.size // 2
        run = slice(middle - 2, middle + 2)
        assert (left_out[run] == 0).all()
        assert (left_out[: middle - 4][columns[: middle - 4]] == 1).all()
        assert (left_out[~columns] == 0).all()

    def test_where_lines_tell_nothing_the_usual_weight_stays(self):
        image, kspace, mask = one_coil_data()
        for best in (1e-3, 0.1):
            solver = Solver(best, sharpness=1e-4)
            solver.truth = 0 * image + 0.1
            assert automatic_weight(kspace, mask, None, solver, usual=USUAL) == pytest.approx(USUAL, rel=0.1)

    def test_stays_within_reach(self):
        image, kspace, mask = one_coil_data()
        for best, end in ((1e-9, -REACH), (1e6, REACH)):
            solver = Solver(best)
            solver.truth = image
            assert automatic_weight(kspace, mask, None, solver) == pytest.approx(USUAL * STEP**end)

    def test_looks_at_the_brightest_rows_alone(self):
        height = 3 * ROWS
        image = np.zeros((1, height, 24), np.complex64)
        image[:, ROWS + 5 : 2 * ROWS + 5] = 1
        columns = np.arange(24) % 2 == 0
        seen = []

        def solve(weight, kspace, mask, smaps):
            seen.append((kspace.shape, smaps.shape))
            np.testing.assert_allclose(np.abs(smaps), 1)
            return np.ones((1, ROWS, 24), np.complex64)

        smaps = np.where(np.abs(image) > 0, 1, 7).astype(np.complex64)[:, None]
        kspace = (fftc(image)[:, None] * columns).astype(np.complex64)
        automatic_weight(kspace, columns.reshape(1, 1, 1, -1), smaps, solve)
        assert set(seen) == {((1, 1, ROWS, 24), (1, 1, ROWS, 24))}

    @pytest.mark.parametrize("least", [-2.6, -1.0, 0.0, 0.3, 1.7])
    def test_a_parabola_is_followed_to_its_bottom(self, least):
        assert _downhill(lambda at: (at - least) ** 2, REACH) == pytest.approx(least)

    def test_caution_is_a_part_of_the_error(self):
        """A weight e times the usual one is as good as the usual one where it lowers the error by `CAUTION`."""
        image, kspace, mask = one_coil_data()

        def choice(gain):
            def solve(weight, kspace, mask, smaps):
                scale = np.sqrt(1 - gain * np.clip(np.log(weight / USUAL), 0, np.log(STEP)) / np.log(STEP))
                return image * 0 + (image - scale * image)

            return automatic_weight(kspace, mask, None, solve)

        pull = 1 - np.exp(-CAUTION * np.log(STEP) ** 2)
        assert choice(0.0) == pytest.approx(USUAL, rel=1e-3)
        assert choice(0.5 * pull) < USUAL * STEP**0.5 < choice(8 * pull)


@pytest.mark.parametrize("method", [TotalVariation, Wavelet])
class TestWeight:
    @pytest.mark.parametrize("value", [0.02, 1, "auto", 1e-6])
    def test_is_a_number_or_auto(self, method, value):
        key = next(iter(method.settings()))
        assert method(**{key: value}).as_dict()[key] == value

    @pytest.mark.parametrize("value", [0, -1, True, "much", "Auto", None, float("nan"), float("inf"), [0.1]])
    def test_anything_else_is_refused_by_name(self, method, value):
        key = next(iter(method.settings()))
        with pytest.raises(SettingsError, match=f"{key}: expected a number greater than 0, or auto, got"):
            method(**{key: value})

    def test_each_slice_is_done_with_its_own(self, method):
        """A batch by auto equals its slices, each by the weight that is told of it."""
        scans = [
            sample_scan(height=40, width=48, n_coils=1, noise=n, seed=s) for n, s in ((0.01, 1), (0.1, 2))
        ]
        columns = np.zeros(48, bool)
        columns[[3, 8, 11, 15, 18, *range(21, 28), 30, 33, 38, 41, 45]] = True
        kspace = np.concatenate([scan.kspace[0:1] for scan in scans]) * columns
        mask, heard = columns.reshape(1, 1, 1, -1), []
        both = method(iterations=40)(kspace, mask, None, heard.append)
        key = next(iter(method.settings()))
        for i, end in enumerate(heard):
            alone = method(**{key: end.weight}, iterations=40)(kspace[i : i + 1], mask, None)
            np.testing.assert_array_equal(both[i : i + 1], alone)
        assert len(heard) == 2


class TestNothingToGoBy:
    @staticmethod
    def refuse(*args):
        raise AssertionError("nothing should be solved")

    def test_an_empty_slice(self):
        _, kspace, mask = one_coil_data()
        assert automatic_weight(0 * kspace, mask, None, self.refuse, usual=0.01) == 0.01

    @pytest.mark.parametrize(
        "acquired", [slice(0, 0), slice(20, 21), slice(22, 27), slice(0, 48), slice(0, 2)]
    )
    def test_too_few_lines_outside_the_centre(self, acquired):
        image, kspace, _ = one_coil_data()
        columns = np.zeros(48, bool)
        columns[acquired] = True
        kspace = fftc(image)[:, None] * columns
        assert automatic_weight(kspace, columns.reshape(1, 1, 1, -1), None, self.refuse) == USUAL

    @pytest.mark.parametrize("n_coils", [1, 3])
    def test_without_a_centre_it_still_chooses(self, n_coils):
        (kspace, mask, smaps), _ = problem(n_coils, 0.02)
        mask = mask.copy()
        mask[..., 33:40] = False
        weight = automatic_weight(kspace * mask, mask, smaps, by_total_variation)
        assert USUAL * STEP**-REACH <= weight <= USUAL * STEP**REACH


def test_more_noise_wants_more():
    """With several coils; one coil is limited by what was not acquired."""
    weak, strong, stronger = (
        automatic_weight(*problem(4, noise)[0], by_total_variation) for noise in (0.002, 0.05, 0.3)
    )
    assert 2 * weak < strong
    assert 1.5 * strong < stronger


@pytest.mark.parametrize("n_coils", [1, 4])
class TestWithTotalVariation:
    def test_is_deterministic_and_leaves_the_input_alone(self, n_coils):
        (kspace, mask, smaps), _ = problem(n_coils, 0.05)
        before = kspace.copy(), mask.copy()
        assert automatic_weight(kspace, mask, smaps, by_total_variation) == automatic_weight(
            kspace, mask, smaps, by_total_variation
        )
        np.testing.assert_array_equal(kspace, before[0])
        np.testing.assert_array_equal(mask, before[1])

    def test_numpy_and_torch_agree(self, n_coils):
        data, _ = problem(n_coils, 0.05, size=(32, 40))

        def briefly(weight, kspace, mask, smaps):
            return TotalVariation(tv_weight=weight, iterations=4)(kspace, mask, smaps)

        by_numpy = automatic_weight(*data, briefly)
        by_torch = automatic_weight(*(None if a is None else torch.as_tensor(a) for a in data), briefly)
        assert isinstance(by_torch, float)
        assert by_torch == pytest.approx(by_numpy, rel=0.02)

    @pytest.mark.parametrize("noise", [0.005, 0.05])
    def test_is_near_the_best_in_hindsight_on_the_phantom(self, n_coils, noise):
        """Within a decibel against the noise-free target, which nothing that chooses has seen."""
        (kspace, mask, smaps), scan = problem(n_coils, noise)
        scale = kspace_scale(scan.kspace[0:1] * mask[0, 0, 0], mask[0, 0, 0])[:, 0]

        def score(weight):
            image = TotalVariation(tv_weight=weight, tolerance=1e-3, iterations=150)(kspace, mask, smaps)
            return psnr(scan.target[0:1], np.abs(to_numpy(image)) * scale)

        best = max(score(weight) for weight in (0.001, 0.003, 0.008, 0.02))
        chosen = score(automatic_weight(kspace, mask, smaps, by_total_variation))
        assert chosen > best - 1
        assert chosen > psnr(scan.target[0:1], rss(ifftc(kspace)) * scale) + 0.5


@pytest.mark.parametrize("name", ["twixtools_phantom_2ch", "pulseq_phantom_16ch", "larson_t1sag_1ch"])
def test_is_within_a_decibel_of_the_best_on_measured_scans(name):
    """These want weights from 0.001 to 0.02."""
    scan = read_scan(real_data(f"kspace/{name}.h5"))
    weight = automatic_weight(*prepared(scan, 4, 0.08), by_total_variation)
    weights = (weight, 0.001, 0.004, 0.015)
    chosen, *others = (
        reconstruct(
            scan,
            "cs",
            acceleration=4,
            center_fraction=0.08,
            settings={"tv_weight": w, "tolerance": 2e-3, "iterations": 60},
        ).metrics.psnr
        for w in weights
    )
    assert chosen > max(others) - 1
