"""The lecture's closing picture: truth, zero-filled, compressed sensing and a U-Net, of one scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lecture.summary import markdown
from mri_recon import read_scan, reconstruct, sample_scan
from mri_recon.data.scan import Scan
from mri_recon.report.figures import write_comparison
from mri_recon.training.config import load_config
from mri_recon.training.loop import train
from mri_recon.training.progress import Progress


def trained(configs: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """Weights of the U-Net that configs/lecture/closing.toml makes; gone on with where it was stopped."""
    config = load_config(configs / "closing.toml")
    place = folder / "closing"
    done = place / "metrics.jsonl"
    n_rows = len(done.read_text(encoding="utf-8").splitlines()) if done.exists() else 0
    if n_rows >= config.training.epochs:
        return place / "best.safetensors"

    def show(event: Progress) -> None:
        if event.stage == "epoch" and event.validation and event.zero_filled:
            gain = event.validation.psnr - event.zero_filled.psnr
            say(f"closing U-Net, epoch {event.epoch}/{event.n_epochs}: {gain:+.2f} dB over zero-filled")

    resume = (place / "resume.pt").exists()
    return train(config, output=place, device="cpu", resume=resume, progress=show).weights


def write_closing(weights: Path, scan_path: Path | None, folder: Path) -> str:
    """Draw `closing.png`, and return its table.

    Parameters
    ----------
    scan_path
        A scan whose middle slice is shown; None for a generated head.
    """
    scan: Scan = sample_scan(seed=4) if scan_path is None else read_scan(scan_path)
    middle = scan.n_slices // 2
    methods = {
        "zero-filled": ("zero-filled", None),
        "compressed sensing": ("cs", None),
        "U-Net, this study": ("unet", weights),
        "U-Net, shipped": ("unet", None),
    }
    images, rows = {}, [["", "PSNR (dB)", "SSIM"]]
    for name, (method, its_weights) in methods.items():
        result = reconstruct(scan, method, slices=(middle, middle + 1), weights=its_weights)
        target = result.target
        if result.metrics is not None:
            rows.append([name, f"{result.metrics.psnr:.2f}", f"{result.metrics.ssim:.3f}"])
        images[name] = result.image[0]
    write_comparison(folder / "closing.png", images, target[0], overwrite=True)
    what = "A generated head" if scan_path is None else f"`{scan_path.name}`, slice {middle}"
    lines = f"{result.mask.n_lines} of {result.mask.columns.size} lines"
    return f"{what}, {lines}; the target first, errors below.\n\n{markdown(rows)}"
