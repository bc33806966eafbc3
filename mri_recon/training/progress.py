"""What a training run tells while it runs and when it ends, and how it is stopped."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from mri_recon.metrics import Metrics


@dataclass(frozen=True)
class Progress:
    """Where a run is; handed to the `progress` callback after every image, step and epoch.

    Parameters
    ----------
    stage
        "data" while images are generated (`done` of `total` are images), "step" after a training step,
        "epoch" after an epoch's validation (`done` of `total` are steps of the whole run).
    loss
        Mean over the epoch so far.
    validation, zero_filled
        Mean scores over the validation volumes: the network's latest, and the zero-filled images'.
    seconds_left
        Estimate for the whole run.
    """

    stage: Literal["data", "step", "epoch"]
    done: int
    total: int
    epoch: int = 0
    n_epochs: int = 0
    loss: float | None = None
    validation: Metrics | None = None
    zero_filled: Metrics | None = None
    seconds_left: float | None = None


STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
"""What ends a run with a checkpoint; Windows has no SIGUSR1."""

_STEPS_TO_JUDGE_BY = 10  # the first ones are slower than those to come

Callback = Callable[[Progress], None]


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Parameters
    ----------
    weights
        The best network by validation SSIM.
    validation, zero_filled
        Mean scores over the validation volumes, of that network and of the zero-filled images.
    epochs
        Epochs done; `shortened` where the time limit made them fewer than asked for.
    """

    folder: Path
    weights: Path
    validation: Metrics
    zero_filled: Metrics
    epochs: int
    shortened: bool
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {"folder": str(self.folder), "weights": str(self.weights)}


class Clock:
    """Times the steps of a run, validation included, from the step at which it is made."""

    def __init__(self, first_step: int) -> None:
        self.first_step, self.started = first_step, time.monotonic()

    def per_step(self, step: int) -> float:
        """Mean seconds a step, `step` steps being done."""
        return (time.monotonic() - self.started) / max(step - self.first_step, 1)

    def affordable(self, step: int, n_steps: int, deadline: float) -> int:
        """Of `n_steps` those that can be done by the deadline, `step` steps being done."""
        if deadline == math.inf or step - self.first_step < _STEPS_TO_JUDGE_BY:
            return n_steps
        return min(n_steps, step + max(int((deadline - time.monotonic()) / self.per_step(step)), 0))


class Stop:
    """Remembers that the run was asked to stop, until it comes to a place where it can."""

    def __init__(self) -> None:
        self.requested = False
        self.at_once = False

    def check(self) -> None:
        """Stop here if asked to."""
        if self.requested:
            raise KeyboardInterrupt

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; at the second one stop wherever the program is."""
        if self.requested:
            self.at_once = True
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_at_signals() -> Iterator[Stop]:
    """Within, Ctrl-C, SIGTERM and SIGUSR1 (Slurm's warning) are noted and acted upon by `Stop.check`."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can receive signals
        return
    before = {number: signal.signal(number, stop.handle) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
