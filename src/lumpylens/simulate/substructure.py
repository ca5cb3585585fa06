"""Lumps of mass in a lens's halo."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lumpylens.errors import DataError
from lumpylens.simulate.populations import named

__all__ = ["SUBSTRUCTURES", "Perturber", "Substructure", "substructure"]


@dataclass(frozen=True)
class Perturber:
    """A point mass.

    Attributes
    ----------
    x_px, y_px : float
        Position relative to the lens.
    einstein_radius_px : float
        Its square is its mass over pi critical surface densities.
    """

    x_px: float
    y_px: float
    einstein_radius_px: float


@dataclass(frozen=True)
class Substructure:
    """Equal point masses in a halo.

    Attributes
    ----------
    count : int
    mass_fraction : float
        Sum of the squared Einstein radii, in units of the lens's squared Einstein radius.
    einstein_radius_px : float, optional
        Of each mass, instead of `mass_fraction`.
    radial_range : (float, float)
        Distances from the lens in its Einstein radii; uniform in distance and azimuth.
    at_px : (float, float), optional
        Place of a single perturber relative to the lens, instead of a random one.
    compensated : bool
        The halo gives up what the masses inside the Einstein radius add, so that the mass
        within it is that of the smooth lens. Otherwise the masses are added.
    """

    count: int = 25
    mass_fraction: float = 0.08
    einstein_radius_px: float | None = None
    radial_range: tuple[float, float] = (0.0, 0.83)
    at_px: tuple[float, float] | None = None
    compensated: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no substructure."""
        if self.count < 1:
            raise DataError(f"substructure needs at least one mass, got count={self.count}")
        if not 0 < self.mass_fraction < 1:
            raise DataError(f"mass_fraction lies between 0 and 1, got {self.mass_fraction:g}")
        if self.einstein_radius_px is not None and not 0 < self.einstein_radius_px < math.inf:
            raise DataError(f"einstein_radius_px is positive, got {self.einstein_radius_px:g}")
        low, high = self.radial_range
        if not 0 <= low <= high < math.inf:
            raise DataError(f"radial_range is a pair (nearest, farthest), got {self.radial_range}")
        if self.at_px is not None and self.count != 1:
            raise DataError(f"at_px places one mass, but count is {self.count}")

    def draw(
        self, einstein_radius_px: float, random: np.random.Generator
    ) -> tuple[float, tuple[Perturber, ...]]:
        """Draw the masses of one lens.

        Parameters
        ----------
        einstein_radius_px : float
            Of the smooth lens.
        random : Generator

        Returns
        -------
        float
            Einstein radius that is left to the halo, pixels.
        tuple of Perturber

        Raises
        ------
        DataError
            If a halo cannot compensate its perturbers.
        """
        each = self.einstein_radius_px
        if each is None:
            each = einstein_radius_px * math.sqrt(self.mass_fraction / self.count)
        low, high = self.radial_range
        made = []
        for _ in range(self.count):
            radius = einstein_radius_px * random.uniform(low, high)
            azimuth = random.uniform(0, 2 * math.pi)
            x, y = self.at_px or (radius * math.cos(azimuth), radius * math.sin(azimuth))
            made.append(Perturber(x, y, each))
        if not self.compensated:
            return einstein_radius_px, tuple(made)
        # An isothermal halo of Einstein radius b has the mass b R within R (in units of pi
        # critical surface densities), so b R + sum = R^2 at R, the smooth lens's radius.
        inside = sum(
            one.einstein_radius_px**2
            for one in made
            if math.hypot(one.x_px, one.y_px) < einstein_radius_px
        )
        left = einstein_radius_px - inside / einstein_radius_px
        if left <= 0:
            raise DataError(
                f"the masses within the Einstein radius ({einstein_radius_px:.3g} px) are heavier "
                "than the halo that should give them up"
            )
        return left, tuple(made)


SUBSTRUCTURES = {
    # 25 masses and 8 % within 0.83 Einstein radii give the challenge's `sub` images the
    # Einstein radii (7.7 % above `no_sub`, spread 0.8 %) and residuals of a smooth fit they have.
    "points": Substructure(),
    "points-compensated": Substructure(compensated=True),
    "one": Substructure(count=1, mass_fraction=0.01, radial_range=(0.5, 1.2)),
}
"""Every substructure that goes by a name."""


def substructure(kind: str | Substructure) -> Substructure:
    """Substructure called `kind`, or itself.

    Raises
    ------
    DataError
        If there is none of that name, with the nearest name.
    """
    if isinstance(kind, Substructure):
        return kind
    found: Substructure = named("substructure", kind, SUBSTRUCTURES)
    return found
