"""CG-SENSE: the stated least squares, against dense solves; and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import assert_close, complex_normal, real_data
from slow_tv import _dft
from test_tv import make_problem

from mri_recon.data.phantom import sample_scan
from mri_recon.data.storage import read_scan
from mri_recon.errors import SettingsError
from mri_recon.methods.base import Convergence
from mri_recon.methods.sense import Sense
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.reconstruct import reconstruct


def run(problem, report=None, library=np.asarray, **settings):
    smaps = None if len(problem.smaps) == 1 else library(problem.smaps[None])
    mask = library(problem.columns.reshape(1, 1, 1, -1))
    return Sense(**settings)(library(problem.kspace[None]), mask, smaps, report)[0]


def dense(problem, l2_weight):
    """The minimum by the whole matrix of the measurement."""
    _, h, w = problem.kspace.shape
    fourier = np.kron(_dft(h), _dft(w) * problem.columns[:, None])
    A = np.concatenate([fourier * s.ravel() for s in problem.smaps.astype(np.complex128)])
    normal = A.conj().T @ A + l2_weight * np.eye(h * w)
    return np.linalg.solve(normal, A.conj().T @ problem.kspace.ravel()).reshape(h, w)


@pytest.mark.parametrize("l2_weight", [0.01, 0.3])
@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("shape", [(10, 12), (9, 15)])
def test_equals_a_dense_solve(shape, n_coils, l2_weight):
    problem = make_problem(shape, n_coils, 1)
    found = run(problem, l2_weight=l2_weight, tolerance=1e-6)
    assert_close(found, dense(problem, l2_weight), 1e-4)


def test_every_other_column_of_four_coils_is_enough_without_noise():
    """R = 2 is exact, also without any penalty."""
    h, w = 20, 24
    smaps = make_problem((h, w), 4, 1).smaps
    image = complex_normal(np.random.default_rng(1), (h, w))
    problem = replace(make_problem((h, w), 4, 1), columns=np.arange(w) % 2 == 0)
    problem = replace(problem, kspace=(fftc(smaps * image) * problem.columns).astype(np.complex64))
    heard: list[Convergence] = []
    found = run(problem, heard.append, l2_weight=0, tolerance=1e-5, iterations=500)
    assert heard[0].converged
    assert_close(found, image, 1e-3)
    # Folded without the maps.
    assert np.abs(ifftc(problem.kspace).sum(axis=0) - image).max() > 1


def test_one_coil_is_the_zero_filled_image_made_smaller():
    problem = make_problem((12, 14), 1, 1)
    heard: list[Convergence] = []
    assert_close(run(problem, heard.append, l2_weight=0.25), ifftc(problem.kspace)[0] / 1.25, 1e-6)
    assert heard == [Convergence(iterations=1, residual=0.0, converged=True)]


@pytest.mark.parametrize("n_coils", [1, 4])
def test_scaling_kspace_scales_the_image(n_coils):
    problem = make_problem((24, 20), n_coils, 1)
    expected = run(problem)
    for factor in (1e-3, 50.0):
        scaled = replace(problem, kspace=(problem.kspace * factor).astype(np.complex64))
        assert_close(run(scaled), expected * factor, 1e-4)


def test_numpy_and_torch_agree():
    problem = make_problem((23, 19), 4, 1)
    found = run(problem, library=torch.as_tensor)
    assert found.dtype == torch.complex64
    assert_close(found, run(problem), 1e-4)


def test_slices_of_a_batch_equal_slices_alone_and_empty_ones_are_empty():
    problems = [make_problem((24, 20), 4, 1, seed=s) for s in (0, 1)]
    columns, smaps = problems[0].columns, problems[0].smaps
    kspace = np.stack([problems[0].kspace, 0 * problems[0].kspace, problems[1].kspace * columns * 40])
    kspace = kspace.astype(np.complex64)
    mask = columns.reshape(1, 1, 1, -1)
    batch = Sense()(kspace, mask, np.stack([smaps] * 3))
    np.testing.assert_array_equal(batch[1], 0)
    for i in range(3):
        assert_close(batch[i : i + 1], Sense()(kspace[i : i + 1], mask, smaps[None]), 1e-6)


def test_reports_how_it_ended_and_gives_the_same_twice():
    problem = make_problem((24, 20), 4, 1)
    heard: list[Convergence] = []
    first = run(problem, heard.append)
    np.testing.assert_array_equal(run(problem), first)
    run(problem, heard.append, iterations=2)
    assert heard[0].converged
    assert heard[0].residual <= Sense().tolerance
    assert (heard[1].iterations, heard[1].converged) == (2, False)
    assert heard[1].residual > heard[0].residual


@pytest.mark.parametrize(
    ("key", "value"),
    [("l2_weight", -1), ("l2_weight", float("nan")), ("iterations", 0), ("tolerance", 0), ("tolerance", "x")],
)
def test_settings_out_of_range_are_refused(key, value):
    with pytest.raises(SettingsError, match=key):
        Sense(**{key: value})


def test_beats_zero_filled_on_the_phantom():
    scan = sample_scan(height=144, width=120, n_coils=8, noise=0.02, seed=11)
    zero_filled, found = (reconstruct(scan, method).metrics for method in ("zero-filled", "sense"))
    assert found.psnr > zero_filled.psnr + 0.8
    assert found.nmse < zero_filled.nmse


@pytest.mark.parametrize(("name", "margin"), [("midas_brain_7ch", 1.0), ("pulseq_brain_16ch", 4.0)])
def test_beats_zero_filled_on_a_measured_scan(name, margin):
    scan = read_scan(real_data(f"kspace/{name}.h5"))
    zero_filled, found = (
        reconstruct(scan, method, acceleration=4, center_fraction=0.08).metrics.psnr
        for method in ("zero-filled", "sense")
    )
    assert found > zero_filled + margin
