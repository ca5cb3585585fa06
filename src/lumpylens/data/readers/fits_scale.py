"""The side of a pixel from a FITS header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["pixel_scale_of"]

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
    """Side of a pixel in arcsec, None if the header does not say.

    The side of a square with the pixel's area: sqrt(abs(det CD)), or PC and CDELT (Greisen and
    Calabretta 2002, A&A 395, 1061, equations 1 and 2); without them a keyword like PIXSCALE,
    PyAutoLens's sides PIXSCAY and PIXSCAX, or the area PIXAR_A2 of JWST.
    """
    side = _of_matrix(header)
    if side is None:
        sides = [_number(header, keyword) for keyword in SCALE_KEYWORDS]
        sides.append(math.sqrt(max(_number(header, "PIXSCAY") * _number(header, "PIXSCAX"), 0)))
        sides.append(math.sqrt(max(_number(header, "PIXAR_A2"), 0)))
        side = next((value for value in sides if math.isfinite(value) and value > 0), None)
    return None if side is None else float(f"{side:.{DIGITS}g}")


def _of_matrix(header: Mapping[str, Any]) -> float | None:
    """From the coordinate system, if it is one of the sky."""
    axis = str(header.get("CTYPE1", "")).upper()
    celestial = not axis or axis.startswith(("RA", "DEC")) or any(
        name in axis for name in ("LON", "LN-", "LAT", "LT-")
    )  # fmt: skip
    unit = ARCSEC_PER.get(str(header.get("CUNIT1", "deg")).strip().lower() or "deg")
    if "GS_WCS" in header and axis == "LINEAR":
        # GalSim's flat coordinates have no unit in the header; in GalSim they are arcsec.
        celestial, unit = True, 1.0
    area = math.nan
    if "CD1_1" in header or "CD2_2" in header or "CD1_2" in header:
        area = _determinant(header, "CD", 0.0)
    elif "CDELT1" in header and "CDELT2" in header:
        steps = _number(header, "CDELT1") * _number(header, "CDELT2")
        area = steps * _determinant(header, "PC", 1.0)
        # The standard's default of 1 for every axis says nothing about the sky.
        celestial = celestial and bool(axis or abs(area) != 1)
    if celestial and unit and math.isfinite(area) and area:
        return math.sqrt(abs(area)) * unit
    return None


def _determinant(header: Mapping[str, Any], matrix: str, diagonal: float) -> float:
    (a, b), (c, d) = (
        [_number(header, f"{matrix}{i}_{j}", diagonal if i == j else 0.0) for j in (1, 2)]
        for i in (1, 2)
    )
    return a * d - b * c


def _number(header: Mapping[str, Any], keyword: str, missing: float = math.nan) -> float:
    """Value of a keyword; NaN if it is not a number."""
    try:
        return float(header.get(keyword, missing))
    except (TypeError, ValueError):
        return math.nan
