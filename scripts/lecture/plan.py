"""What is compared: studies read from TOML, and the training runs they consist of."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import Field

from mri_recon.assignments import merged
from mri_recon.data.simulate import Simulation
from mri_recon.errors import SettingsError
from mri_recon.settings import Settings, validated
from mri_recon.training.config import TrainingConfig, load_config

STUDIES = ("optimizers", "norms")
"""Files in the folder of configurations, in the order of docs/lecture.md."""


class Panel(Settings):
    """Runs that are compared with one another, and what they have in common beyond the whole study."""

    name: str
    changes: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Arm(Settings):
    """One of the things compared, with the learning rates at which it is tried."""

    name: str
    rates: tuple[float, ...]
    changes: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Study(Settings):
    """Every arm in every panel, at every rate, with every seed.

    `reference` names the arm that the others are held against.
    """

    title: str
    reference: str
    seeds: tuple[int, ...]
    panels: tuple[Panel, ...]
    arms: tuple[Arm, ...]


class Data(Settings):
    """Scans to simulate, and how many to train and to validate on."""

    train: int
    val: int
    simulation: dict[str, Any]

    def settings(self) -> Simulation:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.simulation.items()}
        try:
            return Simulation(**values)
        except TypeError as error:
            raise SettingsError(
                f"[simulation] in data.toml: {error}. Take its settings from Simulation."
            ) from error


@dataclass(frozen=True)
class Run:
    """One training run and where it stands in a study."""

    study: str
    panel: str
    arm: str
    rate: float
    seed: int
    config: TrainingConfig
    data: Data

    @property
    def key(self) -> str:
        """The same for the same training, in whichever study and folder: results are kept by it."""
        settings = self.config.model_dump(mode="json", exclude={"output": True, "data": {"folder"}})
        text = json.dumps([settings, self.data.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.study}, {self.panel}, {self.arm}, rate {self.rate:g}, seed {self.seed}"


def load_study(folder: Path, name: str) -> Study:
    """A study by the name of its file."""
    study = validated(Study, _toml(folder / f"{name}.toml"), f"{name}.toml")
    names = [arm.name for arm in study.arms]
    if study.reference not in names:
        raise SettingsError(
            f"{name}.toml: the reference '{study.reference}' is none of the arms, {', '.join(names)}."
        )
    return study


def load_data(folder: Path) -> Data:
    """What is trained and validated on."""
    return validated(Data, _toml(folder / "data.toml"), "data.toml")


def runs(folder: Path, name: str, seeds: Sequence[int] | None = None) -> Iterator[Run]:
    """The runs of a study, all of one seed before any of the next: stopped early, it lacks the last seeds alone."""
    study, data = load_study(folder, name), load_data(folder)
    for seed, panel, arm in product(seeds or study.seeds, study.panels, study.arms):
        for rate in arm.rates:
            changes = merged(merged(panel.changes, arm.changes), {"optimizer": {"lr": rate}})
            changes = merged(changes, {"training": {"seed": seed}})
            config = load_config(folder / "training.toml", changes)
            yield Run(name, panel.name, arm.name, rate, seed, config, data)


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read: {error.strerror}. Give the folder of the studies."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from error
