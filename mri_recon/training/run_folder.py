"""The folder of a training run: what is in it, and whether a run may start or go on there."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mri_recon import __version__
from mri_recon.checkpoint import load_state
from mri_recon.errors import OutputError, SettingsError, WeightsError
from mri_recon.files import atomic_output, make_folder, output_error
from mri_recon.leftovers import clear_leftovers
from mri_recon.training.config import TrainingConfig, to_toml

# What a resumed run may change; anything else would make it another run.
_MAY_CHANGE = {
    "output": {"folder", "tensorboard"},
    "data": {"workers"},
    "training": {"epochs", "max_minutes", "checkpoint_minutes", "clip_norm"},
    "optimizer": {"lr", "betas", "momentum", "alpha", "weight_decay"},
    "schedule": {"kind", "warmup_steps", "drops", "factor"},
}


class RunFolder:
    """Paths in the folder of a run.

    Parameters
    ----------
    path
        The folder; made by `open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.toml"
        self.description = path / "run.json"
        self.metrics = path / "metrics.jsonl"
        self.best = path / "best.safetensors"
        self.last = path / "last.safetensors"
        self.state = path / "resume.pt"
        self.curve = path / "curve.png"
        self.samples = path / "samples"
        self.tensorboard = path / "tensorboard"

    def open(self, config: TrainingConfig, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
        """Make the folder ready, and return the state to resume from.

        Raises
        ------
        OutputError
            It holds a run and neither `resume` nor `overwrite` was asked for, or cannot be written.
        SettingsError
            The run there was made with other settings, or is finished.
        WeightsError
            There is no state to resume from.
        """
        state = None
        try:
            clear_leftovers(self.path.resolve())  # also of a run that has nothing more to do
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or a name that is none
            raise output_error(self.path, error) from error
        if resume:
            state = load_state(self.state)
            self._check_same_run(state, config)
        elif self.has_run() and not overwrite:
            raise OutputError(
                f"{self.path} holds a training run already. Go on with it by --resume, start again in its "
                "place by --overwrite, or choose another folder with -o."
            )
        make_folder(self.path)
        if not resume:
            pictures = self.samples.glob("epoch_*.png")
            logs = self.tensorboard.glob("events.out.tfevents.*")
            for old in (self.best, self.last, self.state, self.metrics, self.curve, *pictures, *logs):
                try:
                    old.unlink(missing_ok=True)
                except OSError as error:
                    raise output_error(old, error) from error
        return state

    def has_run(self) -> bool:
        """Whether anything is there that starting again would lose."""
        return any(path.exists() for path in (self.state, self.best, self.last))

    def describe(
        self, config: TrainingConfig, device: torch.device, scans: Sequence[str], n_processes: int
    ) -> None:
        """Write the resolved configuration, and what the run was made with and validated on."""
        self._write(self.config, to_toml(config))
        description = {
            "mri_recon": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "platform": platform.platform(),
            "device": str(device),
            "processes": n_processes,
            "threads": torch.get_num_threads(),
            "seed": config.training.seed,
            "validation": list(scans),
        }
        self._write(self.description, json.dumps(description, indent=2) + "\n")

    def write_metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write one line an epoch."""
        self._write(self.metrics, "".join(json.dumps(row) + "\n" for row in history))

    @staticmethod
    def _write(path: Path, text: str) -> None:
        with atomic_output(path, overwrite=True) as temporary:
            Path(temporary).write_text(text, encoding="utf-8")

    def _check_same_run(self, state: Mapping[str, Any], config: TrainingConfig) -> None:
        tables, position = state.get("config"), state.get("position")
        sound = isinstance(tables, Mapping) and all(isinstance(table, Mapping) for table in tables.values())
        missing = {"network", "optimizer", "processes"} - set(state)
        if (
            not sound
            or missing
            or not isinstance(position, Mapping)
            or not isinstance(position.get("epoch"), int)
        ):
            raise WeightsError(
                f"{self.state} holds no whole state of a training run. Start again with --overwrite."
            )
        for table, values in config.model_dump(mode="json").items():
            for key, value in values.items():
                before = state["config"].get(table, {}).get(key)
                if before != value and key not in _MAY_CHANGE.get(table, set()):
                    raise SettingsError(
                        f"The run in {self.path} was made with [{table}] {key} = {before!r}, not {value!r}: "
                        f"resume it with its own settings, which mri-recon train -o {self.path} --resume reads, or "
                        "start another run with -o."
                    )
        epochs = config.training.epochs
        if state["position"]["epoch"] >= epochs:
            raise SettingsError(
                f"The run in {self.path} has done all of its {epochs} epochs. Give more by --epochs to go on."
            )
