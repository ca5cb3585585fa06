"""Real images in pairs, as one complex image each."""

from __future__ import annotations

import numpy as np
import pytest

from lumpylens.physics.compiled.pairs import paired, unpaired


@pytest.mark.parametrize("count", [1, 4, 5])
def test_pairs_are_neighbours_and_come_apart_again(count):
    images = np.random.default_rng(0).normal(size=(count, 3, 4)).astype(np.float32)
    pairs = paired(images)
    assert pairs.shape == ((count + 1) // 2, 3, 4)
    np.testing.assert_array_equal(pairs.real, images[::2])
    np.testing.assert_array_equal(pairs.imag[: count // 2], images[1::2])
    if count % 2:
        assert (pairs.imag[-1] == 0).all()
    pixels, weights = np.array([1, 7, 10]), np.array([2.0, 3.0, 0.5])
    out = np.empty((count, 3))
    unpaired(pairs, out, pixels, weights)
    np.testing.assert_array_equal(out, images.reshape(count, -1)[:, pixels] * weights)


def test_numbers_that_processors_are_slow_with_are_none():
    images = np.array([[[1e-19, -1e-19, 1e-21, -1e-39]]], np.float32)
    np.testing.assert_array_equal(paired(images).real[0, 0], [*images[0, 0, :2], 0, 0])
