"""Make tests/golden/*.json with fastMRI's own code: the numbers ours are held against.

Run where fastMRI 0.3.0 can be imported (``pip install --no-deps fastmri==0.3.0`` beside mri-recon is enough;
what fastMRI imports but does not use here is stood in for when absent):

    python scripts/make_golden.py

The package is a test peer only: nothing else in this repository imports it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from benchmarks.fastmri_evaluate import evaluate, stand_in  # noqa: E402
from helpers import GOLDEN, golden_volumes, write_evaluate_files  # noqa: E402

NAMES = (
    "file1000000.h5",
    "file1000001.h5",
    "file1002569.h5",
    "file_brain_AXT2_200_2000019.h5",
    "file_prostate_AXT2_0001.h5",
    "a.h5",
    "Kopf links – Übersicht 3.h5",
)
WIDTHS = (368, 372, 320, 640, 256, 216, 213, 181, 128, 65, 64, 33)
CENTER_FRACTIONS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.16, 0.32)
WHOLE = (2, 3, 4, 5, 6, 8, 10, 12, 16)
FRACTIONAL = (1.5, 2.5, 3.3, 4.7, 6.25)
CASES_PER_KIND = 40

METRIC_CASES = (
    # seed, target shape, image shape, dtype
    (1, (3, 32, 32), (3, 32, 32), "float32"),
    (2, (1, 7, 7), (1, 7, 7), "float64"),
    (3, (2, 33, 27), (2, 33, 27), "float32"),
    (4, (4, 41, 23), (4, 64, 37), "float32"),
    (5, (2, 40, 40), (2, 81, 46), "float64"),
    (6, (2, 256, 203), (2, 256, 203), "float32"),
    (7, (3, 45, 44), (3, 90, 45), "float64"),
)


EVALUATE_CASES = (
    # seed, target shape, image shape: files of one folder
    (31, (3, 40, 40), (3, 40, 40)),
    (32, (2, 33, 27), (2, 33, 27)),
    (33, (1, 41, 23), (1, 64, 37)),
    (34, (4, 51, 38), (4, 51, 43)),
    (35, (2, 7, 7), (2, 9, 8)),
)


def import_fastmri(name: str) -> Any:
    """Import a module of fastMRI, standing in for what it only mentions."""
    stand_in()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its version is unknown where it is not installed
        return importlib.import_module(name)


def draw(make: Any, kind: str, name: str, width: int, pairs: list[tuple[float, float]]) -> np.ndarray | None:
    """fastMRI's mask, or None where its formulas leave their range and ours refuse."""
    for fraction, acceleration in pairs:
        n_center = round(width * fraction)
        if kind == "magic_fraction":
            n_lines = round(width / acceleration)
            possible = max(min(n_center, n_lines), 1) < n_lines
        elif kind in ("random", "equispaced_fraction"):
            possible = 1 <= n_center < width / acceleration
        else:
            possible = n_center >= 1
        if not possible:
            return None
    mask_func = make(kind, [f for f, _ in pairs], [r for _, r in pairs])
    mask, _ = mask_func((1, width, 2), seed=tuple(map(ord, name)))
    return mask.numpy().ravel().astype(np.uint8)


def masks() -> list[dict[str, Any]]:
    """Masks of every kind at sizes and pairs drawn once for all."""
    make = import_fastmri("fastmri.data.subsample").create_mask_for_mask_type
    rng = np.random.RandomState(20250101)
    cases: list[dict[str, Any]] = []
    for kind in ("random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"):
        accelerations = WHOLE if kind in ("equispaced", "magic") else WHOLE + FRACTIONAL
        count = 0
        while count < CASES_PER_KIND:
            name, width = NAMES[rng.randint(len(NAMES))], WIDTHS[rng.randint(len(WIDTHS))]
            pairs = [
                (
                    CENTER_FRACTIONS[rng.randint(len(CENTER_FRACTIONS))],
                    accelerations[rng.randint(len(accelerations))],
                )
                for _ in range((1, 1, 2, 3)[rng.randint(4)])
            ]
            columns = draw(make, kind, name, width, pairs)
            if columns is None:
                continue
            sha256 = hashlib.sha256(columns.tobytes()).hexdigest()[:16]
            case = {"mask": kind, "name": name, "width": width, "pairs": pairs}
            cases.append(case | {"lines": int(columns.sum()), "sha256": sha256})
            count += 1
    return cases


def metrics() -> list[dict[str, Any]]:
    """Scores of seeded volumes, cropped and computed as fastMRI's evaluate does."""
    evaluate = import_fastmri("fastmri.evaluate")
    crop = import_fastmri("fastmri.data.transforms").center_crop
    cases = []
    for seed, target_shape, image_shape, dtype in METRIC_CASES:
        target, image = golden_volumes(seed, target_shape, image_shape, dtype)
        square = (target.shape[-1], target.shape[-1])
        target, image = crop(target, square), crop(image, square)
        case = {"seed": seed, "target": target_shape, "image": image_shape, "dtype": dtype}
        scores = {name: getattr(evaluate, name)(target, image).item() for name in ("nmse", "psnr", "ssim")}
        cases.append(case | scores)
    return cases


def evaluations() -> dict[str, Any]:
    """Means and standard deviations that fastMRI's evaluate gives for a folder of files."""
    with tempfile.TemporaryDirectory() as folder:
        targets, images = write_evaluate_files(Path(folder), EVALUATE_CASES)
        found = evaluate(images, targets, "singlecoil")
    return {"cases": EVALUATE_CASES, "found": found}


def write(name: str, cases: list[dict[str, Any]]) -> None:
    """One case a line, so that a change shows as the lines it changes."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (GOLDEN / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{name}: {len(cases)} cases")


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    write("masks", masks())
    write("metrics", metrics())
    told = json.dumps(evaluations(), indent=1)
    (GOLDEN / "evaluate.json").write_text(told + "\n", encoding="utf-8")
