"""Proximal operators: prox(x, step) = argmin_z step·g(z) + ½‖z − x‖²."""

from __future__ import annotations

from typing import Any

from mri_recon.solvers.arrays import array_namespace

Array = Any


def soft_threshold(x: Array, step: float) -> Array:
    """Prox of the complex ℓ1 norm: shrink every magnitude by `step`, down to zero."""
    xp = array_namespace(x)
    return _shrink(x, xp.abs(x), step)


def joint_soft_threshold(x: Array, step: float) -> Array:
    """Prox of the sum of magnitudes taken jointly over the first axis (the ℓ2,1 norm, isotropic TV's)."""
    xp = array_namespace(x)
    magnitude = xp.sqrt(xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2, axis=0, keepdims=True))
    return _shrink(x, magnitude, step)


def _shrink(x: Array, magnitude: Array, step: float) -> Array:
    xp = array_namespace(x)
    # Where the magnitude is below the step the factor is zero, so the clip only keeps 0/0 out.
    return x * (1 - step / xp.clip(magnitude, min=step)) if step > 0 else x
