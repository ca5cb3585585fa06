"""Masses of a lens galaxy that compete with the power law: what they do to rays."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.broken_power_law import BrokenPowerLaw
from lumpylens.physics.gaussian_mass import enclosed
from lumpylens.physics.nfw import elliptical_nfw, nfw_mass

__all__ = ["BrokenMass", "CentralMass", "StarsAndHalo"]

Image = NDArray[np.float64]

STEP = 1e-5
"""Change of a number from which derivatives are taken."""


@dataclass(frozen=True, eq=False)
class CentralMass:
    """Mass of a lens galaxy, on the pixels of one observation.

    Attributes
    ----------
    names : tuple of str
        Its parameters, in the order in which functions take their numbers.
    x, y : ndarray, shape (h, w)
        Pixels, arcsec from the middle of the image.
    """

    names: ClassVar[tuple[str, ...]]

    x: Image
    y: Image

    @abstractmethod
    def deflection(self, numbers: tuple[float, ...]) -> tuple[Image, Image]:
        """Deflection (h, w) along x and y, arcsec."""

    def light_changes(
        self, numbers: tuple[float, ...], gradient: tuple[Image, Image]
    ) -> dict[str, Image]:
        """Change of the brightness where each ray ends, per unit of each parameter.

        Parameters
        ----------
        numbers : tuple of float
        gradient : pair of ndarray, shape (h, w)
            Of the source's brightness where each ray ends, along x and y.
        """
        return {
            name: -(along_x * gradient[0] + along_y * gradient[1])
            for name, (along_x, along_y) in zip(
                self.names, _derivatives(self, numbers), strict=True
            )
        }


@lru_cache(maxsize=1)
def _derivatives(mass: CentralMass, numbers: tuple[float, ...]) -> list[tuple[Image, Image]]:
    """Derivatives of the deflection by each number; a step of a fit needs them twice."""
    derivatives = []
    for position in range(len(numbers)):
        (up_x, up_y), (down_x, down_y) = (
            mass.deflection(
                (*numbers[:position], numbers[position] + step, *numbers[position + 1 :])
            )
            for step in (STEP, -STEP)
        )
        derivatives.append(((up_x - down_x) / (2 * STEP), (up_y - down_y) / (2 * STEP)))
    return derivatives


@dataclass(frozen=True, eq=False)
class StarsAndHalo(CentralMass):
    """Stars that follow the light, and a dark NFW halo with an elliptical potential.

    The parameters are the logarithm of the radius within which the mean convergence of both is 1,
    the ellipse ``-ln(q) (cos 2 phi, sin 2 phi)`` of the halo's potential, its centre, the part of
    the mass within that radius that is stars, the logarithm of the halo's scale radius, and the
    power with which the mass-to-light ratio of the stars falls with the width of their Gaussians.
    The stars stay where the light of the lens was seen.

    Attributes
    ----------
    stars : ndarray, shape (k, 2, h, w)
        Deflection along x and y by the stars of each width, for a mass-to-light ratio of 1, arcsec.
    widths, light : ndarray, shape (k,)
        Of the Gaussians of stars, arcsec, and their light.
    """

    names: ClassVar[tuple[str, ...]] = (
        "log_einstein_radius", "eta_1", "eta_2", "centre_x", "centre_y", "stellar_fraction",
        "log_scale_radius", "mass_to_light_slope",
    )  # fmt: skip

    stars: Image
    widths: Image
    light: Image

    def deflection(self, numbers: tuple[float, ...]) -> tuple[Image, Image]:
        """Deflection (h, w) along x and y, arcsec."""
        log_radius, eta_1, eta_2, centre_x, centre_y, fraction, log_scale, falls = numbers
        radius, scale = math.exp(log_radius), math.exp(log_scale)
        ratios = self.widths**-falls
        ratios *= fraction * radius**2 / enclosed(radius, self.widths, ratios * self.light)
        stars_x, stars_y = np.tensordot(ratios, self.stars, axes=1)
        of_halo = (1 - fraction) * radius**2 / float(nfw_mass(np.array(radius / scale)))
        eta = math.hypot(eta_1, eta_2)
        per_eta = math.tanh(eta) / eta if eta > 0 else 1.0
        epsilon = per_eta * eta_1, per_eta * eta_2
        halo_x, halo_y = elliptical_nfw(self.x - centre_x, self.y - centre_y, epsilon, scale)
        return stars_x + of_halo * halo_x, stars_y + of_halo * halo_y


@dataclass(frozen=True, eq=False)
class BrokenMass(CentralMass):
    """A power law with another slope within its break radius.

    The parameters are those of the power law, the inner slope, and the logarithm of the break
    radius.
    """

    names: ClassVar[tuple[str, ...]] = (
        "log_einstein_radius", "eta_1", "eta_2", "slope", "centre_x", "centre_y", "inner_slope",
        "log_break_radius",
    )  # fmt: skip

    def deflection(self, numbers: tuple[float, ...]) -> tuple[Image, Image]:
        """Deflection (h, w) along x and y, arcsec."""
        log_radius, eta_1, eta_2, slope, centre_x, centre_y, inner_slope, log_break = numbers
        mass = BrokenPowerLaw(
            math.exp(log_radius), (eta_1, eta_2), inner_slope, slope, math.exp(log_break)
        )
        return mass.deflection(self.x - centre_x, self.y - centre_y)
