"""One lens drawn from a population: its true numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.errors import DataError
from lumpylens.physics.cosmology import (
    ARCSEC,
    angular_diameter_distance_mpc,
    einstein_radius_arcsec,
    msun_per_square_arcsec,
)
from lumpylens.physics.parameters import NAMES, pack
from lumpylens.simulation.distributions import Number, draw
from lumpylens.simulation.perturbers import Perturber
from lumpylens.simulation.populations import Population
from lumpylens.simulation.sources import Clump, SourceGalaxies, sersic_flux
from lumpylens.simulation.substructure import MassScale, Substructure

__all__ = ["Lens", "add_substructure", "draw_lens"]


@dataclass(frozen=True)
class Lens:
    """True numbers of one lens; lengths in pixels, angles in degrees from x towards y.

    Attributes
    ----------
    einstein_radius_px : float
        Of the smooth lens that was drawn.
    halo_einstein_radius_px : float
        Of the halo beside its perturbers; smaller where they are compensated.
    shear, shear_angle_deg : float
    mass_axis_ratio, mass_angle_deg : float
    source_x_px, source_y_px : float
    source_axis_ratio, source_angle_deg, source_radius_px, source_index : float
    source_brightness : float
        At the effective radius.
    lens_light_axis_ratio, lens_light_angle_deg, lens_light_radius_px : float
    lens_light_index, lens_light_brightness : float
    psf_sigma_px : float
    noise : float
        Standard deviation of the Gaussian noise, in the unit of the brightnesses.
    perturbers : tuple of Perturber
    photons : float
        Counted per unit of brightness; not a number without Poisson noise.
    lens_redshift, source_redshift : float
        Not a number where the population has none.
    scale : MassScale or None
        Solar masses and kpc that a pixel stands for.
    clumps : tuple of Clump
        On the source; `source_brightness` is without their light.
    source_image : int
        Position, among the galaxies that were given, of the one in the place of the source's
        Sersic profile, with the same light and half-light radius; -1 without.
    source_image_angle_deg : float
    centre_x_px, centre_y_px : float
        Position of the lens relative to the middle of the image. All other positions are relative
        to the lens.
    """

    einstein_radius_px: float
    halo_einstein_radius_px: float
    shear: float
    shear_angle_deg: float
    mass_axis_ratio: float
    mass_angle_deg: float
    source_x_px: float
    source_y_px: float
    source_axis_ratio: float
    source_angle_deg: float
    source_radius_px: float
    source_index: float
    source_brightness: float
    lens_light_axis_ratio: float
    lens_light_angle_deg: float
    lens_light_radius_px: float
    lens_light_index: float
    lens_light_brightness: float
    psf_sigma_px: float
    noise: float
    perturbers: tuple[Perturber, ...] = ()
    photons: float = math.nan
    lens_redshift: float = math.nan
    source_redshift: float = math.nan
    scale: MassScale | None = None
    clumps: tuple[Clump, ...] = ()
    source_image: int = -1
    source_image_angle_deg: float = 0.0
    centre_x_px: float = 0.0
    centre_y_px: float = 0.0

    def parameters(self) -> Tensor:
        """Parameter vector of `lumpylens.physics.parameters`, shape (1, COUNT)."""
        return pack(**self._values())

    def numbers(self) -> NDArray[np.float64]:
        """Parameter vector in double precision, shape (COUNT,)."""
        values = self._values()
        return np.array([values.get(name, 0.0) for name in NAMES])

    def _values(self) -> dict[str, float]:
        shear_1, shear_2 = _twice(self.shear, self.shear_angle_deg)
        source = _twice(-math.log(self.source_axis_ratio), self.source_angle_deg)
        light = _twice(-math.log(self.lens_light_axis_ratio), self.lens_light_angle_deg)
        mass = _twice(-math.log(self.mass_axis_ratio), self.mass_angle_deg)
        return {
            "log_einstein_radius_px": math.log(self.halo_einstein_radius_px),
            "shear_1": shear_1,
            "shear_2": shear_2,
            "source_x": self.source_x_px / self.halo_einstein_radius_px,
            "source_y": self.source_y_px / self.halo_einstein_radius_px,
            "source_eta_1": source[0],
            "source_eta_2": source[1],
            "lens_light_eta_1": light[0],
            "lens_light_eta_2": light[1],
            "mass_eta_1": mass[0],
            "mass_eta_2": mass[1],
            "log_source_radius_px": math.log(self.source_radius_px),
            "log_source_index": math.log(self.source_index),
            "log_lens_light_radius_px": math.log(self.lens_light_radius_px),
            "log_lens_light_index": math.log(self.lens_light_index),
            "centre_x_px": self.centre_x_px,
            "centre_y_px": self.centre_y_px,
            "log_psf_sigma_px": math.log(self.psf_sigma_px),
        }


def _twice(size: float, angle_deg: float) -> tuple[float, float]:
    angle = 2 * math.radians(angle_deg)
    return size * math.cos(angle), size * math.sin(angle)


def draw_lens(
    population: Population, random: np.random.Generator, galaxies: SourceGalaxies | None = None
) -> Lens:
    """Draw a smooth lens.

    Parameters
    ----------
    population : Population
    random : Generator
    galaxies : SourceGalaxies, optional
        One of these, drawn at random, replaces the Sersic source.

    Raises
    ------
    DataError
        If no lens falls within the population's limits.
    """

    def value_of(number: Number) -> float:
        return draw(number, random)

    def angle(number: Number | None) -> float:
        return value_of(population.position_angle_deg if number is None else number)

    radius, near, far = _einstein_radius(population, random)
    offset = radius * value_of(population.source_offset)
    azimuth = random.uniform(0, 2 * math.pi)
    x, y = offset * math.cos(azimuth), offset * math.sin(azimuth)
    if population.source_x_px is not None and population.source_y_px is not None:
        x, y = value_of(population.source_x_px), value_of(population.source_y_px)
    lens = Lens(
        einstein_radius_px=radius,
        halo_einstein_radius_px=radius,
        shear=value_of(population.shear),
        shear_angle_deg=angle(population.shear_angle_deg),
        mass_axis_ratio=value_of(population.mass_axis_ratio),
        mass_angle_deg=angle(population.mass_angle_deg),
        source_x_px=x,
        source_y_px=y,
        source_axis_ratio=value_of(population.source_axis_ratio),
        source_angle_deg=angle(population.source_angle_deg),
        source_radius_px=value_of(population.source_radius_px),
        source_index=value_of(population.source_index),
        source_brightness=value_of(population.source_brightness),
        lens_light_axis_ratio=value_of(population.lens_light_axis_ratio),
        lens_light_angle_deg=value_of(population.position_angle_deg),
        lens_light_radius_px=value_of(population.lens_light_radius_px),
        lens_light_index=value_of(population.lens_light_index),
        lens_light_brightness=value_of(population.lens_light_brightness),
        psf_sigma_px=value_of(population.psf_sigma_px),
        noise=population.noise * math.exp(population.noise_spread * random.standard_normal()),
        photons=math.nan if population.photons is None else value_of(population.photons),
        lens_redshift=near,
        source_redshift=far,
        scale=_scale(population, radius, near, far),
    )
    return _with_magnitudes_and_source(lens, population, random, galaxies)


def _with_magnitudes_and_source(
    lens: Lens, population: Population, random: np.random.Generator, galaxies: SourceGalaxies | None
) -> Lens:
    """Draw what only some populations have; last, so that the others' numbers do not change."""
    if population.light_follows_mass:
        lens = replace(
            lens,
            lens_light_axis_ratio=lens.mass_axis_ratio,
            lens_light_angle_deg=lens.mass_angle_deg,
        )
    for kind in ("lens_light", "source"):
        magnitude = getattr(population, f"{kind}_magnitude")
        if magnitude is not None and population.zero_point is not None:
            flux = 10 ** (0.4 * (population.zero_point - draw(magnitude, random)))
            size, index = getattr(lens, f"{kind}_radius_px"), getattr(lens, f"{kind}_index")
            changed: dict[str, Any] = {f"{kind}_brightness": flux / sersic_flux(size, index)}
            lens = replace(lens, **changed)
    count = round(draw(population.source_clumps, random))
    if count:
        part = draw(population.clump_light, random)
        light = part * lens.source_brightness
        light *= sersic_flux(lens.source_radius_px, lens.source_index)
        shares = random.dirichlet(np.ones(count))
        clumps = tuple(_clump(lens, population, light * share, random) for share in shares)
        lens = replace(lens, source_brightness=(1 - part) * lens.source_brightness, clumps=clumps)
    if galaxies is not None:
        lens = replace(
            lens,
            source_image=int(random.integers(len(galaxies.ids))),
            source_image_angle_deg=random.uniform(-180, 180),
        )
    x, y = (draw(population.centre_offset_px, random) for _ in range(2))
    return replace(lens, centre_x_px=x, centre_y_px=y)


def _clump(lens: Lens, population: Population, light: float, random: np.random.Generator) -> Clump:
    """Draw a clump within 1.5 effective radii of the source's centre, along its ellipse."""
    distance = 1.5 * lens.source_radius_px * math.sqrt(random.random())
    turn, angle = random.uniform(0, 2 * math.pi), math.radians(lens.source_angle_deg)
    root = math.sqrt(lens.source_axis_ratio)
    along, across = distance * math.cos(turn) / root, distance * math.sin(turn) * root
    radius = lens.source_radius_px * draw(population.clump_radius, random)
    return Clump(
        along * math.cos(angle) - across * math.sin(angle),
        along * math.sin(angle) + across * math.cos(angle),
        radius,
        light / sersic_flux(radius, 1.0),
    )


def _einstein_radius(
    population: Population, random: np.random.Generator
) -> tuple[float, float, float]:
    """Draw the Einstein radius in pixels and the redshifts of lens and source."""
    for _ in range(MOST_TRIES):
        near = far = math.nan
        if population.lens_redshift is not None and population.source_redshift is not None:
            near, far = draw(population.lens_redshift, random), -1.0
            while far <= near:
                far = draw(population.source_redshift, random)
        if population.velocity_dispersion_kms is not None:
            assert population.pixel_scale_arcsec is not None  # or there were no population
            sigma = draw(population.velocity_dispersion_kms, random)
            radius = einstein_radius_arcsec(sigma, near, far) / population.pixel_scale_arcsec
        else:
            radius = draw(population.einstein_radius_px, random)
            deviate = random.standard_normal()
            while abs(deviate) > 3:
                deviate = random.standard_normal()
            radius *= 1 + population.einstein_radius_spread * deviate
        limits = population.einstein_radius_within_px or (0.0, math.inf)
        if limits[0] <= radius <= limits[1]:
            return radius, near, far
    raise DataError(f"no lens of {population.name} falls into einstein_radius_within_px")


MOST_TRIES = 10_000
"""Draws after which the limits on the Einstein radius count as impossible: one lens in a
thousand within them is enough."""


def _scale(population: Population, radius: float, near: float, far: float) -> MassScale | None:
    pixel = population.pixel_scale_arcsec
    kpc = None
    if pixel is not None and not math.isnan(near):
        kpc = 1e3 * angular_diameter_distance_mpc(0, near) * ARCSEC * pixel
    known = None if math.isnan(near) else near
    if population.halo_mass_msun is not None:
        return MassScale(population.halo_mass_msun / radius**2, kpc, known)
    if pixel is None or known is None:
        return None
    return MassScale(msun_per_square_arcsec(near, far) * pixel**2, kpc, known)


def add_substructure(lens: Lens, kind: Substructure, random: np.random.Generator) -> Lens:
    """Draw perturbers for a lens, and reduce its halo where they are compensated."""
    halo, perturbers = kind.draw(lens.einstein_radius_px, random, lens.scale)
    return replace(lens, halo_einstein_radius_px=halo, perturbers=perturbers)
