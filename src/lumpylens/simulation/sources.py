"""Sources: clumps on a smooth galaxy, or images of galaxies of the user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import gamma

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.physics.light import sersic_coefficient

__all__ = [
    "SOURCE_KINDS", "Clump", "Galaxies", "SourceGalaxies", "located_sources", "sersic_flux",
]  # fmt: skip

SOURCE_KINDS = ("sersic", "galaxies")
"""Sources that need no images: Sersic profiles, and the galaxies that come with the package."""


def located_sources(sources: str | Path | None) -> str | None:
    """Absolute path of the images of galaxies, or the name of a kind in `SOURCE_KINDS`."""
    if sources is None or sources in SOURCE_KINDS:
        return None if sources is None else str(sources)
    return str(Path(sources).expanduser().resolve())


@dataclass(frozen=True)
class Clump:
    """A round exponential on the source; lengths in pixels, relative to the source's centre."""

    x_px: float
    y_px: float
    radius_px: float
    brightness: float


def sersic_flux(radius_px: float, index: float) -> float:
    """Total light of a Sersic profile with brightness 1 at the effective radius, px^2.

    ``2 pi n R^2 e^b b^(-2n) Gamma(2n)`` (Graham & Driver 2005, astro-ph/0503176, equation 2).
    """
    b = sersic_coefficient(index)
    flux: float = (
        2 * math.pi * index * radius_px**2 * math.exp(b) * b ** (-2 * index) * gamma(2 * index)
    )
    return flux


class SourceGalaxies(Protocol):
    """Galaxies that may take the place of Sersic sources.

    Attributes
    ----------
    ids : tuple of str
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """Name of each."""
        ...

    def light(
        self,
        which: int,
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        radius_px: float,
        angle_deg: float,
    ) -> NDArray[np.float32]:
        """Brightness of one of them, of unit light: see `Galaxies.light`."""
        ...


@dataclass(frozen=True, eq=False)
class Galaxies:
    """Images of galaxies with the background subtracted, scaled to unit light.

    Attributes
    ----------
    ids : tuple of str
    images : tuple of ndarray of float32, shape (H, W)
    centres : tuple of (float, float)
        Centroid, row and column.
    radii : tuple of float
        Radius of the circle about the centroid that holds half the light, pixels of the image.
    location : str
    """

    ids: tuple[str, ...]
    images: tuple[NDArray[np.float32], ...]
    centres: tuple[tuple[float, float], ...]
    radii: tuple[float, ...]
    location: str

    @classmethod
    def open(cls, folder: str | Path | LensImages) -> Galaxies:
        """Read every image of a folder or file.

        Raises
        ------
        DataError
            If an image cannot be read, or has no light above its border.
        """
        images = LensImages.open(folder)
        ids, cleaned, centres, radii = [], [], [], []
        for item in images:
            if item.error or item.image is None:
                raise DataError(f"{images.location}: {item.id} cannot be a source: {item.error}")
            light, centre, radius = _measured(item.image)
            if light is None:
                raise DataError(
                    f"{images.location}: {item.id} cannot be a source: no light above its border"
                )
            ids.append(item.id)
            cleaned.append(light)
            centres.append(centre)
            radii.append(radius)
        return cls(tuple(ids), tuple(cleaned), tuple(centres), tuple(radii), images.location)

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
        u, v : ndarray, shape (h, w)
            Positions relative to its centre.
        radius_px : float
            Half-light radius that it is scaled to, in the unit of `u`.
        angle_deg : float
            Rotation, from x towards y.
        """
        image, (row, column) = self.images[which], self.centres[which]
        per_pixel = self.radii[which] / radius_px
        # Rays are about a pixel apart, so finer detail would be hit or missed by chance.
        block = max(int(per_pixel / 3), 1)
        if block > 1:
            height, width = (side // block * block for side in image.shape)
            cut = image[:height, :width].reshape(height // block, block, width // block, block)
            image = cut.mean(axis=(1, 3))
            row, column = (row + 0.5) / block - 0.5, (column + 0.5) / block - 0.5
        cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
        step = per_pixel / block
        x, y = (cos * u + sin * v) * step + column, (cos * v - sin * u) * step + row
        brightness: NDArray[np.float32] = map_coordinates(image, [y, x], order=1, output=np.float32)
        return brightness * np.float32(per_pixel**2)


def _measured(
    image: NDArray[np.float32],
) -> tuple[NDArray[np.float32] | None, tuple[float, float], float]:
    """Subtract the background and scale to unit light; measure centroid and half-light radius."""
    edge = max(min(image.shape) // 10, 1)
    border = np.ones(image.shape, bool)
    border[edge:-edge, edge:-edge] = False
    level, scatter = np.median(image[border]), np.std(image[border])
    # Faint pixels are set to zero: lensed noise would look like light, and move the centroid.
    light = np.where(image - level > 2 * scatter, image - level, 0).astype(np.float64)
    light[border] = 0
    total = light.sum()
    if not total > 0:
        return None, (0.0, 0.0), 0.0
    rows, columns = np.indices(image.shape)
    row, column = float((rows * light).sum() / total), float((columns * light).sum() / total)
    distance = np.hypot(rows - row, columns - column).ravel()
    order = distance.argsort()
    half = int(np.searchsorted(light.ravel()[order].cumsum(), total / 2))
    return (light / total).astype(np.float32), (row, column), max(float(distance[order][half]), 0.5)
