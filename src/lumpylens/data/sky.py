"""Where an image lies on the sky, from the world coordinates in a FITS header."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["SkyCoordinates", "SkyFrame", "sky_of"]

CELESTIAL = ("RA--", "DEC-", "GLON", "GLAT", "ELON", "ELAT")
"""First letters of the axes of celestial coordinates (Calabretta & Greisen 2002, A&A 395, 1077)."""

PARALLEL = 1e-6
"""Determinant of a matrix, over the sum of its squares, below which its axes are parallel: rounding
leaves 1e-16 of a singular one, and real pixels have about 0.5."""


@dataclass(frozen=True)
class SkyFrame:
    """The sky around one point of an image: its position, and the tangent plane there.

    Attributes
    ----------
    ra_deg, dec_deg : float
        Of the point, ICRS.
    matrix_deg : tuple of 2 x 2 floats
        Offsets towards east (first row) and north on the tangent plane, degrees per pixel along
        columns (first entry) and rows.
    """

    ra_deg: float
    dec_deg: float
    matrix_deg: tuple[tuple[float, float], tuple[float, float]]

    @property
    def pixel_arcsec(self) -> float:
        """Side of a square with the area of a pixel."""
        return 3600 * math.sqrt(abs(float(np.linalg.det(self.matrix_deg))))

    @property
    def north(self) -> tuple[float, float]:
        """Unit vector along columns and rows that points north."""
        return self._direction(0.0, 1.0)

    @property
    def east(self) -> tuple[float, float]:
        """Unit vector along columns and rows that points east."""
        return self._direction(1.0, 0.0)

    def _direction(self, east: float, north: float) -> tuple[float, float]:
        x, y = np.linalg.solve(np.array(self.matrix_deg), [east, north])
        length = math.hypot(x, y)
        return float(x) / length, float(y) / length

    def rounded(self) -> str:
        """The numbers as text that does not depend on rounding, to compare frames by."""
        (a, b), (c, d) = self.matrix_deg
        matrix = " ".join(f"{3600 * number:.5f}" for number in (a, b, c, d))
        return f"{self.ra_deg:.7f} {self.dec_deg:.7f} {matrix}"

    def header(self, column: float, row: float, pixel_arcsec: float) -> dict[str, Any]:
        """Cards of the same frame for an array of other pixels, with parallel axes.

        Parameters
        ----------
        column, row : float
            Where the frame's point is in that array, counted from 0 at the middle of the first
            pixel.
        pixel_arcsec : float
            Side of that array's pixels.
        """
        (a, b), (c, d) = np.array(self.matrix_deg) * (pixel_arcsec / self.pixel_arcsec)
        return {
            "WCSAXES": 2,
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "RADESYS": "ICRS",
            "CRVAL1": self.ra_deg,
            "CRVAL2": self.dec_deg,
            "CRPIX1": column + 1,
            "CRPIX2": row + 1,
            "CD1_1": float(a),
            "CD1_2": float(b),
            "CD2_1": float(c),
            "CD2_2": float(d),
        }

    def position(self, x_arcsec: float, y_arcsec: float) -> tuple[float, float]:
        """Right ascension and declination, degrees, of a place near the frame's point.

        Parameters
        ----------
        x_arcsec, y_arcsec : float
            From that point along columns and rows.
        """
        from astropy.io import fits
        from astropy.wcs import WCS

        pixel = self.pixel_arcsec
        plane = WCS(fits.Header(self.header(0.0, 0.0, pixel)))
        ra, dec = plane.wcs_pix2world(x_arcsec / pixel, y_arcsec / pixel, 0)
        return float(ra), float(dec)


@dataclass(frozen=True)
class SkyCoordinates:
    """World coordinates of an image, read when they are asked for.

    Attributes
    ----------
    cards : str
        The header of the image, as FITS writes it.
    """

    cards: str

    def frame(self, column: float, row: float) -> SkyFrame | None:
        """The sky around a pixel; None if the header makes no sense.

        Parameters
        ----------
        column, row : float
            Counted from 0 at the middle of the first pixel.
        """
        from astropy.io import fits
        from astropy.wcs import WCS, FITSFixedWarning

        try:
            with warnings.catch_warnings():
                # Such as a date in an old form, which astropy repairs.
                warnings.simplefilter("ignore", FITSFixedWarning)
                plane = WCS(fits.Header.fromstring(self.cards)).celestial
                columns, rows = np.array([[column, column + 1, column], [row, row, row + 1]])
                points = plane.pixel_to_world(columns, rows).icrs
                point = points[0]
                # To the next column and to the next row.
                matrix = np.array([step.deg for step in point.spherical_offsets_to(points[1:])])
        # wcslib and astropy raise a dozen types; of those, some derive from Exception alone.
        except Exception:  # noqa: BLE001
            return None
        if not _usable(matrix, point):
            return None
        (a, b), (c, d) = matrix.tolist()
        return SkyFrame(float(point.ra.deg), float(point.dec.deg), ((a, b), (c, d)))


def _usable(matrix: NDArray[np.float64], point: Any) -> bool:
    numbers = [*matrix.flat, point.ra.deg, point.dec.deg]
    if not np.isfinite(numbers).all():
        return False
    return abs(float(np.linalg.det(matrix))) > PARALLEL * float(np.square(matrix).sum())


def sky_of(header: Header) -> SkyCoordinates | None:
    """World coordinates in the header of an image; None if they are not those of the sky."""
    axes = [str(header.get(f"CTYPE{axis}", "")).upper() for axis in (1, 2)]
    if not all(axis.startswith(CELESTIAL) for axis in axes):
        return None
    return SkyCoordinates(header.tostring())
