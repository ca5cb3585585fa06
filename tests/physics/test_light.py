"""The Sersic profile against lenstronomy and its analytic integrals."""

import math

import numpy as np
import pytest
import torch
from scipy.special import gamma, gammainc, gammaincinv

from lumpylens.physics.light import CORE_PX, sersic, sersic_coefficient, sersic_with_derivatives

SHAPES = [(1.0, 0.0), (0.7, 0.4), (0.5, -1.2)]


def grid(size, pixel):
    at = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2) * pixel
    y, x = torch.meshgrid(at, at, indexing="ij")
    return x[None], y[None]


def column(value):
    return torch.tensor([[[value]]], dtype=torch.float64)


def profile(x, y, q, phi, radius, index, function=sersic, **kwargs):
    size = -math.log(q)
    return function(
        x, y, column(size * math.cos(2 * phi)), column(size * math.sin(2 * phi)),
        column(math.log(radius)), column(math.log(index)), **kwargs,
    )  # fmt: skip


@pytest.mark.parametrize("index", [0.5, 1.0, 2.26, 4.0, 8.0])
def test_the_coefficient_makes_the_effective_radius_hold_half_the_light(index):
    b = float(sersic_coefficient(torch.tensor(index, dtype=torch.float64)))
    # The series is asymptotic: its error falls from 0.2 % at n = 0.5 to 1e-4 at n = 1.
    assert b == pytest.approx(float(gammaincinv(2 * index, 0.5)), rel=3e-3 if index < 1 else 1e-4)
    assert gammainc(2 * index, b) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(("q", "phi"), SHAPES)
@pytest.mark.parametrize("index", [1.0, 1.41, 2.26])
def test_it_is_lenstronomys(q, phi, index):
    light_model = pytest.importorskip("lenstronomy.LightModel.light_model")
    param_util = pytest.importorskip("lenstronomy.Util.param_util")
    x, y = grid(40, 0.5)
    e1, e2 = param_util.phi_q2_ellipticity(phi, q)
    theirs = light_model.LightModel(["SERSIC_ELLIPSE"]).surface_brightness(
        x.numpy().ravel(), y.numpy().ravel(),
        [{"amp": 1.0, "R_sersic": 7.7, "n_sersic": index, "e1": e1, "e2": e2,
          "center_x": 0.0, "center_y": 0.0}],
    )  # fmt: skip
    ours = profile(x, y, q, phi, 7.7, index).numpy().ravel()
    # lenstronomy's b is a line through the exact one, so compare ln(I) / b. Our cusp is
    # softened by 0.01 px, which shows below one pixel.
    b = float(sersic_coefficient(torch.tensor(index, dtype=torch.float64)))
    far = (x.square() + y.square()).numpy().ravel() > 1
    np.testing.assert_allclose(
        (np.log(ours) / b)[far], (np.log(theirs) / (1.9992 * index - 0.3271))[far], atol=1e-4
    )


@pytest.mark.parametrize(("q", "phi"), SHAPES)
@pytest.mark.parametrize("index", [1.0, 2.0])
def test_the_total_flux_is_the_analytic_integral(q, phi, index):
    radius, pixel = 2.0, 0.05
    x, y = grid(1500, pixel)
    flux = float(profile(x, y, q, phi, radius, index).sum()) * pixel**2
    b = float(sersic_coefficient(torch.tensor(index, dtype=torch.float64)))
    total = 2 * math.pi * index * radius**2 * math.exp(b) * b ** (-2 * index) * gamma(2 * index)
    assert flux == pytest.approx(total, rel=1e-3)


def test_the_core_is_finite_and_round_at_the_centre():
    x = torch.tensor([[[0.0, CORE_PX / 10]]], dtype=torch.float64)
    value = profile(x, torch.zeros_like(x), 0.5, 0.3, 8.0, 4.0)
    assert torch.isfinite(value).all()
    assert float(value[0, 0, 0] / value[0, 0, 1]) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("q", [1.0, 0.9995, 0.97, 0.5])
def test_derivatives_are_those_of_the_profile(q):
    # q = 0.9995 and 0.97 lie on either side of where series replace quotients.
    x, y = grid(12, 1.0)
    x, y = x + 0.13, y - 0.21
    phi, size = 0.35, -math.log(q)
    at = torch.tensor(
        [size * math.cos(2 * phi), size * math.sin(2 * phi), math.log(6.0), math.log(1.7)],
        dtype=torch.float64,
    )

    def value(x, y, p):
        return sersic(x, y, *(one.reshape(1, 1, 1) for one in p))

    made = sersic_with_derivatives(x, y, *(one.reshape(1, 1, 1) for one in at), index_too=True)
    torch.testing.assert_close(made.value, value(x, y, at))
    wanted = (made.d_eta_1, made.d_eta_2, -made.d_log_r, made.d_log_index)
    step = 1e-5
    for k, ours in enumerate(wanted):
        move = step * torch.eye(4, dtype=torch.float64)[k]
        numeric = (value(x, y, at + move) - value(x, y, at - move)) / (2 * step)
        torch.testing.assert_close(ours, numeric, rtol=1e-4, atol=1e-5)
    for ours, (dx, dy) in ((made.gradient_x, (step, 0)), (made.gradient_y, (0, step))):
        numeric = (value(x + dx, y + dy, at) - value(x - dx, y - dy, at)) / (2 * step)
        torch.testing.assert_close(ours, numeric, rtol=1e-4, atol=1e-5)


def test_nobody_asks_for_the_index_in_vain():
    x, y = grid(4, 1.0)
    assert profile(x, y, 0.8, 0.0, 2.0, 1.0, sersic_with_derivatives).d_log_index is None
