"""Deflection of light by mass: smooth haloes, shear and perturbers.

Every function takes positions relative to the mass and returns the two components of the
reduced deflection angle, in the unit of the positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["external_shear", "halo", "point_masses", "rod", "softened_point"]

ROUND = 1e-3
"""Below this `eta` (axis ratio 0.999) the halo is computed as round: the elliptical formula
loses all its float32 digits there, the round one is wrong by less than 1e-3 of the deflection."""


def halo(x: Tensor, y: Tensor, eta_1: Tensor, eta_2: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of a singular isothermal ellipsoid of unit Einstein radius.

    Parameters
    ----------
    x, y : Tensor, shape (n, ...)
    eta_1, eta_2 : Tensor, broadcasting with `x`
        ``-ln(q) (cos 2 phi, sin 2 phi)``; zero is the singular isothermal sphere.

    Notes
    -----
    Keeton 2001 (astro-ph/0102341), equations 34 and 35, through `caustics`.
    """
    import caustics.func

    radius = torch.sqrt(x.square() + y.square()).clamp_min(1e-6)
    eta = torch.sqrt(eta_1.square() + eta_2.square())
    elliptical = eta > ROUND
    safe = torch.where(elliptical, eta, torch.full_like(eta, 0.1))
    # atan2 has no gradient at the origin; a round halo has no position angle.
    phi = 0.5 * torch.atan2(
        torch.where(elliptical, eta_2, torch.zeros_like(eta_2)),
        torch.where(elliptical, eta_1, torch.ones_like(eta_1)),
    )
    nudge = 1e-6  # the formula is 0/0 exactly at the centre
    zero, one = torch.zeros_like(safe), torch.ones_like(safe)
    ax, ay = caustics.func.reduced_deflection_angle_sie(
        zero, zero, torch.exp(-safe), phi, one, x + nudge, y + nudge
    )
    return torch.where(elliptical, ax, x / radius), torch.where(elliptical, ay, y / radius)


def external_shear(x: Tensor, y: Tensor, shear_1: Tensor, shear_2: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of an external shear about the origin."""
    return shear_1 * x + shear_2 * y, shear_2 * x - shear_1 * y


def softened_point(x: Tensor, y: Tensor, softening: float) -> tuple[Tensor, Tensor]:
    """Deflection of a unit-Einstein-radius point mass, finite at its centre.

    Parameters
    ----------
    x, y : Tensor
    softening : float
        Distance below which the deflection falls to zero, in the unit of `x`.
    """
    weight = 1.0 / (x.square() + y.square() + softening**2)
    return x * weight, y * weight


def point_masses(
    x: Tensor, y: Tensor, at_x: Tensor, at_y: Tensor, einstein_radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Summed deflection of point masses.

    Parameters
    ----------
    x, y : Tensor, shape (n, h, w)
    at_x, at_y, einstein_radius : Tensor, shape (n, k)
        A mass with Einstein radius 0 deflects nothing, so images with fewer masses are padded.
    """
    ax, ay = torch.zeros_like(x), torch.zeros_like(y)
    # One mass at a time keeps the memory at one image stack; all at once is memory-bound.
    for k in range(at_x.shape[1]):
        dx, dy = x - at_x[:, k, None, None], y - at_y[:, k, None, None]
        weight = einstein_radius[:, k, None, None].square() / (dx.square() + dy.square() + 1e-8)
        ax.addcmul_(dx, weight)
        ay.addcmul_(dy, weight)
    return ax, ay


def rod(x: Tensor, y: Tensor, half_length: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of a uniform straight string of mass with unit Einstein radius.

    Parameters
    ----------
    x, y : Tensor, shape (n, ...)
        Relative to the middle of the string.
    half_length, angle : Tensor, broadcasting with `x`
        In the unit of `x`, and radians from the x axis.

    Notes
    -----
    With z = u + iv along and across the string, the integral of point-mass deflections is
    conj(alpha) = ln((z + L) / (z - L)) / (2 L).
    """
    cos, sin = torch.cos(angle), torch.sin(angle)
    u, v = cos * x + sin * y, cos * y - sin * x
    plus, minus = u + half_length, u - half_length
    along = torch.log(
        (plus.square() + v.square() + 1e-12) / (minus.square() + v.square() + 1e-12)
    ) / (4 * half_length)
    # atan2 keeps the branch across the string; atan(u/v) would lose the sign at v = 0.
    across = (torch.atan2(v, minus) - torch.atan2(v, plus)) / (2 * half_length)
    return cos * along - sin * across, sin * along + cos * across
