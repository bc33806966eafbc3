"""Kernels compiled once, kept on disk, and linked from there."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mri_recon import sample_scan, write_scan
from mri_recon.solvers import compiled
from mri_recon.solvers.compiled import Kernels, address

SOURCE = """
from numba import carray
from mri_recon.solvers.compiled import kernel

@kernel("float32*, float32, int64")
def multiply(x_, factor, n):
    x = carray(x_, (n,))
    for i in range(n):
        x[i] *= factor * {factor}
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of one kernel, and a cache of its own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"kernels_of_{tmp_path.name.replace('-', '_')}.py"
    path.write_text(SOURCE.format(factor=1))
    yield path
    sys.modules.pop(path.stem, None)


def run(name: str, factor: float = 3.0) -> list[float]:
    x = np.arange(4, dtype=np.float32)
    Kernels(name).multiply(address(x), factor, x.size)
    return x.tolist()


def never(*_):
    raise AssertionError("compiled again")


def test_runs_and_is_not_compiled_again(module, tmp_path, monkeypatch):
    assert run(module.stem) == [0, 3, 6, 9]
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(compiled, "_compiled", never)
    assert run(module.stem) == [0, 3, 6, 9]
    assert run(module.stem, 0.5) == [0, 0.5, 1, 1.5]


def test_a_changed_file_is_compiled_anew(module):
    run(module.stem)
    module.write_text(SOURCE.format(factor=2))
    sys.modules.pop(module.stem)
    assert run(module.stem) == [0, 6, 12, 18]


def test_a_damaged_file_is_not_run(module, tmp_path):
    run(module.stem)
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    for damaged in (whole[:-100], whole[:-1] + bytes([whole[-1] ^ 1]), b"", b"{}", b"[1]\n", b"\xff\n"):
        kept.write_bytes(damaged)
        assert run(module.stem) == [0, 3, 6, 9]
        assert kept.read_bytes() == whole


def test_where_nothing_can_be_kept_it_still_runs(module, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    assert run(module.stem) == [0, 3, 6, 9]
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "__pycache__") == ["cache", module.name]


def test_an_unknown_kernel_is_an_attribute_error(module):
    with pytest.raises(AttributeError, match="divide"):
        Kernels(module.stem).divide  # noqa: B018


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(8)[::2],
        np.zeros(4, np.complex128),
        np.zeros((4, 4), np.float32)[:, ::2],
        np.zeros(4, np.int64),
    ],
)
def test_addresses_are_of_contiguous_arrays_of_known_kinds(array):
    with pytest.raises(TypeError, match="Expected contiguous"):
        address(array)


CLASSICAL = """
import sys
from mri_recon import read_scan, reconstruct
for path in sys.argv[1:]:
    scan = read_scan(path)
    for method in ("zero-filled", "cs", "sense", "wavelet"):
        reconstruct(scan, method, device="cpu")
print(*sorted({"torch", "numba", "array_api_compat.numpy", "matplotlib"} & set(sys.modules)))
"""


def test_classical_methods_start_without_torch_and_numba(tmp_path):
    """Once the kernels are on the disk, which a first run may have to see to."""
    scans = [tmp_path / name for name in ("one.h5", "many.h5")]
    for path, n_coils in zip(scans, (1, 4), strict=True):
        write_scan(path, sample_scan(height=32, width=28, n_coils=n_coils, seed=1))
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", CLASSICAL, *map(str, scans)],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        if not done.stdout.split():
            break
    assert done.stdout.split() == []
