"""Deflection of light by mass: smooth haloes, shear and perturbers.

Every function takes positions relative to the mass and returns the two components of the
reduced deflection angle, in the unit of the positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.physics.batches import per_lens
from lumpylens.physics.truncated_nfw import (
    LEAST_TRUNCATION,
    TABLE_BITS,
    TABLE_FIRST,
    mass_table,
)

__all__ = [
    "HaloSlopes",
    "external_shear",
    "halo",
    "halo_slopes",
    "isothermal_spheres",
    "point_masses",
    "rod",
    "softened_point",
    "truncated_haloes",
]

ROUND = 1e-3
"""Below this `eta` (axis ratio 0.999) the halo is expanded to first order: the elliptical formula
loses its float32 digits there, the expansion is wrong by less than 1e-6 of the deflection."""


def halo(x: Tensor, y: Tensor, eta_1: Tensor, eta_2: Tensor) -> tuple[Tensor, Tensor]:
    """Deflection of a singular isothermal ellipsoid of unit Einstein radius.

    Parameters
    ----------
    x, y : Tensor, shape (n, ...)
    eta_1, eta_2 : Tensor, broadcasting with `x`
        ``-ln(q) (cos 2 phi, sin 2 phi)``; zero is the singular isothermal sphere.

    Notes
    -----
    Keeton 2001 (astro-ph/0102341), equations 34 and 35, through `caustics`. To first order in
    `eta` its potential is ``r - (eta_1 (x^2 - y^2) + 2 eta_2 x y) / (6 r)``, whose Laplacian is
    twice the convergence ``(1 + eta cos(2 theta - 2 phi) / 2) / (2 r)``.
    """
    import caustics.func

    radius = torch.sqrt(x.square() + y.square()).clamp_min(1e-6)
    square = eta_1.square() + eta_2.square()
    elliptical = square > ROUND**2
    # Where the expansion is used, root and angle are not computed: they have no derivative at 0.
    eta = torch.sqrt(torch.where(elliptical, square, torch.full_like(square, 0.01)))
    eta_y = torch.where(elliptical, eta_2, torch.zeros_like(eta_2))
    eta_x = torch.where(elliptical, eta_1, torch.ones_like(eta_1))
    phi = 0.5 * torch.atan2(eta_y.double(), eta_x.double()).to(eta_x)
    nudge = 1e-6  # the formula is 0/0 exactly at the centre
    zeros, ones = torch.zeros_like(eta), torch.ones_like(eta)
    ax, ay = caustics.func.reduced_deflection_angle_sie(
        zeros, zeros, per_lens(torch.exp, -eta), phi, ones, x + nudge, y + nudge
    )
    x, y = x / radius, y / radius
    tilt = eta_1 * (x.square() - y.square()) + 2 * eta_2 * x * y
    round_x = x - (2 * (eta_1 * x + eta_2 * y) - x * tilt) / 6
    round_y = y - (2 * (eta_2 * x - eta_1 * y) - y * tilt) / 6
    return torch.where(elliptical, ax, round_x), torch.where(elliptical, ay, round_y)


@dataclass(frozen=True)
class HaloSlopes:
    """Derivatives of the deflection of `halo`, each of shape (n, h, w).

    Attributes
    ----------
    xx, xy, yy : Tensor
        With respect to the position: of the deflection in x along x, and so on.
    d_eta_1, d_eta_2 : pair of Tensor
        Of both components, with respect to the shape.
    """

    xx: Tensor
    xy: Tensor
    yy: Tensor
    d_eta_1: tuple[Tensor, Tensor]
    d_eta_2: tuple[Tensor, Tensor]


def halo_slopes(
    x: Tensor, y: Tensor, eta_1: Tensor, eta_2: Tensor, deflection: tuple[Tensor, Tensor]
) -> HaloSlopes:
    """Derivatives of `halo`, from its deflection and without further angles or roots.

    Parameters
    ----------
    x, y : Tensor, shape (n, h, w)
    eta_1, eta_2 : Tensor, shape (n, 1, 1)
    deflection : pair of Tensor, shape (n, h, w)
        What `halo` returned there.

    Notes
    -----
    Write ``s = sqrt(q) / sqrt(q^2 x'^2 + y'^2)`` (twice the convergence) and
    ``d = alpha - s (x, y)``. The deflection is the same all along a ray from the centre, so its
    Jacobian is ``s (-y, x) (-y, x)^T / r^2``. From Keeton 2001 (astro-ph/0102341, equations 34 and
    35), ``d alpha / d phi`` is `d` turned by a right angle, and ``d alpha / d eta`` is
    ``-(coth(eta) d + s (x cos 2 phi + y sin 2 phi, x sin 2 phi - y cos 2 phi)) / 2``.
    """
    xx, yy, xy = x.square(), y.square(), x * y
    square = (xx + yy).clamp_min(1e-12)
    eta = torch.sqrt(eta_1.square() + eta_2.square())
    elliptical = eta > ROUND
    size = torch.where(elliptical, eta, torch.ones_like(eta))
    cos, sin = eta_1 / eta.clamp_min(1e-12), eta_2 / eta.clamp_min(1e-12)
    narrow = per_lens(lambda number: -torch.expm1(-2 * number), eta)
    psi_square = square - 0.5 * narrow * (square + cos * (xx - yy) + 2 * sin * xy)
    strength = per_lens(lambda number: torch.exp(-number / 2), eta) * torch.rsqrt(psi_square)
    across = strength / square

    d_x, d_y = deflection[0] - strength * x, deflection[1] - strength * y
    coth = per_lens(lambda number: 1 / torch.tanh(number), size)
    in_eta_x = -0.5 * (coth * d_x + strength * (cos * x + sin * y))
    in_eta_y = -0.5 * (coth * d_y + strength * (sin * x - cos * y))
    turn_x, turn_y = -d_y / (2 * size), d_x / (2 * size)
    radius = torch.sqrt(square)
    unit_x, unit_y = x / radius, y / radius
    tilt_1, tilt_2 = (xx - yy) / square, 2 * xy / square
    of_ellipse = (
        (cos * in_eta_x - sin * turn_x, cos * in_eta_y - sin * turn_y),
        (sin * in_eta_x + cos * turn_x, sin * in_eta_y + cos * turn_y),
    )
    of_round = (
        (unit_x * (tilt_1 - 2) / 6, unit_y * (tilt_1 + 2) / 6),
        ((unit_x * tilt_2 - 2 * unit_y) / 6, (unit_y * tilt_2 - 2 * unit_x) / 6),
    )
    d_eta = [
        (torch.where(elliptical, a[0], b[0]), torch.where(elliptical, a[1], b[1]))
        for a, b in zip(of_ellipse, of_round, strict=True)
    ]
    return HaloSlopes(across * yy, -across * xy, across * xx, *d_eta)


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
    """Sum of the deflections of point masses.

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


def isothermal_spheres(
    x: Tensor, y: Tensor, at_x: Tensor, at_y: Tensor, einstein_radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of the deflections of singular isothermal spheres; arguments as in `point_masses`."""
    ax, ay = torch.zeros_like(x), torch.zeros_like(y)
    for k in range(at_x.shape[1]):
        dx, dy = x - at_x[:, k, None, None], y - at_y[:, k, None, None]
        weight = einstein_radius[:, k, None, None] * torch.rsqrt(dx.square() + dy.square() + 1e-8)
        ax.addcmul_(dx, weight)
        ay.addcmul_(dy, weight)
    return ax, ay


def truncated_haloes(
    x: Tensor,
    y: Tensor,
    at_x: Tensor,
    at_y: Tensor,
    einstein_radius: Tensor,
    scale_radius: Tensor,
    truncation: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sum of the deflections of truncated NFW haloes.

    Parameters
    ----------
    x, y : Tensor of float32, shape (n, h, w)
    at_x, at_y : Tensor, shape (n, k)
    einstein_radius : Tensor, shape (n, k)
        Its square is the total mass over pi critical surface densities.
    scale_radius, truncation : Tensor, shape (n, k)
        `truncation` is the truncation radius over the scale radius.

    Notes
    -----
    Masses are interpolated in `lumpylens.physics.truncated_nfw.mass_table`, to 2e-4 of the
    deflection.
    """
    table, rows_per_unit = mass_table()
    rows = torch.as_tensor(table, device=x.device)
    at = rows_per_unit * torch.log(truncation / LEAST_TRUNCATION)
    low = at.floor().long().clamp(0, len(rows) - 2)
    blended = torch.lerp(rows[low], rows[low + 1], (at - low)[..., None].to(rows.dtype))
    ax, ay = torch.zeros_like(x), torch.zeros_like(y)
    shift = 23 - TABLE_BITS  # a float32 has 23 bits of mantissa
    for k in range(at_x.shape[1]):
        dx, dy = x - at_x[:, k, None, None], y - at_y[:, k, None, None]
        square = dx.square() + dy.square() + 1e-8
        bits = (square / scale_radius[:, k, None, None].square()).view(torch.int32)
        node = ((bits >> shift) - TABLE_FIRST).long().clamp(0, rows.shape[1] - 2)
        part = (bits & ((1 << shift) - 1)) / float(1 << shift)
        row, flat = blended[:, k], node.flatten(1)
        lower, upper = row.gather(1, flat), row.gather(1, flat + 1)
        mass = torch.lerp(lower, upper, part.flatten(1)).reshape(square.shape)
        weight = einstein_radius[:, k, None, None].square() * mass / square
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
