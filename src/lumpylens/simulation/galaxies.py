"""Sources that are galaxies: reconstructions of real ones, which come with the package."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.compiled.shapelets import shapelet_light

__all__ = ["SHIPPED", "ReconstructedGalaxies", "Reconstruction", "measure", "shipped_galaxies"]

SHIPPED = Path(__file__).with_name("galaxies.npz")
"""Shapelet coefficients of sources behind lenses of the SLACS survey (Bolton et al. 2008,
arXiv:0805.1931), of unit flux, from images of the Hubble camera as published with arXiv:2503.08586
(MIT licence).
``benchmarks/source_galaxies.py`` makes the file, and says which sources are left out."""

REACH, STEPS = 1.2, 401
"""Half-side of the square on which a galaxy is measured, in radii at which its highest shapelet
turns over, and positions along it."""


class Reconstruction(NamedTuple):
    """A galaxy as a sum of shapelets; lengths in arcsec.

    Attributes
    ----------
    id : str
        Of the lens that it was seen behind.
    coefficients : ndarray of float64, shape (m,)
        In the order of `lumpylens.physics.shapelets.orders`.
    largest : int
        Highest total order.
    scale : float
        Width of the shapelets' Gaussian.
    centre : (float, float)
        Centroid of the light.
    radius : float
        Of the circle about the centroid that holds half the light.
    flux : float
        Integral of the brightness.
    """

    id: str
    coefficients: NDArray[np.float64]
    largest: int
    scale: float
    centre: tuple[float, float] = (0.0, 0.0)
    radius: float = math.nan
    flux: float = math.nan

    def brightness(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Brightness at positions (h, w); where the sum is negative there is no light."""
        light, _, _ = shapelet_light(x, y, self.scale, self.coefficients, self.largest)
        return np.maximum(light, 0.0)


def measure(galaxy: Reconstruction) -> Reconstruction:
    """Measure centroid, half-light radius and flux of a galaxy."""
    half = REACH * galaxy.scale * math.sqrt(2 * galaxy.largest + 1)
    line = np.linspace(-half, half, STEPS)
    x, y = np.meshgrid(line, line)
    light = galaxy.brightness(x, y)
    total = light.sum()
    at_x, at_y = float((x * light).sum() / total), float((y * light).sum() / total)
    distance = np.hypot(x - at_x, y - at_y).ravel()
    order = distance.argsort()
    middle = int(np.searchsorted(light.ravel()[order].cumsum(), total / 2))
    step = line[1] - line[0]
    return galaxy._replace(
        centre=(at_x, at_y), radius=float(distance[order][middle]), flux=float(total * step**2)
    )


@dataclass(frozen=True, eq=False)
class ReconstructedGalaxies:
    """Galaxies and their mirror images, each drawn as often as the others.

    Attributes
    ----------
    galaxies : tuple of Reconstruction
    location : str
    """

    galaxies: tuple[Reconstruction, ...]
    location: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Names: of every galaxy, then of its mirror image."""
        return tuple(name for g in self.galaxies for name in (g.id, f"{g.id} mirrored"))

    def light(
        self,
        which: int,
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        radius_px: float,
        angle_deg: float,
    ) -> NDArray[np.float32]:
        """Brightness of a galaxy of unit light at given positions.

        Parameters
        ----------
        which : int
            Position in `ids`.
        u, v : ndarray, shape (h, w)
            Positions relative to its centre.
        radius_px : float
            Half-light radius that it is scaled to, in the unit of `u`.
        angle_deg : float
            Rotation, from x towards y.
        """
        galaxy, mirrored = self.galaxies[which // 2], which % 2
        per_pixel = galaxy.radius / radius_px
        cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        x, y = (cos * u + sin * v) * per_pixel, (cos * v - sin * u) * per_pixel
        if mirrored:
            x = -x
        at_x, at_y = galaxy.centre
        light = galaxy.brightness(x + at_x, y + at_y) * (per_pixel**2 / galaxy.flux)
        return light.astype(np.float32)


@lru_cache(maxsize=1)
def shipped_galaxies() -> ReconstructedGalaxies:
    """Read the galaxies that come with the package."""
    with np.load(SHIPPED, allow_pickle=False) as stored:
        rows = zip(
            *(stored[name] for name in ("id", "largest", "scale", "x", "y", "radius")),
            stored["coefficients"],
            strict=True,
        )
        galaxies = tuple(
            Reconstruction(
                str(name),
                row[: (largest + 1) * (largest + 2) // 2].astype(np.float64),
                int(largest),
                float(scale),
                (float(x), float(y)),
                float(radius),
                1.0,
            )
            for name, largest, scale, x, y, radius, row in rows
        )
    return ReconstructedGalaxies(galaxies, "galaxies that come with lumpylens")
