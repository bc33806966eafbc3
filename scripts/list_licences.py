#!/usr/bin/env python3
"""Write docs/licences.md: what mri-recon needs, under which licences, as the installed packages' own metadata says.

    python scripts/list_licences.py            # writes the page
    python scripts/list_licences.py --check    # says whether the page is current, exit code 1 if not

Run it in an environment with the versions of constraints.txt, as scripts/environment makes it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
EXTRAS = ("formats", "tensorboard")

CLASSIFIERS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX expressions for the words of older metadata; which BSD it is, the packages' licence files say."""

HEAD = """# Licences

mri-recon is under the [MIT licence](../LICENSE), the weights that come with it too: they were trained on generated
images. No data set comes with it, and no file of another project.

What it needs to run, as the packages' own metadata says at the versions of
[constraints.txt](../constraints.txt). Made by `scripts/list_licences.py`, and a test holds it against what is
installed.

**ducc0 is under the GPL.** mri-recon calls it, as it calls the others, and contains nothing of it: what you install
with pip you may use for anything, and mri-recon's own code stays under MIT. Whoever hands out one thing that holds
both, such as a container image or a frozen program, hands out ducc0 under the GPL, version 2 or later, with what that
asks for.

Wheels of some packages hold compiled libraries of others, which their metadata names in part: OpenBLAS and the GCC
run-time libraries in numpy and scipy, HDF5 in h5py, LLVM in llvmlite, image codecs in pillow. On Linux the default
wheel of torch needs NVIDIA's CUDA libraries, which are under NVIDIA's own terms; the CPU wheel needs none of them.

"""


@dataclass(frozen=True)
class Package:
    """An installed package: its name as it spells it, version, licence, where it is at home, and who asks for it."""

    name: str
    version: str
    licence: str
    home: str
    asked_by: str


def packages(extra: str | None = None, known: frozenset[str] = frozenset()) -> list[Package]:
    """What mri-recon itself, or one of its extras, needs, and what that needs, without those `known`."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
    found: dict[str, Package] = {}
    queue = [(Requirement(text), "mri-recon") for text in wanted]
    while queue:
        requirement, asked_by = queue.pop(0)
        key = canonicalize_name(requirement.name)
        if key in found or key in known:
            continue
        try:
            about = metadata.metadata(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
        found[key] = Package(
            about["Name"], about["Version"].partition("+")[0], licence(about), home(about), asked_by
        )
        needs = [Requirement(text) for text in metadata.requires(requirement.name) or ()]
        extras = requirement.extras or {""}
        queue += [
            (need, about["Name"])
            for need in needs
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return sorted(found.values(), key=lambda package: package.name.lower())


def licence(about: metadata.PackageMetadata) -> str:
    """SPDX expression of a package."""
    expression = about.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        c.split(" :: ")[-1] for c in about.get_all("Classifier") or () if c.startswith("License ::")
    ]
    known = [CLASSIFIERS.get(c, c) for c in classifiers if c != "OSI Approved"]
    if known:
        return " OR ".join(dict.fromkeys(known))
    text = str(about.get("License") or "").strip()
    first = text.splitlines()[0] if text else "not stated"
    return CLASSIFIERS.get(first, first)


def home(about: metadata.PackageMetadata) -> str:
    """A page of the project, as its metadata names it."""
    links = dict(re.split(r"\s*,\s*", text, maxsplit=1) for text in about.get_all("Project-URL") or ())
    by_name = {key.lower(): value for key, value in links.items()}
    for key in ("homepage", "home", "repository", "source", "source code", "github"):
        if key in by_name:
            return str(by_name[key])
    return str(
        about.get("Home-page") or next(iter(links.values()), f"https://pypi.org/project/{about['Name']}/")
    )


def table(rows: list[Package]) -> str:
    lines = ["| package | version | licence | asked for by |", "|---|---|---|---|"]
    lines += [f"| [{p.name}]({p.home}) | {p.version} | {p.licence} | {p.asked_by} |" for p in rows]
    return "\n".join(lines) + "\n"


def page() -> str:
    core = packages()
    known = frozenset(canonicalize_name(package.name) for package in core)
    text = HEAD + "## To run\n\n" + table(core)
    for extra in EXTRAS:
        rows = packages(extra, known)
        text += f"\n## With the extra `{extra}`\n\n" + table(rows)
    return text


def main() -> int:
    """Write the page, or hold it against what is installed."""
    if sys.argv[1:] == ["--check"]:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page()
        print(f"{PAGE.name} is {'current' if current else 'not current: run scripts/list_licences.py'}.")
        return int(not current)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
