"""Light of a galaxy as a sum of many concentric Gaussians, which can describe any profile."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.physics.light import EllipseSlopes, ellipse_slopes

__all__ = ["MultiGaussian"]

LEAST_EXPONENT = -80.0
"""Of a Gaussian, so that single precision has all digits of its values."""


@dataclass(frozen=True)
class MultiGaussian:
    """Sets of Gaussians; those of a set share their ellipse, and all share their centre.

    Attributes
    ----------
    values : Tensor, shape (sets, widths, h, w)
        Each Gaussian, of unit integral, at the given positions.
    ellipses : EllipseSlopes
        Of each set, shape (sets, h, w).
    widths : Tensor, shape (widths,)

    Notes
    -----
    Emsellem, Monnet & Bacon 1994 (A&A 285, 723); Cappellari 2002 (astro-ph/0201430).
    """

    values: Tensor
    ellipses: EllipseSlopes
    widths: Tensor

    @classmethod
    def at(
        cls,
        x: Tensor,
        y: Tensor,
        eta: Tensor,
        widths: Tensor,
        dtype: torch.dtype = torch.float64,
    ) -> MultiGaussian:
        """Evaluate at positions relative to the centre.

        Parameters
        ----------
        x, y : Tensor, shape (h, w)
        eta : Tensor, shape (sets, 2)
            ``-ln(q) (cos 2 phi, sin 2 phi)`` of each set.
        widths : Tensor, shape (widths,)
            Standard deviation where the ellipse is a circle of the same area.
        dtype : torch.dtype
            Of the values. Single precision, as that of the blur, is three times faster.
        """
        ellipses = ellipse_slopes(x[None], y[None], eta[:, :1, None], eta[:, 1:, None])
        variance = widths.square()[:, None, None].to(dtype)
        exponent = ellipses.square[:, None].to(dtype) / (-2 * variance)
        values = exponent.clamp_min_(LEAST_EXPONENT).exp_().div_(2 * torch.pi * variance)
        return cls(values, ellipses, widths)

    def columns(self) -> Tensor:
        """Every Gaussian, shape (sets * widths, h, w)."""
        return self.values.flatten(0, 1)

    def tangents(self, amplitudes: Tensor) -> Tensor:
        """Derivatives of the sum with the given amplitudes (sets * widths,).

        Returns
        -------
        Tensor, shape (2 + 2 * sets, h, w)
            With respect to the centre's x and y, then to the two numbers of each set's ellipse.
        """
        per_square = amplitudes.reshape(len(self.values), -1) / (-2 * self.widths.square())
        slope = torch.einsum("sk,skhw->shw", per_square.to(self.values), self.values)
        ellipses = self.ellipses
        shapes = torch.stack([slope * ellipses.d_eta_1, slope * ellipses.d_eta_2], dim=1).flatten(
            0, 1
        )
        centre = [-2 * (slope * half).sum(dim=0) for half in (ellipses.half_d_x, ellipses.half_d_y)]
        return torch.cat([torch.stack(centre), shapes])
