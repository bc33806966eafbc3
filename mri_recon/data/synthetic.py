"""Training images of many kinds: what a network sees that is to work on scans unlike any one model.

A network trained on heads alone takes everything for a head. These images share with scans what matters to
undersampling and little else: edges at all scales, texture with a falling spectrum, an object of finite
extent before an empty background, smooth phase, smooth coils, noise in the reference. Each is drawn on a grid
twice as fine as the reconstruction's and its k-space cropped to the measured band, so the pixels of the
target are those of a finer object seen at a limited resolution, with its ringing; a transform of the target
itself would be the inverse crime.

References
----------
Dead leaves: Lee, Mumford and Huang (2001), Int J Comput Vis 41:35-59; as training images: Baradad et al.
(2021), arXiv:2106.05963. Spectra of natural images: Field (1987), J Opt Soc Am A 4:2379-2394. Heads, bodies
and coils here are shapes of our own, measured on nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mri_recon.errors import SettingsError
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import fftc, ifftc

Image = NDArray[np.float32]

FINER = 2
"""Pixels of the drawing per pixel of the reconstruction, along each axis."""


def synthetic_slice(
    rng: np.random.Generator, height: int, width: int, n_coils: int, noise: float
) -> tuple[NDArray[np.complex64], Image]:
    """One slice of an image of a random kind, for training.

    Parameters
    ----------
    noise
        Standard deviation of the complex Gaussian noise, of its real and imaginary part each, relative to the
        peak of the noise-free root-sum-of-squares image, which is 1; of several coils the root mean square.

    Returns
    -------
    tuple
        Noisy k-space `(coil, height, width)` and its root-sum-of-squares image `(height, width)`: with the
        noise, as the reference that a scanner gives has it.

    Raises
    ------
    SettingsError
        A size under 16, no coil, or negative noise.
    """
    if min(height, width) < 16 or n_coils < 1 or noise < 0:
        raise SettingsError(
            f"A training image of {height}×{width} with {n_coils} coil(s) and noise {noise} cannot be made. "
            "Give a height and width of 16 or more, one coil or more and noise of 0 or more."
        )
    shape = (FINER * height, FINER * width)
    coil_images = drawing(rng, shape) * smooth_phase(rng, shape)
    coil_images = coil_images * Coils.draw(rng, n_coils).at(*grid(shape))
    kspace = band(coil_images, height, width)
    kspace /= rss(ifftc(kspace[None]))[0].max()
    # No two channels of a receiver are equally noisy.
    of_each = np.exp(rng.normal(0, 0.2, n_coils))
    of_each *= noise / np.sqrt(np.mean(of_each**2))
    kspace += of_each[:, None, None].astype(np.float32) * _complex_normal(rng, kspace.shape)
    return kspace, rss(ifftc(kspace[None]))[0].astype(np.float32)


def drawing(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """Magnitude of the object on the fine grid: zero outside the body, peak 1."""
    y, x = grid(shape)
    body = _body(rng, y, x)
    kind = list(KINDS)[rng.integers(len(KINDS))]
    image = np.clip(KINDS[kind](rng, y, x), 0, None) * body
    image /= max(float(image.max()), 1e-6)
    image **= np.float32(rng.uniform(0.6, 1.8))
    if rng.random() < 0.15:  # an object that wraps round the edge of the field of view
        axis = int(rng.integers(2))
        image = np.roll(image, int(rng.integers(shape[axis])), axis)
    return image.astype(np.float32)


def grid(shape: tuple[int, int]) -> tuple[Image, Image]:
    """Positions in fields of view, (height, 1) and (1, width), zero at the middle."""
    y, x = (((np.arange(n) - n // 2) / n).astype(np.float32) for n in shape)
    return y[:, None], x[None, :]


def _body(rng: np.random.Generator, y: Image, x: Image) -> NDArray[np.bool_]:
    """Support of the object: an ellipse, flattened towards a box or waved along its edge."""
    v, u = _local(rng, y, x, center=0.05, radii=rng.uniform(0.28, 0.5, 2))
    power = float(rng.choice([2.0, 2.0, 2.5, 3.5]))  # a numpy scalar would make it all double
    radius = (np.abs(v) ** power + np.abs(u) ** power) ** (1 / power)
    if rng.random() < 0.5:
        angle = np.arctan2(v, u)
        for order in (2, 3, 4, 5):
            radius = radius * (1 + rng.normal(0, 0.08 / order) * np.cos(order * angle + rng.uniform(0, 7)))
    inside: NDArray[np.bool_] = radius < 1
    return inside


def _local(
    rng: np.random.Generator, y: Image, x: Image, *, center: float, radii: NDArray[np.float64]
) -> tuple[Image, Image]:
    """Coordinates of a shape placed at random, turned at random, 1 at its radii."""
    cy, cx = rng.uniform(-center, center, 2)
    angle = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dy, dx = y - np.float32(cy), x - np.float32(cx)
    v, u = (c * dy + s * dx) / np.float32(radii[0]), (c * dx - s * dy) / np.float32(radii[1])
    return v.astype(np.float32, copy=False), u.astype(np.float32, copy=False)


def _fractal_field(rng: np.random.Generator, y: Image, x: Image, exponent: float) -> Image:
    """Gaussian field whose amplitude spectrum falls as 1/f^exponent: mean 0, standard deviation 1."""
    height, width = y.shape[0], x.shape[1]
    ky, kx = np.arange(height) - height // 2, np.arange(width) - width // 2
    power = (ky[:, None] ** 2 + kx[None, :] ** 2).astype(np.float32)
    power[height // 2, width // 2] = 1
    spectrum = _complex_normal(rng, power.shape) * power ** np.float32(-exponent / 2)
    spectrum[height // 2, width // 2] = 0
    field: Image = ifftc(spectrum).real.astype(np.float32)
    return field / max(float(field.std()), 1e-12)


def _dead_leaves(rng: np.random.Generator, y: Image, x: Image) -> Image:
    """Shapes that hide one another, as many large as small ones hide: radii with density ∝ r⁻³."""
    n_leaves = int(rng.integers(40, 250))
    smallest, largest = 0.018, 0.35
    radii = smallest / np.sqrt(1 - rng.random(n_leaves) * (1 - (smallest / largest) ** 2))
    # Large ones first, mostly, or the small would all be hidden.
    radii = radii[np.argsort(-radii * rng.uniform(0.3, 1.0, n_leaves))]
    texture = _fractal_field(rng, y, x, rng.uniform(0.8, 1.8))
    image = np.full((y.shape[0], x.shape[1]), rng.uniform(0, 0.8), np.float32)
    for radius in radii:
        _leaf(rng, image, texture, y, x, float(radius))
    return image


def _leaf(rng: np.random.Generator, image: Image, texture: Image, y: Image, x: Image, radius: float) -> None:
    """Paint one disc, ellipse or polygon into the image, with a flat or textured level and perhaps a rim."""
    cy, cx = rng.uniform(-0.48, 0.48, 2)
    window = []
    for positions, middle in ((y[:, 0], cy), (x[0], cx)):
        low, high = np.searchsorted(positions, (middle - 1.5 * radius, middle + 1.5 * radius))
        window.append(slice(int(low), int(high)))
    part = (window[0], window[1])
    dy, dx = y[window[0]] - np.float32(cy), x[:, window[1]] - np.float32(cx)
    angles = rng.uniform(0, 2 * np.pi, 5).astype(np.float32)
    if rng.random() < 0.35:  # a polygon: where no side's half-plane is left
        distance = (np.cos(angles[0]) * dy + np.sin(angles[0]) * dx) / radius
        for angle in (angles[0] + 2 * np.pi / 5 * np.arange(1, 5) + rng.normal(0, 0.3, 4)).astype(np.float32):
            distance = np.maximum(distance, (np.cos(angle) * dy + np.sin(angle) * dx) / radius)
        distance = distance * rng.uniform(1.0, 1.3)
    else:
        c, s, flat = np.cos(angles[0]), np.sin(angles[0]), rng.uniform(1.0, 3.0)
        distance = np.sqrt((c * dy + s * dx) ** 2 + (flat * (c * dx - s * dy)) ** 2) / radius
    level = rng.uniform(0, 1) + (rng.uniform(0, 0.3) * texture[part] if rng.random() < 0.4 else 0)
    image[part] = np.where(distance < 1, level, image[part])
    if rng.random() < 0.2:
        image[part][(distance < 1) & (distance > rng.uniform(0.75, 0.95))] = rng.uniform(0.5, 1.3)


def _head(rng: np.random.Generator, y: Image, x: Image) -> Image:
    """Bright scalp, dark skull, folded ribbons of cortex around white matter, ventricles: a caricature."""
    v, u = _local(rng, y, x, center=0.03, radii=rng.uniform(0.34, 0.46, 2))
    power = rng.uniform(1.9, 2.6)
    radius = (np.abs(v) ** power + np.abs(u) ** power) ** np.float32(1 / power)
    scalp, skull = rng.uniform(0.88, 0.95), rng.uniform(0.78, 0.86)
    folds = _fractal_field(rng, y, x, rng.uniform(1.3, 2.0))
    wrinkles = _fractal_field(rng, y, x, rng.uniform(0.8, 1.4))
    white, gray, fluid, bone, fat = rng.uniform([0.3, 0.3, 0.0, 0.0, 0.4], [1.0, 1.0, 1.0, 0.2, 1.6])
    ribbon = np.abs(folds) < rng.uniform(0.15, 0.5)
    cortex = ribbon & (radius > rng.uniform(0.2, 0.6))
    sulci = (np.abs(folds) < 0.08) & (radius > 0.4)
    image = np.where(cortex, np.float32(gray), np.float32(white))
    image = np.where(sulci, np.float32(fluid), image)
    for _ in range(int(rng.integers(2, 8))):
        b, a = _local(rng, y, x, center=0.12, radii=rng.uniform(0.015, 0.1, 2))
        inside = b * b + a * a < 1
        image[inside] = rng.choice([fluid, gray, white])
    image *= 1 + np.float32(rng.uniform(0, 0.12)) * wrinkles
    image = np.where(radius > skull, np.float32(bone), image)
    image = np.where(radius > scalp, np.float32(fat) * (1 + np.float32(0.2) * wrinkles), image)
    return np.where(radius < 1, image, np.float32(0)).astype(np.float32)


def _fractal(rng: np.random.Generator, y: Image, x: Image) -> Image:
    """A 1/f field: as it is, cut at levels into labyrinths, or multiplied by speckle."""
    field = _fractal_field(rng, y, x, rng.uniform(0.9, 2.0))
    form = rng.integers(3)
    if form == 0:
        return 1 + np.float32(rng.uniform(0.2, 0.6)) * field
    if form == 1:
        levels = rng.uniform(0, 1, int(rng.integers(2, 6)))
        cuts = np.sort(rng.normal(0, 0.8, len(levels) - 1)).astype(np.float32)
        return levels.astype(np.float32)[np.searchsorted(cuts, field)]
    speckle = np.abs(_fractal_field(rng, y, x, rng.uniform(0.3, 1.0)))
    return (1 + np.float32(0.3) * field) * (1 + np.float32(rng.uniform(0.2, 1)) * speckle)


def _ellipses(rng: np.random.Generator, y: Image, x: Image) -> Image:
    """Overlapping ellipses that add to or multiply what is there, as in phantoms; slow shading."""
    image = np.full((y.shape[0], x.shape[1]), rng.uniform(0.3, 1), np.float32)
    for _ in range(int(rng.integers(3, 25))):
        size = np.exp(rng.uniform(np.log(0.01), np.log(0.25)))
        v, u = _local(rng, y, x, center=0.4, radii=size * rng.uniform(0.5, 1.5, 2))
        inside = v * v + u * u < 1
        if rng.random() < 0.5:
            image[inside] += np.float32(rng.uniform(-0.5, 0.7))
        else:
            image[inside] *= np.float32(rng.uniform(0, 1.6))
    return image * (1 + np.float32(rng.uniform(0, 0.2)) * _fractal_field(rng, y, x, 2.5))


KINDS: dict[str, Callable[[np.random.Generator, Image, Image], Image]] = {
    "dead leaves": _dead_leaves,
    "head": _head,
    "fractal": _fractal,
    "ellipses": _ellipses,
}
"""What is drawn inside the body, each as often: called with the generator and the grid."""


def smooth_phase(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Phase of the object: a polynomial of second degree, a slow random field, and steep places.

    From a few radians across the field of view, as in spin echoes, to tens, as in gradient echoes: those take
    the middle of a part's k-space outside the lines that are sampled densely, and that part goes dark. Air beside
    tissue, as in the sinuses, turns the phase by radians within a few pixels: half of the objects have such places.
    """
    y, x = grid(shape)
    scale = np.exp(rng.uniform(0, np.log(8)))
    a, b, c, d, e = (np.float32(v) for v in scale * rng.normal(0, [1.5, 1.5, 3.0, 3.0, 3.0]))
    angle = a * y + b * x + c * y * y + d * x * x + e * x * y + np.float32(rng.uniform(0, 2 * np.pi))
    angle = angle + np.float32(rng.uniform(0, 0.3) * scale) * _fractal_field(rng, y, x, 3.0)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 6))):
            angle += _steep_place(rng, y, x)
    return _turn(angle)


def _steep_place(rng: np.random.Generator, y: Image, x: Image) -> Image:
    """Phase around a small inclusion of another susceptibility: a dipole's, made smooth inside, or a bump."""
    radius = np.exp(rng.uniform(np.log(0.02), np.log(0.2)))
    strength = np.float32(rng.choice([-1, 1]) * np.exp(rng.uniform(0, np.log(12))))
    v, u = _local(rng, y, x, center=0.45, radii=radius * rng.uniform(0.7, 1.4, 2))
    distance = v * v + u * u
    if rng.random() < 0.5:
        return strength * np.exp(-distance)
    # Along the field twice what it is across it, of the other sign, and falling as the cube of the distance.
    dipole: Image = strength * (2 * v * v - u * u) / ((1 + distance) ** 2 * np.sqrt(1 + distance))
    return dipole


@dataclass(frozen=True)
class Coils:
    """Receivers around the field of view, `draw`n at random; `at` positions they are maps.

    One coil is nearly uniform: 1 with a slope. Of several, each is a place, a reach, a phase ramp and a phase.
    """

    slope: Image | None
    loops: tuple[tuple[float, float, Image, float], ...] = ()
    reach: float = 1.0

    @classmethod
    def draw(cls, rng: np.random.Generator, n_coils: int) -> Coils:
        if n_coils == 1:
            return cls(rng.normal(0, 0.3, 2).astype(np.float32))
        first = rng.uniform(0, 2 * np.pi)
        # Surface coils, or, now and then, a body coil's channels, which see nearly the same.
        reach = rng.uniform(0.3, 0.8) if rng.random() < 0.8 else rng.uniform(0.8, 3.0)
        loops = []
        for coil in range(n_coils):
            angle = first + 2 * np.pi * coil / n_coils + rng.normal(0, 0.2)
            cy, cx = rng.uniform(0.5, 0.75) * np.array([np.sin(angle), np.cos(angle)])
            loops.append((cy, cx, rng.normal(0, 2, 2).astype(np.float32), rng.uniform(0, 7)))
        return cls(None, tuple(loops), reach)

    def at(self, y: Image, x: Image) -> NDArray[np.complex64]:
        """Maps `(coil, height, width)` at positions (height, 1) and (1, width), in fields of view."""
        if self.slope is not None:
            uniform: Image = 1 + self.slope[0] * y + self.slope[1] * x
            return uniform.astype(np.complex64)[None]
        maps = np.empty((len(self.loops), y.shape[0], x.shape[1]), np.complex64)
        for coil, (cy, cx, ramp, phase) in enumerate(self.loops):
            distance = ((y - np.float32(cy)) ** 2 + (x - np.float32(cx)) ** 2) / np.float32(self.reach**2)
            # Near a loop the field is even, far from it it falls as the cube of the distance.
            maps[coil] = _turn(ramp[0] * y) * _turn(ramp[1] * x + np.float32(phase))
            maps[coil] *= 1 / ((1 + distance) * np.sqrt(1 + distance))
        return maps


def _turn(angle: Image) -> NDArray[np.complex64]:
    """exp(i angle)."""
    turned: NDArray[np.complex64] = np.empty(angle.shape, np.complex64)
    turned.real, turned.imag = np.cos(angle), np.sin(angle)
    return turned


def band(images: NDArray[np.complex64], height: int, width: int) -> NDArray[np.complex64]:
    """K-space of fine images, centred, cropped to the central `(height, width)` frequencies."""
    # What the first transform finds beyond the band is dropped before the second.
    fine_height, fine_width = images.shape[-2:]
    left, top = fine_width // 2 - width // 2, fine_height // 2 - height // 2
    kspace = fftc(images, axes=(-1,))[..., left : left + width]
    return np.ascontiguousarray(fftc(kspace, axes=(-2,))[..., top : top + height, :])


def resolved(
    images: NDArray[np.complex64], shape: tuple[int, int], oversampling: int
) -> NDArray[np.complex64]:
    """K-space `shape` of finer images, of the same brightness, over `oversampling` times their field of view."""
    height, width = images.shape[-2:]
    if oversampling > 1:
        rows = oversampling * height
        padded = np.zeros((len(images), rows, width), np.complex64)
        top = rows // 2 - height // 2
        padded[:, top : top + height] = images
        images = padded
    kspace = band(images, *shape)
    kspace *= np.float32(np.sqrt(shape[0] * shape[1] / (images.shape[-2] * images.shape[-1])))
    return kspace


def _complex_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Real and imaginary part each of standard deviation 1."""
    drawn = rng.standard_normal((*shape, 2), dtype=np.float32)
    normal: NDArray[np.complex64] = drawn.view(np.complex64)[..., 0]
    return normal
