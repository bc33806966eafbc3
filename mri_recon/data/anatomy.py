"""What is in the scanner: heads made of ellipsoids, cut into slices of ellipses.

The unit of length is the side of the square the head is drawn in, origin at its middle; height points to
the back of the head, width to its left, z along the axis of the slices. Intensities add where shapes
overlap, so a tissue inside another is given as the difference of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Scalp, outer and inner skull, marrow, fluid, grey and white matter, lesion: relative signal intensities.
_CONTRASTS = {
    "T1": {"fat": 0.92, "bone": 0.06, "marrow": 0.45, "csf": 0.14, "gm": 0.48, "wm": 0.68, "lesion": 0.30},
    "T2": {"fat": 0.62, "bone": 0.05, "marrow": 0.30, "csf": 0.95, "gm": 0.56, "wm": 0.40, "lesion": 0.85},
    "PD": {"fat": 0.72, "bone": 0.07, "marrow": 0.40, "csf": 0.82, "gm": 0.74, "wm": 0.58, "lesion": 0.92},
    "FLAIR": {"fat": 0.75, "bone": 0.05, "marrow": 0.35, "csf": 0.12, "gm": 0.62, "wm": 0.50, "lesion": 0.95},
}


@dataclass(frozen=True)
class Anatomy:
    """Ellipsoids and Gaussian blobs.

    Parameters
    ----------
    ellipsoids
        One row each: center height, width, z; semi-axes 1, 2, z; angle about z (radians, turning semi-axis
        1 from height towards width); drift of the center in height and in width per unit of z (a sheared
        ellipsoid); intensity.
    blobs
        One row each: center height, width, z; standard deviations along height, width, z; peak.
    z_range
        The slices worth looking at.
    """

    ellipsoids: Floats
    blobs: Floats
    z_range: tuple[float, float]

    def cut(self, z: float) -> tuple[Floats, Floats]:
        """Ellipses and Gaussians of the slice at `z`, rows as `mri_recon.data.ellipses` takes them."""
        height, width, z_0, semi_1, semi_2, semi_z, angle, drift_h, drift_w, intensity = self.ellipsoids.T
        shrink = np.sqrt(np.clip(1 - ((z - z_0) / semi_z) ** 2, 0, None))
        height, width = height + drift_h * (z - z_0), width + drift_w * (z - z_0)
        ellipses = np.stack([height, width, shrink * semi_1, shrink * semi_2, angle, intensity], axis=1)
        weight = self.blobs[:, 6] * np.exp(-(((z - self.blobs[:, 2]) / self.blobs[:, 5]) ** 2) / 2)
        blobs = np.column_stack([self.blobs[:, :2], self.blobs[:, 3:5], weight])
        return ellipses[shrink > 0], blobs[np.abs(weight) > 1e-5]


def shepp_logan() -> Anatomy:
    """The Shepp-Logan phantom at Toft's contrast; the slice at z = 0 is the classic one [1]_ [2]_.

    Third semi-axes are ours, so that it has slices.

    References
    ----------
    .. [1] Shepp & Logan (1974), IEEE Trans Nucl Sci 21:21-43.
    .. [2] Toft (1996), The Radon Transform, PhD thesis, Technical University of Denmark, p. 201.
    """
    # Intensity, semi-axis across, semi-axis down, center right, center up, degrees anticlockwise, z.
    classic = np.array([
        [1.0, 0.69, 0.92, 0.0, 0.0, 0.0, 0.90],
        [-0.8, 0.6624, 0.8740, 0.0, -0.0184, 0.0, 0.86],
        [-0.2, 0.1100, 0.3100, 0.22, 0.0, -18.0, 0.30],
        [-0.2, 0.1600, 0.4100, -0.22, 0.0, 18.0, 0.36],
        [0.1, 0.2100, 0.2500, 0.0, 0.35, 0.0, 0.41],
        [0.1, 0.0460, 0.0460, 0.0, 0.1, 0.0, 0.20],
        [0.1, 0.0460, 0.0460, 0.0, -0.1, 0.0, 0.20],
        [0.1, 0.0460, 0.0230, -0.08, -0.605, 0.0, 0.15],
        [0.1, 0.0230, 0.0230, 0.0, -0.606, 0.0, 0.12],
        [0.1, 0.0230, 0.0460, 0.06, -0.605, 0.0, 0.15],
    ])  # fmt: skip
    intensity, across, down, right, up, degrees, semi_z = classic.T
    zero = np.zeros(len(classic))
    # The original square is two units wide, its height points up.
    ellipsoids = np.stack(
        [
            -up / 2,
            right / 2,
            zero,
            down / 2,
            across / 2,
            semi_z / 2,
            np.deg2rad(degrees),
            zero,
            zero,
            intensity,
        ],
        axis=1,
    )
    return Anatomy(ellipsoids, np.zeros((0, 7)), (-0.1, 0.1))


def random_head(rng: np.random.Generator) -> Anatomy:
    """A head no other draw gives: scalp, skull, folded cortex, ventricles, nuclei, lesions, vessels."""
    return _Head(rng).anatomy()


class _Head:
    """Draws one head, part after part, in a frame where it is upright and centred."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        name = list(_CONTRASTS)[rng.integers(len(_CONTRASTS))]
        self.tissue = {key: value * rng.uniform(0.9, 1.08) for key, value in _CONTRASTS[name].items()}
        self.rows: list[list[float]] = []
        height, depth = rng.uniform(0.41, 0.455), rng.uniform(0.42, 0.50)
        self.head = np.array([height, height * rng.uniform(0.75, 0.84), depth])
        self.scalp = rng.uniform(0.018, 0.032)
        self.skull = rng.uniform(0.020, 0.032)
        self.brain = self.head - self.scalp - self.skull - rng.uniform(0.006, 0.012)

    def anatomy(self) -> Anatomy:
        self._shells()
        self._fissures()
        self._cortex()
        self._nuclei()
        self._ventricles()
        self._lesions_and_vessels()
        self._scalp_patches()
        return self._tilted(np.array(self.rows), self._texture())

    def _add(
        self,
        intensity: float,
        center: tuple[float, float, float],
        semi_axes: tuple[float, float, float],
        angle: float = 0.0,
        drift: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.rows.append([*center, *semi_axes, angle, *drift, intensity])

    def _pair(
        self,
        intensity: float,
        center: tuple[float, float, float],
        semi_axes: tuple[float, float, float],
        angle: float,
    ) -> None:
        """The same on both sides, but for the difference there always is."""
        for side in (-1, 1):
            h, w, z = np.array(center) + self.rng.normal(0, 0.003, 3)
            a, b, c = np.array(semi_axes) * self.rng.uniform(0.9, 1.1, 3)
            self._add(intensity, (h, side * w, z), (a, b, c), side * (angle + self.rng.normal(0, 0.05)))

    def _step(self, inner: str, outer: str) -> float:
        return self.tissue[inner] - self.tissue[outer]

    def _shells(self) -> None:
        """Scalp, skull with marrow between its tables, fluid, grey matter, white matter."""
        outside = self.head
        self._add(self.tissue["fat"], (0, 0, 0), tuple(outside))
        for inner, outer, depth in (
            ("bone", "fat", self.scalp),
            ("marrow", "bone", self.scalp + 0.35 * self.skull),
            ("bone", "marrow", self.scalp + 0.65 * self.skull),
            ("csf", "bone", self.scalp + self.skull),
        ):
            self._add(self._step(inner, outer), (0, 0, 0), tuple(outside - depth))
        self._add(self._step("gm", "csf"), (0, 0, 0), tuple(self.brain))
        self._add(self._step("wm", "gm"), (0, 0, 0), tuple(self.brain * [0.78, 0.75, 0.80]))

    def _fissures(self) -> None:
        """Between the hemispheres, front and back, and at their sides: cortex with fluid inside."""
        h, w, z = self.brain
        for end, length in ((-1, 0.30), (1, 0.26)):
            cortex = (end * h * (0.79 - length), 0.0, 0.05)
            self._add(self._step("gm", "wm"), cortex, (h * length, self.rng.uniform(0.016, 0.022), 0.8 * z))
            center = (end * h * (0.985 - length), self.rng.normal(0, 0.002), 0.05)
            self._add(
                0.9 * self._step("csf", "gm"), center, (h * length, self.rng.uniform(0.004, 0.008), 0.8 * z)
            )
        lateral = (self.rng.uniform(-0.05, 0.0), 0.80 * w, self.rng.uniform(-0.05, 0.03))
        self._pair(self._step("gm", "wm"), (lateral[0], 0.62 * w, lateral[2]), (0.018, 0.13 * w, 0.14), 0.3)
        self._pair(0.8 * self._step("csf", "gm"), lateral, (0.005, 0.16 * w, 0.14), 0.3)

    def _cortex(self) -> None:
        """Sulci cut inwards from the surface of the brain, gyri of white matter between them."""
        # Rings of folds that hardly overlap in z: where two overlapped, their intensities would add.
        for z in np.arange(-0.3, 0.35, 0.1):
            n = int(self.rng.integers(24, 32))
            angle = 2 * np.pi * (np.arange(n) + self.rng.uniform(-0.2, 0.2, n) + self.rng.uniform()) / n
            semi = self.rng.uniform([[0.018], [0.003]], [[0.042], [0.0065]], (2, n))
            step = self.rng.uniform(0.5, 0.9, n) * self._step("csf", "gm")
            self._radial(step, angle, z, np.full(n, 0.995), semi)
            gyrus = angle + np.pi / n * self.rng.uniform(0.8, 1.2, n)
            semi = self.rng.uniform([[0.022], [0.007]], [[0.040], [0.014]], (2, n))
            step = np.full(n, 0.85 * self._step("wm", "gm"))
            self._radial(step, gyrus, z, self.rng.uniform(0.90, 0.95, n), semi)

    def _radial(self, intensity: Floats, angle: Floats, z_ring: float, tip: Floats, semi: Floats) -> None:
        """Ellipsoids across the brain's surface, their outer ends at `tip` of the brain's radius."""
        n, reach = len(angle), 0.8 * self.brain[2]
        z = np.clip(z_ring + self.rng.uniform(-0.03, 0.03, n), -reach, reach)
        scale = np.sqrt(1 - (z / self.brain[2]) ** 2)
        surface = self.brain[:2, None] * [np.cos(angle), np.sin(angle)]
        normal = surface / self.brain[:2, None] ** 2
        normal /= np.linalg.norm(normal, axis=0)
        center = scale * tip * surface - semi[0] * normal
        # They lean with the surface, which closes in towards the top of the head.
        drift = -z / (self.brain[2] ** 2 * scale) * surface
        lean = np.arctan2(normal[1], normal[0]) + self.rng.normal(0, 0.2, n)
        semi_z = self.rng.uniform(0.05, 0.075, n)
        self.rows += np.stack([*center, z, *semi, semi_z, lean, *drift, intensity], axis=1).tolist()

    def _nuclei(self) -> None:
        step = 0.85 * self._step("gm", "wm")
        self._pair(step, (0.035, 0.036, 0.0), (0.045, 0.026, 0.09), -0.3)
        self._pair(step, (-0.015, 0.098, 0.0), (0.060, 0.020, 0.09), -0.22)
        self._pair(0.6 * step, (-0.005, 0.072, 0.0), (0.030, 0.010, 0.06), -0.35)

    def _ventricles(self) -> None:
        step = self._step("csf", "wm")
        size = self.rng.uniform(0.7, 1.4)
        self._pair(step, (-0.075, 0.032, 0.06), (0.055, 0.014 * size, 0.10), 0.30)
        self._pair(step, (0.085, 0.052, 0.07), (0.060, 0.013 * size, 0.09), 0.42)
        self._add(step, (0.03, 0.0, -0.02), (0.040, 0.005 * size, 0.07))

    def _lesions_and_vessels(self) -> None:
        for _ in range(self.rng.poisson(14)):
            angle, radius = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.35, 0.75)
            z = self.rng.uniform(-0.15, 0.3)
            scale = radius * np.sqrt(1 - (z / self.brain[2]) ** 2)
            center = (scale * self.brain[0] * np.cos(angle), scale * self.brain[1] * np.sin(angle), z)
            semi = self.rng.uniform(0.004, 0.015) * self.rng.uniform(0.6, 1.4, 2)
            step = self.rng.uniform(0.5, 1.0) * self._step("lesion", "wm")
            self._add(step, center, (*semi, self.rng.uniform(0.02, 0.05)), self.rng.uniform(0, np.pi))
        for _ in range(24):
            size = self.rng.uniform(0.0025, 0.0055)
            angle, z = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(-0.2, 0.3)
            radius = 0.85 * np.sqrt(self.rng.uniform(0.05, 1)) * np.sqrt(1 - (z / self.brain[2]) ** 2)
            center = (radius * self.brain[0] * np.cos(angle), radius * self.brain[1] * np.sin(angle), z)
            drift = (self.rng.normal(0, 0.25), self.rng.normal(0, 0.25))
            step = self.rng.choice([-0.8 * min(self.tissue["wm"], self.tissue["gm"]), 0.3])
            self._add(step, center, (size, size, self.rng.uniform(0.08, 0.15)), 0.0, drift)

    def _scalp_patches(self) -> None:
        """Muscle and vessels within the scalp, along it."""
        for _ in range(24):
            angle, z = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(-0.2, 0.3)
            around = np.array([np.cos(angle), np.sin(angle)])
            middle = self.head - self.scalp / 2
            scale = np.sqrt(1 - (z / middle[2]) ** 2)
            drift = -z / (middle[2] ** 2 * scale) * middle[:2] * around
            tangent = np.arctan2(self.head[1] * np.cos(angle), -self.head[0] * np.sin(angle))
            semi = (self.rng.uniform(0.008, 0.030), self.scalp * self.rng.uniform(0.1, 0.22))
            step = -self.rng.uniform(0.3, 0.8) * self.tissue["fat"]
            self._add(step, (*(scale * middle[:2] * around), z), (*semi, 0.06), tangent, tuple(drift))

    def _texture(self) -> Floats:
        """Slow variation and fine grain within the brain, as Gaussians; they add up to a few per cent."""
        n = 260
        radius = 0.86 * np.sqrt(self.rng.uniform(0, 1, n))
        angle = self.rng.uniform(0, 2 * np.pi, n)
        z = self.rng.uniform(-0.6, 0.8, n) * self.brain[2]
        radius *= np.sqrt(1 - (z / self.brain[2]) ** 2)
        sigma = np.exp(self.rng.uniform(np.log(0.005), np.log(0.03), (n, 2)))
        peak = self.rng.normal(0, 0.04, n)
        return np.column_stack([
            radius * self.brain[0] * np.cos(angle), radius * self.brain[1] * np.sin(angle), z,
            sigma, self.rng.uniform(0.03, 0.08, n), peak,
        ])  # fmt: skip

    def _tilted(self, ellipsoids: Floats, blobs: Floats) -> Anatomy:
        """Turn the head a little about z and move it, as heads lie."""
        turn, offset = self.rng.normal(0, 0.07), self.rng.normal(0, 0.006, 2)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        ellipsoids, blobs = ellipsoids.copy(), blobs.copy()
        ellipsoids[:, :2] = ellipsoids[:, :2] @ rotation.T + offset
        ellipsoids[:, 6] += turn
        ellipsoids[:, 7:9] = ellipsoids[:, 7:9] @ rotation.T
        blobs[:, :2] = blobs[:, :2] @ rotation.T + offset
        return Anatomy(ellipsoids, blobs, (-0.08, 0.26))
