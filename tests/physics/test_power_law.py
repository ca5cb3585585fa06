"""The elliptical power law and its multipoles, against the field's oracle and identities."""

from __future__ import annotations

import math

import pytest
import torch

from lumpylens.physics.deflection import halo
from lumpylens.physics.power_law import multipole, power_law


def grid(side: int = 24, half: float = 2.5) -> tuple[torch.Tensor, torch.Tensor]:
    # An even number of points keeps clear of the centre.
    line = torch.linspace(-half, half, side, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("slope", [1.6, 2.0, 2.4])
@pytest.mark.parametrize(("q", "phi"), [(0.45, 0.3), (0.8, -1.1), (0.9999999, 0.0)])
def test_agrees_with_lenstronomy(slope, q, phi):
    from lenstronomy.LensModel.Profiles.epl import EPL
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    x, y = grid()
    eta = -math.log(q)
    made = power_law(
        x, y, number(eta * math.cos(2 * phi)), number(eta * math.sin(2 * phi)), number(slope)
    )
    e1, e2 = phi_q2_ellipticity(phi, q)
    expected = EPL().derivatives(x.numpy(), y.numpy(), 1.0, slope, e1, e2)
    for ours, theirs in zip(made, expected, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-6, rtol=1e-6)


def test_isothermal_is_the_halo_of_the_population_model():
    x, y = grid()
    eta = (number(0.2)[None, None], number(-0.15)[None, None])
    ours = power_law(x[None], y[None], *(e[None] for e in eta), number(2.0))
    theirs = halo(x[None], y[None], *(e[None] for e in eta))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("order", [3, 4])
def test_convergence_of_a_multipole(order):
    cosine, sine = 0.03, -0.02
    x, y = grid(12, 1.7)
    step = 1e-4

    def alpha(u, v):
        return multipole(u, v, number(cosine), number(sine), order)

    d_x = (alpha(x + step, y)[0] - alpha(x - step, y)[0]) / (2 * step)
    d_y = (alpha(x, y + step)[1] - alpha(x, y - step)[1]) / (2 * step)
    angle = torch.atan2(y, x)
    wanted = (cosine * torch.cos(order * angle) + sine * torch.sin(order * angle)) / (
        2 * torch.hypot(x, y)
    )
    torch.testing.assert_close((d_x + d_y) / 2, wanted, atol=1e-6, rtol=1e-5)
    curl = (alpha(x, y + step)[0] - alpha(x, y - step)[0]) - (
        alpha(x + step, y)[1] - alpha(x - step, y)[1]
    )
    assert float(curl.abs().max()) / (2 * step) < 1e-6
