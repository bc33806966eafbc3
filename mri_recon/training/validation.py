"""Scores of a network on held-out volumes, by the definitions of `mri_recon.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_recon.data.scan import Scan
from mri_recon.metrics import Metrics, score
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.training.config import MaskSettings
from mri_recon.training.data import validation_slice
from mri_recon.training.distributed import Processes

Reconstruction = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Example(NamedTuple):
    """One slice to look at, each `(height, width)`."""

    zero_filled: NDArray[np.float32]
    image: NDArray[np.float32]
    target: NDArray[np.float32]


def zero_filled(kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
    """RSS of what was acquired: the figure to beat, with a network's signature."""
    return rss(ifftc(kspace * mask))  # type: ignore[no-any-return]  # arrays are untyped


def validate(
    network: Reconstruction,
    scans: Sequence[Scan],
    masks: MaskSettings,
    device: torch.device,
    check: Callable[[], None],
    processes: Processes,
) -> tuple[Metrics, Example | None]:
    """Mean scores over volumes, each with the mask that its file name seeds; the processes share the volumes.

    Parameters
    ----------
    check
        Called before each slice; what it raises ends the validation.

    Returns
    -------
    tuple
        The scores, and one slice to look at in the first process.
    """
    needs_smaps = bool(getattr(network, "needs_smaps", False))
    scores: list[Metrics] = []
    example = None
    for scan in scans[processes.rank :: processes.world]:
        images, targets = [], []
        for index in range(scan.n_slices):
            check()
            kspace, mask, smaps, target = validation_slice(scan, index, masks, smaps=needs_smaps)
            kspace, mask = kspace.to(device), mask.to(device)
            smaps = None if smaps is None else smaps.to(device)
            with torch.inference_mode():
                images.append(_cropped(network(kspace, mask, smaps), target))
            targets.append(target)
            if example is None and index == scan.n_slices // 2:
                example = Example(_cropped(zero_filled(kspace, mask), target)[0], images[-1][0], target[0])
        scores.append(score(np.concatenate(targets), np.concatenate(images)))
    scores = [of_one for of_process in processes.gather(scores) for of_one in of_process]
    mean = Metrics(*(float(np.mean([getattr(s, name) for s in scores])) for name in ("nmse", "psnr", "ssim")))
    return mean, example


def _cropped(image: Tensor, target: NDArray[np.float32]) -> NDArray[np.float32]:
    cropped: NDArray[np.float32] = center_crop(image, target.shape[-2:]).float().cpu().numpy()
    return cropped
