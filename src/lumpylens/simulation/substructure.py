"""Substructure: masses in the halo of a lens, and how they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError
from lumpylens.physics.cosmology import Relation, scale_radius_kpc
from lumpylens.physics.truncated_nfw import LEAST_TRUNCATION, MOST_TRUNCATION
from lumpylens.simulation.distributions import (
    Number,
    PowerLaw,
    draw,
    largest,
    look_up,
    number_from,
    smallest,
)
from lumpylens.simulation.perturbers import Perturber, Profile, mass_inside

__all__ = ["SUBSTRUCTURES", "MassScale", "Substructure", "substructure", "substructure_from"]

COMPENSATED = "-compensated"
"""Ending of a name for a halo that is reduced by the mass of its substructure."""


@dataclass(frozen=True)
class MassScale:
    """Solar masses and kpc that a pixel stands for in one lens.

    Attributes
    ----------
    msun_per_px2 : float
        Mass of a point whose Einstein radius is one pixel.
    kpc_per_px : float or None
        In the lens plane.
    lens_redshift : float or None
    """

    msun_per_px2: float
    kpc_per_px: float | None = None
    lens_redshift: float | None = None


@dataclass(frozen=True)
class Substructure:
    """Distribution of masses in a halo.

    The mass of each comes from the first of these that is given: `einstein_radius_px`, `mass_msun`,
    a draw from `mass_function`, or an equal share of `mass_fraction`.

    Attributes
    ----------
    profile : {"point", "sphere", "halo", "rod"}
        See `Perturber`.
    count : int or None
        None, with a `mass_function`, is the number that `mass_fraction` needs.
    poisson : bool
        Whether `count` is the mean of a Poisson distribution.
    mass_fraction : Number
        Of equal masses: the sum of their squared Einstein radii in units of the lens's (for
        spheres, the sum of their Einstein radii: their masses inside that of the lens if they
        were at its centre). With a mass function and no count: mean mass of those inside the
        Einstein radius, in units of the lens's mass there.
    einstein_radius_px : float, optional
        Of each mass.
    mass_msun : Number, optional
        Of each mass; the total mass of a halo.
    mass_function : PowerLaw, optional
        In solar masses: ``dN/dm`` proportional to ``m^slope``.
    truncation : Number
        Of haloes: truncation radius over scale radius, which is that of a field halo of the same
        mass at the lens's redshift. Haloes of 1e6 to 1e10 Msun that lie some 50 kpc from the
        centre of their host have 2 to 8 (Gilman et al. 2020, arXiv:1908.06983, section 3.3).
    concentration : {"duffy2008", "ludlow2016"}
        Of haloes, for their mass and redshift: see `lumpylens.physics.cosmology.concentration`.
    radial_range : (float, float)
        Distances from the lens in its Einstein radii.
    area_uniform : bool
        Whether masses are uniform in area; otherwise in distance. Always uniform in azimuth.
    centre_spread : float
        Of a rod: standard deviation of each coordinate of its middle, in Einstein radii.
    length : Number
        Of a rod: end to end, in Einstein radii. Its orientation is any.
    at_px : (float, float), optional
        Position of a single perturber relative to the lens, instead of a random one.
    compensated : bool
        Whether the halo loses the mass that the perturbers add inside the Einstein radius, so
        that the mass there is that of the smooth lens. Otherwise the masses are added.
    """

    profile: Profile = "point"
    count: int | None = 25
    poisson: bool = False
    mass_fraction: Number = 0.08
    einstein_radius_px: float | None = None
    mass_msun: Number | None = None
    mass_function: PowerLaw | None = None
    truncation: Number = (2.0, 8.0)
    concentration: Relation = "duffy2008"
    radial_range: tuple[float, float] = (0.0, 0.83)
    area_uniform: bool = False
    centre_spread: float = 0.0
    length: Number = 1.0
    at_px: tuple[float, float] | None = None
    compensated: bool = False

    def __post_init__(self) -> None:
        """Raise `DataError` if a number is out of range."""
        if self.profile not in get_args(Profile):
            raise DataError(f"profile is {', '.join(get_args(Profile))}, got {self.profile!r}")
        if self.concentration not in get_args(Relation):
            raise DataError(
                f"concentration is {' or '.join(get_args(Relation))}, got {self.concentration!r}"
            )
        if self.count is None and self.mass_function is None:
            raise DataError("substructure needs a count, or a mass_function to fill mass_fraction")
        if self.count is not None and self.count < 1:
            raise DataError(f"substructure needs at least one mass, got count={self.count}")
        for name, low, high in (
            ("mass_fraction", 0.0, 1.0),
            ("length", 0.0, math.inf),
            ("mass_msun", 0.0, math.inf),
        ):
            number = getattr(self, name)
            if number is not None and not low < smallest(number) <= largest(number) < high:
                raise DataError(f"{name} lies between {low:g} and {high:g}, got {number}")
        if not LEAST_TRUNCATION <= smallest(self.truncation) <= MOST_TRUNCATION or (
            largest(self.truncation) > MOST_TRUNCATION
        ):
            raise DataError(
                f"truncation lies in {LEAST_TRUNCATION:g} to {MOST_TRUNCATION:g}, "
                f"got {self.truncation}"
            )
        if self.einstein_radius_px is not None and not 0 < self.einstein_radius_px < math.inf:
            raise DataError(f"einstein_radius_px is positive, got {self.einstein_radius_px:g}")
        low, high = self.radial_range
        if not 0 <= low <= high < math.inf:
            raise DataError(f"radial_range is a pair (nearest, farthest), got {self.radial_range}")
        if self.at_px is not None and self.count != 1:
            raise DataError(f"at_px places one mass, but count is {self.count}")

    def draw(
        self,
        einstein_radius_px: float,
        random: np.random.Generator,
        scale: MassScale | None = None,
    ) -> tuple[float, tuple[Perturber, ...]]:
        """Draw the masses of one lens.

        Parameters
        ----------
        einstein_radius_px : float
            Of the smooth lens.
        random : Generator
        scale : MassScale, optional
            Needed for masses in solar masses and for haloes.

        Returns
        -------
        float
            Einstein radius of the halo besides the perturbers, pixels.
        tuple of Perturber

        Raises
        ------
        DataError
            If a halo cannot compensate its perturbers, or the population has no pixel scale or
            redshifts where they are needed.
        """
        sizes = self._sizes(einstein_radius_px, random, scale)
        low, high = self.radial_range
        part = random.random((len(sizes), 2))
        if self.area_uniform:
            distance = np.sqrt(low**2 + (high**2 - low**2) * part[:, 0])
        else:
            distance = low + (high - low) * part[:, 0]
        distance, azimuth = einstein_radius_px * distance, 2 * math.pi * part[:, 1]
        x, y = distance * np.cos(azimuth), distance * np.sin(azimuth)
        if self.profile == "rod" and self.centre_spread:
            x, y = einstein_radius_px * self.centre_spread * random.standard_normal((2, len(sizes)))
        if self.at_px is not None:
            x, y = np.array([self.at_px[0]]), np.array([self.at_px[1]])
        perturbers = self._shaped(x, y, sizes, einstein_radius_px, random, scale)
        if not self.compensated:
            return einstein_radius_px, perturbers
        # An isothermal halo of Einstein radius b has the mass b R within R (in units of pi
        # critical surface densities), so b R + sum = R^2 at R, the smooth lens's radius.
        left = einstein_radius_px - mass_inside(perturbers, einstein_radius_px) / einstein_radius_px
        if left <= 0:
            raise DataError(
                f"the masses within the Einstein radius ({einstein_radius_px:.3g} px) are heavier "
                "than the halo from which their mass is taken"
            )
        return left, perturbers

    def _sizes(
        self, radius: float, random: np.random.Generator, scale: MassScale | None
    ) -> NDArray[np.float64]:
        """Einstein radius of each mass, pixels."""
        count = self._count(radius, random, scale)
        if self.einstein_radius_px is not None:
            return np.full(count, self.einstein_radius_px)
        if self.mass_msun is not None:
            masses = np.array([draw(self.mass_msun, random) for _ in range(count)])
        elif self.mass_function is not None:
            masses = self.mass_function.draw_many(count, random)
        else:
            fraction = draw(self.mass_fraction, random)
            if self.profile == "sphere":
                return np.full(count, radius * fraction / max(count, 1))
            return np.full(count, radius * math.sqrt(fraction / max(count, 1)))
        sizes = np.sqrt(masses / _known(scale).msun_per_px2)
        # A sphere of this mass within the lens's Einstein radius.
        return sizes**2 / radius if self.profile == "sphere" else sizes

    def _count(self, radius: float, random: np.random.Generator, scale: MassScale | None) -> int:
        if self.count is not None:
            return int(random.poisson(self.count)) if self.poisson else self.count
        assert self.mass_function is not None  # or __post_init__ would have refused
        low, high = self.radial_range
        inside = max(min(high, 1.0) ** 2 - low**2, 0.0) / (high**2 - low**2)
        if not self.area_uniform:
            inside = (min(high, 1.0) - low) / (high - low)
        if inside <= 0:
            raise DataError("radial_range leaves no mass inside the Einstein radius")
        mean = self.mass_function.moment(1) / _known(scale).msun_per_px2
        wanted = draw(self.mass_fraction, random) * radius**2 / mean / inside
        if wanted > MOST_MASSES:
            raise DataError(
                f"the mass function makes {wanted:.0f} masses per lens; raise its lower end"
            )
        return int(random.poisson(wanted))

    def _shaped(
        self,
        x: Any,
        y: Any,
        sizes: Any,
        radius: float,
        random: np.random.Generator,
        scale: MassScale | None,
    ) -> tuple[Perturber, ...]:
        places = zip(x.tolist(), y.tolist(), sizes.tolist(), strict=True)
        if self.profile == "halo":
            known = _known(scale)
            if known.kpc_per_px is None or known.lens_redshift is None:
                raise DataError("haloes need a population with redshifts and a pixel scale")
            masses = np.asarray(sizes) ** 2 * known.msun_per_px2
            scales = scale_radius_kpc(masses, known.lens_redshift, self.concentration)
            scales = scales / known.kpc_per_px
            return tuple(
                Perturber(a, b, size, "halo", scale_radius, draw(self.truncation, random))
                for (a, b, size), scale_radius in zip(places, scales.tolist(), strict=True)
            )
        if self.profile == "rod":
            return tuple(
                Perturber(
                    a,
                    b,
                    size,
                    "rod",
                    length_px=radius * draw(self.length, random),
                    angle_deg=random.uniform(-90, 90),
                )
                for a, b, size in places
            )
        return tuple(Perturber(a, b, size, self.profile) for a, b, size in places)


MOST_MASSES = 20_000
"""Largest number of masses in one lens: an image with more takes seconds."""


def _known(scale: MassScale | None) -> MassScale:
    if scale is None:
        raise DataError(
            "masses in solar masses need a population with redshifts and a pixel scale, or with "
            "halo_mass_msun"
        )
    return scale


SUBSTRUCTURES = {
    # 25 masses and 8 % within 0.83 Einstein radii give the challenge's `sub` images the
    # Einstein radii (7.7 % above `no_sub`, spread 0.8 %) and residuals of a smooth fit they have.
    "points": Substructure(),
    "spheres": Substructure(profile="sphere", mass_fraction=0.02),
    # Slope and range as found in simulations of cold dark matter; 1 % is what flux ratios and
    # arcs allow (Gilman et al. 2020). Below 1e7 Msun nothing is seen in an image.
    "haloes": Substructure(
        profile="halo",
        count=None,
        mass_fraction=0.01,
        mass_function=PowerLaw(-1.9, 1e7, 1e10),
        radial_range=(0.0, 1.5),
        area_uniform=True,
    ),
    "string": Substructure(
        profile="rod",
        count=1,
        mass_fraction=0.04,
        radial_range=(0.0, 0.0),
        centre_spread=0.3,
        length=(0.4, 1.7),
    ),
    "one": Substructure(count=1, mass_fraction=0.01, radial_range=(0.5, 1.2)),
}
"""Substructures that have a name in all populations."""


def substructure(
    kind: str | Substructure, known: Mapping[str, Substructure] | None = None
) -> Substructure:
    """Find a substructure by its name, or return it as it is.

    Parameters
    ----------
    kind : str or Substructure
        With ``-compensated`` at the end of a name, the halo loses the mass of its substructure.
    known : mapping, optional
        A population's own, which come before `SUBSTRUCTURES`.

    Raises
    ------
    DataError
        If there is none of that name, with the nearest name.
    """
    if isinstance(kind, Substructure):
        return kind
    every = {**SUBSTRUCTURES, **(known or {})}
    plain = kind.removesuffix(COMPENSATED)
    if kind not in every and plain != kind and plain in every:
        return replace(every[plain], compensated=True)
    return look_up("substructure", kind, every)


def substructure_from(
    values: Mapping[str, Any],
    pixel_scale_arcsec: float | None = None,
    base: Substructure | None = None,
) -> Substructure:
    """Read a substructure from the values of a file or of the command line.

    Parameters
    ----------
    values : mapping
        Fields of `Substructure`, and ``at_arcsec`` in place of ``at_px``.
    pixel_scale_arcsec : float, optional
        For ``at_arcsec``.
    base : Substructure, optional
        Source of the fields that are not given.

    Raises
    ------
    DataError
        If a field is unknown, with the nearest name, or a value is of the wrong kind.
    """
    known = {item.name: item for item in fields(Substructure)}
    settings: dict[str, Any] = {}
    for key, value in values.items():
        if key == "at_arcsec":
            if pixel_scale_arcsec is None:
                raise DataError("at_arcsec needs a population with a pixel scale; give at_px")
            key, value = "at_px", [float(part) / pixel_scale_arcsec for part in value]
        look_up("number of a substructure", key, known)
        if key in ("mass_fraction", "mass_msun", "mass_function", "truncation", "length"):
            value = number_from(value, key)
        elif isinstance(value, list):
            value = tuple(float(part) for part in value)
        settings[key] = value
    if settings.get("count") == 0:
        settings["count"] = None
    try:
        return replace(base or Substructure(), **settings)
    except TypeError as problem:
        raise DataError(f"a number of the substructure is of the wrong kind: {problem}") from None
