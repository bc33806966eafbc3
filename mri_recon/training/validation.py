"""Scores of a network on held-out volumes, by the definitions of `mri_recon.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mri_recon.data.scan import Scan
from mri_recon.metrics import Metrics, score
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.training.config import MaskSettings
from mri_recon.training.data import validation_slice
from mri_recon.training.progress import Stop

Reconstruction = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def zero_filled(kspace: Tensor, mask: Tensor, smaps: Tensor | None = None) -> Tensor:
    """RSS of what was acquired: the figure to beat, with a network's signature."""
    return rss(ifftc(kspace * mask))  # type: ignore[no-any-return]  # arrays are untyped


def validate(
    network: Reconstruction, scans: Sequence[Scan], masks: MaskSettings, device: torch.device, stop: Stop
) -> Metrics:
    """Mean scores over volumes, each with the mask that its file name seeds."""
    scores = []
    needs_smaps = getattr(network, "needs_smaps", False)
    for scan in scans:
        images, targets = [], []
        for index in range(scan.n_slices):
            stop.check()
            kspace, mask, smaps, target = validation_slice(scan, index, masks, smaps=needs_smaps)
            smaps = None if smaps is None else smaps.to(device)
            with torch.inference_mode():
                image = network(kspace.to(device), mask.to(device), smaps)
            images.append(center_crop(image, target.shape[-2:]).float().cpu().numpy())
            targets.append(target)
        scores.append(score(np.concatenate(targets), np.concatenate(images)))
    return Metrics(*(float(np.mean([getattr(s, name) for s in scores])) for name in ("nmse", "psnr", "ssim")))
