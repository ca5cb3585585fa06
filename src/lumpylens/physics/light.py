"""Light of lens galaxy and source: the Sersic profile and its derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.physics.batches import per_lens

__all__ = [
    "EllipseSlopes",
    "Sersic",
    "ellipse_slopes",
    "sersic",
    "sersic_coefficient",
    "sersic_index_slope",
    "sersic_with_derivatives",
]

CORE_PX = 1e-2
"""Softening of the cusp in pixels, since the profile's gradient diverges at its centre; far below
the size of a sub-pixel."""


@dataclass(frozen=True)
class Sersic:
    """A Sersic profile on a grid, with its derivatives.

    Attributes
    ----------
    value : Tensor, shape (n, h, w)
        Surface brightness in units of that at the effective radius.
    d_log_r : Tensor, shape (n, h, w)
        Derivative with respect to the logarithm of the elliptical radius.
    gradient_x, gradient_y : Tensor, shape (n, h, w)
    d_eta_1, d_eta_2 : Tensor, shape (n, h, w)
    d_log_index : Tensor or None
        None unless it was requested.
    """

    value: Tensor
    d_log_r: Tensor
    gradient_x: Tensor
    gradient_y: Tensor
    d_eta_1: Tensor
    d_eta_2: Tensor
    d_log_index: Tensor | None


Index = TypeVar("Index", float, Tensor, NDArray[np.float64])


def sersic_coefficient(index: Index) -> Index:
    """Coefficient b_n of a Sersic profile (Ciotti & Bertin 1999, equation 18)."""
    leading = 2 * index - 1 / 3
    return leading + 4 / (405 * index) + 46 / (25515 * index**2) + 131 / (1148175 * index**3)


def sersic_index_slope(index: Index) -> Index:
    """Derivative of `sersic_coefficient` with respect to the index."""
    return 2 - 4 / (405 * index**2) - 92 / (25515 * index**3) - 393 / (1148175 * index**4)


def _elliptical_square(
    x: Tensor, y: Tensor, eta_1: Tensor, eta_2: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """q x'^2 + y'^2 / q in the axes of the ellipse, cosh(eta) and sinh(eta) / eta."""
    eta = torch.sqrt(eta_1.square() + eta_2.square())
    cosh, sinh = per_lens(torch.cosh, eta), per_lens(torch.sinh, eta)
    sinhc = torch.where(eta > 1e-3, sinh / eta.clamp_min(1e-3), 1 + eta.square() / 6)
    square = (cosh - sinhc * eta_1) * x.square() + (cosh + sinhc * eta_1) * y.square()
    return square.addcmul_(x * y, -2 * sinhc * eta_2), cosh, sinhc


@dataclass(frozen=True)
class EllipseSlopes:
    """The square of the elliptical radius and its derivatives, each of shape (n, h, w).

    Attributes
    ----------
    square : Tensor
        ``q x'^2 + y'^2 / q`` in the axes of the ellipse.
    half_d_x, half_d_y : Tensor
        Half its gradient.
    d_eta_1, d_eta_2 : Tensor
    """

    square: Tensor
    half_d_x: Tensor
    half_d_y: Tensor
    d_eta_1: Tensor
    d_eta_2: Tensor


def ellipse_slopes(x: Tensor, y: Tensor, eta_1: Tensor, eta_2: Tensor) -> EllipseSlopes:
    """Compute the square of the elliptical radius, on which all light profiles depend.

    Parameters
    ----------
    x, y : Tensor, shape (n, h, w)
        Relative to the centre.
    eta_1, eta_2 : Tensor, shape (n, 1, 1)
    """
    square, cosh, sinhc = _elliptical_square(x, y, eta_1, eta_2)
    eta = torch.sqrt(eta_1.square() + eta_2.square())
    # d(sinhc)/d(eta_i) = bend * eta_i; a series replaces the quotient where it is 0/0.
    bend = torch.where(
        eta > 0.05,
        (eta * cosh - per_lens(torch.sinh, eta)) / eta.clamp_min(0.05) ** 3,
        1 / 3 + eta.square() / 30,
    )
    plus, minus, cross = x.square() + y.square(), x.square() - y.square(), 2 * x * y
    tilt = sinhc * plus - bend * (eta_1 * minus + eta_2 * cross)
    return EllipseSlopes(
        square=square,
        half_d_x=(cosh - sinhc * eta_1) * x - (sinhc * eta_2) * y,
        half_d_y=(cosh + sinhc * eta_1) * y - (sinhc * eta_2) * x,
        d_eta_1=eta_1 * tilt - sinhc * minus,
        d_eta_2=eta_2 * tilt - sinhc * cross,
    )


def sersic(
    x: Tensor,
    y: Tensor,
    eta_1: Tensor,
    eta_2: Tensor,
    log_radius: Tensor,
    log_index: Tensor,
) -> Tensor:
    """Sersic surface brightness in units of that at the effective radius.

    The elliptical radius is ``sqrt(q x^2 + y^2 / q)``, so that ellipses have the area of circles.

    Parameters
    ----------
    x, y : Tensor, shape (n, h, w)
        Positions relative to the centre, pixels.
    eta_1, eta_2, log_radius, log_index : Tensor, shape (n, 1, 1)
    """
    index = per_lens(torch.exp, log_index)
    square, _, _ = _elliptical_square(x, y, eta_1, eta_2)
    log_r = 0.5 * torch.log(square + CORE_PX**2) - log_radius
    return torch.exp(sersic_coefficient(index) * (1 - torch.exp(log_r / index)))


def sersic_with_derivatives(
    x: Tensor,
    y: Tensor,
    eta_1: Tensor,
    eta_2: Tensor,
    log_radius: Tensor,
    log_index: Tensor,
    *,
    index_too: bool = False,
) -> Sersic:
    """Compute `sersic` with all first derivatives, which share its expensive parts."""
    index = per_lens(torch.exp, log_index)
    b = sersic_coefficient(index)
    ellipse = ellipse_slopes(x, y, eta_1, eta_2)
    square = ellipse.square + CORE_PX**2
    log_r = 0.5 * torch.log(square) - log_radius
    power = torch.exp(log_r / index)
    value = torch.exp(b * (1 - power))
    d_log_r = -(b / index) * power * value
    factor = d_log_r / square  # dS = factor * d(square) / 2
    half = 0.5 * factor
    d_log_index = None
    if index_too:
        slope = index * sersic_index_slope(index)
        d_log_index = value * (slope * (1 - power) + (b / index) * power * log_r)
    return Sersic(
        value=value,
        d_log_r=d_log_r,
        gradient_x=factor * ellipse.half_d_x,
        gradient_y=factor * ellipse.half_d_y,
        d_eta_1=half * ellipse.d_eta_1,
        d_eta_2=half * ellipse.d_eta_2,
        d_log_index=d_log_index,
    )
