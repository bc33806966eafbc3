"""Run fastMRI's own evaluate on two folders and print its means as JSON.

    python fastmri_evaluate.py RECONSTRUCTIONS TARGETS singlecoil|multicoil

What importing fastMRI needs and its evaluate does not use is stood in for where it is absent, which makes its start
quicker than its users know it; of runstats, which it does use, the two statistics are.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import types
import warnings
from argparse import Namespace
from pathlib import Path
from unittest.mock import MagicMock

UNUSED = ("pandas", "requests", "tqdm", "yaml")


class Statistics:
    """Mean and standard deviation of what is pushed."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def push(self, value: float) -> None:
        self.values.append(float(value.item() if hasattr(value, "item") else value))

    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    def stddev(self) -> float:
        mean = self.mean()
        return math.sqrt(sum((v - mean) ** 2 for v in self.values) / max(len(self.values) - 1, 1))


def stand_in() -> None:
    """Put stand-ins for what is absent where Python looks for modules."""
    for name in UNUSED:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = MagicMock()
    if "runstats" not in sys.modules and importlib.util.find_spec("runstats") is None:
        module = types.ModuleType("runstats")
        module.__dict__["Statistics"] = Statistics
        sys.modules["runstats"] = module


def evaluate(reconstructions: Path, targets: Path, challenge: str) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each of its metrics."""
    stand_in()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its version is unknown where it is not installed
        from fastmri.evaluate import evaluate as run

        arguments = Namespace(
            target_path=targets, predictions_path=reconstructions, acquisition=None, acceleration=None
        )
        key = "reconstruction_rss" if challenge == "multicoil" else "reconstruction_esc"
        found = run(arguments, key)
    means, spreads = found.means(), found.stddevs()
    return {name.lower(): {"mean": float(means[name]), "std": float(spreads[name])} for name in means}


if __name__ == "__main__":
    print(json.dumps(evaluate(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
