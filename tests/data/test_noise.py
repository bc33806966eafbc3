"""Simulated noise: normal numbers, as many as were asked for, the same for the same generator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_close, complex_normal

from mri_recon.data.noise import add_complex_normal


def drawn(size: int, seed: int) -> np.ndarray:
    values = np.zeros(size, np.complex64)
    add_complex_normal(values, 1.0, np.random.default_rng(seed))
    return values


def test_it_is_box_and_muller_of_the_generators_bits():
    bits = np.random.default_rng(3).bit_generator.random_raw(5001).view(np.int32).reshape(-1, 2).astype(float)
    radius = np.sqrt(-2 * np.log((np.abs(bits[:, 0]) + 0.5) / 2**31))
    assert_close(drawn(5001, 3), radius * np.exp(2j * np.pi * bits[:, 1] / 2**32), 1e-5)


def test_it_is_normal():
    n = 400_000
    values = drawn(n, 1)
    both = values.view(np.float32).astype(float)
    for power, wanted, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((both**power).mean() - wanted) < 4 * math.sqrt(variance / (2 * n))
    for bound in (0.1, 1.0, 3.0, 4.0):
        chance = math.erfc(bound / math.sqrt(2))
        assert (np.abs(both) > bound).mean() == pytest.approx(chance, abs=4 * math.sqrt(chance / (2 * n)))
    # Neither the parts of a number nor neighbours know of one another.
    for one, other in (
        (values.real, values.imag),
        (values.real[1:], values.real[:-1]),
        (np.abs(values), np.angle(values)),
    ):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / math.sqrt(n)


def test_it_is_added_at_its_size_and_follows_the_generator():
    before = complex_normal(np.random.default_rng(0), (2, 3, 17), np.complex64)
    rng = np.random.default_rng(9)
    first, second = before.copy(), before.copy()
    for values in (first, second):
        add_complex_normal(values, 0.25, rng)
    assert_close(first, before + 0.25 * drawn(before.size, 9).reshape(before.shape), 1e-6)
    assert np.abs(first - second).max() > 0.1
    add_complex_normal(second, 0.0, rng)
    again = before.copy()
    add_complex_normal(again, 0.25, np.random.default_rng(9))
    np.testing.assert_array_equal(again, first)


def test_the_ends_of_the_generators_range_are_finite():
    class Ends:
        """Random bits of zero, and the least and the greatest integer."""

        class bit_generator:
            @staticmethod
            def random_raw(size):
                ends = np.array([0, -(2**31), 2**31 - 1], np.int32)
                return (
                    np.stack([np.repeat(ends, 3), np.tile(ends, 3)], axis=1)
                    .reshape(-1)
                    .view(np.uint64)[:size]
                )

    values = np.zeros(9, np.complex64)
    add_complex_normal(values, 1.0, Ends())
    assert np.isfinite(values).all()
    assert np.abs(values[:3]) == pytest.approx(math.sqrt(2 * math.log(2**32)), rel=1e-6)
    assert np.abs(values[3:]).max() < 1e-3
