"""``mri-recon train``: train a network on scans or on generated images."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_recon.catalog import NETWORKS, look_up
from mri_recon.cli import options
from mri_recon.cli.console import VERBOSITY, progress, result_json, say
from mri_recon.errors import SettingsError

if TYPE_CHECKING:
    from mri_recon.training.config import TrainingConfig
    from mri_recon.training.progress import Progress


@click.command("train", epilog="Example: mri-recon train configs/unet.toml --data scans/ -o runs/knee")
@click.argument("config", required=False, type=click.Path(path_type=Path), metavar="[CONFIG]")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of fully sampled scans, with train/ and val/ inside or split by volume.  [default: generated images]",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
    help="Run folder.  [default: the configuration's, runs/unet-quick without one]",
)  # fmt: skip
@click.option(
    "--weights", metavar="FILE",
    help='Start from the network and weights in a file, or from those that come with mri-recon ("shipped").  '
    "[default: random ones]",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the run in the run folder.")
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Times through the training slices.")
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="Seed of weights, images, masks and order."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE",
    help="Set a setting of the run, such as optimizer.lr=1e-3; repeatable.",
)  # fmt: skip
@options.device
@options.threads
@options.overwrite
@options.as_json
@options.common
def command(
    config: Path | None,
    data: Path | None,
    output: Path | None,
    weights: str | None,
    resume: bool,
    epochs: int | None,
    seed: int | None,
    assignments: tuple[str, ...],
    device: str,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Train a network as a CONFIG file says; without one a small U-Net on generated images, in minutes on a CPU.

    CONFIG is a TOML file, or the name of one that comes with mri-recon: unet, varnet. What it does not set is as in
    the small run, its limit of 4 minutes too; --set training.max_minutes=0 lifts that.

    Ctrl-C ends it with a checkpoint, and --resume goes on from there. For several GPUs or processes:
    torchrun --nproc-per-node N -m mri_recon train CONFIG
    """
    first = os.environ.get("RANK", "0") == "0"
    if not first:  # torchrun started it beside the one that talks
        VERBOSITY.quiet = True
    if resume and overwrite:
        raise SettingsError("--resume goes on with a run and --overwrite replaces it; give one of them.")
    if resume and weights:
        raise SettingsError(
            "--resume goes on with the weights of a run and --weights starts from others; give one."
        )
    changes = _changes(data, epochs, seed, assignments)
    if weights:
        settings = _begun_with(weights, config, output, changes)
    else:
        settings = _configuration(config, output, changes, resume=resume)
    if not weights and not resume:
        _say_what_differs(settings)
    folder = settings.output.folder
    if not settings.data.folder:
        images = f"{settings.generated.n_slices} generated images"
        say(
            f"No --data given: training on {images}{' an epoch' if settings.generated.fresh else ''} "
            f"({settings.network.name}, {settings.training.epochs} epochs). They are not measured scans."
        )

    minutes, asked = settings.training.max_minutes, settings.training.epochs
    if minutes:
        say(
            f"Ends within {minutes:g} min, its {asked} epoch{'' if asked == 1 else 's'} done or not; "
            "--set training.max_minutes=0 lifts that."
        )

    from mri_recon.files import no_empty_folder
    from mri_recon.training.loop import train
    from mri_recon.training.memory import keep_freed_memory

    keep_freed_memory()
    if os.environ.get("WORLD_SIZE", "1") == "1":
        click.get_current_context().with_resource(no_empty_folder(folder))
    with ExitStack() as bar:
        try:
            result = train(
                settings, resume=resume, overwrite=overwrite, device=device, progress=_reporter(bar, asked)
            )
        except KeyboardInterrupt:
            bar.close()
            if (Path(folder) / "resume.pt").exists():
                say(f"Stopped with a checkpoint. Go on with: mri-recon train -o {folder} --resume")
            raise
    say(
        f"Trained in {_clock(result.seconds)}"
        + (
            f", {result.epochs} of {asked} epochs to stay within {minutes:g} min (training.max_minutes)"
            if result.shortened
            else ""
        )
        + f". Validation PSNR {result.validation.psnr:.2f} dB and SSIM {result.validation.ssim:.4f}; "
        f"zero-filled {result.zero_filled.psnr:.2f} dB and {result.zero_filled.ssim:.4f}."
    )
    say(f"Weights: {result.weights}")
    method = look_up("network", NETWORKS, settings.network.name).method
    say(f"Next: mri-recon reconstruct scan.h5 --method {method} --weights {result.weights} -o out")
    unseen = Path(settings.data.folder, "val") if settings.data.folder else None
    scans = f"{unseen} " if unseen and unseen.is_dir() else ""
    say(f"      mri-recon evaluate {scans}--method zero-filled --method {method} --weights {result.weights}")
    if as_json and first:
        result_json(result.as_dict())
    return 0


def _changes(
    data: Path | None, epochs: int | None, seed: int | None, assignments: tuple[str, ...]
) -> dict[str, Any]:
    """What the options change in the configuration."""
    from mri_recon.assignments import merged, parse_assignments

    training = {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    changes: dict[str, Any] = {"training": training}
    if data is not None:
        changes["data"] = {"folder": str(data)}
    return merged(parse_assignments(assignments), changes)


def _configuration(
    config: Path | None, output: Path | None, changes: dict[str, Any], *, resume: bool
) -> TrainingConfig:
    from mri_recon.assignments import merged
    from mri_recon.training.config import OutputSettings, load_config

    if output is not None:
        changes = merged(changes, {"output": {"folder": str(output)}})
    if resume and config is None:
        folder = output or Path(changes.get("output", {}).get("folder", OutputSettings().folder))
        config = folder / "config.toml"
        if not config.exists():
            raise SettingsError(f"There is no run in {folder} to resume. Name its folder with -o.")
        # The folder may have been moved since its configuration was written.
        changes = merged(changes, {"output": {"folder": str(folder)}})
    return load_config(config, changes)


def _begun_with(
    weights: str, config: Path | None, output: Path | None, changes: dict[str, Any]
) -> TrainingConfig:
    """The settings with the network of a weights file, whatever the configuration says of the network."""
    from mri_recon.assignments import merged
    from mri_recon.checkpoint import SHIPPED, load_network, weights_file

    given = changes.get("training")
    if isinstance(given, dict) and "weights" in given:
        raise SettingsError("--weights and --set training.weights name weights to start from; give one.")
    # What else is changed of the network is said of the file's, which may be another than the configuration's.
    asked = changes.get("network")
    named = {key: asked[key] for key in ("name",) if key in asked} if isinstance(asked, dict) else {}
    settings = _configuration(config, output, {**changes, "network": named}, resume=False)
    path = weights_file(weights, look_up("network", NETWORKS, settings.network.name).method)
    info = load_network(path)[1]
    if info.settings.name not in NETWORKS:
        raise SettingsError(
            f"{path} holds weights of {info.settings.name}, which can be used and not trained: mri-recon trains "
            f"{', '.join(NETWORKS)}."
        )
    # Absolute: a run is resumed from wherever one stands.
    start = {"weights": weights if weights == SHIPPED else str(path.absolute())}
    of_file = {"network": info.settings.model_dump(mode="json"), "training": start}
    return _configuration(config, output, merged(of_file, changes), resume=False)


def _say_what_differs(settings: TrainingConfig) -> None:
    """Of a configuration's weights and network, of which neither knows the other."""
    if settings.training.weights:
        from mri_recon.training.start import settings_apart

        apart = settings_apart(settings)
        if apart is not None:
            say(
                f"{apart}: it starts as another network than was trained. --weights takes the file's settings."
            )


def _reporter(bar: ExitStack, asked: int) -> Any:
    """A progress callback: a bar on a terminal, and a line an epoch, of so many asked for."""
    state: dict[str, Any] = {"label": None, "update": None}

    def report(event: Progress) -> None:
        label = "making images" if event.stage == "data" else "training"
        if label != state["label"]:
            bar.close()
            state.update(label=label, update=bar.enter_context(progress(label)))
        state["update"](event.done, event.total, _figures(event))
        if event.stage == "epoch" and event.validation and event.zero_filled:
            there_is_time = "" if event.n_epochs >= asked else " that there is time for"
            say(
                f"Epoch {event.epoch} of {event.n_epochs}{there_is_time}: "
                f"{_figures(event)}, PSNR {event.validation.psnr:.2f} dB "
                f"(zero-filled {event.zero_filled.psnr:.2f}), {_clock(event.seconds_left or 0)} left"
            )

    return report


def _figures(event: Progress) -> str:
    parts = [] if event.loss is None else [f"loss {event.loss:.4f}"]
    parts += [f"validation SSIM {event.validation.ssim:.4f}"] if event.validation else []
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
