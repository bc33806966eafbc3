"""Train a network, from the command line or from Python.

    mri-recon train                                    # small U-Net, generated images, minutes on a CPU
    mri-recon train configs/unet.toml --data scans/    # 32 channels, on scans of one's own
    mri-recon train -o runs/unet --resume              # go on where a run was stopped

The run folder holds `config.toml` (as resolved), `run.json` (versions, seed, device), `metrics.jsonl` (a line
an epoch), `best.safetensors` (by validation SSIM), `last.safetensors` and `resume.pt`. On a CPU a resumed run
ends with the very weights of one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mri_recon.assignments import merged
from mri_recon.checkpoint import WeightsInfo, save_state, save_weights
from mri_recon.device import resolve_device
from mri_recon.errors import SettingsError
from mri_recon.metrics import Metrics
from mri_recon.physics.geometry import center_crop
from mri_recon.settings import validated
from mri_recon.training.config import ScheduleSettings, TrainingConfig
from mri_recon.training.data import batches, loader, open_data
from mri_recon.training.losses import loss as loss_of
from mri_recon.training.progress import Callback, Clock, Progress, TrainingResult, stop_at_signals
from mri_recon.training.run_folder import RunFolder
from mri_recon.training.validation import validate, zero_filled


@dataclass
class _Position:
    """Where a run stands, besides its tensors: epochs done, and steps done of the next one."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    lr: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    config: TrainingConfig | None = None,
    *,
    data: Path | str | None = None,
    output: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    progress: Callback | None = None,
) -> TrainingResult:
    """Train a network.

    Parameters
    ----------
    config
        By default a small U-Net on generated images.
    data, output
        Folder of scans and run folder, in place of the configuration's.
    resume
        Go on with the run in the output folder.
    overwrite
        Start again where the output folder holds a run.
    device
        "auto", "cpu", "cuda" or "mps".

    Raises
    ------
    SettingsError
        Settings that cannot work, or a loss that is no longer a number.
    ScanError
        Data that cannot be trained on.
    OutputError
        The run folder holds a run already, or cannot be written.
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, after a checkpoint was written.
    """
    started = time.monotonic()
    config = _with_folders(config or TrainingConfig(), data, output)
    options, show = config.training, progress or (lambda _: None)
    # A twentieth of the time is kept for the last validation and for writing.
    deadline = started + 0.95 * 60 * options.max_minutes if options.max_minutes else math.inf
    place = torch.device(resolve_device(device, learned=True))
    folder = RunFolder(Path(config.output.folder))
    state = folder.open(config, resume=resume, overwrite=overwrite)

    with _seeded(options.seed, place), stop_at_signals() as stop:
        network: nn.Module = config.network.build().to(place, memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(
            network.parameters(), lr=config.optimizer.lr, betas=config.optimizer.betas
        )
        at = _Position()
        if state is not None:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            at = _Position(**state["position"])

        def generated(done: int) -> None:
            show(Progress("data", done, config.generated.n_slices))
            stop.check()

        slices, scans = open_data(config, generated, smaps=bool(network.needs_smaps))
        folder.describe(config, place, [scan.name for scan in scans])
        to_beat = validate(zero_filled, scans, config.masks, place, stop)
        scores: Metrics | None = None

        def epoch_batches(epoch: int) -> list[list[tuple[int, int]]]:
            return batches(slices.source.shapes, options.batch_size, options.seed, epoch)

        n_batches = len(epoch_batches(0))
        n_steps = options.epochs * n_batches
        stream = loader(slices, _from(at, options.epochs, epoch_batches), config.data.workers)
        if state is not None:
            _set_rng_state(state["rng"], place)  # last, because making the network has drawn from it

        def checkpoint() -> None:
            resolved = config.model_dump(mode="json")
            info = WeightsInfo(config.network, resolved, at.history[-1] if at.history else {})
            save_weights(folder.last, network, info)
            tensors = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            save_state(
                folder.state,
                {"config": resolved, "position": asdict(at), "rng": _rng_state(place), **tensors},
            )

        def report(stage: Literal["step", "epoch"], epoch: int, mean_loss: float) -> None:
            done, n_epochs = at.epoch * n_batches + at.step, -(-n_steps // n_batches)
            left = clock.per_step(done) * max(n_steps - done, 0)
            show(Progress(stage, done, n_steps, epoch, n_epochs, mean_loss, scores, to_beat, left))

        clock = Clock(at.epoch * n_batches + at.step)
        saved_at, shortened = time.monotonic(), False
        try:
            while at.epoch < options.epochs and not shortened:
                network.train()
                while at.step < n_batches and not shortened:
                    done = at.epoch * n_batches + at.step
                    # Where time is short the learning rate falls sooner: better than being cut off.
                    n_steps = clock.affordable(done, options.epochs * n_batches, deadline)
                    at.lr = learning_rate(config.schedule, config.optimizer.lr, done, n_steps)
                    for group in optimizer.param_groups:
                        group["lr"] = at.lr

                    batch = next(stream).to(place)
                    image = center_crop(network(batch.kspace, batch.mask, batch.smaps), batch.image_shape)
                    loss = loss_of(options.loss, image, batch.target, batch.data_range, options.ssim_weight)
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    norm = nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm)
                    _check_finite(loss.item(), norm.item(), at, batch.names)
                    optimizer.step()
                    at.step, at.loss_sum = at.step + 1, at.loss_sum + loss.item()

                    report("step", at.epoch + 1, at.loss_sum / at.step)
                    stop.check()
                    shortened = n_steps <= done + 1 < options.epochs * n_batches
                    if time.monotonic() - saved_at > 60 * options.checkpoint_minutes:
                        checkpoint()
                        saved_at = time.monotonic()

                scores = validate(network.eval(), scans, config.masks, place, stop)
                row = {"epoch": at.epoch + 1, "loss": at.loss_sum / at.step, "lr": at.lr, **scores.as_dict()}
                at.history.append(row | {f"zero_filled_{k}": v for k, v in to_beat.as_dict().items()})
                at.epoch, at.step, at.loss_sum = at.epoch + 1, 0, 0.0
                if scores.ssim >= max(earlier["ssim"] for earlier in at.history):
                    info = WeightsInfo(config.network, config.model_dump(mode="json"), at.history[-1])
                    save_weights(folder.best, network, info)
                folder.write_metrics(at.history)
                checkpoint()

                saved_at = time.monotonic()
                report("epoch", at.epoch, row["loss"])
        except KeyboardInterrupt:
            # Raised by `stop.check` or by `progress`, between steps; at a second signal, anywhere.
            if not stop.at_once:
                checkpoint()
            raise

    best = max(at.history, key=lambda row: row["ssim"])
    return TrainingResult(
        folder=folder.path,
        weights=folder.best,
        validation=Metrics(best["nmse"], best["psnr"], best["ssim"]),
        zero_filled=to_beat,
        epochs=at.epoch,
        shortened=shortened,
        seconds=time.monotonic() - started,
    )


def learning_rate(schedule: ScheduleSettings, highest: float, step: int, n_steps: int) -> float:
    """Learning rate of a step counted from 0."""
    rate = highest * min(1.0, (step + 1) / (schedule.warmup_steps + 1))
    if schedule.kind == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, step / n_steps)))
    return rate


def _with_folders(
    config: TrainingConfig, data: Path | str | None, output: Path | str | None
) -> TrainingConfig:
    changes: dict[str, Any] = {}
    if data is not None:
        changes["data"] = {"folder": str(data)}
    if output is not None:
        changes["output"] = {"folder": str(output)}
    return validated(TrainingConfig, merged(config.model_dump(mode="json"), changes), "Training settings")


def _from(
    at: _Position, n_epochs: int, epoch_batches: Callable[[int], list[list[tuple[int, int]]]]
) -> Iterator[list[tuple[int, int]]]:
    """Batches from a position to the end of the run."""
    first, skip = at.epoch, at.step
    for epoch in range(first, n_epochs):
        yield from epoch_batches(epoch)[skip if epoch == first else 0 :]


def _check_finite(loss: float, gradient_norm: float, at: _Position, names: tuple[str, ...]) -> None:
    if math.isfinite(loss) and math.isfinite(gradient_norm):
        return
    raise SettingsError(
        f"The loss became {loss:g} (gradient norm {gradient_norm:g}) at epoch {at.epoch + 1}, "
        f"batch {at.step + 1}: {', '.join(names)}. Look at those slices, or lower optimizer.lr, {at.lr:.3g} "
        "there; checkpoints from before are sound."
    )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what torch draws (weights, dropout) within, and leave the outside as it was."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def _rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_rng_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
