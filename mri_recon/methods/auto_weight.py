"""The weight of a regularisation chosen from the data alone: by how well lines left out are foretold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mri_recon.device import to_numpy
from mri_recon.methods.base import Convergence, Report
from mri_recon.physics.coils import expand
from mri_recon.physics.fourier import Array, fftc, ifftc
from mri_recon.physics.masks import Columns, center_run
from mri_recon.solvers.arrays import array_namespace
from mri_recon.solvers.arrays import device as device_of
from mri_recon.solvers.threads import in_order, n_threads

Solve = Callable[[float, Array, Array, Array | None], Array]
"""``solve(weight, kspace, mask, smaps) -> image``: the method at that weight; tens of iterations are enough."""

TRIAL_ITERATIONS = 30
"""Iterations of a trial: twice as many change the choice little."""

PARTS = 3
"""Parts that the lines outside the centre are dealt into; each is left out once."""

FEWEST_LINES = 3
"""With fewer lines outside the centre there is nothing to go by."""

ROWS = 64
"""Rows of the image that are looked at, where most energy is: they tell as much as all."""

STEP = 2.2
"""Factor from one weight tried to the next; a parabola through the best three does the rest."""

REACH = 4
"""Steps that the weight may lie below or above the usual one."""

CAUTION = 0.04
"""What a weight that differs by a factor e from the usual one must gain, as a part of the squared error.

Where the lines left out hardly tell one weight from another, following them would be following noise.
"""


def automatic_weight(
    kspace: Array, mask: Array, smaps: Array | None, solve: Solve, *, usual: float = 0.005
) -> float:
    r"""Choose a regularisation weight by cross-validation over acquired lines [1]_ [2]_.

    The acquired lines outside the centre are dealt into three parts. Each is left out in turn, the slice is
    reconstructed from the rest, and how far the lines left out are missed is how far lines never acquired are:
    nothing is assumed about noise, aliasing or the quality of the coil maps. The weight λ minimises

    .. math::
        \log\Bigl(E_\text{kept}(\lambda) + \tfrac{n_\text{missing}}{n_\text{left out}}
        E_\text{left out}(\lambda)\Bigr) + c \log^2(\lambda / \lambda_\text{usual}),

    the squared error in k-space over all columns, with a small pull, `CAUTION`, towards the usual weight. The
    search walks downhill from there over a geometric grid; three or four weights are tried as a rule.

    Parameters
    ----------
    kspace, smaps
        One slice, `(1, coil, height, width)`, as methods are given it; one coil has no maps.
    mask
        `(1, 1, 1, width)` bool, True where acquired.
    solve
        The method to choose for. It is called with fewer rows and fewer lines than `kspace` has.
    usual
        The weight to start from. It is the answer where there is nothing to go by: an empty slice, every
        column acquired, or fewer than three lines outside the centre.

    Returns
    -------
    float
        Between 1/23 and 23 times the usual weight; the same whenever the data are the same.

    References
    ----------
    .. [1] Stone (1974), Cross-validatory choice and assessment of statistical predictions, J R Stat Soc B
       36:111-147.
    .. [2] Yaman et al. (2020), Self-supervised learning of physics-guided reconstruction neural networks
       without fully sampled reference data, Magn Reson Med 84:3172-3191.
    """
    columns = to_numpy(mask)[0, 0, 0, :] != 0
    parts = _parts(columns)
    # The readout is sampled whole, so rows of the image can be taken out before anything is reconstructed.
    hybrid = ifftc(kspace, axes=(-2,))
    rows = _brightest_rows(hybrid)
    if not parts or rows is None:
        return usual
    hybrid = hybrid[:, :, rows, :]
    smaps = None if smaps is None else smaps[:, :, rows, :]
    missing_a_line = float((~columns).sum()) / sum(int(part.sum()) for part in parts)

    def criterion(step: int) -> float:
        weight = usual * STEP**step
        total = 0.0
        at_once = min(len(parts), n_threads()) if isinstance(hybrid, np.ndarray) else 1
        missed = in_order(lambda part: _errors(weight, hybrid, columns & ~part, smaps, solve), parts, at_once)
        for part, errors in zip(parts, missed, strict=True):
            total += errors[columns & ~part].sum() / len(parts) + errors[part].sum() * missing_a_line
        return math.log(max(total, np.finfo(np.float64).tiny)) + CAUTION * math.log(weight / usual) ** 2

    return float(usual * STEP ** _downhill(criterion, REACH))


def each_with_its_weight(
    method: Any, key: str, kspace: Array, mask: Array, smaps: Array | None, report: Report | None
) -> Array:
    """Reconstruct each slice by the method with its setting `key` chosen by `automatic_weight`; shapes as there."""

    def solve(weight: float, kspace: Array, mask: Array, smaps: Array | None) -> Array:
        trial = replace(method, **{key: weight, "iterations": min(method.iterations, TRIAL_ITERATIONS)})
        return trial(kspace, mask, smaps)

    images = []
    for s in range(kspace.shape[0]):
        one = kspace[s : s + 1, ...]
        maps = None if smaps is None else smaps[s : s + 1, ...]
        weight = automatic_weight(one, mask, maps, solve)

        def tell(end: Convergence, weight: float = weight) -> None:
            if report is not None:
                report(replace(end, weight=weight))

        images.append(replace(method, **{key: weight})(one, mask, maps, tell))
    return array_namespace(kspace).concat(images)


def _parts(columns: Columns) -> list[Columns]:
    """The lines outside the centre dealt out in turn, so that each part has some near the centre and some far."""
    start, stop = center_run(columns)
    outside = np.flatnonzero(columns)
    outside = outside[(outside < start) | (outside >= stop)]
    if len(outside) < FEWEST_LINES:
        return []
    parts = [np.zeros_like(columns) for _ in range(min(PARTS, len(outside)))]
    for turn, part in enumerate(parts):
        part[outside[turn::PARTS]] = True
    return parts


def _brightest_rows(hybrid: Array) -> slice | None:
    """The `ROWS` neighbouring rows of the image that hold most energy; None where there is none at all."""
    energy = to_numpy(_energy(hybrid, axis=(0, 1, 3))).astype(np.float64)
    if not energy.any():
        return None
    n_rows = min(ROWS, energy.size)
    before = np.concatenate([[0.0], np.cumsum(energy)])
    top = int(np.argmax(before[n_rows:] - before[:-n_rows]))
    return slice(top, top + n_rows)


def _errors(
    weight: float, hybrid: Array, kept: Columns, smaps: Array | None, solve: Solve
) -> NDArray[np.float64]:
    """Squared error of each column, `(width,)`, of the image reconstructed from the columns kept."""
    xp = array_namespace(hybrid)
    mask = xp.asarray(kept.reshape(1, 1, 1, -1), device=device_of(hybrid))
    image = solve(weight, fftc(hybrid, axes=(-2,)) * mask, mask, smaps)
    coil_images = image[:, None, ...] if smaps is None else expand(image, smaps)
    return to_numpy(_energy(fftc(coil_images, axes=(-1,)) - hybrid, axis=(0, 1, 2))).astype(np.float64)


def _energy(x: Array, axis: tuple[int, ...]) -> Array:
    xp = array_namespace(x)
    return xp.sum(xp.real(x) ** 2 + xp.imag(x) ** 2, axis=axis)


def _downhill(function: Callable[[int], float], reach: int) -> float:
    """Where a function of whole numbers, followed downhill from 0, is least: refined by a parabola."""
    values: dict[int, float] = {}

    def value(at: int) -> float:
        if at not in values:
            values[at] = function(at)
        return values[at]

    at, direction = 0, 1 if value(1) < value(0) else -1
    while abs(at + direction) <= reach and value(at + direction) < value(at):
        at += direction
    if abs(at) == reach:
        return at
    before, here, after = value(at - 1), value(at), value(at + 1)
    bend = before - 2 * here + after
    return at + (before - after) / (2 * bend) if bend > 0 else at
