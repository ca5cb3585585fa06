"""Deflection by an elliptical power law, and by multipoles of its mass.

Positions are relative to the mass, in any unit; deflections are in units of the Einstein radius
for positions in units of the Einstein radius.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["multipole", "power_law"]

TERMS = 24
"""Terms of the angular series. Their ratio is below (1 - q) / (1 + q): for the flattest halo
that galaxies have, an axis ratio of 0.4, the last is 1e-9 of the first."""


def power_law(
    x: Tensor, y: Tensor, eta_1: Tensor, eta_2: Tensor, slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Deflection of an elliptical power law of unit Einstein radius.

    The convergence is ``(3 - slope) / 2 * R**(1 - slope)`` at the elliptical radius
    ``R = sqrt(q x^2 + y^2 / q)``, so that the ellipse R = 1 holds the mass of a circle of that
    area at the critical density.

    Parameters
    ----------
    x, y : Tensor of float64, shape (..., h, w)
    eta_1, eta_2 : Tensor, broadcasting with `x`
        ``-ln(q) (cos 2 phi, sin 2 phi)``.
    slope : Tensor, broadcasting with `x`
        Three-dimensional, 2 is isothermal.

    Returns
    -------
    alpha_x, alpha_y : Tensor, shape (..., h, w)

    Notes
    -----
    Tessore & Metcalf 2015 (arXiv:1507.01819), equations 13 and 23. Written with
    ``w = z - epsilon conj(z)`` and ``epsilon = tanh(eta / 2) exp(2 i phi)``, no axes have to be
    rotated, and the round halo is not a special case.
    """
    t = slope - 1
    square = eta_1.square() + eta_2.square()
    eta = square.clamp_min(1e-12).sqrt()
    per_eta = torch.where(square > 1e-8, torch.tanh(eta / 2) / eta, 0.5 - square / 24)
    epsilon = torch.complex(per_eta * eta_1, per_eta * eta_2)
    q = torch.exp(-square.sqrt())
    z = torch.complex(x, y)
    w = (z - epsilon * z.conj()) * ((1 + q) / 2)
    radius = w.abs().clamp_min(1e-9)
    unit = w / radius
    step = -epsilon.conj() * unit.square()
    coefficients = [torch.ones_like(t)]
    for n in range(1, TERMS):
        coefficients.append(coefficients[-1] * (2 * n - (2 - t)) / (2 * n + (2 - t)))
    series = coefficients[-1] * torch.ones_like(step)
    for coefficient in reversed(coefficients[:-1]):
        series = series * step + coefficient
    b = q.sqrt()
    alpha = (2 * b / (1 + q)) * (b / radius) ** (t - 1) * unit * series
    return alpha.real, alpha.imag


def multipole(
    x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor, order: int
) -> tuple[Tensor, Tensor]:
    """Deflection of an isothermal multipole.

    Its convergence is ``(cosine cos(m theta) + sine sin(m theta)) / (2 r)`` for Einstein radius 1,
    that is, `cosine` and `sine` are fractions of the convergence of the halo.

    Parameters
    ----------
    x, y : Tensor, shape (..., h, w)
    cosine, sine : Tensor, broadcasting with `x`
    order : int
        3 or more: 2 is the ellipticity itself.

    Notes
    -----
    The potential is ``r f(theta)`` with ``f + f'' = `` the angular part (Xu et al. 2015,
    arXiv:1410.3282, section 2.3); its gradient is f along the radius and f' across it.
    """
    radius = torch.sqrt(x.square() + y.square()).clamp_min(1e-9)
    cos, sin = x / radius, y / radius
    turned = torch.complex(cos, sin) ** order
    along = (cosine * turned.real + sine * turned.imag) / (1 - order**2)
    across = order * (sine * turned.real - cosine * turned.imag) / (1 - order**2)
    return along * cos - across * sin, along * sin + across * cos
