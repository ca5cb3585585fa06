"""Tangential critical curve of an elliptical power law with external shear."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumpylens.physics.power_law import power_law

__all__ = ["critical_radii", "effective_einstein_radius"]

DIRECTIONS = 360
"""Directions in which the curve is followed. The area is a sum over a smooth periodic function, so
that with an axis ratio of 0.3 and a shear of 0.2, 180 give the same to 1e-8."""


def critical_radii(
    eta_1: float, eta_2: float, slope: float, shear_1: float, shear_2: float
) -> Tensor:
    """Distance of the tangential critical curve from the centre, in units of the Einstein radius.

    Parameters
    ----------
    eta_1, eta_2 : float
        ``-ln(q) (cos 2 phi, sin 2 phi)``.
    slope : float
        Three-dimensional, 2 is isothermal.
    shear_1, shear_2 : float

    Returns
    -------
    Tensor of float64, shape (DIRECTIONS,)
        In equal steps of the direction, from the x axis on; NaN in directions without a curve.

    Notes
    -----
    Along a ray, convergence and shear of the power law fall as ``u = r**(1 - slope)``, so that
    ``det A = (1 - kappa u)**2 - abs(gamma u + shear)**2`` is quadratic in u. The smaller root is
    the tangential curve. The shear follows from the deflection, since both convergence and
    potential are homogeneous (Tessore & Metcalf 2015, arXiv:1507.01819, section 2.3).
    """
    direction = torch.arange(DIRECTIONS, dtype=torch.float64) * (2 * math.pi / DIRECTIONS)
    z = torch.polar(torch.ones_like(direction), direction)
    shape = torch.tensor([eta_1, eta_2, slope], dtype=torch.float64)
    alpha = torch.complex(*power_law(z.real, z.imag, *shape))
    eta = math.hypot(eta_1, eta_2)
    turned = torch.cos(2 * direction) * eta_1 + torch.sin(2 * direction) * eta_2
    # Square of the elliptical radius, in a form without the axis ratio's direction.
    square = math.cosh(eta) - turned * (math.sinh(eta) / eta if eta else 1.0)
    kappa = (3 - slope) / 2 * square ** ((1 - slope) / 2)
    gamma = z * ((2 - slope) * alpha - z * kappa)
    shear = complex(shear_1, shear_2)
    quadratic = kappa.square() - gamma.abs().square()
    half_linear = kappa + (gamma * shear.conjugate()).real
    constant = kappa.new_tensor(1 - abs(shear) ** 2)
    root = half_linear + (half_linear.square() - quadratic * constant).sqrt()
    u = torch.where((root > 0) & (constant > 0), constant / root, math.nan)
    radii: Tensor = u ** (1 / (1 - slope))
    return radii


def effective_einstein_radius(
    eta_1: float, eta_2: float, slope: float, shear_1: float, shear_2: float
) -> float:
    """Radius of a circle with the area inside the tangential critical curve.

    In units of the Einstein radius of the power law, and NaN if the curve is not closed; arguments
    as in `critical_radii`.
    """
    return float(critical_radii(eta_1, eta_2, slope, shear_1, shear_2).square().mean().sqrt())
