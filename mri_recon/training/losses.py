"""Losses on magnitude images, each relative to the data range, so that the unit of k-space is irrelevant."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

WINDOW = 7
K1, K2 = 0.01, 0.03
EXACT = 1e-10
"""A squared error below which (100 dB) an image is right, and its logarithm has no slope."""

LossName = Literal["l1", "mse", "ssim", "l1+ssim", "psnr", "psnr+ssim"]


def loss(name: LossName, image: Tensor, target: Tensor, data_range: Tensor, ssim_weight: float) -> Tensor:
    """Mean loss of a batch.

    Parameters
    ----------
    image, target
        `(slice, height, width)`, real.
    data_range
        `(slice,)`: the maximum of the target volume that each slice is of.
    ssim_weight
        Weight of 1 − SSIM in "l1+ssim" and "psnr+ssim".
    """
    if name == "l1":
        return l1(image, target, data_range)
    if name == "mse":
        return mse(image, target, data_range)
    if name == "psnr":
        return log_error(image, target, data_range)
    dissimilarity = 1 - ssim(image, target, data_range)
    if name == "ssim":
        return dissimilarity
    first = log_error if name == "psnr+ssim" else l1
    return first(image, target, data_range) + ssim_weight * dissimilarity


def l1(image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
    """Mean absolute error, relative to the data range."""
    return F.l1_loss(image / data_range[:, None, None], target / data_range[:, None, None])


def mse(image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
    """Mean squared error, relative to the square of the data range."""
    return F.mse_loss(image / data_range[:, None, None], target / data_range[:, None, None])


def log_error(image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
    """−PSNR / 20, its mean over slices: each counts alike, where `mse` is mostly that of the worst."""
    error = (image - target).square().mean((1, 2)) / data_range.square()
    return error.clamp(min=EXACT).log10().mean() / 2


def ssim(image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
    """Mean structural similarity [1]_ as scikit-image's default computes it, differentiable.

    A uniform 7×7 window, sample covariances, and no pixel whose window leaves the image.

    References
    ----------
    .. [1] Wang et al. (2004), Image quality assessment: from error visibility to structural similarity,
       IEEE TIP 13:600-612.
    """
    x = (image / data_range[:, None, None])[:, None]
    y = (target / data_range[:, None, None])[:, None]
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    var_x = unbiased * (_window_mean(x * x) - mean_x * mean_x)
    var_y = unbiased * (_window_mean(y * y) - mean_y * mean_y)
    covariance = unbiased * (_window_mean(x * y) - mean_x * mean_y)
    c1, c2 = K1**2, K2**2  # the data range is 1 by now
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2))
    return similarity.mean()


def _window_mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, WINDOW, stride=1)
