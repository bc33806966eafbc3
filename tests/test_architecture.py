"""The house stands as it is drawn: imports never run upward, and each outside library has its rooms.

`FLOORS` is that drawing. The rules read the source with `ast`, imports inside functions and behind
`TYPE_CHECKING` included; the checker is itself checked on made-up packages further down.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from helpers import ROOT

from mri_recon.catalog import LEARNED_METHODS, METHODS

PACKAGE = ROOT / "mri_recon"

FLOORS = {
    "assignments": 1,
    "errors": 1,
    "files": 1,
    "leftovers": 1,
    "sharing": 1,
    "solvers": 1,
    "catalog": 2,
    "checkpoint": 2,
    "device": 2,
    "metrics": 2,
    "physics": 2,
    "similarity": 2,
    "settings": 2,
    "data": 3,
    "networks": 3,
    "methods": 4,
    "training": 4,
    "reconstruct": 5,
    "inspection": 5,
    "evaluation": 6,
    "report": 7,
    "batch": 7,
    "__main__": 8,
    "cli": 8,
}
"""Room, which is a folder or file of the package, and its floor."""

FACADE = "__init__"
"""The package's own `__init__` names things from every floor; of it others may use the version alone."""

LEARNED = {METHODS[name].path.partition(":")[0] for name in LEARNED_METHODS}

HDF5_HOMES = ("data.storage", "data.hdf5", "data.hdf5_guard", "data.new_hdf5", "data.layout", "data.formats")

FOURIER_HOMES = ("physics.fourier", "physics.columns", "physics.filters")
"""The convention's one home, and where transforms stand between compiled passes that keep to the cache."""

HEAVY = ("torch", "numpy", "scipy", "h5py", "skimage", "numba", "matplotlib", "pydantic")

TRANSFORMS = {f"{i}{r}fft{n}" for i in ("", "i") for r in ("", "r", "h") for n in ("", "2", "n")} | {
    "c2c",
    "r2c",
}
TRANSFORM_LIBRARIES = ("numpy.fft", "torch.fft", "scipy.fft", "scipy.fftpack", "ducc0", "pyfftw")


@dataclass(frozen=True)
class Import:
    """One import: of what module, which name out of it, and whether it runs when its file is imported."""

    module: str
    name: str | None
    line: int
    at_start: bool


@dataclass(frozen=True)
class Module:
    """A parsed file of the package and its dotted name, the package's own name left out."""

    name: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


@cache
def read_modules(package: Path) -> dict[str, Module]:
    """Parse every file of a package."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        within = [package.name, *(parts[:-1])]
        modules[name] = Module(name, tree, tuple(_imports(tree, within, at_start=True)))
    return modules


def _imports(node: ast.AST, within: list[str], *, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, None, child.lineno, at_start)
        elif isinstance(child, ast.ImportFrom):
            base = within[: len(within) + 1 - child.level] if child.level else []
            module = ".".join([*base, *([child.module] if child.module else [])])
            for alias in child.names:
                yield Import(module, alias.name, child.lineno, at_start)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from _imports(child, within, at_start=at_start and not later and not typing_only)


def _starts(module: str, *libraries: str) -> bool:
    return any(module == library or module.startswith(library + ".") for library in libraries)


def _rooms_imported(module: Module, package: str) -> Iterator[tuple[Import, str]]:
    """Imports of the package's own rooms; `FACADE` for a name taken from the package itself."""
    for item in module.imports:
        if item.module == package:
            # `from package import room` and `from package import __version__` look alike.
            yield item, item.name if item.name in FLOORS else FACADE
        elif _starts(item.module, package):
            yield item, item.module.split(".")[1]


def floors(modules: dict[str, Module], package: str) -> list[str]:
    """Imports that run upward, files without a floor, and rooms of one floor that import each other."""
    found = []
    level: dict[str, set[str]] = {}
    for module in modules.values():
        if module.name == FACADE:
            continue
        if module.room not in FLOORS:
            found.append(f"{module.name}: a new room without a floor; draw it in FLOORS")
            continue
        for item, room in _rooms_imported(module, package):
            if room == FACADE:
                if item.name not in (None, "__version__"):
                    found.append(
                        f"{module.name}:{item.line} takes {item.name} from the package, not its home"
                    )
            elif room not in FLOORS:
                found.append(f"{module.name}:{item.line} imports {room}, a room without a floor")
            elif FLOORS[room] > FLOORS[module.room]:
                found.append(f"{module.name}:{item.line} imports {room}, which is above it")
            elif FLOORS[room] == FLOORS[module.room] and room != module.room:
                level.setdefault(module.room, set()).add(room)
    # Neighbours on a floor may be used, as metrics uses physics, if none is used back.
    for room in level:
        reached, waiting = set(), list(level[room])
        while waiting:
            neighbour = waiting.pop()
            if neighbour not in reached:
                reached.add(neighbour)
                waiting.extend(level.get(neighbour, ()))
        if room in reached:
            found.append(f"{room}: imported by what it imports on its own floor")
    return found


def click_only_in_cli(modules: dict[str, Module], package: str) -> list[str]:
    """Only the command line knows click."""
    return _import_outside(modules, lambda m: m.room in ("cli", "__main__"), "click")


def hdf5_only_in_data(modules: dict[str, Module], package: str) -> list[str]:
    """Only storage, with the files it is made of, and the formats open data files."""
    return _import_outside(modules, lambda m: _starts(m.name, *HDF5_HOMES), "h5py")


def torch_only_where_learned(modules: dict[str, Module], package: str) -> list[str]:
    """Only what is learned loads torch by being imported; others may inside a function, for a GPU."""
    learned = {name.partition(".")[2] for name in LEARNED}
    return _import_outside(
        modules,
        lambda m: (
            m.room in ("networks", "training", "checkpoint")
            or m.name in learned
            or m.name == "methods.learned"
        ),
        "torch",
        at_start=True,
    )


def _import_outside(
    modules: dict[str, Module], home: Callable[[Module], bool], library: str, *, at_start: bool = False
) -> list[str]:
    return [
        f"{module.name}:{item.line} imports {library}"
        for module in modules.values()
        if not home(module)
        for item in module.imports
        if _starts(item.module, library) and (item.at_start or not at_start)
    ]


def one_fourier_transform(modules: dict[str, Module], package: str) -> list[str]:
    """Only `FOURIER_HOMES` transform; shifts and frequencies may be had anywhere."""
    found = []
    for module in modules.values():
        if module.name in FOURIER_HOMES:
            continue
        found += [
            f"{module.name}:{item.line} imports {item.module}"
            for item in module.imports
            if _starts(item.module, *TRANSFORM_LIBRARIES)
            or (item.name == "fft" and item.module in ("numpy", "torch", "scipy"))
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in TRANSFORMS:
                of = node.value
                if "fft" in (getattr(of, "attr", None), getattr(of, "id", None)):
                    found.append(f"{module.name}:{node.lineno} calls {ast.unparse(node)}")
    return found


def docstrings(modules: dict[str, Module], package: str) -> list[str]:
    """Every file says what it is."""
    return [
        f"{m.name}: no docstring" for m in modules.values() if not (ast.get_docstring(m.tree) or "").strip()
    ]


RULES = [
    floors,
    click_only_in_cli,
    hdf5_only_in_data,
    torch_only_where_learned,
    one_fourier_transform,
    docstrings,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Callable[[dict[str, Module], str], list[str]]) -> None:
    modules = read_modules(PACKAGE)
    assert len(modules) > 20
    assert rule(modules, PACKAGE.name) == []


@pytest.mark.parametrize("statement", ["import mri_recon", "import mri_recon.cli.main"])
def test_importing_is_light(statement: str) -> None:
    """What `mri-recon --help` loads holds none of the heavy libraries."""
    code = (
        f"import json, sys; {statement}; print(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(run.stdout)
    assert "mri_recon" in loaded
    assert [name for name in HEAVY if name in loaded] == []


SOUND = {
    "__init__.py": '"""Doc."""\nfrom typing import TYPE_CHECKING\n'
    "if TYPE_CHECKING:\n    from fake.evaluation import x\n",
    "errors.py": '"""Doc."""\n',
    "catalog.py": '"""Doc."""\nfrom fake.errors import E\n',
    "metrics.py": '"""Doc."""\nfrom fake.physics import masks\nfrom fake import __version__\n',
    "physics/__init__.py": '"""Doc."""\n',
    "physics/fourier.py": '"""Doc."""\nimport numpy as np\ndef f(x):\n    import ducc0\n    return np.fft.fftn(x)\n',
    "physics/masks.py": '"""Doc."""\nfrom ..catalog import C\nfrom .fourier import f\nnp.fft.fftshift(fft(1))\n',
    "data/storage.py": '"""Doc."""\nimport h5py\nfrom fake.physics.masks import m\n',
    "evaluation.py": '"""Doc."""\ndef f():\n    import torch\n',
    "cli/main.py": '"""Doc."""\nimport click\nfrom fake import evaluation\n',
}


def _violations(folder: Path, changes: dict[str, str]) -> dict[str, list[str]]:
    for name, source in (SOUND | changes).items():
        path = folder / "fake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    modules = read_modules(folder / "fake")
    return {rule.__name__: found for rule in RULES if (found := rule(modules, "fake"))}


def test_the_checker_passes_a_sound_package(tmp_path: Path) -> None:
    assert _violations(tmp_path, {}) == {}


@pytest.mark.parametrize(
    ("rule", "name", "source", "message"),
    [
        (
            "floors",
            "physics/a.py",
            "from fake.data.storage import s",
            "physics.a:2 imports data, which is above",
        ),
        ("floors", "physics/a.py", "from ..data import storage", "physics.a:2 imports data, which is above"),
        ("floors", "physics/a.py", "def f():\n    import fake.evaluation", "physics.a:3 imports evaluation"),
        ("floors", "errors.py", "from fake import catalog", "errors:2 imports catalog"),
        (
            "floors",
            "evaluation.py",
            "if T.TYPE_CHECKING:\n    from fake.cli import main",
            "evaluation:3 imports cli",
        ),
        ("floors", "catalog.py", "from fake.metrics import nmse", "catalog: imported by what it imports"),
        (
            "floors",
            "evaluation.py",
            "from fake import reconstruct_all",
            "takes reconstruct_all from the package",
        ),
        ("floors", "attic.py", "", "attic: a new room without a floor"),
        (
            "floors",
            "evaluation.py",
            "import fake.attic",
            "evaluation:2 imports attic, a room without a floor",
        ),
        (
            "click_only_in_cli",
            "evaluation.py",
            "def f():\n    from click import echo",
            "evaluation:3 imports click",
        ),
        ("hdf5_only_in_data", "data/phantom.py", "import h5py", "data.phantom:2 imports h5py"),
        ("torch_only_where_learned", "physics/a.py", "import torch.nn as nn", "physics.a:2 imports torch"),
        (
            "torch_only_where_learned",
            "physics/a.py",
            "class A:\n    import torch",
            "physics.a:3 imports torch",
        ),
        ("one_fourier_transform", "physics/a.py", "y = np.fft.ifft2(x)", "physics.a:2 calls np.fft.ifft2"),
        ("one_fourier_transform", "data/a.py", "y = xp.fft.rfft(x)", "data.a:2 calls xp.fft.rfft"),
        ("one_fourier_transform", "data/a.py", "from scipy import fft", "data.a:2 imports scipy"),
        ("one_fourier_transform", "data/a.py", "from numpy.fft import fftn", "data.a:2 imports numpy.fft"),
    ],
)
def test_the_checker_finds(tmp_path: Path, rule: str, name: str, source: str, message: str) -> None:
    found = _violations(tmp_path, {name: f'"""Doc."""\n{source}\n'})
    assert list(found) == [rule]
    assert message in "; ".join(found[rule])


def test_the_checker_finds_a_missing_docstring(tmp_path: Path) -> None:
    assert _violations(tmp_path, {"data/a.py": "x = 1\n"}) == {"docstrings": ["data.a: no docstring"]}
