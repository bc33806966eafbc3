"""Train a network, from the command line or from Python.

    mri-recon train                                    # small U-Net, generated images, minutes on a CPU
    mri-recon train configs/unet.toml --data scans/    # 32 channels, on scans of one's own
    mri-recon train -o runs/unet --resume              # go on where a run was stopped
    torchrun --nproc-per-node 4 -m mri_recon train configs/unet.toml --data scans/   # four GPUs

The run folder holds `config.toml` (as resolved), `run.json` (versions, seed, device), `metrics.jsonl` (a line
an epoch), `best.safetensors` (by validation SSIM), `last.safetensors`, `resume.pt`, `curve.png` and `samples/`.
On a CPU a resumed run ends with the very weights of one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from mri_recon.assignments import merged
from mri_recon.checkpoint import WeightsInfo, save_state, save_weights
from mri_recon.device import resolve_device
from mri_recon.errors import SettingsError, WeightsError
from mri_recon.files import one_line
from mri_recon.metrics import Metrics
from mri_recon.physics.geometry import center_crop
from mri_recon.settings import validated
from mri_recon.training.averaging import averaged_copy
from mri_recon.training.compiling import compile_network
from mri_recon.training.config import TrainingConfig
from mri_recon.training.data import Key, batches, loader, open_data, steps
from mri_recon.training.distributed import Processes, joined
from mri_recon.training.losses import loss as loss_of
from mri_recon.training.optimizers import learning_rate
from mri_recon.training.progress import Callback, Clock, Progress, TrainingResult, stop_at_signals
from mri_recon.training.records import Records
from mri_recon.training.run_folder import RunFolder
from mri_recon.training.start import begin_with
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
        On Ctrl-C, SIGTERM or SIGUSR1, after a checkpoint was written.
    """
    started = time.monotonic()
    config = _with_folders(config or TrainingConfig(), data, output)
    options = config.training
    # A twentieth of the time is kept for the last validation and for writing.
    deadline = started + 0.95 * 60 * options.max_minutes if options.max_minutes else math.inf
    wanted = torch.device(resolve_device(device, learned=True))
    folder = RunFolder(Path(config.output.folder))

    with joined(wanted) as (processes, place), _seeded(options.seed, place), stop_at_signals() as stop:
        show: Callback = progress if progress and processes.first else (lambda _: None)
        # Several processes stop together, after a step; one may stop wherever it looks.
        check = stop.check if processes.world == 1 else (lambda: None)
        network: nn.Module = config.network.build().to(place, memory_format=torch.channels_last)
        if options.weights and not resume:
            begin_with(options.weights, network, config)
            # All have read them before the first empties the folder, in which they may lie.
            processes.gather(True)
        state = processes.once(lambda: folder.open(config, resume=resume, overwrite=overwrite))
        optimizer = config.optimizer.build(network.parameters())
        averaged = averaged_copy(network, options.ema_decay) if options.ema_decay else None
        scored: nn.Module = averaged.module if averaged else network
        at = _Position()
        if state is not None:
            try:
                at = _Position(**state["position"])
                _check_processes(state["processes"], processes.world, at)
                network.load_state_dict(state["network"])
                optimizer.load_state_dict(state["optimizer"])
                if averaged:
                    averaged.load_state_dict(state["averaged"])
            except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise WeightsError(
                    f"{folder.state} does not fit the run it is of ({one_line(error)[:200]}). "
                    "Start again with --overwrite."
                ) from error
        if options.compile:
            compile_network(network, place)

        def generated(done: int) -> None:
            show(Progress("data", done, config.generated.n_slices))
            stop.check()

        slices, scans = open_data(config, generated, smaps=bool(network.needs_smaps))
        if processes.first:
            folder.describe(config, place, [scan.name for scan in scans], processes.world)
        to_beat, _ = validate(zero_filled, scans, config.masks, place, check, processes)
        scores: Metrics | None = None

        def epoch_steps(epoch: int) -> list[list[list[Key]]]:
            lists = batches(slices.source.shapes, options.batch_size, options.seed, epoch)
            return steps(lists, options.accumulate * processes.world)

        n_epoch_steps = len(epoch_steps(0))
        n_steps = n_all_steps = options.epochs * n_epoch_steps
        own_batches = _from(at, options.epochs, epoch_steps, processes)
        stream = loader(slices, own_batches, config.data.workers)

        def checkpoint() -> None:
            resolved = config.model_dump(mode="json")
            info = WeightsInfo(config.network, resolved, at.history[-1] if at.history else {})
            save_weights(folder.last, scored, info)
            tensors = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            if averaged:
                tensors["averaged"] = averaged.state_dict()
            position = {"position": asdict(at), "processes": processes.world}
            save_state(folder.state, {"config": resolved, **position, **tensors})

        def report(stage: Literal["step", "epoch"], epoch: int, mean_loss: float) -> None:
            done, n_epochs = at.epoch * n_epoch_steps + at.step, -(-n_steps // n_epoch_steps)
            # Steps are too few at first to shorten the run by; longer than its limit it does not take.
            left = min(clock.per_step(done) * max(n_steps - done, 0), max(deadline - time.monotonic(), 0))
            show(Progress(stage, done, n_steps, epoch, n_epochs, mean_loss, scores, to_beat, left))

        clock = Clock(at.epoch * n_epoch_steps + at.step)
        records = Records(
            folder, at.history, to_beat, on=processes.first, tensorboard=config.output.tensorboard
        )
        saved_at, shortened = time.monotonic(), False
        try:
            while at.epoch < options.epochs and not shortened:
                network.train()
                plan = epoch_steps(at.epoch)
                while at.step < n_epoch_steps and not shortened:
                    done = at.epoch * n_epoch_steps + at.step
                    at.lr = learning_rate(config.schedule, config.optimizer.lr, done, n_steps)
                    for group in optimizer.param_groups:
                        group["lr"] = at.lr
                    _seed_step(options.seed, at, processes.rank)

                    optimizer.zero_grad()
                    loss = torch.zeros((), device=place)
                    names: tuple[str, ...] = ()
                    n_slices = sum(map(len, plan[at.step]))
                    for _ in plan[at.step][processes.rank :: processes.world]:
                        batch = next(stream).to(place)
                        with torch.autocast(place.type, torch.bfloat16, options.precision == "bfloat16"):
                            image = network(batch.kspace, batch.mask, batch.smaps)
                        image = center_crop(image.float(), batch.image_shape)
                        part = loss_of(
                            options.loss, image, batch.target, batch.data_range, options.ssim_weight
                        ) * (len(batch.names) / n_slices)
                        torch.autograd.backward(part)
                        loss, names = loss + part.detach(), names + batch.names
                    # Where time is short the learning rate falls sooner: better than being cut off.
                    affordable = clock.affordable(done, n_all_steps, deadline) if processes.first else 0
                    mean_loss, stopping, n_steps = _summed(
                        processes, network, loss, stop.requested, affordable
                    )
                    norm = nn.utils.clip_grad_norm_(network.parameters(), options.clip_norm or math.inf)
                    if not math.isfinite(mean_loss) or not math.isfinite(norm):
                        named = [name for of_one in processes.gather(names) for name in of_one]
                        raise _not_finite(mean_loss, norm.item(), at, named)
                    optimizer.step()
                    if averaged:
                        averaged.update_parameters(network)
                    at.step, at.loss_sum = at.step + 1, at.loss_sum + mean_loss

                    report("step", at.epoch + 1, at.loss_sum / at.step)
                    records.step(done + 1, mean_loss, at.lr)
                    check()
                    if stopping and processes.world > 1:
                        raise KeyboardInterrupt
                    shortened = n_steps <= done + 1 < n_all_steps
                    if processes.first and time.monotonic() - saved_at > 60 * options.checkpoint_minutes:
                        checkpoint()
                        saved_at = time.monotonic()

                scores, example = validate(scored.eval(), scans, config.masks, place, check, processes)
                row = {"epoch": at.epoch + 1, "loss": at.loss_sum / at.step, "lr": at.lr, **scores.as_dict()}
                at.history.append(row | {f"zero_filled_{k}": v for k, v in to_beat.as_dict().items()})
                at.epoch, at.step, at.loss_sum = at.epoch + 1, 0, 0.0
                if processes.first:
                    if scores.ssim >= max(earlier["ssim"] for earlier in at.history):
                        info = WeightsInfo(config.network, config.model_dump(mode="json"), at.history[-1])
                        save_weights(folder.best, scored, info)
                    folder.write_metrics(at.history)
                records.epoch(example)
                if (
                    processes.first
                ):  # last: killed before, the run goes on within this epoch and misses nothing of it
                    checkpoint()

                saved_at = time.monotonic()
                report("epoch", at.epoch, row["loss"])
        except KeyboardInterrupt:
            # Raised between steps, by what looks for it or by `progress`; at a second signal, anywhere.
            if processes.first and not stop.at_once:
                checkpoint()
            raise
        finally:
            records.close()

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


def _summed(
    processes: Processes, network: nn.Module, loss: torch.Tensor, stop: bool, n_steps: int
) -> tuple[float, bool, int]:
    """Sum gradients over the processes, and with them the loss, whether one is to stop, and how many steps to do.

    Running statistics of batch normalisation are averaged, so that all processes stay alike.
    """
    figures = torch.stack([loss, torch.full_like(loss, stop), torch.full_like(loss, n_steps)])
    shared = [figures]
    if processes.world > 1:
        for parameter in network.parameters():
            if parameter.grad is None:  # a last step with fewer batches than processes
                parameter.grad = torch.zeros_like(parameter)
            shared.append(parameter.grad)
        statistics = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
        shared += [buffer.div_(processes.world) for buffer in statistics]
    processes.sum(shared)
    mean_loss, stopping, agreed = figures.tolist()
    return mean_loss, stopping > 0, int(agreed)


def _check_processes(before: int, now: int, at: _Position) -> None:
    if before != now and at.step:
        raise SettingsError(
            f"The run was stopped within epoch {at.epoch + 1} by {before} process(es), and its steps are not those "
            f"of {now}. Resume it with torchrun --nproc-per-node {before}; between epochs the number may change."
        )


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
    at: _Position,
    n_epochs: int,
    epoch_steps: Callable[[int], list[list[list[Key]]]],
    processes: Processes,
) -> Iterator[list[Key]]:
    """This process's batches from a position to the end of the run."""
    first, skip = at.epoch, at.step
    for epoch in range(first, n_epochs):
        for step in epoch_steps(epoch)[skip if epoch == first else 0 :]:
            yield from step[processes.rank :: processes.world]


def _not_finite(loss: float, gradient_norm: float, at: _Position, names: list[str]) -> SettingsError:
    return SettingsError(
        f"The loss became {loss:g} (gradient norm {gradient_norm:g}) at epoch {at.epoch + 1}, "
        f"step {at.step + 1}: {', '.join(names)}. Look at those slices, or lower optimizer.lr, {at.lr:.3g} "
        "there; checkpoints from before are sound."
    )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what torch draws (weights, dropout) within, and leave the outside as it was."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield


def _seed_step(seed: int, at: _Position, rank: int) -> None:
    """Seed dropout anew for every step: a resumed run then draws what it would have drawn."""
    words = np.random.SeedSequence((seed, at.epoch, at.step, rank)).generate_state(2)
    torch.manual_seed(int(words[0]) << 16 ^ int(words[1]))
