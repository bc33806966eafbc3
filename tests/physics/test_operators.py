"""Every linear operator of the package is the adjoint pair it says it is.

The operators are found by looking: one that has no case here fails the suite.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
import torch
from helpers import as_numpy, assert_adjoint, assert_close, complex_normal

import mri_recon.physics
from mri_recon.physics.coils import combine, expand
from mri_recon.physics.differences import gradient, gradient_adjoint
from mri_recon.physics.fourier import fftc, ifftc
from mri_recon.physics.operators import SenseOperator, sense_operator
from mri_recon.physics.wavelets import wavelet, wavelet_adjoint

SHAPES = [(8, 10), (7, 9), (9, 6)]
N_SLICES, N_COILS = 2, 3


def _mask(rng, width):
    mask = rng.uniform(size=(1, 1, 1, width)) < 0.5
    mask[..., width // 2] = True
    return mask


def _sense(axes):
    def make(rng, shape, library):
        smaps = complex_normal(rng, (N_SLICES, N_COILS, *shape))
        A = sense_operator(library(_mask(rng, shape[1])), library(smaps), axes)
        return A, A.adjoint, (N_SLICES, *shape), smaps.shape

    return make


def _sense_weighted(axes):
    def make(rng, shape, library):
        """A mask of its own for each slice, of real weights."""
        smaps = complex_normal(rng, (N_SLICES, N_COILS, *shape))
        weights = rng.uniform(size=(N_SLICES, 1, 1, shape[1]))
        A = sense_operator(library(weights), library(smaps), axes)
        return A, A.adjoint, (N_SLICES, *shape), smaps.shape

    return make


def _gradient(rng, shape, library):
    return gradient, gradient_adjoint, (N_SLICES, *shape), (2, N_SLICES, *shape)


def _expand(rng, shape, library):
    smaps = library(complex_normal(rng, (N_SLICES, N_COILS, *shape)))
    return (
        lambda image: expand(image, smaps),
        lambda coil_images: combine(coil_images, smaps),
        (N_SLICES, *shape),
        tuple(smaps.shape),
    )


def _wavelet(rng, shape, library):
    return lambda image: wavelet(image, 2), wavelet_adjoint, (N_SLICES, *shape), (7, N_SLICES, *shape)


def _fourier(rng, shape, library):
    return fftc, ifftc, (N_SLICES, *shape), (N_SLICES, *shape)


CASES = {
    "SenseOperator": _sense((-2, -1)),
    "SenseOperator along width": _sense((-1,)),
    "SenseOperator with weights": _sense_weighted((-2, -1)),
    "SenseOperator along width with weights": _sense_weighted((-1,)),
    "gradient": _gradient,
    "expand": _expand,
    "wavelet": _wavelet,
    "fftc": _fourier,
}


def _operators_in_the_package() -> set[str]:
    """Classes with an adjoint, functions with a partner named <function>_adjoint, and two pairs of other names."""
    found = {"expand", "fftc"}
    for info in pkgutil.iter_modules(mri_recon.physics.__path__, "mri_recon.physics."):
        for name, thing in vars(importlib.import_module(info.name)).items():
            if inspect.isclass(thing) and hasattr(thing, "adjoint"):
                found.add(name)
            if inspect.isfunction(thing) and name.endswith("_adjoint"):
                found.add(name.removesuffix("_adjoint"))
    return found


def test_every_operator_has_a_case():
    assert _operators_in_the_package() == {name.split()[0] for name in CASES}


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_adjoint(name, shape, library):
    rng = np.random.default_rng(5)
    forward, adjoint, from_shape, to_shape = CASES[name](rng, shape, library)
    x, y = library(complex_normal(rng, from_shape)), library(complex_normal(rng, to_shape))
    assert_adjoint(forward, adjoint, x, y, 1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_autograd_is_the_adjoint(name, shape):
    """d/dx Re⟨A x, y⟩ = Aᴴ y: what training through an operator relies on."""
    rng = np.random.default_rng(6)
    forward, adjoint, from_shape, to_shape = CASES[name](rng, shape, torch.as_tensor)
    x = torch.as_tensor(complex_normal(rng, from_shape)).requires_grad_()
    y = torch.as_tensor(complex_normal(rng, to_shape))
    torch.sum(torch.conj(y) * forward(x)).real.backward()
    assert_close(x.grad, adjoint(y), 1e-13)


@pytest.mark.parametrize("library", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("SenseOperator")])
def test_normal_is_adjoint_after_forward(name, shape, library):
    rng = np.random.default_rng(7)
    A, _, from_shape, _ = CASES[name](rng, shape, library)
    x = library(complex_normal(rng, from_shape))
    assert isinstance(A, SenseOperator)
    assert_close(A.normal(x), A.adjoint(A(x)), 1e-13)
    # Positive semidefinite: ⟨x, AᴴA x⟩ = ‖A x‖².
    inner = np.vdot(as_numpy(x), as_numpy(A.normal(x)))
    assert inner == pytest.approx(np.linalg.norm(as_numpy(A(x))) ** 2, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_forward_model_coil_by_coil(shape):
    """y_c = M · F(s_c · x), written out."""
    rng = np.random.default_rng(8)
    smaps = complex_normal(rng, (1, N_COILS, *shape))
    mask = _mask(rng, shape[1])
    x = complex_normal(rng, (1, *shape))
    kspace = sense_operator(mask, smaps)(x)
    for coil in range(N_COILS):
        expected = np.where(mask[0, 0], fftc(smaps[0, coil] * x[0]), 0)
        assert_close(kspace[0, coil], expected, 1e-13)
    assert np.all(kspace[..., ~mask[0, 0, 0]] == 0)


def test_the_readout_transform_can_be_taken_off():
    """With axes (-1,) the k-space is the two-dimensional one with its readout transformed back."""
    rng = np.random.default_rng(9)
    smaps, x = complex_normal(rng, (2, 3, 7, 8)), complex_normal(rng, (2, 7, 8))
    mask = _mask(rng, 8)
    whole, along_width = sense_operator(mask, smaps), sense_operator(mask, smaps, axes=(-1,))
    assert_close(along_width(x), ifftc(whole(x), axes=(-2,)), 1e-13)
    assert_close(along_width.normal(x), whole.normal(x), 1e-13)


def test_numpy_and_torch_agree_in_single_precision():
    rng = np.random.default_rng(10)
    smaps = complex_normal(rng, (2, 3, 9, 8), np.complex64)
    x = complex_normal(rng, (2, 9, 8), np.complex64)
    mask = _mask(rng, 8)
    by_numpy = sense_operator(mask, smaps).normal(x)
    by_torch = sense_operator(*map(torch.as_tensor, (mask, smaps))).normal(torch.as_tensor(x))
    assert by_numpy.dtype == as_numpy(by_torch).dtype == np.complex64
    assert_close(by_torch, by_numpy, 1e-6)
