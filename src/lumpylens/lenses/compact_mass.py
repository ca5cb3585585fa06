"""What a small mass does to rays: its deflection, and how the light changes with its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.rays import SOFTENING_ARCSEC

__all__ = ["Bending", "CompactMass", "Place", "PointMass", "deflection", "light_changes"]

Image = NDArray[np.float64]


class Bending(NamedTuple):
    """Deflection over distance, and its derivatives.

    Attributes
    ----------
    value : ndarray
        Without unit.
    by_square : ndarray
        Derivative by the squared distance, arcsec^-2.
    by_strength : ndarray
        Derivative by the strength, arcsec^-2.
    """

    value: Image
    by_square: Image
    by_strength: Image


class CompactMass(Protocol):
    """Profile of a round mass."""

    def bending(self, square: Image, strength: float) -> Bending:
        """Deflection over distance.

        Parameters
        ----------
        square : ndarray
            Squared distances, arcsec^2.
        strength : float
            Squared Einstein radius that a point of the same total mass has, arcsec^2.
        """
        ...


@dataclass(frozen=True)
class PointMass:
    """A point mass with a core of `SOFTENING_ARCSEC`."""

    def bending(self, square: Image, strength: float) -> Bending:
        """Deflection over distance, as in `lumpylens.physics.deflection.softened_point`."""
        by_strength = 1 / (square + SOFTENING_ARCSEC**2)
        value = strength * by_strength
        return Bending(value, -value * by_strength, by_strength)


class Place(NamedTuple):
    """Place of a mass, arcsec from the middle of the image, and its strength, arcsec^2."""

    x: float
    y: float
    strength: float


def deflection(mass: CompactMass, grid: tuple[Image, Image], place: Place) -> tuple[Image, Image]:
    """Deflection by a mass.

    Parameters
    ----------
    mass : CompactMass
    grid : pair of ndarray, shape (h, w)
        x and y of the pixels, arcsec from the middle of the image.
    place : Place

    Returns
    -------
    pair of ndarray, shape (h, w)
        Along x and y, arcsec.
    """
    u, v = grid[0] - place.x, grid[1] - place.y
    value = mass.bending(u * u + v * v, place.strength).value
    return value * u, value * v


def light_changes(
    mass: CompactMass, grid: tuple[Image, Image], gradient: tuple[Image, Image], place: Place
) -> list[Image]:
    """Change of the brightness where each ray ends, per unit of x, of y and of the strength.

    Parameters
    ----------
    mass : CompactMass
    grid : pair of ndarray, shape (h, w)
        x and y of the pixels, arcsec from the middle of the image.
    gradient : pair of ndarray, shape (h, w)
        Of the source's brightness where each ray ends, along x and y.
    place : Place

    Returns
    -------
    list of ndarray, shape (h, w)
    """
    u, v = grid[0] - place.x, grid[1] - place.y
    bending = mass.bending(u * u + v * v, place.strength)
    along = gradient[0] * u + gradient[1] * v
    turned = 2 * bending.by_square * along
    return [
        bending.value * gradient[0] + turned * u,
        bending.value * gradient[1] + turned * v,
        -bending.by_strength * along,
    ]
