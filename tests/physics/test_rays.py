"""Compiled rays of real lenses against the plain formula, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lumpylens.physics import rays
from lumpylens.physics.compiled.rays import ray_tangents, trace

LENSES = {
    "usual": (0.1, 0.2, -0.1, 2.05, 0.01, -0.02, 0.03, -0.05,
              0.01, -0.02, 0.015, 0.005, 0.9, 0.4, 0.03),
    "round": (0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "nearly round": (0.2, 1e-5, -2e-5, 1.9, 0.02, 0.03, 0.01, 0.02,
                     0.0, 0.01, 0.0, 0.02, -0.7, -0.7, 0.01),
    "flat": (-0.3, -0.5, 0.6, 2.4, -0.03, 0.05, -0.1, 0.1,
             0.02, 0.0, -0.01, 0.0, -0.3, 0.8, 0.1),
}  # fmt: skip


def grid():
    line = torch.linspace(-2.5, 2.5, 36, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


@pytest.mark.parametrize("lens", LENSES)
def test_compiled_rays_end_where_the_plain_formula_says(lens):
    x, y = grid()
    numbers = torch.tensor(LENSES[lens], dtype=torch.float64)
    expected = rays.trace(x, y, numbers)
    for ours, theirs in zip(trace(x.numpy(), y.numpy(), numbers.numpy()), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-8, rtol=0)


@pytest.mark.parametrize("lens", LENSES)
def test_tangents_are_differences_of_the_plain_formula(lens):
    x, y = grid()
    random = np.random.default_rng(0)
    gradient = tuple(random.normal(size=(2, *x.shape)))
    numbers, step = torch.tensor(LENSES[lens], dtype=torch.float64), 1e-5
    tangents = ray_tangents(x.numpy(), y.numpy(), numbers.numpy(), gradient)
    assert len(tangents) == len(rays.RAYS)
    for row, name in enumerate(rays.RAYS):
        change = torch.zeros_like(numbers)
        change[row] = step
        up, down = (rays.trace(x, y, numbers + sign * change) for sign in (1, -1))
        expected = sum(
            g * (a - b).numpy() / (2 * step) for g, a, b in zip(gradient, up, down, strict=True)
        )
        np.testing.assert_allclose(tangents[row], expected, atol=2e-5, rtol=1e-5, err_msg=name)


def test_the_series_has_as_many_terms_as_flat_haloes_need():
    """At an axis ratio of 0.25 the terms fall by only 0.6 each."""
    x, y = grid()
    numbers = np.array(LENSES["round"])
    numbers[1] = -np.log(0.25)
    numbers[3] = 2.0
    ours = trace(x.numpy(), y.numpy(), numbers)
    from lenstronomy.LensModel.Profiles.sie import SIE
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    expected = SIE().derivatives(x.numpy(), y.numpy(), 1.0, *phi_q2_ellipticity(0.0, 0.25))
    for end, at, deflection in zip(ours, (x, y), expected, strict=True):
        np.testing.assert_allclose(at.numpy() - end, deflection, atol=1e-6)
