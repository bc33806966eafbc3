"""Optimisers and learning-rate schedules, by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn

from mri_recon.errors import SettingsError, suggestion
from mri_recon.settings import Settings

Fraction = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSettings(Settings):
    """Which optimiser, and its learning rate; each optimiser adds its own settings."""

    name: str
    lr: PositiveFloat

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser."""
        values = self.model_dump(exclude={"name"})
        if self.name in FUSED:
            values["fused"] = True  # one pass over the weights instead of a dozen
        optimizer: torch.optim.Optimizer = CLASSES[self.name](parameters, **values)
        return optimizer


class AdamSettings(OptimizerSettings):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)


class AdamWSettings(OptimizerSettings):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    name: Literal["adamw"] = "adamw"
    lr: PositiveFloat = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.01


class SGDSettings(OptimizerSettings):
    """Gradient descent with heavy-ball momentum (Polyak 1964; Sutskever et al. 2013, ICML)."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.1
    momentum: Decay = 0.9
    weight_decay: NonNegativeFloat = 0.0


class RMSpropSettings(OptimizerSettings):
    """Gradients over a running root mean square of theirs (Tieleman and Hinton 2012); fastMRI's choice."""

    name: Literal["rmsprop"] = "rmsprop"
    lr: PositiveFloat = 1e-3
    alpha: Decay = 0.99
    momentum: Decay = 0.0
    weight_decay: NonNegativeFloat = 0.0


OPTIMIZERS: Mapping[str, type[OptimizerSettings]] = {
    "adam": AdamSettings,
    "adamw": AdamWSettings,
    "sgd": SGDSettings,
    "rmsprop": RMSpropSettings,
}
"""Settings by the optimiser's name."""

CLASSES: Mapping[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
FUSED = ("adam", "adamw", "sgd")


def optimizer_settings(name: str) -> type[OptimizerSettings]:
    """Settings class of the optimiser of that name.

    Raises
    ------
    SettingsError
        There is no optimiser of that name.
    """
    if name not in OPTIMIZERS:
        raise SettingsError(f"There is no optimizer '{name}'. {suggestion(name, OPTIMIZERS)}")
    return OPTIMIZERS[name]


class ScheduleSettings(Settings):
    """The learning rate over the steps.

    Parameters
    ----------
    kind
        "constant"; "step": multiplied by `factor` at each of `drops`; or "cosine": down to zero along half a
        cosine.
    warmup_steps
        Steps over which it first rises from zero.
    drops
        Where "step" falls, as fractions of the run: fastMRI's, at epoch 40 of 50, is 0.8.
    factor
        What "step" multiplies by.
    """

    kind: Literal["constant", "step", "cosine"] = "cosine"
    warmup_steps: NonNegativeInt = 20
    drops: tuple[Fraction, ...] = (0.8,)
    factor: Fraction = 0.1


def learning_rate(schedule: ScheduleSettings, highest: float, step: int, n_steps: int) -> float:
    """Learning rate of a step counted from 0."""
    rate = highest * min(1.0, (step + 1) / (schedule.warmup_steps + 1))
    if schedule.kind == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / n_steps)))
    if schedule.kind == "step":
        rate *= schedule.factor ** sum(step >= drop * n_steps for drop in schedule.drops)
    return rate
