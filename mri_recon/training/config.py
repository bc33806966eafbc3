"""What a training run is: a TOML file read into frozen settings.

Without a file these defaults are the run: a small U-Net on generated images, a few minutes on a CPU.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from mri_recon.assignments import merged
from mri_recon.catalog import MASKS
from mri_recon.errors import SettingsError, suggestion
from mri_recon.files import one_line
from mri_recon.settings import NetworkSettings, Settings, network_settings, validated
from mri_recon.training.losses import LossName
from mri_recon.training.optimizers import (
    AdamSettings,
    Decay,
    Fraction,
    OptimizerSettings,
    ScheduleSettings,
    optimizer_settings,
)

Share = Annotated[float, Field(ge=0, lt=1)]
Range = tuple[NonNegativeFloat, NonNegativeFloat]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Workers = Annotated[int, Field(ge=0, le=256)]
Size = Annotated[int, Field(ge=1, le=4096)]
Acceleration = Annotated[float, Field(ge=1, le=4096)]
Coils = Annotated[int, Field(ge=1, le=256)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
"""Bounds far beyond sense, so that a slip of a key is an error at once and not a machine without memory."""

_LARGEST_POOL = 2**36


class DataSettings(Settings):
    """Where slices come from, and what is done to each as it is drawn.

    Parameters
    ----------
    folder
        Folder of scans to train on, with `train` and `val` inside or else split by volume; empty for
        generated images.
    generated_share
        With a folder, the part of each epoch's slices that is generated, anew each time.
    validation_fraction
        Part of the volumes held out, where the folder has no `train` and `val`.
    flips
        Flip each slice at random along both axes.
    rotations
        Turn square slices by a quarter at random.
    phase
        Multiply the image by a smooth random phase of up to so many radians.
    noise
        Add noise to k-space, of a standard deviation up to this part of the volume's maximum; the target is left
        as it was.
    intensity
        Change the contrast: raise the image's magnitude to a random power, e to the ± this at most.
    workers
        Processes that read and prepare slices beside the training.
    """

    folder: str = ""
    generated_share: Share = 0.0
    validation_fraction: Fraction = 0.1
    flips: bool = True
    rotations: bool = False
    phase: NonNegativeFloat = 0.0
    noise: NonNegativeFloat = 0.0
    intensity: NonNegativeFloat = 0.0
    workers: Workers = 0


class GeneratedSettings(Settings):
    """The generated images, for a run without a folder of scans.

    Parameters
    ----------
    images
        "heads" of ellipses with noise-free targets, "synthetic" images of many kinds whose targets have the
        noise that a scanner's have, or "mixed", each as often.
    n_slices
        Images an epoch.
    fresh
        Make each epoch's images anew, in the workers, rather than all of them once at the start.
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
    n_slices: Count = 300
    fresh: bool = False
    sizes: tuple[tuple[Size, Size], ...] = ((128, 128),)
    n_coils: tuple[Coils, ...] = (1, 4)
    noise: Range = (0.003, 0.03)
    n_validation_scans: Count = 4

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.sizes or not self.n_coils:
            raise ValueError("at least one of sizes and one of n_coils")
        low, high = self.noise
        if not 0 < low <= high:
            raise ValueError("noise to be [least, most], both above 0")
        largest = max(self.n_coils) * max(height * width for height, width in self.sizes)
        if not self.fresh and 8 * largest * self.n_slices > _LARGEST_POOL:
            raise ValueError("images that fit in memory together; make n_slices smaller, or set fresh = true")
        return self


class MaskSettings(Settings):
    """The sampling masks, drawn anew for every slice of every epoch.

    Parameters
    ----------
    kind
        A kind of mask, or a list of kinds of which each slice draws one.
    accelerations, center_fractions
        Pairs; each slice draws one.
    """

    kind: str | tuple[str, ...] = "random"
    accelerations: tuple[Acceleration, ...] = (4.0,)
    center_fractions: tuple[Fraction, ...] = (0.08,)

    @field_validator("kind", mode="before")
    @classmethod
    def _known(cls, kind: Any) -> Any:
        kinds = kind if isinstance(kind, list | tuple) else [kind]
        for one in kinds or [kind]:
            if not isinstance(one, str) or one not in MASKS:
                raise ValueError(f"a mask or a list of masks ({suggestion(str(one), MASKS)})")
        return kind

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if not self.accelerations or len(self.accelerations) != len(self.center_fractions):
            raise ValueError("as many accelerations as center_fractions (they are pairs), at least one")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds to draw from."""
        return (self.kind,) if isinstance(self.kind, str) else self.kind


class TrainingSettings(Settings):
    """The loop.

    Parameters
    ----------
    batch_size
        Slices a batch; a batch holds slices of one shape.
    accumulate
        Batches a step, in each process: their gradients are averaged over all slices.
    loss
        On images divided by the maximum of the target volume: "l1", "mse", "ssim" (1 − SSIM), "psnr" (−PSNR / 20, which
        counts every slice alike, however noisy), "l1+ssim" or "psnr+ssim".
    ssim_weight
        Weight of the second term of "l1+ssim" and "psnr+ssim".
    clip_norm
        The gradient is scaled down to this norm where it is longer; 0 to leave it.
    ema_decay
        Decay of a running average of the weights, which then is what is validated and saved; 0 for none.
    weights
        Start from the weights in this file rather than from random ones; "shipped" for those that come with mri-recon.
    precision
        "bfloat16" runs convolutions and products of matrices in that type; the weights stay float32.
    compile
        Compile the network with torch.compile, which takes a minute or more at the start.
    max_minutes
        The run is shortened, its schedule with it, so as to end within this time; 0 for no limit. Each
        resumption has the whole of it.
    checkpoint_minutes
        A checkpoint is written this often within an epoch, besides the one at its end.
    """

    epochs: Count = 6
    batch_size: Count = 1
    accumulate: Count = 1
    seed: Seed = 0
    loss: LossName = "l1+ssim"
    ssim_weight: PositiveFloat = 0.1
    clip_norm: NonNegativeFloat = 1.0
    ema_decay: Decay = 0.0
    weights: str = ""
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    max_minutes: NonNegativeFloat = 4.0
    checkpoint_minutes: PositiveFloat = 10.0


class OutputSettings(Settings):
    """The run folder.

    Parameters
    ----------
    tensorboard
        Also log for TensorBoard, in `tensorboard` inside it; needs ``pip install 'mri-recon[tensorboard]'``.
    """

    folder: str = "runs/unet-quick"
    tensorboard: bool = False


class TrainingConfig(Settings):
    """A whole training run; each field is a table of the TOML file."""

    network: SerializeAsAny[NetworkSettings] = network_settings("unet")(name="unet", channels=16, levels=4)  # type: ignore[call-arg]  # fields made when it runs
    data: DataSettings = DataSettings()
    generated: GeneratedSettings = GeneratedSettings()
    masks: MaskSettings = MaskSettings()
    optimizer: SerializeAsAny[OptimizerSettings] = AdamSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    training: TrainingSettings = TrainingSettings()
    output: OutputSettings = OutputSettings()

    @field_validator("network", mode="before")
    @classmethod
    def _of_its_network(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return network_settings(str(value.get("name", "unet"))).model_validate(value)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _of_its_optimizer(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return optimizer_settings(str(value.get("name", "adam"))).model_validate(value)


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with mri-recon, by name: an installation has them inside, a checkout beside it."""
    package = Path(str(resources.files("mri_recon")))
    folders = (package / "configs", package.parent / "configs")
    folder = next((f for f in folders if (f / "varnet.toml").is_file()), folders[0])
    return {p.relative_to(folder).with_suffix("").as_posix(): p for p in sorted(folder.rglob("*.toml"))}


def _config_text(path: Path) -> str:
    """What a file says, or one of that name which comes with mri-recon, as ``varnet`` or ``configs/varnet.toml``."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        name = path.as_posix().removeprefix("configs/").removesuffix(".toml")
        shipped = shipped_configs()
        if name not in shipped:
            raise SettingsError(
                f"There is no configuration file {path}, and none of that name comes with mri-recon. "
                f"{suggestion(name, tuple(shipped))} Check the path; without one a small U-Net is trained."
            ) from error
        return shipped[name].read_text(encoding="utf-8")


def load_config(path: Path | None = None, changes: Mapping[str, Any] | None = None) -> TrainingConfig:
    """Read a TOML file, `changes` (nested as its tables are) replacing what it says.

    A change of the network or optimiser to one of another name drops the settings of the one before.

    Parameters
    ----------
    path
        Where no such file is: the name of a configuration that comes with mri-recon. None for the defaults.

    Raises
    ------
    SettingsError
        No such file, no TOML, or a key that is unknown or out of range.
    """
    values: dict[str, Any] = TrainingConfig().model_dump(mode="json")
    if path is not None:
        try:
            values = tomllib.loads(_config_text(path))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} is not TOML: {error}.") from error
        except (ValueError, RecursionError) as error:  # numbers of thousands of digits, tables within tables
            raise SettingsError(f"{path} is no configuration: {one_line(error)[:200]}.") from error
    changes = dict(changes or {})
    for table, value in values.items():
        if not isinstance(value, Mapping) and isinstance(changes.get(table), Mapping):
            got = f"got {one_line(value)[:100]}"  # what the changes would otherwise replace, unseen
            raise SettingsError(f"{path}: {table}: expected a valid dictionary of settings, {got}.")
    for table, default in (("network", "unet"), ("optimizer", "adam")):
        before, after = values.get(table), changes.get(table)
        if not isinstance(before, Mapping) or not isinstance(after, Mapping):
            continue
        if after.get("name", before.get("name", default)) != before.get("name", default):
            values = {**values, table: {}}
    return validated(TrainingConfig, merged(values, changes), str(path or "Training settings"))


def to_toml(config: TrainingConfig) -> str:
    """Write every setting as TOML that `load_config` reads back."""
    tables = []
    for table, settings in config.model_dump(mode="json").items():
        # Numbers, strings, booleans and lists of them look the same in JSON and in TOML.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
        tables.append("\n".join([f"[{table}]", *lines]))
    return "\n\n".join(tables) + "\n"
