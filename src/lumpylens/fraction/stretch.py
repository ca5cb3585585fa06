"""Fractions on an axis on which a likelihood is about equally wide everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

__all__ = ["FractionAxis"]

KNEE = 30.0
"""The axis goes as the square of fractions below the largest over this, and as the logarithm above.
Little substructure changes the power of a lens by the square of its fraction. Not tuned."""

NODES = 33
"""Fractions at which likelihoods are computed; between them they are splines."""

POINTS = 1001
"""Fractions of a posterior."""


@dataclass(frozen=True)
class FractionAxis:
    """Fractions from zero to the largest.

    Attributes
    ----------
    largest : float
    """

    largest: float

    def place(self, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Place of fractions on the axis, from 0 to 1."""
        square = np.square(KNEE * fraction / self.largest)
        stretched: NDArray[np.float64] = np.log1p(square) / math.log1p(KNEE**2)
        return stretched

    def fraction(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractions at places on the axis."""
        square = np.expm1(place * math.log1p(KNEE**2))
        fraction: NDArray[np.float64] = np.sqrt(square) * self.largest / KNEE
        return fraction

    @property
    def nodes(self) -> NDArray[np.float64]:
        """Places, shape (33,), at which likelihoods are computed."""
        return np.linspace(0, 1, NODES)

    @property
    def grid(self) -> NDArray[np.float64]:
        """Fractions of a posterior, shape (1001,), equally spaced."""
        return np.linspace(0, self.largest, POINTS)

    def between(
        self, at_nodes: NDArray[np.float64], place: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Values at `place`, shape (m,), of a curve that is known at the nodes, shape (33,)."""
        values: NDArray[np.float64] = CubicSpline(self.nodes, at_nodes)(place)
        return values

    def slopes(
        self, at_nodes: NDArray[np.float64], place: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Slope of each of n curves, (n, 33), at a place of its own, (n,)."""
        spline = CubicSpline(self.nodes, at_nodes, axis=1)
        piece = np.clip(np.searchsorted(self.nodes, place, side="right") - 1, 0, NODES - 2)
        cubic, square, line, _ = spline.c[:, piece, np.arange(len(place))]
        beyond = place - self.nodes[piece]
        slopes: NDArray[np.float64] = (3 * cubic * beyond + 2 * square) * beyond + line
        return slopes
