"""``mri-recon demo``: the whole tool on one generated scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mri_recon.catalog import LEARNED_METHODS, ready_methods
from mri_recon.cli import options
from mri_recon.cli.console import progress, result_json, say, warn


@click.command("demo", epilog="Example: mri-recon demo -o mri-recon-demo")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("mri-recon-demo"), show_default=True,
    metavar="DIR", help="Folder for the scan, pictures and report.",
)  # fmt: skip
@options.method(multiple=True, default=ready_methods())
@options.sampling
@options.device
@options.threads
@options.as_json
@options.common
def command(
    output: Path,
    methods: tuple[str, ...],
    mask: str | None,
    acceleration: tuple[float, ...],
    center_fraction: tuple[float, ...],
    seed: int | None,
    mask_file: Path | None,
    device: str,
    as_json: bool,
) -> int:
    """Make a sample scan, undersample it, reconstruct it by every method that needs nothing more, and compare.

    The scan's k-space is computed in closed form from ellipses, so no method meets its own approximations. Files
    of an earlier demo in DIR are replaced.
    """
    from mri_recon.cli.evaluate import show
    from mri_recon.data.phantom import sample_scan
    from mri_recon.data.storage import write_scan
    from mri_recon.evaluation.run import evaluate
    from mri_recon.evaluation.table import failure_text
    from mri_recon.files import make_folder
    from mri_recon.report.build import write_report
    from mri_recon.report.figures import write_comparison, write_mask_picture
    from mri_recon.report.gallery import Gallery

    make_folder(output)
    scan = sample_scan("head", height=320, width=320, n_slices=3, n_coils=8, noise=0.01, seed=2026)
    write_scan(output / scan.name, scan, overwrite=True)
    say(
        f"Wrote {output / scan.name}: a generated scan, {scan.n_slices} slices, {scan.n_coils} coils, 320×320."
    )
    gallery = Gallery()
    first: dict[str, Any] = {}
    with progress("reconstructing") as update:

        def on_volume(done: int, total: int, scanned: Any, result: Any) -> None:
            update(done, total, result.method)
            gallery.add(result)
            # Of several accelerations the pictures show the first.
            first.setdefault(result.method, result)

        found = evaluate(
            [scan],
            methods,
            pairs=options.pairs(acceleration, center_fraction),
            mask=options.mask_choice(mask, mask_file),
            seed=seed,
            device=device,
            on_volume=on_volume,
        )
    middle = scan.n_slices // 2
    shown = {method: result.image[middle] for method, result in first.items()}
    one = next(iter(first.values()))
    write_comparison(output / "comparison.png", shown, one.target[middle], overwrite=True)
    write_mask_picture(output / "mask.png", one.mask, overwrite=True)
    write_report(output / "report.html", found, gallery, overwrite=True)
    if as_json:
        result_json(found.json())
    else:
        show(found)
    for file, reason in found.failures:
        warn(failure_text(file, reason))
    if any(name in LEARNED_METHODS for name in methods):
        say(
            "The target here holds no noise, where a scanner's does, and the networks keep the scan's: their SSIM is "
            "lower than on measured scans."
        )
    say(f"Look at {output / 'comparison.png'} and {output / 'report.html'}.")
    say(f"Next: mri-recon reconstruct {output / scan.name} --method cs -o {output / 'out'}")
    return 1 if found.failures else 0
