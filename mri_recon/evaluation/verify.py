"""A written result, run again and compared digit by digit."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from mri_recon.errors import ScanError, SettingsError
from mri_recon.evaluation.definitions import COLUMNS
from mri_recon.evaluation.elsewhere import score_reconstructions
from mri_recon.evaluation.manifest import file_sha256, machine, versions, weights_record
from mri_recon.evaluation.run import OnProgress, evaluate
from mri_recon.evaluation.scores import METRICS
from mri_recon.evaluation.table import Evaluation
from mri_recon.evaluation.written import WrittenResults
from mri_recon.files import one_line
from mri_recon.reconstruct import make_method

DIGITS = 12
"""Significant digits in which two numbers must agree to be called equal."""

EXACT = ("acquisition", "lines", "mask", "mask_sha256", "slices")


@dataclass(frozen=True)
class Verification:
    """What came of it.

    Parameters
    ----------
    compared
        Numbers that were held against each other.
    differences
        What is not as the result says: a file, or a volume, method and digit. None means equal.
    notes
        What may explain a difference: other versions or another machine than then.
    """

    compared: int
    differences: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether all is as the result says."""
        return not self.differences


def verify(
    results: str | Path,
    data: str | Path | None = None,
    *,
    digits: int = DIGITS,
    workers: int = 1,
    on_progress: OnProgress | None = None,
) -> Verification:
    """Run the evaluation that a JSON result describes again, and compare.

    Parameters
    ----------
    results
        What ``mri-recon evaluate -o results.json`` wrote.
    data
        Folder that holds the scans here, where they are not at the paths that the result names.
    digits
        Significant digits in which numbers must agree.
    workers, on_progress
        As in `mri_recon.evaluation.run.evaluate`.

    Raises
    ------
    MriReconError
        The file is no such result, or describes an evaluation that cannot be run from files.
    """
    told = read_results(Path(results))
    try:
        return _verified(told, data, digits, workers, on_progress)
    except SettingsError as error:
        raise SettingsError(f"{one_line(results)}: {error}") from error


def _verified(
    told: Mapping[str, Any],
    data: str | Path | None,
    digits: int,
    workers: int,
    on_progress: OnProgress | None,
) -> Verification:
    settings, manifest = told["settings"], told["manifest"]
    places = _places(manifest["files"], None if data is None else Path(data))
    differences = list(_changed_files(manifest, places))
    try:
        found = _again(settings, manifest, places, None if data is None else Path(data), workers, on_progress)
    except ScanError as error:
        # Nothing at all could be scored: with files missing, that is what there is to say.
        differences.append(str(error))
        return Verification(0, tuple(differences), _other_conditions(manifest))
    # What was written is what is compared: JSON has no infinity.
    again = json.loads(found.json())
    compared, apart = _compare(told["volumes"], again["volumes"], digits)
    differences += apart
    before = {f["file"] for f in told["failures"]}
    differences += [
        f"{file}: cannot be scored now, {one_line(reason)}"
        for file, reason in found.failures
        if file not in before
    ]
    differences += _other_hashes(manifest["files"], again["manifest"]["files"])
    return Verification(compared, tuple(dict.fromkeys(differences)), _other_conditions(manifest))


def read_results(path: Path) -> dict[str, Any]:
    """Read a result that ``evaluate -o results.json`` wrote.

    Raises
    ------
    SettingsError
        It is not one.
    """
    shown = one_line(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{shown} cannot be read: {error.strerror}. Name a results.json that `evaluate -o` wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(
            f"{shown} is not JSON ({error}). Name a results.json that `evaluate -o` wrote."
        ) from error
    try:
        WrittenResults.model_validate(told)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"]) or "it"
        raise SettingsError(
            f"{shown} holds no evaluation with its manifest ({one_line(where)}: {first['msg']}). "
            "Evaluate again with this version: -o results.json."
        ) from error
    return dict(told)


def _places(files: Sequence[Mapping[str, Any]], data: Path | None) -> dict[str, Path]:
    """Where each path that the manifest names is here."""
    named = [str(f["path"]) for f in files if f["path"]]
    if data is None:
        return {path: Path(path) for path in named}
    if not data.is_dir():
        return dict.fromkeys(named, data)
    # As they lay to one another, if they do here; else by their names alone.
    together = os.path.commonpath([str(Path(path).absolute().parent) for path in named]) if named else ""
    places = {}
    for path in named:
        below = data / Path(path).absolute().relative_to(together)
        places[path] = below if below.exists() else data / Path(path).name
    twice = [place for place in places.values() if list(places.values()).count(place) > 1]
    if twice:
        raise SettingsError(
            f"Several scans of the evaluation are called {one_line(twice[0].name)}. Keep the folders they were in "
            f"below {one_line(data)}."
        )
    return places


def _changed_files(manifest: Mapping[str, Any], places: Mapping[str, Path]) -> Iterator[str]:
    for record in manifest["files"]:
        if not record["path"]:
            continue
        path = places[str(record["path"])]
        yield from _changed(path, record["sha256"] if record["hashed"] == "file" else None)
        if "reconstruction" in record:
            yield from _changed(Path(record["reconstruction"]), record["reconstruction_sha256"])
    for method, record in manifest.get("weights", {}).items():
        now = weights_record(make_method(method, manifest["methods"].get(method)))
        if now["sha256"] != record["sha256"]:
            yield f"The weights of {method}, {record['file']}, are {'other ones' if now['sha256'] else 'missing'}."


def _changed(path: Path, sha256: str | None) -> Iterator[str]:
    """What became of a file; its contents are not looked at where no hash of them is known."""
    if not path.is_file():
        yield f"{one_line(path)} is missing."
    elif sha256 is not None and file_sha256(path) != sha256:
        yield f"{one_line(path)} has changed: its sha256 is {file_sha256(path)[:16]}…, it was {sha256[:16]}…."


def _again(
    settings: Mapping[str, Any],
    manifest: Mapping[str, Any],
    places: Mapping[str, Path],
    data: Path | None,
    workers: int,
    on_progress: OnProgress | None,
) -> Evaluation:
    metrics = tuple(settings.get("definitions", ()))
    if "reconstructions" in settings:
        return score_reconstructions(
            settings["reconstructions"], data or settings["targets"], metrics=metrics
        )
    mask = settings["mask"]
    if any(not f["path"] and isinstance(settings["data"], list) for f in manifest["files"]):
        raise SettingsError(
            "This evaluation was of scans in a Python program, which are not kept with it. Only evaluations of files "
            "can be run again."
        )
    scans: Any = None
    if isinstance(settings["data"], list):
        listed = list(places.values()) + [Path(p) for p in settings["data"] if p not in places]
        scans = [path for path in dict.fromkeys(listed) if path.is_file()]
        if not scans:
            raise ScanError("None of the scans is here. Name the folder they are in after --verify FILE.")
    own: Any = None
    if mask == "array":
        own = np.array([digit == "1" for digit in settings["mask_columns"]])
    pairs = [(float(r), None if f is None else float(f)) for r, f in settings["pairs"]]
    slices = settings.get("slices")
    return evaluate(
        scans,
        [make_method(name, values) for name, values in settings["methods"].items()],
        # As given then, defaults included: a mask of one's own leaves nothing to draw.
        pairs=pairs if own is None else None,
        mask=mask if own is None else own,
        seed=settings["seed"] if isinstance(settings["seed"], int) else None,
        slices=(slices[0], slices[1]) if slices else None,
        device=settings.get("device", "auto"),
        metrics=metrics,
        workers=workers,
        on_progress=on_progress,
    )


def _compare(
    told: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]], digits: int
) -> tuple[int, list[str]]:
    before, now = _keyed(told), _keyed(again)
    compared, apart = 0, []
    for key, old in before.items():
        new = now.get(key)
        what = f"{old['file']}, {old['method']}, {_rate(old)}"
        if new is None:
            apart.append(f"{what}: not there this time.")
            continue
        for name in EXACT:
            if name in old and old[name] != new.get(name):
                apart.append(f"{what}: {name} is {new.get(name)}, it was {old[name]}.")
        for name in (*METRICS, *(c for columns in COLUMNS.values() for c in columns if c in old)):
            compared += 1
            if not _equal(old[name], new.get(name), digits):
                apart.append(f"{what}: {name} {_digit(old[name], new.get(name))}.")
    apart += [
        f"{row['file']}, {row['method']}, {_rate(row)}: was not there." for key, row in now.items()
        if key not in before
    ]  # fmt: skip
    return compared, apart


def _keyed(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    keyed: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for row in rows:
        number = 0
        while (key := (row["file"], row["method"], row.get("acceleration"), number)) in keyed:
            number += 1
        keyed[key] = row
    return keyed


def _rate(row: Mapping[str, Any]) -> str:
    rate = row.get("acceleration")
    return str(row.get("mask")) if rate is None else f"{rate:g}×"


def _equal(old: Any, new: Any, digits: int) -> bool:
    if old is None or new is None:
        return old is new
    return bool(np.isclose(old, new, rtol=10.0 ** (1 - digits) / 2, atol=0))


def _digit(old: Any, new: Any) -> str:
    """How two numbers that are not equal differ: the first digit, counted from the first that is not zero."""
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return f"is {new}, it was {old}"
    relative = abs(new - old) / max(abs(old), abs(new))
    place = max(1, math.floor(-math.log10(relative)) + 1)
    return f"differs in digit {place}: {new!r}, it was {old!r}"


def _other_hashes(told: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]]) -> list[str]:
    """Targets, and scans that are no files: their hashes are known only after they were read."""
    now = {f["file"]: f for f in again}
    return [
        f"{f['file']}: its {f['hashed']} has changed."
        for f in told
        if f["hashed"] != "file" and f["file"] in now and now[f["file"]]["sha256"] != f["sha256"]
    ]


def _other_conditions(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    then, now = manifest.get("versions", {}), versions()
    other = [
        f"{name} {now.get(name, 'none')} ({then[name]} then)" for name in then if then[name] != now.get(name)
    ]
    notes = [f"Versions differ: {', '.join(other)}."] if other else []
    old, new = manifest.get("machine", {}), machine()
    other = [f"{key} {new.get(key)} ({old[key]} then)" for key in ("processor", "threads", "gpu") if key in old
             and old[key] != new.get(key)]  # fmt: skip
    return (*notes, *([f"The machine differs: {', '.join(other)}."] if other else []))
