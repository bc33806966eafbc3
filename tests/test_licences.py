"""docs/licences.md names every package that mri-recon needs, with the licence that its metadata states."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from functools import cache

import pytest
from helpers import ROOT

pytest.importorskip("packaging")


@cache
def script():
    path = ROOT / "scripts" / "list_licences.py"
    spec = importlib.util.spec_from_file_location("list_licences", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@cache
def rows() -> dict[str, str]:
    """Rows of the page by package, in lower case with hyphens."""
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    return {
        m[1].lower().replace("_", "-"): m[0] for m in re.finditer(r"^\| \[([^\]]+)\].*$", page, flags=re.M)
    }


def test_every_dependency_is_on_the_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(x for e in script().EXTRAS for x in project["optional-dependencies"][e]),
    ]
    assert {re.match(r"[\w-]+", text)[0] for text in wanted} - set(rows()) == set()
    assert len(rows()) > 30


def test_the_page_says_what_the_installed_packages_say():
    """Row by row; another version than the page's, in another environment, may have another licence."""
    there = {p.name.lower().replace("_", "-"): p for p in script().packages()}
    assert set(there) - set(rows()) == set(), "run scripts/list_licences.py"
    same = {name: p for name, p in there.items() if f" {p.version} |" in rows()[name]}
    for name, package in same.items():
        assert script().table([package]).splitlines()[-1] == rows()[name], "run scripts/list_licences.py"
    if len(same) < len(there):
        pytest.skip(f"{len(there) - len(same)} packages are of other versions than constraints.txt names")


def test_licences_are_expressions():
    for row in rows().values():
        licence = row.split("|")[3].strip()
        assert re.fullmatch(r"[\w.+-]+(( (AND|OR|WITH) )[\w.+-]+)*", licence), row
    assert "GPL-2.0-or-later" in rows()["ducc0"]
