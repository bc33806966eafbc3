"""Training runs, several at a time; what is finished is kept and not done again."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lecture.plan import Data, Run
from mri_recon.data.simulate import simulate
from mri_recon.errors import SettingsError
from mri_recon.files import atomic_output, make_folder
from mri_recon.training.config import TrainingConfig, load_config, to_toml

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    `history` has a row an epoch, as metrics.jsonl; `stopped` is why it ended early (its loss was no longer a
    number), else empty; `seconds` are of processor time.
    """

    history: tuple[dict[str, float], ...]
    stopped: str
    seconds: float

    def last(self, name: str) -> float:
        """A figure after the last epoch; NaN for a run that did not get there."""
        return float("nan") if self.stopped else self.history[-1][name]


def finished(folder: Path, run: Run) -> Outcome | None:
    """The outcome of a run that was done before, here."""
    path = _result(folder, run.key)
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))["outcome"]
    return Outcome(tuple(values["history"]), values["stopped"], values["seconds"])


def carry_out(plan: Sequence[Run], folder: Path, jobs: int, say: Say) -> None:
    """Do the runs that have not been done, `jobs` at a time with one thread each."""
    waiting: dict[str, Run] = {}
    for run in plan:  # two studies may have runs in common
        if finished(folder, run) is None:
            waiting.setdefault(run.key, run)
    made_folders = {run.key: data_folder(folder, run.data) for run in waiting.values()}
    tasks = [(key, to_toml(run.config), str(made_folders[key]), str(folder)) for key, run in waiting.items()]
    say(f"{len(tasks)} runs to do, {len({run.key for run in plan}) - len(tasks)} done before")
    started = time.monotonic()
    for done, (key, outcome) in enumerate(_each(tasks, jobs), start=1):
        run = waiting[key]
        description = {
            "study": run.study,
            "panel": run.panel,
            "arm": run.arm,
            "rate": run.rate,
            "seed": run.seed,
        }
        text = json.dumps(
            {**description, "config": run.config.model_dump(mode="json"), "outcome": asdict(outcome)},
            indent=1,
        )
        make_folder(_result(folder, key).parent)
        with atomic_output(_result(folder, key), overwrite=True) as part:
            Path(part).write_text(text + "\n", encoding="utf-8")
        end = outcome.stopped or f"SSIM {outcome.last('ssim'):.4f}"
        left = (time.monotonic() - started) / done * (len(tasks) - done) / 60
        say(f"{done}/{len(tasks)} {run}: {end}, {outcome.seconds:.0f} s; {left:.0f} min left")


def data_folder(folder: Path, data: Data) -> Path:
    """The simulated scans, made if they are not there."""
    place = folder / "scans"
    simulate(data.settings(), place, {"train": data.train, "val": data.val})
    return place


def _result(folder: Path, key: str) -> Path:
    return folder / "runs" / f"{key}.json"


def _each(tasks: Sequence[tuple[str, ...]], jobs: int) -> Iterator[tuple[str, Outcome]]:
    if jobs == 1:
        yield from map(_train, tasks)
        return
    with ProcessPoolExecutor(min(jobs, len(tasks) or 1), multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(_train, task) for task in tasks]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _train(task: tuple[str, ...]) -> tuple[str, Outcome]:
    """One run, in a folder that goes away: its scores are what is wanted, not its weights."""
    import torch

    from mri_recon.training.loop import train

    key, toml, scans, output = task
    place = make_folder(Path(output) / "running" / key)
    (place / "given.toml").write_text(toml, encoding="utf-8")
    config: TrainingConfig = load_config(place / "given.toml")
    torch.set_num_threads(1)
    started, stopped = time.process_time(), ""
    try:
        train(config, data=scans, output=place, overwrite=True, device="cpu")
    except SettingsError as error:
        if not str(error).startswith("The loss became"):
            raise
        stopped = str(error).partition(":")[0]
    seconds = time.process_time() - started
    rows: list[dict[str, Any]] = []
    if (place / "metrics.jsonl").exists():
        lines = (place / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
    shutil.rmtree(place)
    return key, Outcome(tuple(rows), stopped, seconds)
