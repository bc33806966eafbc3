"""Total variation: the stated objective, reached; and what follows from it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from functools import cache

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal, real_data
from slow_tv import Problem

from mri_recon.data.phantom import sample_scan
from mri_recon.data.storage import read_scan
from mri_recon.errors import SettingsError
from mri_recon.methods.base import Convergence
from mri_recon.methods.tv import TotalVariation
from mri_recon.physics.fourier import fftc
from mri_recon.reconstruct import reconstruct

SHAPES = [(24, 20), (23, 19)]


def make_problem(shape, n_coils, tv_weight, seed=0) -> Problem:
    """Two bright shapes of smooth phase under smooth coils, a third of the columns, some noise."""
    rng = np.random.default_rng(seed)
    h, w = shape
    y, x = np.mgrid[:h, :w] / np.array([h, w])[:, None, None] - 0.5
    image = 1.0 * ((y / 0.4) ** 2 + (x / 0.38) ** 2 < 1) + 0.6 * (
        (abs(y + 0.1) < 0.12) & (abs(x - 0.05) < 0.15)
    )
    image = image * np.exp(1j * (0.5 + 1.5 * x - 0.8 * y))
    smaps = np.ones((1, h, w), dtype=np.complex128)
    if n_coils > 1:
        angle = (2 * np.pi * np.arange(n_coils) / n_coils)[:, None, None]
        distance = (y - 0.5 * np.sin(angle)) ** 2 + (x - 0.5 * np.cos(angle)) ** 2
        smaps = np.exp(-distance / 0.4 + 1j * angle * x)
        smaps /= np.sqrt((np.abs(smaps) ** 2).sum(axis=0))
    columns = rng.uniform(size=w) < 0.35
    columns[w // 2 - 2 : w // 2 + 2] = True
    kspace = (fftc(smaps * image) + 0.02 * complex_normal(rng, smaps.shape)) * columns
    # What the method is given, in the precision it is given.
    return Problem(kspace.astype(np.complex64), smaps.astype(np.complex64), columns, tv_weight)


def run(problems, report=None, library=np.asarray, **settings):
    """The method on a batch of problems of one mask and weight."""
    first = problems[0]
    one_coil = first.smaps.shape[0] == 1
    return TotalVariation(tv_weight=first.tv_weight, **settings)(
        library(np.stack([p.kspace for p in problems])),
        library(first.columns.reshape(1, 1, 1, -1)),
        None if one_coil else library(np.stack([p.smaps for p in problems])),
        report,
    )


@cache
def least(shape, n_coils, tv_weight) -> float:
    """The objective's minimum by the independent solver."""
    problem = make_problem(shape, n_coils, tv_weight)
    return problem.objective(problem.solve())


@pytest.mark.parametrize("tv_weight", [0.002, 0.02])
@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
class TestObjective:
    @pytest.mark.parametrize(("tolerance", "most"), [("auto", 1e-3), (1e-4, 1e-4)])
    def test_is_reached(self, shape, n_coils, tv_weight, tolerance, most):
        problem = make_problem(shape, n_coils, tv_weight)
        image = run([problem], tolerance=tolerance, iterations=2000)[0]
        gap = problem.objective(image) / least(shape, n_coils, tv_weight) - 1
        assert gap <= most
        # And the slow solver's answer is the minimum: nothing is lower.
        assert gap >= -1e-6

    def test_does_not_depend_on_the_penalty(self, shape, n_coils, tv_weight):
        problem = make_problem(shape, n_coils, tv_weight)
        for rho in (6.0, 40.0):
            image = run([problem], rho=rho, tolerance=2e-4, iterations=2000)[0]
            assert problem.objective(image) <= least(shape, n_coils, tv_weight) * (1 + 1e-4)


@pytest.mark.parametrize("tv_weight", [1e-3, 3e-4])
def test_several_coils_and_a_tiny_weight_are_reached_too(tv_weight):
    problem = make_problem(SHAPES[0], 4, tv_weight)
    ends = []
    image = run([problem], ends.append, iterations=2000, tolerance=3e-4)[0]
    assert ends[0].converged
    assert problem.objective(image) <= least(SHAPES[0], 4, tv_weight) * (1 + 1e-4)


def test_a_switch_is_no_weight():
    with pytest.raises(SettingsError):
        TotalVariation(tv_weight=True)


def test_the_slow_solver_and_the_method_on_bands_in_closed_form():
    """Fully sampled bands along the readout: plateaus of m columns keep their place and lose 2λ / m of height."""
    h, w, m, tv_weight = 9, 16, 6, 0.3
    image = np.zeros((h, w), dtype=np.complex128)
    image[:, 5 : 5 + m] = 2
    phase = np.exp(0.8j)
    expected = np.where(image > 0, 2 - 2 * tv_weight / m, 2 * tv_weight / (w - m)) * phase
    ones = np.ones((1, h, w), dtype=np.complex128)
    problem = Problem(fftc(image * phase)[None], ones, np.ones(w, dtype=bool), tv_weight)
    assert_close(problem.solve(), expected, 1e-6)
    assert_close(run([problem], tolerance=1e-5, iterations=1000)[0], expected, 1e-3)
    # The same through the solver for several coils, of which there are three of one third each.
    smaps = np.broadcast_to(ones / np.sqrt(3), (3, h, w)).astype(np.complex64)
    three = Problem(fftc(smaps * image * phase).astype(np.complex64), smaps, problem.columns, tv_weight)
    assert_close(run([three], tolerance=1e-5, iterations=1000)[0], expected, 1e-3)


@pytest.mark.parametrize("n_coils", [1, 4])
class TestOneAndManyCoils:
    def test_scaling_kspace_and_weight_scales_the_image(self, n_coils):
        problem = make_problem((24, 20), n_coils, 0.01)
        image = run([problem], tolerance=3e-4)
        for factor in (4.0, 0.25):
            kspace = (problem.kspace * factor).astype(np.complex64)
            scaled = Problem(kspace, problem.smaps, problem.columns, problem.tv_weight * factor)
            # The penalty scales too, so the path there is another one.
            found = run([scaled], tolerance=3e-4)
            assert scaled.objective(found[0]) == pytest.approx(
                factor**2 * problem.objective(image[0]), rel=2e-4
            )
            assert_close(found, image * factor, 0.03)

    def test_noiseless_full_sampling_returns_the_image(self, n_coils):
        rng = np.random.default_rng(1)
        image = complex_normal(rng, (24, 20))
        smaps = make_problem((24, 20), n_coils, 1).smaps
        kspace = fftc(smaps * image).astype(np.complex64)
        problem = Problem(kspace, smaps, np.ones(20, dtype=bool), 1e-6)
        assert_close(run([problem]), image[None], 1e-3)

    def test_slices_of_a_batch_equal_slices_alone(self, n_coils):
        first = make_problem((24, 20), n_coils, 0.01)
        # Another image in the same columns, and far brighter.
        others = [make_problem((24, 20), n_coils, 0.01, seed=s) for s in (1, 2)]
        others = [
            Problem((p.kspace * first.columns * f).astype(np.complex64), p.smaps, first.columns, 0.01)
            for p, f in zip(others, (30, 1), strict=True)
        ]
        # As many iterations each: only the time to stop is decided together.
        settings = {"iterations": 40, "tolerance": 1e-12}
        batch = run([first, *others], **settings)
        for i, problem in enumerate([first, *others]):
            assert_close(batch[i : i + 1], run([problem], **settings), 1e-4)

    def test_numpy_and_torch_agree(self, n_coils):
        problem = make_problem((23, 19), n_coils, 0.01)
        settings = {"iterations": 12, "tolerance": 1e-12}
        by_numpy = run([problem], **settings)
        by_torch = run([problem], library=torch.as_tensor, **settings)
        assert by_torch.dtype == torch.complex64
        assert by_numpy.dtype == np.complex64
        assert_close(by_torch, by_numpy, 1e-4)

    def test_reports_how_it_ended(self, n_coils):
        problem = make_problem((24, 20), n_coils, 0.01)
        heard: list[Convergence] = []
        run([problem], heard.append)
        run([problem], heard.append, iterations=3)
        converged, cut_short = heard
        assert converged.converged
        assert converged.residual < TotalVariation(tv_weight=0.01).tolerance_for(several_coils=n_coils > 1)
        assert 5 <= converged.iterations < TotalVariation().iterations
        assert (cut_short.iterations, cut_short.converged) == (3, False)
        assert cut_short.residual > converged.residual

    def test_twice_the_same_and_the_input_left_alone(self, n_coils):
        problem = make_problem((24, 20), n_coils, 0.01)
        kspace, columns, smaps = problem.kspace.copy(), problem.columns.copy(), problem.smaps.copy()
        np.testing.assert_array_equal(run([problem]), run([problem]))
        np.testing.assert_array_equal(problem.kspace, kspace)
        np.testing.assert_array_equal(problem.columns, columns)
        np.testing.assert_array_equal(problem.smaps, smaps)

    def test_an_empty_slice_is_an_empty_image(self, n_coils):
        problem = make_problem((24, 20), n_coils, 0.01)
        empty = Problem(0 * problem.kspace, problem.smaps, problem.columns, 0.01)
        heard: list[Convergence] = []
        both = run([problem, empty], heard.append)
        np.testing.assert_array_equal(both[1], 0)
        assert heard[0].converged
        assert_close(both[:1], run([problem]), 1e-5)

    def test_a_mask_without_the_centre_column_gives_a_finite_image(self, n_coils):
        """Nothing then tells the mean of one coil's image: it must be something, not NaN."""
        problem = make_problem((24, 20), n_coils, 0.01)
        columns = problem.columns.copy()
        columns[10] = False
        image = run([Problem(problem.kspace * columns, problem.smaps, columns, 0.01)])
        assert np.isfinite(image).all()
        assert np.abs(image).max() < 10


@pytest.mark.parametrize("key", ["tv_weight", "rho", "tolerance", "iterations"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "much"])
def test_settings_out_of_range_are_refused(key, value):
    with pytest.raises(SettingsError, match=key):
        TotalVariation(**{key: value})


def test_settings_are_frozen_and_known():
    method = TotalVariation(tv_weight=0.02)
    assert method.as_dict()["tv_weight"] == 0.02
    with pytest.raises(FrozenInstanceError):
        method.tv_weight = 1
    with pytest.raises(TypeError, match="tv_wieght"):
        TotalVariation(tv_wieght=0.02)


@pytest.mark.parametrize(("n_coils", "margin"), [(1, 1.0), (4, 4.0), (8, 4.5)])
def test_beats_zero_filled_on_the_phantom(n_coils, margin):
    """By this many decibels, against a noise-free target, k-space in closed form."""
    scan = sample_scan(height=144, width=120, n_coils=n_coils, noise=0.02, seed=11)
    zero_filled, cs = (reconstruct(scan, method).metrics for method in ("zero-filled", "cs"))
    assert cs.psnr > zero_filled.psnr + margin
    assert cs.ssim > zero_filled.ssim
    assert cs.nmse < zero_filled.nmse


@pytest.mark.parametrize("n_coils", [1, 4])
def test_a_weight_means_the_same_whatever_the_unit_of_the_scan(n_coils):
    scan = sample_scan(height=64, width=60, n_coils=n_coils, seed=12)
    expected = reconstruct(scan, "cs").image
    for unit in (1e-7, 1e5):
        image = reconstruct(replace(scan, kspace=(scan.kspace * unit).astype(np.complex64)), "cs").image
        assert_close(image / unit, expected, 1e-2)


@pytest.mark.parametrize(
    ("name", "tv_weight", "bart"),
    [("midas_brain_7ch", 0.01, 29.47 - 24.03), ("larson_t1sag_1ch", 0.02, 24.38 - 23.07)],
)
def test_gains_as_much_as_bart_on_a_measured_scan(name, tv_weight, bart):
    """`bart` is what BART 0.8's TV gained over zero-filled in dB at 4× with this weight, the best of its weights."""
    scan = read_scan(real_data(f"kspace/{name}.h5"))
    settings = {"tv_weight": tv_weight}
    zero_filled = reconstruct(scan, "zero-filled", acceleration=4, center_fraction=0.08)
    cs = reconstruct(scan, "cs", acceleration=4, center_fraction=0.08, settings=settings)
    assert cs.metrics.psnr - zero_filled.metrics.psnr > bart - 0.3


@pytest.mark.parametrize(
    ("weight", "several_coils", "tolerance"),
    [
        (0.01, False, 1.5e-3),
        (0.0001, True, 1e-4),
        (0.006, True, 1.5e-4),
        (0.01, True, 2.5e-4),
        (1.0, True, 2.5e-4),
        ("auto", True, 1e-4),
    ],
)
def test_several_coils_and_small_weights_want_smaller_residuals(weight, several_coils, tolerance):
    assert TotalVariation(tv_weight=weight).tolerance_for(several_coils=several_coils) == pytest.approx(
        tolerance
    )
    assert TotalVariation(tv_weight=weight, tolerance=0.1).tolerance_for(several_coils=several_coils) == 0.1
