"""What pyproject.toml promises: bounds that scripts/check_versions can test, processes that any system can start."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import re

import pytest
from helpers import ROOT


def script():
    loader = importlib.machinery.SourceFileLoader("check_versions", str(ROOT / "scripts" / "check_versions"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_every_dependency_has_a_lower_bound_and_the_tested_version_keeps_it():
    pins = dict(pin.split("==") for pin in script().lower_bounds(set()))
    assert len(pins) > 15
    assert "torch" in pins
    assert "torch" not in dict(pin.split("==") for pin in script().lower_bounds({"torch"}))
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    for name, least in pins.items():
        found = re.search(rf"^{name}==([\d.]+)$", tested, flags=re.M)
        assert found, f"{name} is not in constraints.txt"
        assert [int(n) for n in found[1].split(".")] >= [int(n) for n in least.split(".")], name


PROCESSES = ("multiprocessing", "concurrent.futures")


def test_processes_are_spawned_never_forked():
    """Windows has no fork, and a fork of a process with threads may hang."""
    contexts = 0
    for path in sorted((ROOT / "mri_recon").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = getattr(node, "attr", getattr(node, "id", ""))
            assert named not in ("fork", "forkserver", "forkpty", "set_start_method"), path
            assert not (isinstance(node, ast.Constant) and node.value in ("fork", "forkserver")), path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called.endswith("get_context"):
                    contexts += 1
                    assert [ast.unparse(a) for a in node.args] == ["'spawn'"], path
                if called.endswith("ProcessPoolExecutor"):
                    assert "mp_context" in {k.arg for k in node.keywords}, path
                # Without a context these take the system's own way, which is fork on Linux before Python 3.14.
                assert called not in ("multiprocessing.Process", "multiprocessing.Pool"), path
                if called.endswith("DataLoader"):
                    assert "multiprocessing_context" in {k.arg for k in node.keywords}, path
    assert contexts


@pytest.mark.parametrize("folder", ["mri_recon", "scripts"])
def test_programs_have_a_guard_that_spawned_processes_need(folder):
    """A spawned process imports the program that started it: what it does must not begin anew."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        started = [n for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
        assert all("main(" not in ast.unparse(n) for n in started), path
