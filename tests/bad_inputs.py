"""Files that are broken, absurd or hostile, made from a seed, and what mri-recon is to make of each.

``python tests/bad_inputs.py FOLDER --seed 0`` writes them, with `expected.json` beside them. `bad_commands` runs
every command that reads files on them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

Expected = Literal["refused", "accepted", "either"]


@dataclass(frozen=True)
class Bad:
    """A bad input.

    Parameters
    ----------
    path
        The file, or folder, that a command is given.
    kind
        What is wrong with it.
    role
        What it is given to commands as: "scan", "images", "weights", "config" …
    expected
        "refused": exit code 2 and one line that names it. "accepted": it is used. "either": damage at a random
        place, of which one cannot know whether it matters.
    exceptions
        What some commands, by name, are to make of it instead.
    """

    path: Path
    kind: str
    role: str
    expected: Expected = "refused"
    exceptions: Mapping[str, Expected] = field(default_factory=dict)

    def expected_of(self, command: str) -> Expected:
        """What a command is to make of it."""
        return self.exceptions.get(command, self.expected)


class Corpus:
    """Bad inputs as they are written to a folder; each maker numbers its files by kind."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.items: list[Bad] = []
        (folder / "secret").mkdir(parents=True, exist_ok=True)

    @property
    def secret(self) -> Path:
        """A sound file that no other file may make the program read."""
        return self.folder / "secret" / "secret.h5"

    def generator(self, kind: str) -> np.random.Generator:
        """Random numbers of a kind's own, so that a new kind leaves the others' files as they were."""
        return np.random.default_rng([self.seed, *kind.encode()])

    def new(
        self,
        kind: str,
        suffix: str,
        expected: Expected = "refused",
        role: str = "scan",
        **exceptions: Expected,
    ) -> Path:
        """The path of a new bad input, to be written at once."""
        number = sum(item.kind == kind for item in self.items)
        path = self.folder / f"{kind.replace(' ', '_')}_{number:03d}{suffix}"
        self.items.append(Bad(path, kind, role, expected, exceptions))
        return path


def flipped(content: bytes, rng: np.random.Generator, most: int = 4) -> bytes:
    """Some bytes changed at random places: a bit flipped, or all bits cleared, set or drawn anew."""
    damaged = bytearray(content)
    for _ in range(int(rng.integers(1, most + 1))):
        place = int(rng.integers(len(damaged)))
        choices = [damaged[place] ^ (1 << int(rng.integers(8))), int(rng.integers(256)), 0, 255]
        damaged[place] = choices[int(rng.integers(4))]
    return bytes(damaged)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """All that comes before a random place, a byte at least."""
    return content[: int(rng.integers(1, len(content)))]


def write_corpus(folder: Path, seed: int = 0) -> list[Bad]:
    """Write every bad input to a folder, which is made; the same files for the same seed."""
    import bad_arrays
    import bad_scans
    import bad_settings

    corpus = Corpus(folder, seed)
    for module in (bad_scans, bad_arrays, bad_settings):
        module.write(corpus)
    return corpus.items


def main() -> None:
    """Write the corpus to the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    items = write_corpus(asked.folder, asked.seed)
    told = [{**asdict(item), "path": item.path.name} for item in items]
    (asked.folder / "expected.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(items)} bad inputs of {len({i.kind for i in items})} kinds in {asked.folder}\n")


if __name__ == "__main__":
    # So that the makers find the classes here under the module's own name, not under `__main__`.
    from bad_inputs import main as run

    run()
