"""``mri-recon reconstruct``: scans to images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_recon.catalog import FORMATS
from mri_recon.cli import options
from mri_recon.cli.console import VERBOSITY, detail, progress, result_json, say, table, warn
from mri_recon.errors import MriReconError, OutputError

if TYPE_CHECKING:
    from mri_recon.data.formats.base import Format, WriteOptions
    from mri_recon.data.scan import Scan
    from mri_recon.methods.base import Method
    from mri_recon.reconstruct import Reconstruction


@click.command("reconstruct", epilog="Example: mri-recon reconstruct scan.h5 --method cs -o out")
@click.argument("scans", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SCAN…")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("out"), show_default=True, metavar="DIR",
    help="Folder for the results: DIR/<same name> and a PNG preview of each scan.",
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
@options.file_format(tuple(n for n, f in FORMATS.items() if f.images), "h5")
@options.keep_identity
@options.axes
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
    file_format: str | None,
    keep_identity: bool,
    axes: str | None,
    variable: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Reconstruct scans (files or folders) into images.

    Each becomes DIR/<same name>.h5 with the data set `reconstruction`, float32 (slices, h, w), or what -f says, and
    a PNG preview; metrics are printed where the file has a target. What a file is, its content says: fastMRI or
    ISMRMRD HDF5, Siemens raw data, BART cfl, NumPy, MATLAB; raw data of several contrasts or repetitions becomes an
    image file each. A scan with a mask, or with columns missing, is used as acquired; a fully sampled one is
    undersampled first, unless --acceleration 1 says otherwise.
    """
    from mri_recon.assignments import parse_assignments
    from mri_recon.data.formats.base import WriteOptions
    from mri_recon.data.formats.registry import find_raw, read_scans
    from mri_recon.device import resolve_device
    from mri_recon.files import make_folder
    from mri_recon.reconstruct import make_method, reconstruct

    made: Method = make_method(method, parse_assignments(assignments), weights)
    resolve_device(device, learned=made.learned)
    reading = options.read_options(axes, variable)
    options.refuse_idle_identity(keep_identity, file_format or "h5")
    place = _Place(output, file_format or "h5", WriteOptions(keep_identity), overwrite, not no_preview)
    paths = find_raw(scans)
    chosen_mask = options.mask_choice(mask, mask_file)
    place.refuse_clashes(paths)
    make_folder(output)
    results: list[dict[str, Any]] = []
    failures: list[tuple[Path, MriReconError]] = []
    kept = 0
    several = len(paths) > 1

    def failed(path: Path, error: MriReconError) -> None:
        if not several:
            raise error
        warn(f"{error if path.name in str(error) else f'{path.name}: {error}'}")
        failures.append((path, error))

    for number, path in enumerate(paths, 1):
        try:
            # A scan that is done already need not be one that can still be read.
            done = several and not overwrite and place.target(path.name).exists()
            parts: tuple[Scan | None, ...] = (None,) if done else read_scans(path, reading)
        except MriReconError as error:
            failed(path, error)
            continue
        several = several or len(parts) > 1
        for scan in parts:
            target = place.target(path.name if scan is None else scan.name)
            try:
                if several and target.exists() and not overwrite:
                    place.refuse_other(target, made, method)
                    kept += 1
                    detail(f"{path.name}: {target} exists, kept")
                    continue
                if scan is None:
                    continue
                place.refuse_existing(target)
                with progress(f"{scan.name} ({number} of {len(paths)})") as update:
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
                notes = place.write(target, scan, result)
            except MriReconError as error:
                failed(path, error)
                continue
            for note in (*result.notes, *notes):
                say(f"{scan.name}: {note}")
            results.append(_entry(result, path, target, notes))
    if as_json:
        result_json(results)
    elif results:
        _print(results)
    total = max(len(paths), len(results) + kept + len(failures))
    if kept:
        say(f"{kept} of {total} were there already and kept; --overwrite makes them anew.")
    if failures:
        say(f"{len(failures)} of {total} failed: {', '.join(path.name for path, _ in failures)}")
        return 1 if results or kept else 2
    return 0


@dataclass(frozen=True)
class _Place:
    """Where results go, and in which format."""

    folder: Path
    format_name: str
    options: WriteOptions
    overwrite: bool
    preview: bool

    @property
    def format(self) -> type[Format]:
        from mri_recon.catalog import look_up

        found: type[Format] = look_up("format", FORMATS, self.format_name)
        return found

    def target(self, name: str) -> Path:
        """The file or folder that the images of a scan go to."""
        stem = Path(name).stem
        # A folder beside the preview of the same name needs a name of its own.
        return self.folder / (
            f"{stem}_{self.format_name}" if self.format.folder else f"{stem}{self.format.suffix}"
        )

    def picture(self, target: Path) -> Path:
        """The preview of a result."""
        stem = target.name.removesuffix(f"_{self.format_name}" if self.format.folder else self.format.suffix)
        return target.with_name(f"{stem}.png")

    def refuse_clashes(self, paths: list[Path]) -> None:
        """Refuse results that would replace a scan or one another."""
        sources: dict[Path, Path] = {}
        for path in paths:
            target = self.target(path.name)
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

    def refuse_existing(self, target: Path) -> None:
        """Say before the work, not after it, that the result has no place to go."""
        for path in [target, *([self.picture(target)] if self.preview else [])]:
            if path.exists() and not self.overwrite:
                raise OutputError(
                    f"{path} exists. Replace it with --overwrite, or choose another folder with -o."
                )

    def refuse_other(self, target: Path, made: Method, method: str) -> None:
        """Refuse to keep a result that this call would have made differently, as far as its file says."""
        import json

        from mri_recon.data.storage import reconstruction_attributes

        if self.format_name != "h5":
            return
        told = reconstruction_attributes(target)
        if told.get("method") != method or told.get("settings") != json.dumps(made.as_dict()):
            raise OutputError(
                f"{target} was made by another method or settings; use --overwrite, or another folder with -o."
            )

    def write(self, target: Path, scan: Scan, result: Reconstruction) -> tuple[str, ...]:
        """Write images and preview; what the format cannot keep comes back."""
        from mri_recon.data.images import images_of

        images = images_of(scan, result.image, slices=result.slices, attributes=_attributes(result))
        notes = self.format.write_images(target, images, self.options, overwrite=self.overwrite)
        if self.preview:
            from mri_recon.report.figures import write_preview

            write_preview(self.picture(target), result, overwrite=self.overwrite)
        return notes


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


def _entry(result: Reconstruction, path: Path, target: Path, notes: tuple[str, ...]) -> dict[str, Any]:
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
        "notes": [*result.notes, *notes],
    }


def _weights(result: Reconstruction) -> list[float] | None:
    """The strength that the method chose for each slice, if it did."""
    chosen = [float(f"{c.weight:.4g}") for c in result.convergence if c.weight is not None]
    return chosen or None


def _print(results: list[dict[str, Any]]) -> None:
    def show(value: float | None, digits: int) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    header = ["output", "method", "lines", "effective R", "seconds", "NMSE", "PSNR (dB)", "SSIM"]
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
