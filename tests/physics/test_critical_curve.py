"""The tangential critical curve, against numerical curves of the field's codes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lumpylens.physics.critical_curve import critical_radii, effective_einstein_radius


def eta_of(q: float, degrees: float) -> tuple[float, float]:
    angle = 2 * math.radians(degrees)
    return -math.log(q) * math.cos(angle), -math.log(q) * math.sin(angle)


def area_of(x: np.ndarray, y: np.ndarray) -> float:
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2


MASSES = [
    (0.6, 0.0, 2.2, (0.0, 0.0)),
    (0.6, 25.0, 2.2, (0.0, 0.0)),
    (0.7, -70.0, 1.8, (0.05, -0.08)),
    (0.9, 40.0, 2.0, (-0.1, 0.06)),
    (1.0, 0.0, 2.1, (0.0, 0.12)),
]


@pytest.mark.parametrize(("q", "degrees", "slope", "shear"), MASSES)
def test_the_area_is_that_of_lenstronomys_curve(q, degrees, slope, shear):
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LensModel.lens_model_extensions import LensModelExtensions
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    e1, e2 = phi_q2_ellipticity(math.radians(degrees), q)
    mass = [
        {"theta_E": 1.0, "gamma": slope, "e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0},
        {"gamma1": shear[0], "gamma2": shear[1]},
    ]
    curves = LensModelExtensions(LensModel(["EPL", "SHEAR"])).critical_curve_caustics(
        mass, compute_window=5, grid_scale=0.02
    )
    area = max(area_of(np.asarray(x), np.asarray(y)) for x, y in zip(*curves[:2], strict=True))
    radius = effective_einstein_radius(*eta_of(q, degrees), slope, *shear)
    assert radius == pytest.approx(math.sqrt(area / math.pi), rel=5e-4)


@pytest.mark.parametrize(("q", "degrees", "slope", "shear"), MASSES)
def test_the_determinant_of_caustics_vanishes_on_the_curve(q, degrees, slope, shear):
    import torch
    from caustics.func import reduced_deflection_angle_epl

    radii = critical_radii(*eta_of(q, degrees), slope, *shear)
    direction = torch.arange(len(radii), dtype=torch.float64) * (2 * math.pi / len(radii))
    x, y = radii * torch.cos(direction), radii * torch.sin(direction)

    def source(x, y):
        numbers = [
            torch.tensor(value, dtype=torch.float64)
            for value in (0.0, 0.0, q, math.radians(degrees), 1.0, slope - 1)
        ]
        halo = reduced_deflection_angle_epl(*numbers, x, y, 60)
        field = shear[0] * x + shear[1] * y, shear[1] * x - shear[0] * y
        return x - halo[0] - field[0], y - halo[1] - field[1]

    step = 1e-5

    def determinant(x, y):
        (xx, yx), (xy, yy) = (
            [(b - a) / (2 * step) for a, b in zip(source(*low), source(*high), strict=True)]
            for low, high in (
                ((x - step, y), (x + step, y)),
                ((x, y - step), (x, y + step)),
            )
        )
        return xx * yy - xy * yx

    assert determinant(x, y).abs().max() < 1e-6
    # It is the outer curve, outside which images keep their orientation.
    assert (determinant(1.01 * x, 1.01 * y) > 0).all()
    assert (determinant(0.99 * x, 0.99 * y) < 0).all()


def test_known_radii():
    assert effective_einstein_radius(0.0, 0.0, 2.0, 0.0, 0.0) == pytest.approx(1.0)
    assert effective_einstein_radius(*eta_of(0.5, 10.0), 2.0, 0.0, 0.0) == pytest.approx(1.0)
    assert effective_einstein_radius(*eta_of(0.6, 10.0), 2.2, 0.0, 0.0) == pytest.approx(
        0.995, abs=5e-4
    )


def test_a_curve_that_is_not_closed_has_no_radius():
    assert math.isnan(effective_einstein_radius(0.5, 0.0, 1.5, -1.5, 0.0))
