"""``mri-recon reconstruct``: scans to images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_recon.cli import options
from mri_recon.cli.console import VERBOSITY, detail, progress, result_json, say, table, warn
from mri_recon.errors import MriReconError, OutputError

if TYPE_CHECKING:
    from mri_recon.methods.base import Method
    from mri_recon.reconstruct import Reconstruction


@click.command("reconstruct", epilog="Example: mri-recon reconstruct scan.h5 --method cs -o out")
@click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SCAN…")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("out"), show_default=True, metavar="DIR",
    help="Folder for the results: DIR/<same name>.h5 and a PNG preview of each scan.",
)  # fmt: skip
@options.method(multiple=False, default="cs")
@options.sampling
@options.settings
@options.weights
@options.smaps
@options.slices
@options.device
@options.threads
@click.option("--no-preview", is_flag=True, help="Write no PNG previews.")
@options.overwrite
@options.as_json
@options.common
def command(
    scans: tuple[Path, ...],
    output: Path,
    method: str,
    mask: str | None,
    acceleration: tuple[float, ...],
    center_fraction: tuple[float, ...],
    seed: int | None,
    mask_file: Path | None,
    assignments: tuple[str, ...],
    weights: Path | None,
    smaps: Path | None,
    slices: tuple[int, int] | None,
    device: str,
    no_preview: bool,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Reconstruct scans (files or folders) into images.

    Each becomes DIR/<same name>.h5 with the data set `reconstruction`, float32 (slices, h, w), and a PNG
    preview; metrics are printed where the file has a target. A scan with a mask, or with columns missing, is used
    as acquired; a fully sampled one is undersampled first, unless --acceleration 1 says otherwise.
    """
    from mri_recon.assignments import parse_assignments
    from mri_recon.data.storage import find_scans, read_scan, write_reconstruction
    from mri_recon.device import resolve_device
    from mri_recon.files import make_folder
    from mri_recon.reconstruct import make_method, reconstruct

    made: Method = make_method(method, parse_assignments(assignments), weights)
    resolve_device(device, learned=made.learned)
    paths = find_scans(scans)
    chosen_mask = options.mask_choice(mask, mask_file)
    _refuse_clashes(paths, output)
    make_folder(output)
    results: list[dict[str, Any]] = []
    failures: list[tuple[Path, MriReconError]] = []
    kept = 0
    for number, path in enumerate(paths, 1):
        target = _target(path, output)
        if len(paths) > 1 and target.exists() and not overwrite:
            if _made_by(target, made, method):
                kept += 1
                detail(f"{path.name}: {target} exists, kept")
            else:
                other = OutputError(
                    f"{target} was made by another method or settings; use --overwrite, or another folder with -o."
                )
                warn(str(other))
                failures.append((path, other))
            continue
        try:
            scan = read_scan(path)
            _refuse_existing([target] if no_preview else [target, target.with_suffix(".png")], overwrite)
            with progress(f"{path.name} ({number} of {len(paths)})") as update:
                result = reconstruct(
                    scan,
                    made,
                    mask=chosen_mask,
                    acceleration=acceleration or None,
                    center_fraction=center_fraction or None,
                    seed=seed,
                    smaps=smaps,
                    slices=slices,
                    device=device,
                    progress=update,
                )
            write_reconstruction(target, result.image, attributes=_attributes(result), overwrite=overwrite)
            if not no_preview:
                from mri_recon.report.figures import write_preview

                write_preview(target.with_suffix(".png"), result, overwrite=overwrite)
        except MriReconError as error:
            if len(paths) == 1:
                raise
            warn(f"{error if path.name in str(error) else f'{path.name}: {error}'}")
            failures.append((path, error))
            continue
        for note in result.notes:
            say(f"{path.name}: {note}")
        results.append(_entry(result, path, target))
    if as_json:
        result_json(results)
    elif results:
        _print(results)
    if kept:
        say(f"{kept} of {len(paths)} were there already and kept; --overwrite makes them anew.")
    if failures:
        say(f"{len(failures)} of {len(paths)} failed: {', '.join(path.name for path, _ in failures)}")
        return 1 if results or kept else 2
    return 0


def _target(source: Path, output: Path) -> Path:
    """The file that the images of a scan go to."""
    return output / source.with_suffix(".h5").name


def _refuse_clashes(paths: list[Path], output: Path) -> None:
    """Refuse results that would replace a scan or one another."""
    sources: dict[Path, Path] = {}
    for path in paths:
        target = _target(path, output)
        if target.exists() and target.resolve() == path.resolve():
            raise OutputError(
                f"{target} is the scan itself and would be replaced. Choose another folder with -o."
            )
        if target in sources:
            raise OutputError(
                f"{sources[target]} and {path} would both be written to {target}. Reconstruct them in turn, into "
                "two folders."
            )
        sources[target] = path


def _refuse_existing(paths: list[Path], overwrite: bool) -> None:
    """Say before the work, not after it, that the result has no place to go."""
    for path in paths:
        if path.exists() and not overwrite:
            raise OutputError(
                f"{path} exists. Replace it with --overwrite, or choose another folder with -o."
            )


def _made_by(target: Path, made: Method, method: str) -> bool:
    """Whether an output that is kept is what this call would have made, as far as its file says."""
    import json

    from mri_recon.data.storage import reconstruction_attributes

    told = reconstruction_attributes(target)
    return told.get("method") == method and told.get("settings") == json.dumps(made.as_dict())


def _attributes(result: Reconstruction) -> dict[str, Any]:
    """What a reader of the output needs to know about how it was made."""
    import json

    import mri_recon

    mask = result.mask
    return {
        "method": result.method,
        "settings": json.dumps(dict(result.settings)),
        "mask": mask.kind,
        "lines": mask.n_lines,
        "effective_acceleration": mask.effective_acceleration,
        "mask_sha256": mask.sha256,
        "first_slice": result.slices[0],
        "mri_recon_version": mri_recon.__version__,
    }


def _entry(result: Reconstruction, path: Path, target: Path) -> dict[str, Any]:
    import math

    metrics = result.metrics.as_dict() if result.metrics else {"nmse": None, "psnr": None, "ssim": None}
    return {
        "file": str(path),
        "output": str(target),
        "method": result.method,
        "settings": dict(result.settings),
        "mask": result.mask.kind,
        "lines": result.mask.n_lines,
        "effective_acceleration": round(result.mask.effective_acceleration, 2),
        "slices": len(result.image),
        "seconds": round(result.seconds, 3),
        **{name: v if v is None or math.isfinite(v) else None for name, v in metrics.items()},
        "weight": _weights(result),
        "iterations": [c.iterations for c in result.convergence if c.iterations is not None] or None,
        "residual": max(c.residual for c in result.convergence) if result.convergence else None,
        "converged": result.converged,
        "notes": list(result.notes),
    }


def _weights(result: Reconstruction) -> list[float] | None:
    """The strength that the method chose for each slice, if it did."""
    chosen = [float(f"{c.weight:.4g}") for c in result.convergence if c.weight is not None]
    return chosen or None


def _print(results: list[dict[str, Any]]) -> None:
    def show(value: float | None, digits: int) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    header = ["output", "method", "lines", "R", "seconds", "NMSE", "PSNR (dB)", "SSIM"]
    rows = [
        [
            r["output"],
            r["method"],
            str(r["lines"]),
            f"{r['effective_acceleration']:.2f}",
            f"{r['seconds']:.2f}",
            show(r["nmse"], 4),
            show(r["psnr"], 2),
            show(r["ssim"], 4),
        ]
        for r in results
    ]
    table(header, rows)
    if not all(r["converged"] in (None, True) for r in results):
        warn("Some slices stopped before they converged; raise --set iterations=… to go on.")
    if VERBOSITY.verbose:
        for r in results:
            detail(f"{r['file']}: settings {r['settings']}, iterations {r['iterations']}")
