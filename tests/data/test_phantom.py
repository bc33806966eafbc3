"""Generated scans against brute force: quadrature on fine grids, and what a scanner would measure."""

import itertools

import numpy as np
import pytest
from helpers import assert_close, complex_normal
from scipy.special import j1

from mri_recon.data import anatomy as anatomies
from mri_recon.data import ellipses as closed_form
from mri_recon.data.ellipse_sums import strips
from mri_recon.data.phantom import SPLITS, CleanSlice, random_slice, sample_scan, sample_set
from mri_recon.data.weightings import LoopCoils, Shade
from mri_recon.errors import SettingsError
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.solvers.threads import limited_threads

TWO_ELLIPSES = np.array([[0.05, -0.11, 0.31, 0.17, 0.7, 1.0], [-0.2, 0.1, 0.02, 0.09, -0.3, -0.6]])
TWO_GAUSSIANS = np.array([[0.04, -0.07, 0.05, 0.03, 1.0], [-0.1, 0.12, 0.02, 0.06, -0.5]])


def inside(ellipse, h, w):
    center_h, center_w, semi_1, semi_2, angle, _ = ellipse
    along = (h - center_h) * np.cos(angle) + (w - center_w) * np.sin(angle)
    across = -(h - center_h) * np.sin(angle) + (w - center_w) * np.cos(angle)
    return (along / semi_1) ** 2 + (across / semi_2) ** 2 <= 1


def midpoints(n):
    return (np.arange(n) + 0.5) / n - 0.5


def drawn(ellipses, gaussians, n, scale=(1.0, 1.0)):
    """The object itself on n × n points of a field of view of `scale`."""
    h, w = midpoints(n) * scale[0], midpoints(n) * scale[1]
    total = np.zeros((n, n))
    for ellipse in ellipses:
        # Only the box it lies in, or this takes seconds.
        rows, columns = (
            slice(*np.searchsorted(r, center + np.array([-1, 1]) * ellipse[2:4].max()))
            for r, center in ((h, ellipse[0]), (w, ellipse[1]))
        )
        total[rows, columns] += ellipse[5] * inside(ellipse, h[rows, None], w[None, columns])
    for center_h, center_w, sigma_h, sigma_w, peak in gaussians:
        along_h, along_w = (
            np.exp(-(((r - center) / sigma) ** 2) / 2)
            for r, center, sigma in ((h, center_h, sigma_h), (w, center_w, sigma_w))
        )
        total += peak * np.outer(along_h, along_w)
    return total


def quadrature(values, k_height, k_width):
    """∫ f exp(-2πi k·r) dr over the unit square, by the midpoint rule."""
    r = midpoints(values.shape[-1])
    waves_h, waves_w = (np.exp(-2j * np.pi * np.outer(k, r)) for k in (k_height, k_width))
    return waves_h @ values @ waves_w.T / len(r) ** 2


K = np.array([-7.0, -2.5, 0.0, 0.5, 1.0, 4.0])


def test_ellipse_transform_is_the_integral_over_the_ellipse():
    got = closed_form.ellipse_transform(K, K[::-1], TWO_ELLIPSES)
    want = quadrature(drawn(TWO_ELLIPSES, (), 1600), K, K[::-1])
    np.testing.assert_allclose(got, want, atol=4e-5)
    area = np.pi * (TWO_ELLIPSES[:, 2] * TWO_ELLIPSES[:, 3] * TWO_ELLIPSES[:, 5]).sum()
    assert got[2, 3] == pytest.approx(area, rel=1e-6)


def test_gaussian_transform_is_the_integral_over_the_gaussian():
    got = closed_form.gaussian_transform(K, K[::-1], TWO_GAUSSIANS)
    np.testing.assert_allclose(got, quadrature(drawn((), TWO_GAUSSIANS, 300), K, K[::-1]), atol=1e-7)


@pytest.mark.parametrize("axes", [(0.45, 0.45), (0.4, 0.01), (0.003, 0.004)])
def test_jinc_equals_scipy(axes):
    k = np.linspace(-190.3, 190.3, 403)
    got = closed_form.ellipse_transform(k, k, np.array([[0, 0, *axes, 0.4, 1.0]]))
    c, s = np.cos(0.4), np.sin(0.4)
    along, across = c * k[:, None] + s * k, -s * k[:, None] + c * k
    z = 2 * np.pi * np.hypot(axes[0] * along, axes[1] * across)
    want = np.divide(2 * j1(z), z, out=np.ones_like(z), where=z > 0)
    np.testing.assert_allclose(got / (np.pi * axes[0] * axes[1]), want, atol=1e-6)
    # Far out, where it is small, as exact as single precision is near one.
    far = z > 300
    assert np.abs(got / (np.pi * axes[0] * axes[1]) - want)[far].max(initial=0) < 2e-8


def plain_weight(spectrum, coefficients, down, step):
    """Σ_q c_q F(k - q), said directly."""
    n = coefficients.shape[-1]
    rows, columns = (size - n + 1 for size in spectrum.shape)
    return sum(
        coefficients[:, n - 1 - a, n - 1 - b, None, None]
        * spectrum[a : a + rows : down, b : b + columns : step]
        for a in range(n)
        for b in range(n)
    )


@pytest.mark.parametrize("steps", [(1, 1), (2, 2), (1, 2), (3, 1)])
@pytest.mark.parametrize(
    ("shape", "n"), [((21, 24), 5), ((20, 19), 7), ((7, 7), 7), ((90, 33), 3), ((4, 5), 1)]
)
def test_compiled_weighting_equals_the_sum(shape, n, steps):
    rng = np.random.default_rng(4)
    spectrum = complex_normal(rng, shape)
    coefficients = complex_normal(rng, (3, n, n))
    want = plain_weight(spectrum, coefficients, *steps)
    for threads in (1, 2):
        with limited_threads(threads):
            got = closed_form.weight(spectrum, coefficients, steps)
        assert got.dtype == np.complex64
        assert_close(got, want, 2e-6)


def plain_ellipses(k_h, k_w, ellipses):
    total = np.zeros((len(k_h), len(k_w)), complex)
    for center_h, center_w, semi_1, semi_2, angle, intensity in ellipses:
        c, s = np.cos(angle), np.sin(angle)
        along, across = c * k_h[:, None] + s * k_w, -s * k_h[:, None] + c * k_w
        z = 2 * np.pi * np.hypot(semi_1 * along, semi_2 * across)
        jinc = np.divide(j1(z), z, out=np.full_like(z, 0.5), where=z > 0)
        wave = np.exp(-2j * np.pi * (k_h[:, None] * center_h + k_w * center_w))
        total += 2 * np.pi * semi_1 * semi_2 * intensity * jinc * wave
    return total


@pytest.mark.parametrize(
    ("k_h", "k_w"),
    [
        (np.arange(-40, 41) / 2, np.arange(-331, 332) / 2),
        (np.arange(0, 40) * 0.37, np.arange(60, -80, -1) * 0.73),
        (np.array([0.0]), np.array([3.0])),
        (np.array([5.0, -1.0]), np.array([-9.3, -1.0, 0.0, 0.1, 4.0, 33.0])),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_compiled_ellipses_equal_the_sum(k_h, k_w, threads):
    thin = (
        [0.3, 0.2, 0.44, 0.001, np.pi / 2, 2.0],
        [0.0, 0.0, 0.2, 0.1, 0.0, 1.0],
        [-0.4, 0.4, 0.3, 0.0, 1.0, 1.0],
    )
    ellipses = np.concatenate([TWO_ELLIPSES, thin])
    with limited_threads(threads):
        got = closed_form.ellipse_transform(k_h, k_w, ellipses)
    want = plain_ellipses(k_h, k_w, ellipses)
    # Of the sum of all peaks: where they cancel, their errors do not.
    assert np.abs(got - want).max() < 1e-6 * np.pi * np.abs(np.prod(ellipses[:, [2, 3, 5]], axis=1)).sum()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("n_rows", [16, 17, 90])
def test_ellipses_of_a_strip_equal_the_sum(n_rows, threads):
    """Small ones, whose transform is interpolated between rows, within the accuracy of those that are not."""
    rng = np.random.default_rng(n_rows)
    places = rng.uniform(-0.45, 0.45, (20, 2))
    shapes = rng.uniform(0.002, 0.06, (20, 2))
    small = np.column_stack([places, shapes, rng.uniform(-4, 4, 20), rng.uniform(-1, 1, 20)])
    for spacing, first in ((0.5, 0), (0.5, -n_rows // 2), (-0.37, n_rows // 3)):
        k_h, k_w = (np.arange(n_rows) + first) * spacing, np.arange(-40, 41) * 1.9
        alone, found = strips(k_h, small, 0)
        assert len(alone) < 5  # the subject of this test
        assert sum(len(one.ellipses) for one in found) + len(alone) == 20
        want = plain_ellipses(k_h, k_w, small)
        with limited_threads(threads):
            got = closed_form.ellipse_transform(k_h, k_w, small)
        peaks = np.pi * np.abs(np.prod(small[:, [2, 3, 5]], axis=1))
        assert np.abs(got - want).max() < 5e-7 * peaks.sum()


@pytest.mark.parametrize("threads", [1, 2])
def test_ellipses_of_tiles_and_of_strips_either_way_equal_the_sum(threads):
    """Narrow ones in rows, in columns, in both and in neither, on a grid where all of these are interpolated."""
    rng = np.random.default_rng(8)
    n = 60
    shapes = rng.uniform(0.002, 0.04, (n, 2))
    shapes[:10, 0] = rng.uniform(0.2, 0.3, 10)  # tall
    shapes[10:20, 1] = rng.uniform(0.2, 0.3, 10)  # wide
    shapes[20:23] = 0.4
    many = np.column_stack(
        [rng.uniform(-0.2, 0.2, (n, 2)), shapes, rng.uniform(-0.05, 0.05, n), rng.uniform(-1, 1, n)]
    )
    k_h, k_w = np.arange(0, 101) / 2, np.arange(101, -102, -1) / 2
    alone, flat = strips(k_h, many, 0)
    everywhere, tall = strips(k_w, alone, 1)
    assert 0 < len(everywhere) < len(alone)
    assert tall
    assert any(len(strips(k_w, strip.ellipses, 1)[1]) > 1 for strip in flat)
    with limited_threads(threads):
        got = closed_form.ellipse_transform(k_h, k_w, many)
    peaks = np.pi * np.abs(np.prod(many[:, [2, 3, 5]], axis=1))
    assert np.abs(got - plain_ellipses(k_h, k_w, many)).max() < 5e-7 * peaks.sum()


def test_gaussians_of_all_widths_equal_the_sum():
    """What is left out where a Gaussian's transform is over is not missed."""
    rng = np.random.default_rng(2)
    widths = np.exp(rng.uniform(np.log(0.001), np.log(0.4), (30, 2)))
    many = np.column_stack([rng.uniform(-0.4, 0.4, (30, 2)), widths, rng.normal(size=30)])
    for k_h, k_w in (
        (np.arange(0, 150) / 2, np.arange(140, -141, -1) / 2),
        (np.array([30.0]), np.array([-4.0, 9.0])),
    ):
        want = np.zeros((len(k_h), len(k_w)), complex)
        for center_h, center_w, sigma_h, sigma_w, peak in many:
            square = (sigma_h * k_h[:, None]) ** 2 + (sigma_w * k_w) ** 2
            wave = np.exp(-2j * np.pi * (center_h * k_h[:, None] + center_w * k_w))
            want += 2 * np.pi * sigma_h * sigma_w * peak * np.exp(-2 * np.pi**2 * square) * wave
        peaks = 2 * np.pi * np.abs(np.prod(many[:, 2:], axis=1)).sum()
        assert np.abs(closed_form.gaussian_transform(k_h, k_w, many) - want).max() < 3e-7 * peaks


def test_no_ellipses_are_an_empty_spectrum():
    np.testing.assert_array_equal(closed_form.ellipse_transform(K, K, np.zeros((0, 6))), np.zeros((6, 6)))
    np.testing.assert_array_equal(closed_form.gaussian_transform(K, K, np.zeros((0, 5))), np.zeros((6, 6)))


@pytest.mark.parametrize("shape", [(64, 64), (63, 48), (40, 57)])
def test_conventions_put_a_smooth_object_on_its_pixels(shape):
    """Closed-form k-space at the whole cycles from -(n // 2) is fftc of the sampled object."""
    k_h, k_w = (np.arange(n, dtype=float) - n // 2 for n in shape)
    h, w = (k / n for k, n in zip((k_h, k_w), shape, strict=True))
    center_h, center_w, sigma_h, sigma_w, peak = blob = (h[shape[0] // 3], w[shape[1] // 4], 0.04, 0.05, 1.0)
    across = np.exp(-(((h[:, None] - center_h) / sigma_h) ** 2 + ((w - center_w) / sigma_w) ** 2) / 2)
    kspace = closed_form.gaussian_transform(k_h, k_w, np.array([blob])) * np.sqrt(shape[0] * shape[1])
    np.testing.assert_allclose(ifftc(kspace), peak * across, atol=1e-5)
    assert np.unravel_index(np.abs(ifftc(kspace)).argmax(), shape) == (shape[0] // 3, shape[1] // 4)


def test_weighting_is_multiplication_by_the_map():
    """K-space of map × object, by convolution with the map's coefficients and by quadrature."""
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(2, 5, 5)) + 1j * rng.normal(size=(2, 5, 5))
    half_cycles = np.arange(-10, 11) / 2
    spectrum = closed_form.ellipse_transform(half_cycles, half_cycles, TWO_ELLIPSES)
    spectrum += closed_form.gaussian_transform(half_cycles, half_cycles, TWO_GAUSSIANS)
    got = closed_form.weight(spectrum, maps, (2, 2))
    k = np.arange(-8, 9, 2) / 2
    q = np.arange(-2, 3) / 2
    n = 1500
    waves = np.exp(2j * np.pi * np.outer(midpoints(n), q))
    want = quadrature((waves @ maps @ waves.T) * drawn(TWO_ELLIPSES, TWO_GAUSSIANS, n), k, k)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 3e-4 * np.abs(want).max()


@pytest.mark.parametrize("shape", [(8, 8), (7, 10)])
def test_maps_are_evaluated_at_the_pixels_of_the_house(shape):
    """The wave of half a cycle down and one across, at pixel (i, j) of ((i - h // 2) / h, (j - w // 2) / w)."""
    coefficients = np.zeros((1, 5, 5))
    coefficients[0, 3, 4] = 1
    h, w = ((np.arange(n) - n // 2) / n for n in shape)
    want = np.exp(2j * np.pi * (0.5 * h[:, None] + w))
    np.testing.assert_allclose(closed_form.evaluate_exponentials(coefficients, shape)[0], want, atol=1e-12)


def test_fit_finds_a_smooth_map():
    r = closed_form.fit_positions(28)
    smooth = np.exp(-((r[:, None] - 0.4) ** 2) - 2 * r**2 + 1j * r[:, None] * r)
    fitted = closed_form.evaluate_exponentials(closed_form.fit_exponentials(smooth[None], 7), (20, 20))[0]
    r = (np.arange(20) - 10) / 20
    want = np.exp(-((r[:, None] - 0.4) ** 2) - 2 * r**2 + 1j * r[:, None] * r)
    np.testing.assert_allclose(fitted, want, atol=0.01)


def test_cut_of_a_sheared_ellipsoid():
    """At 0.6 of its height a ball is a disc of 0.8 its radius, moved by the drift; above its top, nothing."""
    ball = np.array([[0.1, -0.2, 0.05, 0.3, 0.2, 0.5, 0.4, 0.1, -0.3, 0.7]])
    blob = np.array([[0.1, 0.2, 0.05, 0.03, 0.04, 0.3, 0.5]])
    anatomy = anatomies.Anatomy(ball, blob, (-1, 1))
    ellipses, gaussians = anatomy.cut(0.35)
    np.testing.assert_allclose(ellipses, [[0.13, -0.29, 0.24, 0.16, 0.4, 0.7]], atol=1e-12)
    np.testing.assert_allclose(gaussians, [[0.1, 0.2, 0.03, 0.04, 0.5 * np.exp(-0.5)]], atol=1e-12)
    assert len(anatomy.cut(0.56)[0]) == 0


@pytest.mark.parametrize("shape", [(48, 48), (45, 40)])
def test_scan_kspace_is_the_integral_of_object_times_stored_maps(shape):
    """The whole chain of `sample_scan` against quadrature: geometry, shading, maps, scale."""
    rng = np.random.default_rng(5)
    anatomy, shade, coils = anatomies.random_head(rng), Shade.draw(rng), LoopCoils.draw(rng, 3)
    cut = CleanSlice.cut(anatomy, shade, coils, 0.1, shape)
    unit = min(shape[0], 1.2 * shape[1])
    n = 1000
    # On the field of view, the head's own square is unit/height by unit/width.
    thing = drawn(*anatomy.cut(0.1), n, (shape[0] / unit, shape[1] / unit))
    q = np.arange(-2, 3) / 2
    waves = np.exp(2j * np.pi * np.outer(midpoints(n), q))
    thing = thing * (waves @ shade.at(0.1)[0] @ waves.T)
    q = np.arange(-3, 4) / 2
    waves = np.exp(2j * np.pi * np.outer(midpoints(n), q))
    rows, columns = np.array([0, 10, shape[0] // 2, shape[0] - 1]), np.array([3, shape[1] // 2, shape[1] - 1])
    for kspace, field in (
        (cut.object_kspace, thing),
        *((cut.kspace[c], thing * (waves @ cut.maps[c] @ waves.T)) for c in range(3)),
    ):
        want = quadrature(field, rows - shape[0] // 2, columns - shape[1] // 2) * np.sqrt(shape[0] * shape[1])
        got = kspace[np.ix_(rows, columns)]
        assert np.abs(got - want).max() < 1e-3 * np.abs(kspace).max()


def test_stored_maps_explain_the_coil_images_away_from_edges():
    """Σ over coils of conj(map) × coil image is the truth × Σ|map|², but for ringing at the edges."""
    scan = sample_scan("shepp-logan", height=256, width=256, n_coils=6, noise=0, seed=2)
    coil_images = ifftc(scan.kspace)
    error = np.abs(coil_images - scan.smaps * scan.truth[:, None])[0]
    flat = np.abs(scan.truth[0]) > 0.1
    for axis, shift in itertools.product((0, 1), (-6, 6)):
        flat &= np.roll(flat, shift, axis)
    assert flat.sum() > 5000
    assert np.median(error[:, flat]) < 1e-3
    power = (np.abs(scan.smaps[0]) ** 2).sum(axis=0)[np.abs(scan.truth[0]) > 0.1]
    assert abs(power.mean() - 1) < 0.02
    assert 0.9 < power.min() < power.max() < 1.1
    smallest, largest = np.abs(scan.smaps[0]).min(axis=(1, 2)), np.abs(scan.smaps[0]).max(axis=(1, 2))
    assert (largest > 3 * smallest).all()  # each coil sees its own side


def test_no_inverse_crime():
    """The same head on a matrix twice as large has the same k-space in its middle, and more around it.

    K-space made by the FFT of an image would wrap that rest into the middle.
    """
    small = sample_scan(height=96, width=80, n_coils=2, noise=0, seed=4)
    large = sample_scan(height=192, width=160, n_coils=2, noise=0, seed=4)
    middle = large.kspace[:, :, 48:144, 40:120] / 2
    np.testing.assert_allclose(small.kspace, middle, atol=1e-5 * np.abs(middle).max())
    outside = np.linalg.norm(large.kspace) ** 2 - np.linalg.norm(2 * middle) ** 2
    assert outside > 1e-3 * np.linalg.norm(large.kspace) ** 2
    wrapped = fftc(large.truth[:, ::2, ::2])
    assert np.linalg.norm(wrapped - fftc(small.truth)) > 0.03 * np.linalg.norm(small.truth)


def test_shepp_logan_is_the_classic_one():
    ellipses, blobs = anatomies.shepp_logan().cut(0.0)
    assert len(blobs) == 0
    thing = drawn(ellipses, (), 200)

    def at(x, y):  # the original's coordinates: x to the right, y up, the square from -1 to 1
        return thing[int((1 - y) * 100), int((1 + x) * 100)]

    for (x, y), value in {
        (0, 0.9): 1.0, (0, 0): 0.2, (0.22, 0): 0.0, (-0.22, 0): 0.0, (0, 0.35): 0.3, (0, -0.1): 0.3,
        (0, -0.605): 0.3, (0.12, 0.29): 0.3, (0.3, 0.26): 0.0, (-0.33, 0.3): 0.0, (-0.12, -0.3): 0.0, (0.9, 0.9): 0.0,
    }.items():  # fmt: skip
        assert at(x, y) == pytest.approx(value, abs=1e-12), (x, y)


def test_noise_has_the_standard_deviation_asked_for():
    clean = sample_scan(height=96, width=96, n_coils=3, noise=0, seed=1)
    noisy = sample_scan(height=96, width=96, n_coils=3, noise=0.02, seed=1)
    for noise in (noisy.kspace - clean.kspace, ifftc(noisy.kspace) - ifftc(clean.kspace)):
        assert noise.real.std() == pytest.approx(0.02, rel=0.03)
        assert noise.imag.std() == pytest.approx(0.02, rel=0.03)
        assert abs(np.vdot(noise.real, noise.imag)) < 0.03 * np.vdot(noise.real, noise.real)
    np.testing.assert_array_equal(noisy.target, clean.target)
    np.testing.assert_array_equal(noisy.truth, clean.truth)


def test_target_is_the_noise_free_rss_and_peaks_about_one():
    for seed in range(6):
        scan = sample_scan(height=128, width=128, n_coils=4, noise=0, seed=seed)
        rss = np.sqrt((np.abs(ifftc(scan.kspace)) ** 2).sum(axis=1))
        np.testing.assert_allclose(scan.target, rss, atol=1e-5)
        assert 0.6 < np.percentile(scan.target, 99.5) < 1.5
        difference = np.linalg.norm(scan.target - np.abs(scan.truth)) / np.linalg.norm(scan.target)
        assert difference < 0.05


def test_seed_says_everything():
    first, again, other = (sample_scan(height=48, width=48, seed=seed) for seed in (7, 7, 8))
    for what in ("kspace", "truth", "target", "smaps"):
        np.testing.assert_array_equal(getattr(first, what), getattr(again, what))
        assert np.abs(getattr(first, what) - getattr(other, what)).max() > 0.05
    more_coils = sample_scan(height=48, width=48, seed=7, n_coils=8, noise=0.1)
    np.testing.assert_array_equal(more_coils.truth, first.truth)


def test_slices_of_one_volume_change_smoothly():
    target = sample_scan(height=96, width=96, n_slices=5, n_coils=1, noise=0, seed=3).target
    norm = np.linalg.norm(target[2])
    steps = [np.linalg.norm(target[2 + d] - target[2]) / norm for d in (1, 2)]
    stranger = sample_scan(height=96, width=96, n_coils=1, noise=0, seed=12).target[0]
    assert 0.02 < steps[0] < steps[1] < np.linalg.norm(stranger - target[2]) / norm


def test_one_coil_is_uniform_and_stored_without_a_coil_axis():
    scan = sample_scan(height=40, width=36, n_coils=1, noise=0)
    assert scan.n_coils_stored == 0
    np.testing.assert_array_equal(scan.smaps, np.ones((1, 1, 40, 36)))
    np.testing.assert_array_equal(ifftc(scan.kspace[:, 0]), scan.truth)
    # The phase is there, and is not a constant.
    bright = np.abs(scan.truth) > 0.3
    assert np.angle(scan.truth[bright] / scan.truth[bright].mean()).std() > 0.05


def test_arrays_are_what_the_house_says():
    scan = sample_scan("shepp-logan", height=35, width=42, n_slices=2, n_coils=3, seed=9)
    assert scan.name == "shepp-logan_0009.h5"
    assert scan.kspace.shape == scan.smaps.shape == (2, 3, 35, 42)
    assert scan.truth.shape == scan.target.shape == (2, 35, 42)
    dtypes = [a.dtype for a in (scan.kspace, scan.smaps, scan.truth, scan.target)]
    assert dtypes == [np.complex64] * 3 + [np.float32]
    assert scan.n_coils_stored == 3
    assert scan.attributes["seed"] == 9
    assert all(isinstance(value, str | int | float) for value in scan.attributes.values())


def test_many_coils_surround_the_head():
    smaps = sample_scan(height=32, width=32, n_coils=17, noise=0).smaps[0]
    correlation = np.abs(np.corrcoef(smaps.reshape(17, -1)))
    assert correlation[~np.eye(17, dtype=bool)].max() < 0.999


def test_random_slice_follows_its_generator():
    kspace, target = random_slice(np.random.default_rng(1), 48, 40, 4, 0.0)
    again, _ = random_slice(np.random.default_rng(1), 48, 40, 4, 0.0)
    np.testing.assert_array_equal(kspace, again)
    np.testing.assert_allclose(target, np.sqrt((np.abs(ifftc(kspace)) ** 2).sum(axis=0)), atol=1e-5)
    rng = np.random.default_rng(1)
    first, second = (random_slice(rng, 48, 40, 1, 0.01)[1] for _ in range(2))
    assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(first)


def test_splits_share_nothing():
    scans = {split: sample_set(split, 4, n_slices=1) for split in SPLITS}
    seen = [(scan.attributes["seed"], scan.name) for split in SPLITS for scan in scans[split]]
    assert len({seed for seed, _ in seen}) == len({name for _, name in seen}) == 12
    kinds = {split: {scan.attributes["kind"] for scan in scans[split]} for split in SPLITS}
    assert kinds == {"train": {"head"}, "val": {"head"}, "test": {"head", "shepp-logan"}}


def test_sample_set_is_mixed_and_indexed_like_a_list():
    scans = sample_set("test", n_slices=1)
    assert len(scans) == 8
    listed = list(scans)
    assert {scan.n_coils for scan in listed} == {1, 4, 8}
    assert len({scan.shape for scan in listed}) >= 3
    assert any(size % 2 for scan in listed for size in scan.shape)
    assert all(0.002 <= scan.attributes["noise"] <= 0.03 for scan in listed)
    np.testing.assert_array_equal(scans[-1].kspace, listed[7].kspace)
    assert [scan.name for scan in scans[2:4]] == [scan.name for scan in listed[2:4]]
    with pytest.raises(IndexError):
        scans[8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "haed"}, "Did you mean 'head'"),
        ({"height": 15}, "height 15"),
        ({"width": 0}, "width 0"),
        ({"n_coils": 0}, "n_coils 0"),
        ({"n_slices": 0}, "n_slices 0"),
        ({"noise": -0.1}, "noise -0.1"),
        ({"noise": float("nan")}, "noise nan"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(SettingsError, match=message):
        sample_scan(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"split": "tset"}, {"n_scans": 0}, {"n_scans": 10**7}, {"n_slices": 0}]
)
def test_sample_sets_that_cannot_be_are_refused(arguments):
    with pytest.raises(SettingsError):
        sample_set(**arguments)
