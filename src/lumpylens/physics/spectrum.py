"""How likely small deflections are: a random field of perturbers against none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["SEEN_FRACTIONS", "Spectrum", "learn_error"]

LUMPS, MASS_FRACTIONS = 25, (0.005, 0.015, 0.05)
"""Fields that a score asks for, each as probable as the others: so many lumps of equal mass, with
these fractions of the mass of the lens in all of them. In larger fields scores only grow, and ranks
stay."""

SEEN_FRACTIONS = (0.003, 0.01, 0.03)
"""Fractions of the mass for whose fields `Spectrum.fluctuations` says how much of them is there.
Smaller ones weight all directions as the first does, larger ones as the last."""

UNSEEN = 0.05
"""Share of the signals of lumps that is outside of those of perturbers at the positions of the
spectrum: 0.05 for random places in 16 smooth lenses like those of the challenge, and 0.03 in those
of `euclid`."""

TRIMMED = 0.1
"""Fraction of the normal images, those that show most deflections, from which the error of the
instrument is not learned. Among them are fits that failed. Not tuned."""


@dataclass(frozen=True)
class Spectrum:
    """The perturbation field in directions that are independent under noise.

    Attributes
    ----------
    information : Tensor of float64, shape (n, m)
        Eigenvalues of D' P D.
    along : Tensor of float64, shape (n, m)
        The data's component along each eigenvector; its variance under noise is `information`.
    halo : Tensor of float64, shape (n,)
        Squared Einstein radius of the smooth lens, px^2.
    """

    information: Tensor
    along: Tensor
    halo: Tensor

    def field_variance(self, fractions: Sequence[float] = MASS_FRACTIONS) -> Tensor:
        """Variance of the squared Einstein radius at each position, px^4, shape (n, s)."""
        mass = self.halo[:, None] * self.halo.new_tensor(fractions)
        return mass.square() / LUMPS / self.information.shape[1]

    def log_ratio(self, error: float) -> Tensor:
        """Log likelihood ratio of a random field of each of `MASS_FRACTIONS`, shape (n, s).

        With information l, the component along a direction is distributed as N(0, l (1 + e^2 l))
        in a smooth lens, and as N(0, l (1 + (e^2 + s^2) l)) in a field of scale s. A lens in which
        no field could be seen has a ratio near 0, whatever its noise.

        Parameters
        ----------
        error : float
            Scale e of the deflections that errors of the model imitate, from `learn_error`, px^2.
        """
        noise = (1 + error**2 * self.information)[:, None]
        return _log_ratio(self, noise, self.field_variance()[..., None])

    def fluctuations(self, error: float) -> tuple[Tensor, Tensor, Tensor]:
        """Power of each field of `SEEN_FRACTIONS` in the image, and what a smooth lens has of it.

        A direction is weighted by the share w = q / (1 + q) of its variance that a field would
        have, with q as in `log_ratio`.

        Parameters
        ----------
        error : float
            See `log_ratio`.

        Returns
        -------
        power, seen, squared : Tensor of float64, shape (n, s)
            Sum of w z^2 / v over the directions; sum of w, which is the mean of the power in smooth
            lenses; sum of w^2, half of its variance there.
        """
        variance = self.information * (1 + error**2 * self.information)
        ratio = self.field_variance(SEEN_FRACTIONS)[..., None] * (
            self.information.square() / variance
        ).unsqueeze(1)
        weight = ratio / (1 + ratio)
        power = (weight * (self.along.square() / variance).unsqueeze(1)).sum(dim=2)
        return power, weight.sum(dim=2), weight.square().sum(dim=2)

    def unseen_rise(self) -> Tensor:
        """Deviance that each field adds outside of the spectrum, shape (n, s)."""
        return UNSEEN * self.field_variance() * self.information.sum(dim=1, keepdim=True)


def _log_ratio(spectrum: Spectrum, noise: Tensor, variance: Tensor) -> Tensor:
    """Log likelihood ratio of more variance (n, s, 1) against noise (n, 1, m); shape (n, s)."""
    information, along = spectrum.information[:, None], spectrum.along[:, None]
    ratio = variance * information / noise
    surprise = along.square() / (information * noise)
    return 0.5 * (surprise * ratio / (1 + ratio) - torch.log1p(ratio)).sum(dim=2)


def learn_error(spectrum: Spectrum) -> float:
    """Learn the scale of the deflections, px^2, that errors of the model imitate in normal images.

    Maximum likelihood on a grid, with components along ~ N(0, l (1 + e^2 l)).
    """
    grid = torch.logspace(-4, 1, 61, dtype=torch.float64)
    ones = torch.ones_like(spectrum.information)[:, None]

    def support(error: Tensor) -> float:
        ratio = _log_ratio(spectrum, ones, error.square().expand(len(ones), 1, 1))[:, 0]
        count = max(1, math.ceil((1 - TRIMMED) * len(ratio)))
        return float(ratio.sort().values[:count].sum())

    return float(grid[int(np.argmax([support(error) for error in grid]))])
