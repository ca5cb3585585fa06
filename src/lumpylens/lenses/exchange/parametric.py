"""A fitted lens as numbers, in the conventions of lumpylens and the unit of the image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.model import WIDTHS, SolvedLens
from lumpylens.lenses.refine import Refined
from lumpylens.physics.shapelets import orders

__all__ = [
    "CompanionMass",
    "Ellipse",
    "Gaussian",
    "Multipole",
    "ParametricLens",
    "PowerLaw",
    "ShapeletSource",
]


@dataclass(frozen=True)
class Ellipse:
    """Shape of mass or light.

    Attributes
    ----------
    axis_ratio : float
        Minor over major axis.
    angle_deg : float
        Of the major axis, from x towards y, between -90 and 90.
    """

    axis_ratio: float
    angle_deg: float

    @classmethod
    def of(cls, eta_1: float, eta_2: float) -> Ellipse:
        """Convert from ``-ln(q) (cos 2 phi, sin 2 phi)``."""
        return cls(math.exp(-math.hypot(eta_1, eta_2)), math.degrees(math.atan2(eta_2, eta_1)) / 2)

    @property
    def components(self) -> tuple[float, float]:
        """``(1 - q) / (1 + q) (cos 2 phi, sin 2 phi)``."""
        size = (1 - self.axis_ratio) / (1 + self.axis_ratio)
        twice = math.radians(2 * self.angle_deg)
        return size * math.cos(twice), size * math.sin(twice)


@dataclass(frozen=True)
class Multipole:
    """Isothermal multipole of the mass, a fraction of the halo's convergence.

    Attributes
    ----------
    order : int
    cosine, sine : float
        See `lumpylens.physics.power_law.multipole`.
    """

    order: int
    cosine: float
    sine: float


@dataclass(frozen=True)
class PowerLaw:
    """Mass of a lens: elliptical power law, external shear about its centre, multipoles.

    Attributes
    ----------
    centre : (float, float)
        x and y, arcsec from the middle of the image.
    einstein_radius : float
        Arcsec, of the intermediate axis: the ellipse in which the mean convergence is 1 has the
        area of a circle with this radius.
    ellipse : Ellipse
    slope : float
        Three-dimensional, 2 is isothermal.
    shear : (float, float)
        Components along x and along the diagonal.
    multipoles : tuple of Multipole
        Those that are not zero.
    """

    centre: tuple[float, float]
    einstein_radius: float
    ellipse: Ellipse
    slope: float
    shear: tuple[float, float]
    multipoles: tuple[Multipole, ...] = ()

    @property
    def shear_size(self) -> float:
        """Size of the external shear."""
        return math.hypot(*self.shear)

    @property
    def shear_angle_deg(self) -> float:
        """Direction in which the shear stretches, from x towards y, between -90 and 90."""
        return math.degrees(math.atan2(self.shear[1], self.shear[0])) / 2

    @property
    def shift(self) -> tuple[float, float]:
        """What a source moves by, arcsec, if the shear is about the middle of the image instead."""
        (x, y), (along, across) = self.centre, self.shear
        return -(along * x + across * y), -(across * x - along * y)


@dataclass(frozen=True)
class Gaussian:
    """One of the Gaussians of the lens galaxy.

    Attributes
    ----------
    sigma : float
        Arcsec, of the intermediate axis.
    ellipse : Ellipse
    peak : float
        Value of a pixel in its centre, before the PSF.
    """

    sigma: float
    ellipse: Ellipse
    peak: float


@dataclass(frozen=True)
class CompanionMass:
    """Mass of a companion of the lens that shines, a point with a small core.

    Attributes
    ----------
    centre : (float, float)
        Arcsec from the middle of the image.
    einstein_radius : float
        Arcsec.
    """

    centre: tuple[float, float]
    einstein_radius: float


@dataclass(frozen=True)
class ShapeletSource:
    """Source as a sum of shapelets.

    Attributes
    ----------
    centre : (float, float)
        Arcsec from the middle of the image.
    scale : float
        Width of the Gaussian, arcsec.
    largest_order : int
    amplitudes : ndarray of float64, shape (count,)
        Of shapelets with unit integral of the square over arcsec, in the order of `orders`; the
        sum is the value of a pixel.
    """

    centre: tuple[float, float]
    scale: float
    largest_order: int
    amplitudes: NDArray[np.float64]

    @property
    def orders(self) -> list[tuple[int, int]]:
        """Orders along x and y of each shapelet."""
        return orders(self.largest_order)


@dataclass(frozen=True)
class ParametricLens:
    """The smooth lens that was fitted: the one whose numbers are in the catalogue.

    Attributes
    ----------
    id : str
    pixel_scale_arcsec : float
    mass : PowerLaw
    light_centre : (float, float)
        Of the lens galaxy, arcsec from the middle of the image.
    light : tuple of Gaussian
        Those with a brightness above zero.
    source : ShapeletSource
    sky : float
        Value of a pixel without any galaxy.
    companion : CompanionMass or None
        Of which other codes are told, but which is not in what they build.
    """

    id: str
    pixel_scale_arcsec: float
    mass: PowerLaw
    light_centre: tuple[float, float]
    light: tuple[Gaussian, ...]
    source: ShapeletSource
    sky: float
    companion: CompanionMass | None = None

    @classmethod
    def of(cls, analysis: LensAnalysis) -> ParametricLens:
        """Take the smooth lens of an analysis."""
        lens, unit = analysis.reported.lens, analysis.cutout.unit
        amplitudes = lens.linear.free.numpy() * unit
        return cls(
            id=analysis.cutout.id,
            pixel_scale_arcsec=analysis.cutout.pixel_scale_arcsec,
            mass=_mass_of(lens),
            light_centre=(lens["light_x"], lens["light_y"]),
            light=_light_of(lens, unit),
            source=ShapeletSource(
                (lens["source_x"], lens["source_y"]),
                math.exp(lens["log_source_scale"]),
                lens.largest_order,
                amplitudes[:-1],
            ),
            sky=float(amplitudes[-1]),
            companion=_companion_of(analysis.reported),
        )


def _mass_of(lens: SolvedLens) -> PowerLaw:
    multipoles = [Multipole(m, lens[f"m{m}_cosine"], lens[f"m{m}_sine"]) for m in (3, 4)]
    return PowerLaw(
        centre=(lens["centre_x"], lens["centre_y"]),
        einstein_radius=math.exp(lens["log_einstein_radius"]),
        ellipse=Ellipse.of(lens["eta_1"], lens["eta_2"]),
        slope=lens["slope"],
        shear=(lens["shear_1"], lens["shear_2"]),
        multipoles=tuple(part for part in multipoles if part.cosine or part.sine),
    )


def _companion_of(fitted: Refined) -> CompanionMass | None:
    if fitted.model.companion is None:
        return None
    lens = fitted.lens
    place = lens["companion_x"], lens["companion_y"]
    return CompanionMass(place, math.sqrt(lens["companion_strength"]))


def _light_of(lens: SolvedLens, unit: float) -> tuple[Gaussian, ...]:
    sets = (("light_eta_1", "light_eta_2"), ("light_eta_3", "light_eta_4"))
    integrals = lens.galaxy_amplitudes.numpy().reshape(len(sets), len(WIDTHS)) * unit
    return tuple(
        Gaussian(
            sigma, Ellipse.of(lens[first], lens[second]), float(integral) / (2 * math.pi * sigma**2)
        )
        for (first, second), row in zip(sets, integrals, strict=True)
        for sigma, integral in zip(WIDTHS.tolist(), row, strict=True)
        if integral > 0
    )
