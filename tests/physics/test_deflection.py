"""Deflections against lenstronomy, against Gauss's law, and in their limits.

`halo` shifts positions by 1e-6, to avoid 0/0 at the centre of an ellipsoid, so its deflection is
off by 1e-6 over the radius, in units of its Einstein radius; lenstronomy softens by less.
"""

import math

import numpy as np
import pytest
import torch

from lumpylens.physics.deflection import (
    ROUND,
    external_shear,
    halo,
    halo_slopes,
    point_masses,
    rod,
    softened_point,
)

lens_model = pytest.importorskip("lenstronomy.LensModel.lens_model")
param_util = pytest.importorskip("lenstronomy.Util.param_util")


def positions(n=400, inner=0.1, outer=5.0, seed=0):
    random = np.random.default_rng(seed)
    radius = np.exp(random.uniform(np.log(inner), np.log(outer), n))
    azimuth = random.uniform(0, 2 * np.pi, n)
    return torch.tensor(radius * np.cos(azimuth)), torch.tensor(radius * np.sin(azimuth))


def eta(q, phi):
    size = -math.log(q)
    return (
        torch.tensor(size * math.cos(2 * phi), dtype=torch.float64),
        torch.tensor(size * math.sin(2 * phi), dtype=torch.float64),
    )


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def oracle(name, x, y, **kwargs):
    model = lens_model.LensModel([name])
    return np.stack(model.alpha(x.numpy(), y.numpy(), [kwargs]))


def both(pair):
    return torch.stack(tuple(pair)).numpy()


def test_a_round_halo_is_lenstronomys_sis():
    x, y = positions()
    ours = both(halo(x, y, number(0.0), number(0.0)))
    np.testing.assert_allclose(ours, oracle("SIS", x, y, theta_E=1.0), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("q", [0.4, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("phi", [0.0, 0.6, -1.2])
def test_an_elliptical_halo_is_lenstronomys_sie(q, phi):
    x, y = positions()
    e1, e2 = param_util.phi_q2_ellipticity(phi, q)
    theirs = oracle("SIE", x, y, theta_E=1.0, e1=e1, e2=e2)
    ours = both(halo(x, y, *eta(q, phi)))
    assert (np.abs(ours - theirs) * torch.hypot(x, y).numpy()).max() < 2e-6


def test_shear_is_lenstronomys():
    x, y = positions()
    ours = both(external_shear(x, y, number(0.1), number(-0.07)))
    np.testing.assert_allclose(ours, oracle("SHEAR", x, y, gamma1=0.1, gamma2=-0.07), atol=1e-14)


def test_point_masses_are_lenstronomys():
    x, y = (p.reshape(1, 20, 20) for p in positions(400, 0.5, 5))
    at = torch.tensor([[[0.1, -0.2, 0.3], [-0.3, 0.25, 0.05]]], dtype=torch.float64)
    size = torch.tensor([[0.3, 0.1, 0.0]], dtype=torch.float64)
    theirs = sum(
        oracle("POINT_MASS", x, y, theta_E=float(s), center_x=float(a), center_y=float(b))
        for a, b, s in zip(at[0, 0], at[0, 1], size[0], strict=True)
        if s
    )
    ours = both(point_masses(x, y, at[:, 0], at[:, 1], size))
    # Softened by 1e-4 px: a part in 1e4 at a distance of 0.01 px, in 1e6 at 0.1 px.
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_mass_of_size_zero_deflects_nothing_even_at_its_place():
    x = torch.zeros(1, 3, 3)
    ax, ay = point_masses(x, x, torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
    assert not ax.any()
    assert not ay.any()


def test_a_softened_point_is_a_point_from_afar_and_nothing_at_its_centre():
    x, y = positions(50, 1.0, 5.0)
    far = both(softened_point(x, y, 1e-3))
    np.testing.assert_allclose(far, both((x, y)) / (x.square() + y.square()).numpy(), rtol=1e-5)
    assert not any(softened_point(number(0.0), number(0.0), 0.5))


# -- Gauss's law --------------------------------------------------------------------------------


def divergence(deflection, x, y):
    """Divergence and curl at each position, by automatic differentiation."""
    (xx, yx) = torch.func.jvp(deflection, (x, y), (torch.ones_like(x), torch.zeros_like(x)))[1]
    (xy, yy) = torch.func.jvp(deflection, (x, y), (torch.zeros_like(x), torch.ones_like(x)))[1]
    return xx + yy, yx - xy


@pytest.mark.parametrize("q", [1.0, 0.95, 0.6])
def test_the_halo_has_the_convergence_of_an_isothermal_ellipsoid(q):
    x, y = positions()
    phi = 0.4
    found, curl = divergence(lambda a, b: halo(a, b, *eta(q, phi)), x, y)
    along = math.cos(phi) * x + math.sin(phi) * y
    across = math.cos(phi) * y - math.sin(phi) * x
    twice_kappa = 1 / torch.sqrt(q * along.square() + across.square() / q)
    torch.testing.assert_close(found, twice_kappa, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(curl, torch.zeros_like(curl), rtol=0, atol=1e-4)


def test_a_point_and_a_string_have_mass_nowhere_else():
    x, y = positions(200, 1.5, 5.0)
    for deflection in (
        lambda a, b: softened_point(a, b, 0.0),
        lambda a, b: rod(a, b, number(1.2), number(0.5)),
        lambda a, b: external_shear(a, b, number(0.1), number(0.2)),
    ):
        for zero in divergence(deflection, x, y):
            torch.testing.assert_close(zero, torch.zeros_like(zero), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("half_length", "angle"), [(0.2, 0.0), (1.0, 1.1), (2.0, -0.4)])
def test_a_string_has_the_mass_of_its_einstein_radius(half_length, angle):
    # 1,000 points of a smooth periodic function: the trapezium rule converges exponentially.
    t = torch.linspace(0, 2 * math.pi, 1001, dtype=torch.float64)[:-1]
    x, y = 3 * torch.cos(t), 3 * torch.sin(t)
    ax, ay = rod(x, y, number(half_length), number(angle))
    enclosed = ((ax * x + ay * y).mean() * 2 * math.pi) / (2 * math.pi)
    assert float(enclosed) == pytest.approx(1.0, abs=1e-9)


# -- limits -------------------------------------------------------------------------------------


def test_the_halo_becomes_round_without_a_jump():
    x, y = positions()
    for phi in (0.0, 0.9):
        below = both(halo(x, y, *eta(math.exp(-0.999 * ROUND), phi)))
        above = both(halo(x, y, *eta(math.exp(-1.001 * ROUND), phi)))
        # The step in eta itself moves it by 1e-6, the shift by 1e-6 over the radius.
        assert (np.abs(above - below) * torch.hypot(x, y).numpy()).max() < 5e-6


def test_a_nearly_round_halo_answers_to_its_ellipticity():
    x, y = positions()
    flat, step = (number(0.0), number(0.0)), 5e-3
    for k, direction in enumerate(((1.0, 0.0), (0.0, 1.0))):
        tangent = tuple(number(d) for d in direction)
        ours = torch.func.jvp(lambda *e: halo(x, y, *e), flat, tangent)[1]
        ends = [halo(x, y, *(number(sign * step * (j == k)) for j in range(2))) for sign in (1, -1)]
        numeric = (both(ends[0]) - both(ends[1])) / (2 * step)
        np.testing.assert_allclose(both(ours), numeric, atol=1e-3)


def test_a_short_string_is_a_point():
    x, y = positions(200, 1.0, 5.0)
    point = both(softened_point(x, y, 0.0))
    for half_length in (0.1, 0.01):
        string = both(rod(x, y, number(half_length), number(0.3)))
        # The next term of the expansion is L^2 / (3 r^2).
        assert np.abs(string - point).max() < 0.4 * half_length**2


@pytest.mark.parametrize("angle", [0.0, 0.8])
def test_a_string_is_the_sum_of_many_points(angle):
    x, y = (p.reshape(1, 20, 20) for p in positions(400, 0.1, 4.0))
    count, half_length = 4000, 1.5
    along = (torch.arange(count, dtype=torch.float64) + 0.5) / count * 2 - 1
    at_x = (half_length * along * math.cos(angle))[None]
    at_y = (half_length * along * math.sin(angle))[None]
    each = torch.full((1, count), count**-0.5, dtype=torch.float64)
    points = both(point_masses(x, y, at_x, at_y, each))
    string = both(rod(x, y, number(half_length), number(angle)))
    off = (math.cos(angle) * y - math.sin(angle) * x).abs().numpy()[0]
    far = off > 0.02  # within the points' spacing the sum is no string
    assert np.abs(points - string)[:, 0][:, far].max() < 1e-4


def test_a_string_is_even_on_its_axis_and_finite_at_its_ends():
    on_axis = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    ax, ay = rod(on_axis, torch.zeros_like(on_axis), number(1.0), number(0.0))
    assert torch.isfinite(ax).all()
    torch.testing.assert_close(ax, -ax.flip(0))
    outside = on_axis.abs() > 1
    torch.testing.assert_close(ay[outside], torch.zeros_like(ay[outside]))


def test_single_precision_is_enough():
    x, y = positions()
    shape = eta(0.7, 0.3)
    for deflection, tolerance in (
        (lambda a, b, *e: halo(a, b, *e), 1e-5),
        (lambda a, b, *e: rod(a, b, 1 + 0 * e[0], e[1]), 1e-5),
    ):
        exact = both(deflection(x, y, *shape))
        single = both(deflection(x.float(), y.float(), *(e.float() for e in shape)))
        np.testing.assert_allclose(single, exact, atol=tolerance * np.abs(exact).max())


@pytest.mark.parametrize("eta", [(0.3, -0.2), (0.9, 0.5), (0.0, 0.02), (6e-4, 3e-4), (0.0, 0.0)])
def test_halo_slopes_are_the_derivatives_of_the_halo(eta):
    generator = torch.Generator().manual_seed(1)
    x, y = 30 * torch.randn(2, 1, 20, 20, dtype=torch.float64, generator=generator)
    point = (x, y, *(torch.full((1, 1, 1), part, dtype=torch.float64) for part in eta))
    slopes = halo_slopes(*point, halo(*point))
    analytic = (
        (slopes.xx, slopes.xy), (slopes.xy, slopes.yy), slopes.d_eta_1, slopes.d_eta_2,
    )  # fmt: skip
    for direction, (in_x, in_y) in enumerate(analytic):
        tangents = tuple(
            torch.ones_like(part) if k == direction else torch.zeros_like(part)
            for k, part in enumerate(point)
        )
        _, (true_x, true_y) = torch.func.jvp(halo, point, tangents)
        # `halo` shifts positions and expands nearly round haloes, as said above.
        torch.testing.assert_close((in_x, in_y), (true_x, true_y), atol=1e-4, rtol=1e-3)
