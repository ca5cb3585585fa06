"""A galaxy that shines beside the lens, and its light as Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.physics.multi_gaussian import MultiGaussian

__all__ = ["LuminousCompanion"]

WIDTHS = torch.logspace(math.log10(0.03), math.log10(0.5), 6, dtype=torch.float64)
"""Widths of its Gaussians, arcsec, in steps of 75 %: from a point to a small galaxy. A larger one
would be a second lens galaxy."""


@dataclass(frozen=True)
class LuminousCompanion:
    """A galaxy beside the lens; the amplitudes of its light are solved for with all other light.

    Attributes
    ----------
    x, y : float
        Place of its light as it was first seen, arcsec from the middle of the image. The fit moves
        it, and the mass with it.
    eta : (float, float)
        ``-ln(q) (cos 2 phi, sin 2 phi)`` of its light.
    snr : float
        Signal-to-noise ratio of its light over a smooth lens without it.
    compared : bool
        Whether its pixels are compared, or masked in the image as it was given.
    log_evidence : float
        Gain by its mass, not negative.
    """

    x: float
    y: float
    eta: tuple[float, float] = (0.0, 0.0)
    snr: float = 0.0
    compared: bool = True
    log_evidence: float = 0.0

    def gaussians(self, x: Tensor, y: Tensor) -> MultiGaussian:
        """Its Gaussians at positions relative to its centre.

        Parameters
        ----------
        x, y : Tensor of float64, shape (h, w)
            Arcsec.
        """
        eta = torch.tensor([self.eta], dtype=torch.float64)
        return MultiGaussian.at(x, y, eta, WIDTHS, torch.float32)
