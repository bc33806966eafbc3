"""A running average of the weights, steadier than the weights themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_copy(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of the network whose `update_parameters` moves it towards the weights by 1 − decay [1]_.

    After n updates the decay is at most (1 + n) / (10 + n), so that the random weights of the start are soon
    forgotten.

    References
    ----------
    .. [1] Polyak and Juditsky (1992), Acceleration of stochastic approximation by averaging, SIAM J Control
       Optim 30:838-855; exponential as Tarvainen and Valpola (2017), arXiv:1703.01780.
    """

    @torch.no_grad()
    def towards(averages: Sequence[Tensor], values: Sequence[Tensor], n_updates: Any) -> None:
        if not averages[0].is_floating_point():  # counters of batch normalisation
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
            return
        n = float(n_updates)
        torch._foreach_lerp_(list(averages), list(values), 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(network, multi_avg_fn=towards, use_buffers=True)
