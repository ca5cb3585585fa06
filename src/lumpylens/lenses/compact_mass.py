"""What a small mass does to rays: its deflection, and how the light changes with its parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.cosmology import (
    ARCSEC,
    angular_diameter_distance_mpc,
    concentration,
    msun_per_square_arcsec,
    scale_radius_kpc,
)
from lumpylens.physics.rays import SOFTENING_ARCSEC
from lumpylens.physics.subhaloes import TRUNCATION
from lumpylens.physics.truncated_nfw import enclosed_mass, total_mass

__all__ = [
    "Bending", "CompactMass", "Place", "PointMass", "PseudoJaffe", "TruncatedNfw", "deflection",
    "light_changes",
]  # fmt: skip

Image = NDArray[np.float64]

STEP = 1e-4
"""Relative change of a number from which derivatives are taken."""

LEAST_SQUARE, LEAST_STRENGTH = 1e-12, 1e-9
"""Squared distance, and strength, arcsec^2, below which profiles are those there: their formulas
divide by both."""


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

    def over_distance(self, square: Image, strength: float) -> Image:
        """Deflection over distance.

        Parameters
        ----------
        square : ndarray
            Squared distances, arcsec^2, above 0.
        strength : float
            Squared Einstein radius that a point of this mass has, arcsec^2, above 0.
        """
        ...

    def bending(self, square: Image, strength: float) -> Bending:
        """Deflection over distance, and its derivatives, for any distance and strength."""
        ...


@dataclass(frozen=True)
class PointMass:
    """A point mass with a core of `SOFTENING_ARCSEC`."""

    def over_distance(self, square: Image, strength: float) -> Image:
        """Deflection over distance, as in `lumpylens.physics.deflection.softened_point`."""
        value: Image = strength / (square + SOFTENING_ARCSEC**2)
        return value

    def bending(self, square: Image, strength: float) -> Bending:
        """Deflection over distance, and its derivatives."""
        by_strength = 1 / (square + SOFTENING_ARCSEC**2)
        value = strength * by_strength
        return Bending(value, -value * by_strength, by_strength)


@dataclass(frozen=True)
class PseudoJaffe:
    """An isothermal sphere with the tidal radius that an isothermal lens gives it.

    Attributes
    ----------
    einstein_radius : float
        Of the lens, arcsec.

    Notes
    -----
    See `lumpylens.physics.subhaloes.bending`. The strength is b t, with b the Einstein radius of
    the sphere and t its tidal radius, which is that of Metcalf & Madau 2001 (astro-ph/0108224); the
    field takes it too, such as Vegetti & Koopmans 2009 (arXiv:0805.0201).
    """

    einstein_radius: float

    def sphere_radius(self, strength: float) -> float:
        """Einstein radius b of the sphere, arcsec."""
        return math.cbrt(strength**2 / self.einstein_radius)

    def over_distance(self, square: Image, strength: float) -> Image:
        """Deflection over distance."""
        b = self.sphere_radius(strength)
        tidal, distance = math.sqrt(b * self.einstein_radius), np.sqrt(square)
        # sqrt(r^2 + t^2) - t, without the loss of digits near the centre.
        beyond = square / (np.sqrt(square + tidal**2) + tidal)
        value: Image = b * (distance - beyond) / square
        return value

    def bending(self, square: Image, strength: float) -> Bending:
        """Deflection over distance, and its derivatives."""
        return _with_derivatives(self, square, strength)


@dataclass(frozen=True)
class TruncatedNfw:
    """An NFW subhalo with the concentration of its mass, truncated at `TRUNCATION` scale radii.

    Attributes
    ----------
    lens_redshift, source_redshift : float

    Notes
    -----
    Baltz, Marshall & Oguri 2009 (arXiv:0705.0682), with the concentrations of Duffy et al. 2008 in
    `lumpylens.physics.cosmology`. The strength is that of its mass within 200 critical densities
    before it was truncated. Of this mass, 0.6 to 0.75 is left.
    """

    lens_redshift: float
    source_redshift: float

    @property
    def msun(self) -> float:
        """Solar masses of a strength of 1 arcsec^2."""
        return msun_per_square_arcsec(self.lens_redshift, self.source_redshift)

    def scale_radius(self, strength: float) -> float:
        """Arcsec."""
        kpc_per_arcsec = 1e3 * ARCSEC * angular_diameter_distance_mpc(0, self.lens_redshift)
        mass = np.array(strength * self.msun)
        return float(scale_radius_kpc(mass, self.lens_redshift)) / kpc_per_arcsec

    def left_over(self, strength: float) -> float:
        """Mass that is left after truncation, over that within 200 critical densities."""
        c = float(concentration(np.array(strength * self.msun), self.lens_redshift))
        return float(total_mass(TRUNCATION)) / (math.log(1 + c) - c / (1 + c))

    def over_distance(self, square: Image, strength: float) -> Image:
        """Deflection over distance."""
        within = enclosed_mass(np.sqrt(square) / self.scale_radius(strength), TRUNCATION)
        value: Image = strength * self.left_over(strength) * within / square
        return value

    def bending(self, square: Image, strength: float) -> Bending:
        """Deflection over distance, and its derivatives."""
        return _with_derivatives(self, square, strength)


def _with_derivatives(mass: PseudoJaffe | TruncatedNfw, square: Image, strength: float) -> Bending:
    square, strength = np.maximum(square, LEAST_SQUARE), max(strength, LEAST_STRENGTH)
    ends = (1 + STEP, 1 - STEP)
    outer, inner = (mass.over_distance(square * end, strength) for end in ends)
    more, less = (mass.over_distance(square, strength * end) for end in ends)
    return Bending(
        mass.over_distance(square, strength),
        (outer - inner) / (2 * STEP * square),
        (more - less) / (2 * STEP * strength),
    )


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
    square, strength = np.maximum(u * u + v * v, LEAST_SQUARE), max(place.strength, LEAST_STRENGTH)
    value = mass.over_distance(square, strength)
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
