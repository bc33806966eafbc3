"""Batches of slices on a GPU: as large as fits, and halved where memory runs out all the same."""

from __future__ import annotations

import importlib
from dataclasses import replace

import numpy as np
import pytest
from small_scans import small_scan

from mri_recon.device import MOST_AT_ONCE, in_batches
from mri_recon.errors import SettingsError

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402


class Gpu:
    """A GPU of which no more is faked than what is asked: a slice takes one unit, `room` are free."""

    def __init__(self, monkeypatch, *, told, room, error=None):
        self.told, self.room, self.emptied, self.taken = told, room, 0, 0
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        for name in ("reset_peak_memory_stats", "memory_allocated", "memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, lambda device: 0)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (self.told, 100))
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: self.taken)
        monkeypatch.setattr(torch.cuda, "empty_cache", self.empty)
        self.batches = []

    def empty(self):
        self.emptied += 1

    def work(self, some):
        n = some[1] - some[0]
        self.batches.append(n)
        if n > self.room:
            raise self.error
        self.taken = n
        return list(range(*some))


@pytest.mark.parametrize(
    ("told", "room", "expected"),
    [
        (1000, 1000, [1, MOST_AT_ONCE, MOST_AT_ONCE, 7]),
        (10, 1000, [1, *[8] * 4, 7]),  # four fifths of what is free
        (1, 1000, [1] * 40),
        # Another program took memory: halved twice, and what is left is done at that.
        (20, 5, [1, 16, 8, *[4] * 9, 3]),
    ],
)
def test_every_slice_is_worked_on_in_order(monkeypatch, told, room, expected):
    gpu = Gpu(monkeypatch, told=told, room=room)
    done = [index for batch in in_batches(gpu.work, (3, 43), "cuda") for index in batch]
    assert done == list(range(3, 43))
    assert gpu.batches == expected
    assert gpu.emptied == sum(n > room for n in expected)


@pytest.mark.parametrize(
    "says", ["cuFFT error: CUFFT_ALLOC_FAILED", "CUDA error: out of memory\nCUDA kernel errors"]
)
def test_memory_that_a_library_of_cuda_lacks_halves_the_batch_too(monkeypatch, says):
    gpu = Gpu(monkeypatch, told=20, room=5, error=RuntimeError(says))
    assert [i for batch in in_batches(gpu.work, (0, 9), "cuda") for i in batch] == list(range(9))
    assert gpu.batches == [1, 8, 4, 4]


def test_another_error_is_not_taken_for_a_lack_of_memory(monkeypatch):
    gpu = Gpu(monkeypatch, told=20, room=5, error=RuntimeError("cuFFT error: CUFFT_INVALID_SIZE"))
    with pytest.raises(RuntimeError, match="INVALID_SIZE"):
        list(in_batches(gpu.work, (0, 9), "cuda"))


def test_a_slice_that_does_not_fit_is_told(monkeypatch):
    gpu = Gpu(monkeypatch, told=5, room=0)
    with pytest.raises(
        SettingsError, match=r"One slice does not fit in the free memory of 'cuda'. Use --device cpu"
    ):
        list(in_batches(gpu.work, (0, 4), "cuda"))
    assert gpu.batches == [1]


def test_a_batch_gives_what_its_slices_give_one_by_one(monkeypatch):
    """The pipeline itself, in batches on a CPU that plays a GPU."""
    from mri_recon.methods.unet import UNetMethod

    module = importlib.import_module("mri_recon.reconstruct")  # the package has a function of that name
    scan = small_scan("gpu.h5", height=32, width=32, n_slices=5, n_coils=2)
    expected = module.reconstruct(scan, UNetMethod(), device="cpu")
    sizes = []

    def batches(work, slices, device):
        for first, stop in ((0, 1), (1, 4), (4, 5)):
            sizes.append(stop - first)
            yield work((first, stop))

    monkeypatch.setattr(module, "resolve_device", lambda name, learned: "cuda")
    monkeypatch.setattr(module, "to_device", lambda array, device: array)
    monkeypatch.setattr(module, "in_batches", batches)
    found = module.reconstruct(scan, UNetMethod(), device="cuda")
    assert sizes == [1, 3, 1]
    np.testing.assert_allclose(found.image, expected.image, rtol=1e-4, atol=1e-5 * expected.image.max())


class Lacking(TorchDispatchMode):
    """A device that has no eigenvectors of complex matrices, as "mps"."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "eigh" in str(function):
            raise NotImplementedError(f"The operator {function} is not implemented for this device")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("apart", [False, True])
def test_maps_for_a_device_without_eigenvectors_are_estimated_beside_it(monkeypatch, apart):
    """Networks that start from compressed sensing need them; on a Mac they run on "mps" by themselves."""
    from mri_recon.methods.unet import UNetMethod

    module = importlib.import_module("mri_recon.reconstruct")
    scan = small_scan("mac.h5", height=32, width=32, n_slices=2, n_coils=2)
    if apart:
        center = (np.arange(32) >= 8) & (np.arange(32) < 24)
        scan = replace(scan, calibration=np.asarray(scan.kspace[:]) * center)
    assert UNetMethod().needs_smaps
    expected = module.reconstruct(scan, UNetMethod(), device="cpu")
    monkeypatch.setattr(module, "resolve_device", lambda name, learned: "mps")
    monkeypatch.setattr(module, "to_device", lambda array, device: torch.from_numpy(array.copy()))
    with Lacking():
        found = module.reconstruct(scan, UNetMethod(), device="mps")
    np.testing.assert_allclose(found.image, expected.image, rtol=1e-4, atol=1e-5 * expected.image.max())
