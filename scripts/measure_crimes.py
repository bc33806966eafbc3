"""How often each data-crime detector is right: on measured scans, on crimes made from them, and on magnitude volumes.

    scripts/measure_crimes SCANS --anatomy FOLDER [-o crimes.md]

SCANS is a folder of measured, fully sampled scans in fastMRI's layout, none of which is a crime; FOLDER holds NIfTI
magnitude volumes, all of which are when turned into k-space. Three tables come out: false alarms on the scans and on
harmless changes of them, hits on crimes made from the scans, hits on the volumes. The table of docs/data_crimes.md is
its output.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mri_recon.data.storage import find_scans, read_scan
from mri_recon.inspection.find import CRIMES, examine
from mri_recon.inspection.finding import Finding
from mri_recon.inspection.support import noise_levels
from mri_recon.physics.coils import rss
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.geometry import center_crop
from mri_recon.physics.masks import generate_mask

Sample = tuple[np.ndarray, np.ndarray, bool]
"""K-space `(coil, height, width)`, target, and whether the file carries a mask."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", type=Path)
    parser.add_argument("--anatomy", type=Path, help="folder of NIfTI magnitude volumes")
    parser.add_argument("-o", "--output", type=Path, help="write the tables there too")
    arguments = parser.parse_args()
    scans = [(path.stem, *_load(path)) for path in find_scans([arguments.scans])]
    lines = ["### False alarms on measured scans", "", *false_alarms(scans)]
    lines += ["", "### Crimes made from measured scans", "", *hits(scans)]
    if arguments.anatomy:
        lines += ["", "### Magnitude volumes", "", *volumes(arguments.anatomy)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    return 0


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    scan = read_scan(path)
    return scan.kspace[0:1][0], scan.target[0:1][0]


def with_target(kspace: np.ndarray) -> Sample:
    """A scan whose target is its own image."""
    kspace = kspace.astype(np.complex64)
    return kspace, rss(ifftc(kspace)), False


# Harmless changes: what other scanners and other protocols give.


def harmless(
    kspace: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, Sample]]:
    height, width = kspace.shape[-2:]
    image = ifftc(kspace)
    yield "as it is", (kspace, target, False)
    for coil in kspace:
        yield "each coil by itself", with_target(coil[None])
    yield "readout cropped to 3/4", with_target(fftc(image[:, height // 8 : height - height // 8]))
    half = image[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    yield "object fills the field of view", with_target(fftc(half))
    partial = kspace.copy()
    partial[:, :, : width // 4] = 0
    yield "partial Fourier 6/8", with_target(partial)
    echo = kspace.copy()
    echo[:, : height // 4] = 0
    yield "asymmetric echo", with_target(echo)
    level = float(np.median(noise_levels(kspace)))
    noise = rng.standard_normal((2, *kspace.shape)) * 2 * level
    yield "noisier", with_target(kspace + noise[0] + 1j * noise[1])
    yield "other units", (kspace * np.float32(3e6), target * np.float32(3e6), False)
    for acceleration in (4, 8):
        mask = generate_mask("random", width, acceleration, 0.32 / acceleration, seed=1)
        yield f"undersampled {acceleration}×, mask in the file", (kspace * mask, target, True)


def false_alarms(scans: list[tuple[str, np.ndarray, np.ndarray]]) -> list[str]:
    """A row a kind of harmless change, a column a detector: alarms of samples."""
    rng = np.random.default_rng(0)
    counts: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    extremes: dict[str, list[float]] = {}
    limits: dict[str, float] = {}
    for _, kspace, target in scans:
        for what, sample in harmless(kspace, target, rng):
            findings = examine(sample[0], sample[1], declared_mask=sample[2])
            totals[what] = totals.get(what, 0) + 1
            for finding in findings:
                row = counts.setdefault(what, {})
                row[finding.crime] = row.get(finding.crime, 0) + finding.found
                if what == "as it is":
                    extremes.setdefault(finding.crime, []).append(finding.value)
                    limits[finding.crime] = finding.limit
    names = [name for name in CRIMES if name != "stated"]
    lines = [_row("samples", "n", *names), _row(*["---"] * (len(names) + 2))]
    lines += [_row(what, n, *(counts[what].get(name, 0) for name in names)) for what, n in totals.items()]
    lines += [_row("all", sum(totals.values()), *(sum(c.get(n, 0) for c in counts.values()) for n in names))]
    spread = (f"{min(extremes[n]):.2g} … {max(extremes[n]):.2g}" for n in names)
    lines += [_row("evidence, as it is", "", *spread)]
    return [*lines, _row("limit", "", *(f"{limits[n]:g}" for n in names))]


# Crimes.


def padded(kspace: np.ndarray, factor: float, axes: tuple[int, ...] = (1, 2)) -> np.ndarray:
    shape = [round(n * factor) if axis in axes else n for axis, n in enumerate(kspace.shape)]
    out = np.zeros(shape, kspace.dtype)
    at = tuple(slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(shape, kspace.shape, strict=True))
    out[at] = kspace
    return out


def magnitude_kspace(kspace: np.ndarray) -> np.ndarray:
    return fftc(rss(ifftc(kspace)).astype(np.complex64)[None])


def per_coil(kspace: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Change real and imaginary part of each coil image, in units of its noise."""
    out = []
    for coil, level in zip(ifftc(kspace), noise_levels(kspace), strict=True):
        parts = change(np.stack([coil.real, coil.imag], axis=-1) / level) * level
        out.append(parts[..., 0] + 1j * parts[..., 1])
    return fftc(np.stack(out).astype(np.complex64))


def total_variation(parts: np.ndarray) -> np.ndarray:
    from skimage.restoration import denoise_tv_chambolle

    return denoise_tv_chambolle(parts, weight=1.5, channel_axis=-1)


def non_local_means(parts: np.ndarray) -> np.ndarray:
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(parts, h=1.0, patch_size=5, patch_distance=6, channel_axis=-1)


def median_filter(parts: np.ndarray) -> np.ndarray:
    from scipy.ndimage import median_filter as median

    return median(parts, size=(3, 3, 1))


def gaussian(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.ndimage import gaussian_filter

    return lambda parts: gaussian_filter(parts, (sigma, sigma, 0), mode="wrap")


def blanked(kspace: np.ndarray) -> np.ndarray:
    image = ifftc(kspace)
    brightness = rss(image)
    return fftc(image * (brightness > 0.15 * brightness.max()))


def ellipse(kspace: np.ndarray) -> np.ndarray:
    y, x = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in kspace.shape[-2:])
    return kspace * (y[:, None] ** 2 + x**2 <= 1)


def window(kspace: np.ndarray, kind: str) -> np.ndarray:
    from scipy.signal import get_window

    spec = ("tukey", 0.3) if kind == "tukey" else kind
    return (
        kspace
        * get_window(spec, kspace.shape[1], fftbins=False)[:, None]
        * get_window(spec, kspace.shape[2], fftbins=False)
    )


def rounded(kspace: np.ndarray, steps: float) -> np.ndarray:
    step = steps * float(np.median(noise_levels(kspace)))
    return (np.round(kspace.real / step) + 1j * np.round(kspace.imag / step)).astype(np.complex64) * step


def half(kspace: np.ndarray) -> np.ndarray:
    scaled = kspace / np.abs(kspace).max() * 1000
    return scaled.real.astype(np.float16) + 1j * scaled.imag.astype(np.float16)


def levels(kspace: np.ndarray, n: int) -> np.ndarray:
    image = rss(ifftc(kspace))
    return fftc(np.round(image / image.max() * n).astype(np.complex64)[None])


def jpeg(kspace: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    image = rss(ifftc(kspace))
    file = io.BytesIO()
    Image.fromarray(np.round(image / image.max() * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return fftc(np.asarray(Image.open(file)).astype(np.complex64)[None])


def masked(kspace: np.ndarray, acceleration: int) -> np.ndarray:
    return kspace * generate_mask("random", kspace.shape[-1], acceleration, 0.32 / acceleration, seed=1)


def every_second(kspace: np.ndarray) -> np.ndarray:
    out = kspace.copy()
    out[:, :, ::2] = 0
    return out


def leaking(kspace: np.ndarray) -> np.ndarray:
    """Masked, then stored with crumbs in the columns left out, as after smooth changes of the image."""
    return masked(kspace, 4) + kspace * 1e-3


def crimes(kspace: np.ndarray, target: np.ndarray) -> Iterator[tuple[str, str, Sample]]:
    """Crime, how it was made, and the sample."""
    for factor in (1.25, 1.5, 2):
        yield "zero-padded", f"zero-filled to {factor}×", with_target(padded(kspace, factor))
    yield "zero-padded", "columns alone zero-filled to 1.5×", with_target(padded(kspace, 1.5, axes=(2,)))
    yield "conjugate-symmetric", "magnitude image", with_target(magnitude_kspace(kspace))
    each = fftc(np.abs(ifftc(kspace)).astype(np.complex64))
    yield "conjugate-symmetric", "magnitude image of each coil", with_target(each)
    moved = np.roll(magnitude_kspace(kspace), (1, -2), axis=(1, 2))
    yield "conjugate-symmetric", "magnitude image, k-space off centre", with_target(moved)
    yield (
        "conjugate-symmetric",
        "magnitude image, zero-filled first",
        with_target(magnitude_kspace(padded(kspace, 2))),
    )
    yield "empty-noise-floor", "background blanked", with_target(blanked(kspace))
    yield "denoised", "total variation", with_target(per_coil(kspace, total_variation))
    yield "denoised", "non-local means", with_target(per_coil(kspace, non_local_means))
    yield "denoised", "median filter 3×3", with_target(per_coil(kspace, median_filter))
    for sigma in (0.5, 0.7, 1.0):
        yield (
            "filtered-corners",
            f"Gaussian filter, σ {sigma} pixels",
            with_target(per_coil(kspace, gaussian(sigma))),
        )
    for kind in ("hamming", "tukey"):
        yield "filtered-corners", f"{kind.capitalize()} window", with_target(window(kspace, kind))
    yield "filtered-corners", "corners cut off (ellipse)", with_target(ellipse(kspace))
    yield "already-masked", "every second column", with_target(every_second(kspace))
    for acceleration in (4, 8):
        yield "already-masked", f"random columns {acceleration}×", with_target(masked(kspace, acceleration))
    yield "already-masked", "random columns 4×, with crumbs", with_target(leaking(kspace))
    for steps in (0.5, 2, 5):
        yield "quantised", f"rounded to {steps} times the noise", with_target(rounded(kspace, steps))
    yield "quantised", "half precision", with_target(half(kspace))
    yield "grey-levels", "8-bit picture", with_target(levels(kspace, 255))
    yield "grey-levels", "12-bit picture", with_target(levels(kspace, 4095))
    for quality in (50, 75, 90, 95):
        yield "jpeg-blocks", f"JPEG, quality {quality}", with_target(jpeg(kspace, quality))
    image = rss(ifftc(kspace))
    yield "target-mismatch", "scaled by 1.1", (kspace, target * np.float32(1.1), False)
    yield "target-mismatch", "shifted by 2, −3 pixels", (kspace, np.roll(target, (2, -3), axis=(0, 1)), False)
    yield "target-mismatch", "upside down", (kspace, target[::-1], False)
    h, w = (n - 24 for n in target.shape)
    yield (
        "target-mismatch",
        "cropped off centre",
        (kspace, np.roll(image, (5, 7), axis=(0, 1))[:h, :w], False),
    )
    smaller = center_crop(kspace, (h, w))
    yield "target-mismatch", "resized", (kspace, rss(ifftc(smaller)), False)
    from scipy.ndimage import gaussian_filter

    yield "target-mismatch", "smoothed", (kspace, gaussian_filter(target, 1.0), False)
    yield (
        "target-mismatch",
        "clipped at its 99th percentile",
        (kspace, target.clip(max=np.quantile(target, 0.99)), False),
    )
    mask = generate_mask("random", kspace.shape[-1], 4, 0.08, seed=1)
    yield "target-mismatch", "made from the undersampled k-space", (*with_target(kspace * mask)[:2], True)


def hits(scans: list[tuple[str, np.ndarray, np.ndarray]]) -> list[str]:
    """A row a crime: how many of the scans with it were found by its own detector, and by any."""
    rows: dict[tuple[str, str], list[tuple[Finding, list[str]]]] = {}
    for _, kspace, target in scans:
        for crime, how, sample in crimes(kspace, target):
            findings = examine(sample[0], sample[1], declared_mask=sample[2])
            own = next(finding for finding in findings if finding.crime == crime)
            found = [finding.crime for finding in findings if finding.found]
            rows.setdefault((crime, how), []).append((own, found))
    lines = [
        _row("crime", "how it was made", "found", "by any detector", "evidence", "limit"),
        _row(*["---"] * 6),
    ]
    for (crime, how), results in rows.items():
        values = [own.value for own, _ in results]
        lines.append(
            _row(
                crime,
                how,
                f"{sum(own.found for own, _ in results)} of {len(results)}",
                f"{sum(bool(found) for _, found in results)} of {len(results)}",
                f"{min(values):.2g} … {max(values):.2g}",
                f"{results[0][0].limit:g}",
            )
        )
    return lines


# Magnitude volumes.


def volumes(folder: Path) -> list[str]:
    """A row a way from magnitudes to k-space: how many of the slices each detector, and any, found."""
    import nibabel

    counts: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    rng = np.random.default_rng(0)
    for path in sorted(folder.glob("*.nii*")):
        volume = nibabel.load(path)
        depth = volume.shape[2]
        for z in (depth // 3, depth // 2, 2 * depth // 3):
            image = np.asarray(volume.dataobj[:, :, z], dtype=np.float64)
            for how, kspace in from_magnitude(image, rng):
                findings = examine(*with_target(kspace)[:2])
                row = counts.setdefault(how, {})
                totals[how] = totals.get(how, 0) + 1
                row["any"] = row.get("any", 0) + any(finding.found for finding in findings)
                for finding in findings:
                    row[finding.crime] = row.get(finding.crime, 0) + finding.found
    names = ["any", *(name for name in CRIMES if name not in ("already-masked", "target-mismatch", "stated"))]
    lines = [_row("k-space from", "n", *names), _row(*["---"] * (len(names) + 2))]
    return lines + [_row(how, n, *(counts[how].get(name, 0) for name in names)) for how, n in totals.items()]


def from_magnitude(image: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    height, width = image.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    yield "the magnitudes", fftc(image.astype(np.complex64)[None])
    phase = np.exp(1j * (2 * x - y + 1.5 * x * y + y**2))
    yield "magnitudes × smooth phase", fftc((image * phase).astype(np.complex64)[None])
    centers = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
    maps = np.stack([np.exp(-((y - b) ** 2 + (x - a) ** 2) / 3 + 1j * (a * x + b * y)) for a, b in centers])
    maps /= rss(maps)
    coils = fftc((image * phase * maps).astype(np.complex64))
    yield "magnitudes × phase × 4 simulated coils", coils
    for snr in (100, 20):
        level = image.max() / snr / np.sqrt(2)
        noise = rng.standard_normal((2, *coils.shape)) * level
        yield f"the same with noise, SNR {snr}", (coils + noise[0] + 1j * noise[1]).astype(np.complex64)


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    sys.exit(main())
