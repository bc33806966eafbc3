"""What a training run is: a TOML file read into frozen settings.

Without a file these defaults are the run: a small U-Net on generated images, a few minutes on a CPU.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from mri_recon.assignments import merged
from mri_recon.catalog import MASKS
from mri_recon.errors import SettingsError, suggestion
from mri_recon.settings import NetworkSettings, Settings, network_settings, validated

Fraction = Annotated[float, Field(gt=0, lt=1)]
Range = tuple[NonNegativeFloat, NonNegativeFloat]


class DataSettings(Settings):
    """Where slices come from, and what is done to each as it is drawn.

    Parameters
    ----------
    folder
        Folder of scans to train on, with `train` and `val` inside or else split by volume; empty for
        generated images.
    validation_fraction
        Part of the volumes held out, where the folder has no `train` and `val`.
    flips
        Flip each slice at random along both axes.
    workers
        Processes that read and prepare slices beside the training.
    """

    folder: str = ""
    validation_fraction: Fraction = 0.1
    flips: bool = True
    workers: NonNegativeInt = 0


class GeneratedSettings(Settings):
    """The generated images, for a run without a folder of scans.

    Parameters
    ----------
    images
        "heads" of ellipses with noise-free targets, "synthetic" images of many kinds whose targets have the
        noise that a scanner's have, or "mixed", each as often.
    n_slices
        Images made at the start; an epoch goes once through them.
    sizes
        Heights and widths, each image drawing one.
    n_coils
        Numbers of coils, each image drawing one.
    noise
        Least and most standard deviation of the noise, relative to the peak of the image; log-uniform
        between them.
    n_validation_scans
        Scans of the built-in sample set's validation split that each epoch is validated on.
    """

    images: Literal["heads", "synthetic", "mixed"] = "heads"
    n_slices: PositiveInt = 300
    sizes: tuple[tuple[PositiveInt, PositiveInt], ...] = ((128, 128),)
    n_coils: tuple[PositiveInt, ...] = (1, 4)
    noise: Range = (0.003, 0.03)
    n_validation_scans: PositiveInt = 4

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.sizes or not self.n_coils:
            raise ValueError("at least one of sizes and one of n_coils")
        low, high = self.noise
        if not 0 < low <= high:
            raise ValueError("noise to be [least, most], both above 0")
        return self


class MaskSettings(Settings):
    """The sampling masks, drawn anew for every slice of every epoch.

    Parameters
    ----------
    accelerations, center_fractions
        Pairs; each slice draws one.
    """

    kind: str = "random"
    accelerations: tuple[PositiveFloat, ...] = (4.0,)
    center_fractions: tuple[Fraction, ...] = (0.08,)

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in MASKS:
            raise ValueError(f"a mask ({suggestion(kind, MASKS)})")
        return kind

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if not self.accelerations or len(self.accelerations) != len(self.center_fractions):
            raise ValueError("as many accelerations as center_fractions (they are pairs), at least one")
        return self


class OptimizerSettings(Settings):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980)."""

    lr: PositiveFloat = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)


class ScheduleSettings(Settings):
    """The learning rate over the steps.

    Parameters
    ----------
    kind
        "constant", or "cosine": down to zero along half a cosine.
    warmup_steps
        Steps over which it first rises from zero.
    """

    kind: Literal["constant", "cosine"] = "cosine"
    warmup_steps: NonNegativeInt = 20


class TrainingSettings(Settings):
    """The loop.

    Parameters
    ----------
    loss
        On images divided by the maximum of the target volume: "l1", "ssim" (1 − SSIM) or "l1+ssim".
    ssim_weight
        Weight of the second term of "l1+ssim".
    clip_norm
        The gradient is scaled down to this norm where it is longer.
    max_minutes
        The run is shortened, its schedule with it, so as to end within this time; 0 for no limit. Each
        resumption has the whole of it.
    checkpoint_minutes
        A checkpoint is written this often within an epoch, besides the one at its end.
    """

    epochs: PositiveInt = 6
    batch_size: PositiveInt = 1
    seed: NonNegativeInt = 0
    loss: Literal["l1", "ssim", "l1+ssim"] = "l1+ssim"
    ssim_weight: PositiveFloat = 0.1
    clip_norm: PositiveFloat = 1.0
    max_minutes: NonNegativeFloat = 4.0
    checkpoint_minutes: PositiveFloat = 10.0


class OutputSettings(Settings):
    """The run folder."""

    folder: str = "runs/unet-quick"


class TrainingConfig(Settings):
    """A whole training run; each field is a table of the TOML file."""

    network: SerializeAsAny[NetworkSettings] = network_settings("unet")(name="unet", channels=16, levels=4)  # type: ignore[call-arg]  # fields made when it runs
    data: DataSettings = DataSettings()
    generated: GeneratedSettings = GeneratedSettings()
    masks: MaskSettings = MaskSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    training: TrainingSettings = TrainingSettings()
    output: OutputSettings = OutputSettings()

    @field_validator("network", mode="before")
    @classmethod
    def _of_its_network(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return network_settings(str(value.get("name", "unet"))).model_validate(value)


def load_config(path: Path | None = None, changes: Mapping[str, Any] | None = None) -> TrainingConfig:
    """Read a TOML file, `changes` (nested as its tables are) replacing what it says.

    Parameters
    ----------
    path
        None for the defaults.

    Raises
    ------
    SettingsError
        No such file, no TOML, or a key that is unknown or out of range.
    """
    values: dict[str, Any] = TrainingConfig().model_dump(mode="json")
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SettingsError(f"There is no configuration file {path}.") from error
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not TOML: {error}.") from error
    return validated(TrainingConfig, merged(values, changes or {}), str(path or "Training settings"))


def to_toml(config: TrainingConfig) -> str:
    """Write every setting as TOML that `load_config` reads back."""
    tables = []
    for table, settings in config.model_dump(mode="json").items():
        # Numbers, strings, booleans and lists of them look the same in JSON and in TOML.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
        tables.append("\n".join([f"[{table}]", *lines]))
    return "\n\n".join(tables) + "\n"
