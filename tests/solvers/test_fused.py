"""The fused steps beside the plain ones that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, complex_normal

from mri_recon.physics.differences import gradient, gradient_adjoint, laplacian_symbol
from mri_recon.physics.filters import FusedFilter
from mri_recon.physics.fourier import filtered, ifftc, spectrum, uncentred
from mri_recon.solvers.admm import ProxSplitting
from mri_recon.solvers.cg import WarmCG
from mri_recon.solvers.fused import REFRESH_EVERY, FusedCG, FusedTotalVariation, step_products, weighted_sum
from mri_recon.solvers.prox import joint_soft_threshold
from mri_recon.solvers.threads import limited_threads

SHAPES = [(2, 8, 10), (1, 7, 9), (3, 1, 5), (1, 133, 2), (1, 5, 1), (2, 200, 17)]
THREADS = [1, 2, 3]


@pytest.fixture(params=THREADS)
def n_threads(request):
    with limited_threads(request.param):
        yield request.param


@pytest.mark.usefixtures("n_threads")
@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation(shape):
    """Pull and residual equal the plain splitting's at every iteration, for images that come in any order."""
    rng = np.random.default_rng(7)
    weight, rho, relaxation = 0.6, 1.7, 1.8
    fused = FusedTotalVariation(shape, weight / rho, relaxation)
    like = np.zeros(shape, dtype=np.complex64)
    prox = lambda z, step: joint_soft_threshold(z, weight * step)  # noqa: E731
    plain = ProxSplitting(gradient, gradient_adjoint, prox, like, 1 / rho, relaxation)
    np.testing.assert_array_equal(fused.pull(), 0)
    for _ in range(5):
        x = complex_normal(rng, shape, np.complex64)
        before = x.copy()
        measured, expected = (s.advance(x, measure=True) for s in (fused, plain))
        np.testing.assert_array_equal(x, before)
        if expected > 1e-3:  # a single column has no differences
            assert measured == pytest.approx(expected, rel=1e-4)
        assert fused.pull().dtype == np.complex64
        assert_close(fused.pull(), plain.pull(), 1e-5)


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(8)
    images = [complex_normal(rng, (1, 150, 37), np.complex64) for _ in range(4)]
    weight = rng.uniform(size=(1, 150, 37)).astype(np.float32)
    pulls = []
    for n in THREADS:
        with limited_threads(n):
            fused = FusedTotalVariation((1, 150, 37), 0.3, 1.8)
            cg = FusedCG(lambda x, out: np.copyto(out, 2 * x), FusedFilter(weight), images[0], 0.5, steps=2)
            for image in images:
                residual = fused.advance(image + cg(fused.pull()))
            pulls.append((fused.pull().tobytes(), residual, cg.x.tobytes()))
    assert pulls[0] == pulls[1] == pulls[2]


@pytest.mark.usefixtures("n_threads")
@pytest.mark.parametrize("shape", SHAPES)
def test_filter(shape):
    rng = np.random.default_rng(9)
    image, data = (complex_normal(rng, shape, np.complex64) for _ in range(2))
    for weight in (rng.uniform(size=s) for s in (shape, (1, *shape[1:]), (1, 1, shape[2]))):
        expected = filtered(image, weight.astype(np.float32))
        before = image.copy()
        assert_close(FusedFilter(uncentred(weight))(image), expected, 1e-5)
        np.testing.assert_array_equal(image, before)
        # The constant is added to the spectrum: in the image, its inverse transform.
        constant = spectrum(ifftc(data))
        assert_close(FusedFilter(uncentred(weight), constant)(image), expected + ifftc(data), 1e-5)


@pytest.mark.usefixtures("n_threads")
@pytest.mark.parametrize("penalty", ["laplacian", "identity"])
@pytest.mark.parametrize("shape", [(2, 8, 10), (1, 67, 9), (1, 200, 150), (1, 3, 1), (1, 1, 12)])
def test_conjugate_gradients(shape, penalty):
    """The same steps as `WarmCG`, for right-hand sides that move."""
    rng = np.random.default_rng(10)
    _, height, width = shape
    rho, steps = 0.7, 3
    weights = rng.uniform(0.5, 2, size=shape).astype(np.float32)
    laplacian = penalty == "laplacian"
    symbol = (1 + rho * (laplacian_symbol(height, width) if laplacian else 1 + np.zeros((height, width))))[
        None
    ]
    inverse = (1 / symbol).astype(np.float32)
    constant = complex_normal(rng, shape, np.complex64)
    normal = lambda x, out: np.multiply(weights, x, out=out)  # noqa: E731
    fused = FusedCG(normal, FusedFilter(uncentred(inverse)), constant, rho, steps, penalty=penalty)
    plain = WarmCG(
        lambda x: weights * x + rho * (gradient_adjoint(gradient(x)) if laplacian else x),
        lambda r: filtered(r, inverse),
        steps=steps,
    )
    for _ in range(3):
        pull = complex_normal(rng, shape, np.complex64)
        assert_close(fused(pull), plain(constant + rho * pull), 1e-4)


def test_conjugate_gradients_with_an_operator_that_is_only_close():
    """They end where the exact operator's equation holds."""
    rng = np.random.default_rng(11)
    shape, rho = (2, 12, 9), 0.3
    weights = rng.uniform(0.5, 2, size=shape).astype(np.float32)
    close = (weights * rng.uniform(0.9, 1, size=shape)).astype(np.float32)
    constant, pull = (complex_normal(rng, shape, np.complex64) for _ in range(2))
    fused = FusedCG(
        lambda x, out: np.multiply(close, x, out=out),
        FusedFilter(np.ones((1, 12, 9), np.float32)),
        constant,
        rho,
        3,
        lambda x, out: np.multiply(weights, x, out=out),
    )
    for _ in range(12 * REFRESH_EVERY):
        x = fused(pull)
    assert_close(weights * x + rho * gradient_adjoint(gradient(x)), constant + rho * pull, 1e-4)


def test_an_operator_that_is_not_close_is_given_up():
    """Where it makes much too little of a few pixels its steps overshoot, more each time; the exact one ends that."""
    rng = np.random.default_rng(12)
    shape, rho = (1, 12, 9), 0.02
    weights = rng.uniform(0.5, 1, size=shape).astype(np.float32)
    far = weights.copy()
    far[0, 3:6, 2:5] = 0
    constant, pull = (complex_normal(rng, shape, np.complex64) for _ in range(2))
    fused = FusedCG(
        lambda x, out: np.multiply(far, x, out=out),
        FusedFilter(np.ones((1, 12, 9), np.float32)),
        constant,
        rho,
        3,
        lambda x, out: np.multiply(weights, x, out=out),
    )
    for _ in range(30 * REFRESH_EVERY):
        x = fused(pull)
    assert_close(weights * x + rho * gradient_adjoint(gradient(x)), constant + rho * pull, 1e-3)


@pytest.mark.usefixtures("n_threads")
@pytest.mark.parametrize("n", [1, 37, 40_000])
def test_products_and_sums_of_states(n):
    states = np.random.default_rng(10).standard_normal((5, n), dtype=np.float32)
    steps = np.diff(states, axis=0).astype(np.float64)
    assert_close(step_products(states), steps @ steps.T, 1e-5)
    weights = np.array([0.3, -2, 1, 0, 0.25], np.float32)
    assert_close(weighted_sum(states, weights), weights @ states, 1e-5)
