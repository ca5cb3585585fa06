"""Compiled perturbers at many places against the plain deflection."""

from __future__ import annotations

import numpy as np
import torch

from lumpylens.physics.compiled.perturbers import bent_rays, light_moved
from lumpylens.physics.deflection import softened_point

SOFTENING = 0.05
PLACES = torch.tensor([0.3, -1.1, 0.0]), torch.tensor([0.9, 0.2, 0.0])


def scene():
    line = torch.linspace(-1.5, 1.5, 11, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    random = torch.Generator().manual_seed(0)
    fields = torch.randn(2, *x.shape, generator=random, dtype=torch.float64)
    places = [place.double() for place in PLACES]
    deflection = softened_point(
        x - places[0][:, None, None], y - places[1][:, None, None], SOFTENING
    )
    arrays = [tuple(part.numpy() for part in pair) for pair in ((x, y), places, fields)]
    return *arrays, [part.numpy() for part in deflection]


def test_light_moves_by_gradient_times_deflection():
    grid, places, gradient, deflection = scene()
    light = light_moved(grid, places, gradient, SOFTENING)
    expected = -(gradient[0] * deflection[0] + gradient[1] * deflection[1])
    np.testing.assert_allclose(light, expected, atol=1e-5, rtol=1e-5)


def test_rays_are_bent_by_the_deflection():
    grid, places, rays, deflection = scene()
    ends = bent_rays(grid, places, rays, 0.09, SOFTENING)
    for part in (0, 1):
        expected = rays[part] - 0.09 * deflection[part]
        np.testing.assert_allclose(ends[..., part], expected, atol=1e-6, rtol=1e-6)
