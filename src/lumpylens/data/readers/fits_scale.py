"""The sides of a pixel from a FITS header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.pixel_sides import sides_of

__all__ = ["pixel_scale_of", "pixel_sides_of"]

SCALE_KEYWORDS = (
    "PIXSCALE",
    "PIXSCAL1",
    "PIXELSCL",  # STPSF, WebbPSF, poppy
    "PIXSIZE",
    "SECPIX",
    "GS_SCALE",  # GalSim
    "D001SCAL",  # drizzlepac: the scale of its output
)
"""Arcsec per pixel in headers without a coordinate system."""

ARCSEC_PER = {"deg": 3600.0, "arcmin": 60.0, "arcsec": 1.0, "rad": math.degrees(3600.0)}

DIGITS = 9
"""Significant ones of a scale. The rest is rounding of the matrix in the header."""


def pixel_scale_of(header: Mapping[str, Any]) -> float | None:
    """Side of a square with the area of a pixel, in arcsec; None if the header does not say."""
    sides = pixel_sides_of(header)
    return None if sides is None else float(f"{math.sqrt(sides[0] * sides[1]):.{DIGITS}g}")


def pixel_sides_of(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """Sides of a pixel in arcsec, None if the header does not say.

    From the matrix CD, or PC and CDELT (Greisen and Calabretta 2002, A&A 395, 1061, equations 1
    and 2); without them from a keyword like PIXSCALE, PyAutoLens's PIXSCAY and PIXSCAX, or the
    area PIXAR_A2 of JWST.
    """
    if (sides := _of_matrix(header)) is not None:
        return sides
    candidates = [(side, side) for side in (_number(header, word) for word in SCALE_KEYWORDS)]
    candidates.append((_number(header, "PIXSCAY"), _number(header, "PIXSCAX")))
    side = math.sqrt(max(_number(header, "PIXAR_A2"), 0))
    candidates.append((side, side))
    return next((pair for pair in candidates if all(0 < side < math.inf for side in pair)), None)


def _of_matrix(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """From the coordinate system, if it is one of the sky."""
    axis = str(header.get("CTYPE1", "")).upper()
    celestial = (
        not axis
        or axis.startswith(("RA", "DEC"))
        or any(name in axis for name in ("LON", "LN-", "LAT", "LT-"))
    )
    unit = ARCSEC_PER.get(str(header.get("CUNIT1", "deg")).strip().lower() or "deg")
    if "GS_WCS" in header and axis == "LINEAR":
        # GalSim's flat coordinates have no unit in the header; in GalSim they are arcsec.
        celestial, unit = True, 1.0
    if "CD1_1" in header or "CD2_2" in header or "CD1_2" in header:
        matrix = _matrix(header, "CD", 0.0)
    elif "CDELT1" in header and "CDELT2" in header:
        steps = [_number(header, f"CDELT{axis}") for axis in (1, 2)]
        matrix = np.diag(steps) @ _matrix(header, "PC", 1.0)
        # The standard's default of 1 for every axis says nothing about the sky.
        celestial = celestial and bool(axis or abs(np.linalg.det(matrix)) != 1)
    else:
        return None
    if not (celestial and unit and np.isfinite(matrix).all() and np.linalg.det(matrix)):
        return None
    return sides_of(matrix * unit)


def _matrix(header: Mapping[str, Any], name: str, diagonal: float) -> NDArray[np.float64]:
    rows = [
        [_number(header, f"{name}{i}_{j}", diagonal if i == j else 0.0) for j in (1, 2)]
        for i in (1, 2)
    ]
    return np.array(rows)


def _number(header: Mapping[str, Any], keyword: str, missing: float = math.nan) -> float:
    """Value of a keyword; NaN if it is not a number."""
    try:
        return float(header.get(keyword, missing))
    except (TypeError, ValueError):
        return math.nan
