"""A folder of scans by one or several methods, scored: one table of per-volume metrics.

>>> from mri_recon import evaluate
>>> table = evaluate("scans/", methods=["zero-filled", "cs"], pairs=[(4, 0.08), (8, 0.04)])  # doctest: +SKIP
>>> print(table.markdown())  # doctest: +SKIP
"""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mri_recon
from mri_recon.catalog import METHODS, look_up
from mri_recon.data.formats.registry import read_scan
from mri_recon.data.phantom import sample_set
from mri_recon.data.sampling import AS_ACQUIRED
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans, read_first_slice, read_reconstruction
from mri_recon.device import resolve_device
from mri_recon.errors import MriReconError, ScanError, SettingsError, suggestion
from mri_recon.inspection.find import crime_notes
from mri_recon.methods.base import Method
from mri_recon.metrics import Metrics, score
from mri_recon.physics.masks import Columns
from mri_recon.reconstruct import Reconstruction, make_method, method_name_of, reconstruct

METRICS = ("nmse", "psnr", "ssim")

Pair = tuple[float, float | None]
"""Acceleration and center_fraction; None lets the acceleration choose its usual centre."""


@dataclass(frozen=True)
class VolumeScore:
    """The metrics of one volume by one method, and how it was sampled.

    `acceleration` is the nominal one, None where it is not known.
    """

    file: str
    method: str
    acquisition: str
    acceleration: float | None
    center_fraction: float | None
    effective_acceleration: float | None
    mask: str
    lines: int | None
    mask_sha256: str
    slices: int
    nmse: float
    psnr: float
    ssim: float
    seconds: float
    converged: bool | None


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and 95 % interval of one metric over volumes."""

    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class SummaryRow:
    """All metrics of one method at one acceleration, for one acquisition or for all together."""

    method: str
    acceleration: str
    acquisition: str
    volumes: int
    nmse: Summary
    psnr: Summary
    ssim: Summary


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Parameters
    ----------
    settings
        Everything needed to run it again.
    failures
        Files that could not be scored, with the reason.
    """

    settings: Mapping[str, Any]
    volumes: tuple[VolumeScore, ...]
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> tuple[SummaryRow, ...]:
        """Per method, acceleration and acquisition, and over all acquisitions where there are several."""
        groups: dict[tuple[str, str, str], list[VolumeScore]] = {}
        for volume in self.volumes:
            for acquisition in (volume.acquisition, ALL):
                groups.setdefault((volume.method, _acceleration(volume), acquisition), []).append(volume)
        acquisitions = [*dict.fromkeys(volume.acquisition for volume in self.volumes), ALL]
        return tuple(
            SummaryRow(method, acceleration, acquisition, len(group), *(_summary(group, m) for m in METRICS))
            for wanted in acquisitions
            for (method, acceleration, acquisition), group in groups.items()
            if acquisition == wanted and (acquisition != ALL or len(acquisitions) > 2)
        )

    def as_dict(self) -> dict[str, Any]:
        """One JSON-ready object: settings, volumes, summary, failures, notes."""
        return {
            "settings": dict(self.settings),
            "volumes": [asdict(volume) for volume in self.volumes],
            "summary": [asdict(row) for row in self.summary],
            "failures": [{"file": file, "reason": reason} for file, reason in self.failures],
            "notes": list(self.notes),
        }

    def json(self) -> str:
        """As `as_dict`, in standard JSON: numbers that are not finite become null."""
        return json.dumps(_finite(self.as_dict()), indent=2, allow_nan=False)

    def csv(self) -> str:
        """A row a volume and method."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(VolumeScore.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(volume) for volume in self.volumes)
        return text.getvalue()

    def markdown(self) -> str:
        """Summary and volumes as two Markdown tables."""
        return f"{_markdown(*self.summary_table())}\n\n{_markdown(*self.volume_table())}\n"

    def summary_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of the summary, formatted: mean ± standard deviation [95 % interval]."""
        header = ["method", "R", "acquisition", "volumes", "NMSE", "PSNR (dB)", "SSIM"]
        rows = [
            [
                row.method,
                row.acceleration,
                row.acquisition,
                str(row.volumes),
                _show(row.nmse, 4),
                _show(row.psnr, 2),
                _show(row.ssim, 4),
            ]
            for row in self.summary
        ]
        return header, rows

    def volume_table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of the volumes, formatted."""
        header = ["file", "method", "R", "lines", "slices", "NMSE", "PSNR (dB)", "SSIM", "seconds"]
        rows = [
            [
                v.file,
                v.method,
                _acceleration(v),
                "–" if v.lines is None else str(v.lines),
                str(v.slices),
                f"{v.nmse:.4f}",
                f"{v.psnr:.2f}",
                f"{v.ssim:.4f}",
                f"{v.seconds:.2f}",
            ]
            for v in self.volumes
        ]
        return header, rows


ALL = "all"


def failure_text(file: str, reason: str) -> str:
    """A failure's reason with its file, which the reason may name already."""
    return reason if file in reason else f"{file}: {reason}"


OnVolume = Callable[[int, int, Scan, Reconstruction], None]


def evaluate(
    data: str | Path | Scan | Iterable[str | Path | Scan] | None = None,
    methods: Sequence[str | Method] = ("zero-filled", "cs"),
    *,
    pairs: Sequence[Pair] | None = None,
    mask: str | Columns | Path | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    weights: str | Path | None = None,
    slices: tuple[int, int] | None = None,
    device: str = "auto",
    on_volume: OnVolume | None = None,
) -> Evaluation:
    """Reconstruct every scan by every method at every (acceleration, center_fraction), and score it.

    Parameters
    ----------
    data
        A folder, files, or scans; by default the built-in generated test set.
    methods
        Names, or methods made beforehand.
    pairs
        Each is evaluated, by default 4 with 0.08; a scan that was undersampled already is used as acquired, once.
    settings, weights
        For the methods named that know them.
    slices
        First slice and one past the last, of each scan.
    on_volume
        Called after each reconstruction with how many are done and to do, the scan and the reconstruction.

    Raises
    ------
    MriReconError
        A setting that cannot work, or nothing at all that could be scored. Files that fail among others are
        listed in `Evaluation.failures`.
    """
    _refuse_unknown(settings or {}, methods)
    made = [_make(method, settings or {}, weights) for method in methods]
    if weights is not None and not any(method.learned for method in made):
        raise SettingsError("None of the methods takes weights. Leave --weights out, or add --method unet.")
    names = [name for name, _ in _described(made)]
    if len(set(names)) < len(names):
        raise SettingsError(
            f"Methods {', '.join(names)}: one is there twice, and its scores would be mixed. Evaluate one at a time."
        )
    for method in made:
        resolve_device(device, learned=method.learned)
    scans = _Scans.of(data)
    chosen: Sequence[tuple[float | None, float | None]] = pairs or ((None, None),)
    total = len(scans) * len(made) * len(chosen)
    volumes: list[VolumeScore] = []
    failures: list[tuple[str, str]] = []
    notes: list[str] = list(scans.notes)
    done = 0
    for name, scan in scans.read(failures):
        if scan is None or scan.target is None:
            if scan is not None:
                failures.append((name, "It has no target, so there is nothing to score against."))
            done += len(made) * len(chosen)
            continue
        notes.extend(crime_notes(scan, slices))
        as_acquired = False
        for acceleration, center_fraction in chosen:
            for method in made:
                done += 1
                if as_acquired:
                    continue
                try:
                    result = reconstruct(
                        scan,
                        method,
                        mask=mask,
                        acceleration=acceleration,
                        center_fraction=center_fraction,
                        seed=seed,
                        slices=slices,
                        device=device,
                    )
                except MriReconError as error:
                    failures.append((name, str(error)))
                    continue
                if result.metrics is None:
                    failures.append((name, result.notes[-1]))
                    continue
                volumes.append(_volume_score(scan, result, result.metrics))
                notes.extend(f"{name}: {note}" for note in result.notes)
                if volumes[-1].converged is False:
                    notes.append(f"{name}: {result.method} stopped before it converged.")
                if on_volume is not None:
                    on_volume(done, total, scan, result)
            # What the file dictates is the same at every pair.
            as_acquired = bool(volumes) and volumes[-1].file == name and volumes[-1].mask == AS_ACQUIRED
    if not volumes:
        reason = f" {failure_text(*failures[0])}" if failures else ""
        raise ScanError(f"Nothing could be scored.{reason}")
    described = {
        "version": mri_recon.__version__,
        "python": platform.python_version(),
        "data": scans.description,
        "methods": {result: dict(values) for result, values in _described(made)},
        "pairs": [list(pair) for pair in pairs or ((4.0, 0.08),)],
        "mask": "array" if isinstance(mask, np.ndarray) else str(mask or "random"),
        "seed": "file name" if seed is None else seed,
        "slices": list(slices) if slices else None,
        "metrics": "per volume, centre square of the target's width, data_range = target volume's maximum",
    }
    # Methods fail alike on a scan that is broken: once is enough.
    return Evaluation(described, tuple(volumes), tuple(dict.fromkeys(failures)), tuple(dict.fromkeys(notes)))


def score_reconstructions(folder: str | Path, targets: str | Path) -> Evaluation:
    """Score images made elsewhere: each file of `folder` against the target in the file of its name.

    Raises
    ------
    MriReconError
        No pair of files could be scored.
    """
    volumes: list[VolumeScore] = []
    failures: list[tuple[str, str]] = []
    for path in find_scans([targets]):
        try:
            scan = read_scan(path)
            if scan.target is None:
                raise ScanError("It has no target, so there is nothing to score against.")
            # `mri-recon reconstruct` writes .h5, whatever the scan is called.
            named = (Path(folder) / path.name, Path(folder) / path.with_suffix(".h5").name)
            made = next((file for file in named if file.exists()), None)
            if made is None:
                raise ScanError(f"{folder} holds no file of that name.")
            images = read_reconstruction(made)
            first = read_first_slice(made)
            # Images that do not say where they start are those of the whole volume.
            covered = slice(None) if first is None else slice(first, first + len(images))
            metrics = score(scan.target[covered], images)
        except MriReconError as error:
            failures.append((path.name, str(error)))
            continue
        nothing = VolumeScore(
            path.name, "reconstructions", scan.acquisition, None, None, None, "made elsewhere", None, "",
            len(images), metrics.nmse, metrics.psnr, metrics.ssim, 0.0, None,
        )  # fmt: skip
        volumes.append(nothing)
    if not volumes:
        reason = f" {failure_text(*failures[0])}" if failures else ""
        raise ScanError(f"Nothing could be scored.{reason}")
    described = {
        "version": mri_recon.__version__,
        "reconstructions": str(folder),
        "targets": str(targets),
        "metrics": "per volume, centre square of the target's width, data_range = target volume's maximum",
    }
    return Evaluation(described, tuple(volumes), tuple(failures))


@dataclass(frozen=True)
class _Scans:
    """Scans to come, each opened when its turn has come."""

    sources: Sequence[Path | Scan]
    description: Any
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: str | Path | Scan | Iterable[str | Path | Scan] | None) -> _Scans:
        if data is None:
            generated = sample_set("test")
            note = "No data was given: these are generated scans, kinder than measured ones."
            return cls(generated, f"built-in generated test set, {len(generated)} scans", (note,))
        items = [data] if isinstance(data, str | Path | Scan) else list(data)
        scans = [item for item in items if isinstance(item, Scan)]
        named = [item for item in items if not isinstance(item, Scan)]
        paths = find_scans(named) if named or not scans else []
        return cls([*scans, *paths], [*(scan.name for scan in scans), *map(str, paths)])

    def __len__(self) -> int:
        return len(self.sources)

    def read(self, failures: list[tuple[str, str]]) -> Iterator[tuple[str, Scan | None]]:
        for source in self.sources:
            if isinstance(source, Scan):
                yield source.name, source
                continue
            try:
                yield source.name, read_scan(source)
            except MriReconError as error:
                failures.append((source.name, str(error)))
                yield source.name, None


def _refuse_unknown(settings: Mapping[str, Any], methods: Sequence[str | Method]) -> None:
    """Refuse a setting that none of the methods knows."""
    named = [method for method in methods if isinstance(method, str)]
    known = {key for name in named for key in look_up("method", METHODS, name).settings()}
    for key in settings:
        if key not in known:
            raise SettingsError(
                f"None of the methods {', '.join(named)} has a setting '{key}'. {suggestion(key, known)}"
            )


def _make(method: str | Method, settings: Mapping[str, Any], weights: str | Path | None) -> Method:
    """A method with those of the settings that it knows."""
    if isinstance(method, Method):
        return method
    cls: type[Method] = look_up("method", METHODS, method)
    own = {key: value for key, value in settings.items() if key in cls.settings()}
    return make_method(method, own, weights if cls.learned else None)


def _described(methods: Sequence[Method]) -> Iterator[tuple[str, dict[str, Any]]]:
    for method in methods:
        yield method_name_of(method), method.as_dict()


def _volume_score(scan: Scan, result: Reconstruction, metrics: Metrics) -> VolumeScore:
    mask = result.mask
    nominal = mask.acceleration
    if mask.kind == AS_ACQUIRED:
        # fastMRI's test files name the acceleration that their mask was made for.
        stated = scan.attributes.get("acceleration")
        nominal = float(stated) if isinstance(stated, int | float) and stated >= 1 else None
    return VolumeScore(
        file=scan.name,
        method=result.method,
        acquisition=scan.acquisition,
        acceleration=nominal,
        center_fraction=mask.center_fraction,
        effective_acceleration=round(mask.effective_acceleration, 2),
        mask=mask.kind,
        lines=mask.n_lines,
        mask_sha256=mask.sha256,
        slices=len(result.image),
        nmse=metrics.nmse,
        psnr=metrics.psnr,
        ssim=metrics.ssim,
        seconds=result.seconds,
        converged=result.converged,
    )


def _summary(group: Sequence[VolumeScore], metric: str) -> Summary:
    values = np.array([getattr(volume, metric) for volume in group], dtype=float)
    low, high = bootstrap_interval(values)
    std = float(values.std(ddof=1)) if values.size > 1 and np.isfinite(values).all() else float("nan")
    return Summary(float(values.mean()), std, low, high)


def bootstrap_interval(values: NDArray[np.floating], *, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean over volumes, by resampling them with a fixed seed.

    Not a number where there are fewer than two values, of which no interval can be known.
    """
    if values.size < 2 or not np.isfinite(values).all():
        return float("nan"), float("nan")
    rng = np.random.default_rng(0)
    means = values[rng.integers(values.size, size=(draws, values.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _show(summary: Summary, digits: int) -> str:
    text = f"{summary.mean:.{digits}f}"
    if not np.isnan(summary.std):
        text += f" ± {summary.std:.{digits}f} [{summary.low:.{digits}f}, {summary.high:.{digits}f}]"
    return text


def _acceleration(volume: VolumeScore) -> str:
    return volume.mask if volume.acceleration is None else f"{volume.acceleration:g}"


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
