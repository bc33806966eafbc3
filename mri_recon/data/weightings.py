"""What lies over generated objects: their own phase and shading, and the maps of coils around them.

Smooth functions, drawn at random and fitted by sums of complex exponentials: under these, k-space in closed form stays
in closed form (`mri_recon.data.ellipses`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mri_recon.data.ellipses import (
    Complexes,
    Floats,
    evaluate_exponentials,
    fit_exponentials,
    fit_positions,
)

N_SHADE = 5
"""Exponentials per axis of the object's own phase and shading: up to ±1 cycle per field of view."""

N_COIL = 7
"""Of a coil map: up to ±1.5."""

_FIT_SAMPLES = 28


@dataclass(frozen=True)
class Shade:
    """Smooth phase and shading of the object: ``(1 + shading) exp(i phase)``, polynomials in r and z."""

    shading: Floats
    phase: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shade:
        # One coefficient each for 1, h, w, h², hw, w², z; r runs over one field of view.
        return cls(
            shading=rng.normal(0, [0.0, 0.12, 0.12, 0.15, 0.15, 0.15, 0.1]),
            phase=rng.normal(0, [2.0, 1.5, 1.5, 2.0, 2.0, 2.0, 1.0]),
        )

    def at(self, z: float) -> Complexes:
        r = fit_positions(_FIT_SAMPLES)
        h, w = r[:, None], r[None, :]
        terms = np.stack([np.broadcast_to(t, (len(r), len(r))) for t in (1.0, h, w, h * h, h * w, w * w, z)])
        shading, phase = (np.tensordot(c, terms, axes=1) for c in (self.shading, self.phase))
        return fit_exponentials(((1 + shading) * np.exp(1j * phase))[None], N_SHADE)


@dataclass(frozen=True)
class LoopCoils:
    """Circular loops around the field of view, facing its middle."""

    centers: Floats
    radii: Floats
    phases: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, n_coils: int) -> LoopCoils:
        # Rings of eight at most, one above the other.
        n_rings = -(-n_coils // 8)
        ring, place = np.divmod(np.arange(n_coils), -(-n_coils // n_rings))
        angle = 2 * np.pi * (place + 0.5 * ring + rng.uniform()) * n_rings / max(n_coils, 1)
        angle = angle + rng.normal(0, 0.08, n_coils)
        distance = rng.uniform(0.78, 0.92, n_coils)
        z = 0.3 * (ring - (n_rings - 1) / 2) + rng.normal(0, 0.04, n_coils)
        return cls(
            centers=np.stack([distance * np.cos(angle), distance * np.sin(angle), z], axis=1),
            radii=rng.uniform(0.25, 0.4, n_coils),
            phases=rng.uniform(0, 2 * np.pi, n_coils),
        )

    def at(self, z: float) -> Complexes:
        """Coefficients of the maps in the slice at `z`, `(coil, n, n)`."""
        n_coils = len(self.centers)
        if n_coils == 1:
            uniform = np.zeros((1, N_COIL, N_COIL), dtype=np.complex128)
            uniform[:, N_COIL // 2, N_COIL // 2] = 1
            return uniform
        fields = self._biot_savart(z)
        # Only what is fitted is divided pixel by pixel; the maps are the fit, and that stays a closed form.
        fields /= np.sqrt((np.abs(fields) ** 2).sum(axis=0))
        maps = fit_exponentials(fields, N_COIL)
        r = fit_positions(_FIT_SAMPLES)
        inside = np.hypot(r[:, None], r[None, :]) < 0.45
        fitted = evaluate_exponentials(maps, (_FIT_SAMPLES, _FIT_SAMPLES))
        return np.asarray(maps / np.sqrt((np.abs(fitted) ** 2).sum(axis=0)[inside].mean()))

    def _biot_savart(self, z: float) -> Complexes:
        """Transverse field Bh - i Bw of a unit current in each loop, `(coil, m, m)`."""
        r = fit_positions(_FIT_SAMPLES)
        outward = self.centers * [1, 1, 0]
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        along = np.stack([-outward[:, 1], outward[:, 0], np.zeros(len(outward))], axis=1)
        field_h, field_w = np.zeros((2, len(outward), len(r), len(r)))
        for turn in 2 * np.pi * np.arange(16) / 16:
            wire = np.cos(turn) * along + np.sin(turn) * np.array([0, 0, 1])
            current = -np.sin(turn) * along + np.cos(turn) * np.array([0, 0, 1])
            source = self.centers + self.radii[:, None] * wire
            away_h = r[None, :, None] - source[:, 0, None, None]
            away_w = r[None, None, :] - source[:, 1, None, None]
            away_z = z - source[:, 2, None, None]
            square = away_h**2 + away_w**2 + away_z**2
            fall = 1 / (square * np.sqrt(square))
            d_h, d_w, d_z = (self.radii * current.T)[:, :, None, None]
            field_h += (d_w * away_z - d_z * away_w) * fall
            field_w += (d_z * away_h - d_h * away_z) * fall
        return np.asarray((field_h - 1j * field_w) * np.exp(1j * self.phases)[:, None, None])
