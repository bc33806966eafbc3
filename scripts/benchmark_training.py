"""Samples per second of training: ours against fastMRI's U-Net and data pipeline in plain PyTorch.

    scripts/benchmark_training                       # 32 channels, 640 × 368 k-space, 320 × 320 targets
    scripts/benchmark_training --width 320           # nothing to crop: both convolve the same pixels
    scripts/benchmark_training --quick               # small, to see that it runs
    scripts/benchmark_training --compile             # ours with torch.compile
    scripts/benchmark_training --device cuda --precision bfloat16 --batch-size 8

Ours is `mri_recon.train` itself, files to weights: reading, masks, batches, U-Net with group normalisation, loss,
clipping, Adam. After each of its steps the peer takes one of its own, in a process of its own, that shares no setting
with ours: times are of pairs of steps that follow one another, and the ratio is the median over the pairs. The first
steps of both are not counted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

WARM_UP = 2


def main() -> int:
    asked = _arguments()
    from benchmarks.process import ROOT, THREAD_VARIABLES

    # Before numpy and its like are imported: they look once.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(asked.threads)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(asked, Path(folder))
    text = json.dumps(result, indent=1)
    if asked.output:
        asked.output.parent.mkdir(parents=True, exist_ok=True)
        asked.output.write_text(text + "\n")
    print(text)
    ours, peer = result["ours"]["samples_per_second"], result["peer"]["samples_per_second"]
    print(f"{ours:.3g} samples/s against {peer:.3g}: {result['ratio']:.2f} times", file=sys.stderr)
    return 0


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import torch
    from benchmarks.output import _cpu_model

    from mri_recon.training.config import load_config
    from mri_recon.training.loop import train
    from mri_recon.training.memory import keep_freed_memory

    torch.set_num_threads(asked.threads)
    keep_freed_memory()  # as `mri-recon train` does
    height, width, size = (64, 48, 32) if asked.quick else (640, asked.width, 320)
    channels, levels = (8, 2) if asked.quick else (32, 4)
    n_steps = WARM_UP + asked.steps
    device = torch.device(asked.device)
    write_scans(folder / "scans", (height, width), size, n_steps * asked.batch_size)
    config = load_config(
        None,
        {
            "network": {"channels": channels, "levels": levels},
            "data": {"folder": str(folder / "scans"), "flips": False, "workers": asked.workers},
            "training": {
                "epochs": 1, "batch_size": asked.batch_size, "loss": "l1", "max_minutes": 0.0,
                "precision": asked.precision, "compile": asked.compile,
            },
            "output": {"folder": str(folder / "run")},
        },
    )  # fmt: skip
    settings = {
        "channels": channels, "levels": levels, "batch_size": asked.batch_size, "workers": asked.workers,
        "device": asked.device,
    }  # fmt: skip
    spawned = multiprocessing.get_context("spawn")
    peer, peers_end = spawned.Pipe()
    paths = sorted((folder / "scans" / "train").glob("*.h5"))
    process = spawned.Process(target=take_steps, args=(peers_end, paths, settings, asked.threads))
    process.start()
    peers_end.close()
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "peer": []}
    since = [now()]

    def peers_turn(event: Any) -> None:
        if event.stage == "step":
            seconds["ours"].append(elapsed(since[0]))
            peer.send("step")
            seconds["peer"].append(peer.recv())
        since[0] = now()

    try:
        train(config, device=asked.device, progress=peers_turn)
    finally:
        peer.close()
        process.join()
    kept = {name: times[WARM_UP:] for name, times in seconds.items()}

    def ratios(which: int) -> list[float]:
        return [p[which] / o[which] for o, p in zip(kept["ours"], kept["peer"], strict=True)]

    return {
        "command": " ".join(["scripts/benchmark_training", *sys.argv[1:]]),
        "machine": f"{_cpu_model()}, {os.cpu_count()} cores, {asked.threads} threads",
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "n": asked.steps,
        **{
            name: {
                "samples_per_second": asked.batch_size / statistics.median(wall for wall, _ in times),
                "seconds": [round(wall, 4) for wall, _ in times],
                "processor_seconds": statistics.median(processor for _, processor in times),
            }
            for name, times in kept.items()
        },
        "ratio": statistics.median(ratios(0)),
        "ratio_range": [min(ratios(0)), max(ratios(0))],
        "processor_ratio": statistics.median(ratios(1)),
    }


def take_steps(connection: Connection, paths: list[Path], settings: dict[str, Any], threads: int) -> None:
    """The peer's process: a step whenever it is asked for one, answered by its wall and processor seconds."""
    import torch
    from benchmarks.plain_unet import plain_steps

    torch.set_num_threads(threads)
    steps = plain_steps(paths, **(settings | {"device": torch.device(settings["device"])}))
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        start = now()
        next(steps)
        connection.send(elapsed(start))


def now() -> tuple[float, float]:
    """Wall and processor seconds."""
    return time.perf_counter(), time.process_time()


def elapsed(start: tuple[float, float]) -> tuple[float, float]:
    wall, processor = now()
    return wall - start[0], processor - start[1]


def write_scans(folder: Path, shape: tuple[int, int], size: int, n_slices: int) -> None:
    """One volume to train on and one to validate on, in the layout and sizes of fastMRI's single-coil knees."""
    from mri_recon.data.phantom import sample_scan
    from mri_recon.data.scan import Header
    from mri_recon.data.storage import write_scan
    from mri_recon.physics.geometry import center_crop

    for split, n in (("train", n_slices), ("val", 1)):
        (folder / split).mkdir(parents=True)
        scan = sample_scan(height=shape[0], width=shape[1], n_slices=n, n_coils=1, name=f"{split}.h5")
        assert scan.target is not None
        target = center_crop(scan.target[:], (size, size))
        header = Header(encoded=(*shape, 1), recon=(size, size, 1))
        scan = replace(scan, target=target, header=header, smaps=None, truth=None, n_coils_stored=0)
        write_scan(folder / split / scan.name, scan)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark_training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--steps", type=int, default=10, metavar="N", help="pairs of steps that count (default 10)")
    add("--batch-size", type=int, default=1, metavar="N", help="slices a step, of both (default 1)")
    add(
        "--width",
        type=int,
        default=368,
        metavar="N",
        help="columns of k-space (default 368); targets have 320",
    )
    add("--threads", type=int, default=2, metavar="N", help="threads of both (default 2)")
    add(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that prepare data, for each (default 0)",
    )
    add("--device", default="cpu", help="cpu or cuda")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="of ours")
    add("--compile", action="store_true", help="ours with torch.compile")
    add("--quick", action="store_true", help="tiny sizes")
    add("-o", "--output", type=Path, metavar="FILE", help="write the result as JSON too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
