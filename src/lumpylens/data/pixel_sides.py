"""Sides of a pixel on the sky, and whether it is a square."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lumpylens.errors import DataError

__all__ = ["about_sides", "sides_of"]

SQUARE = 1e-3
"""Largest relative difference of the sides of a square pixel: what drizzling and the curvature of
the sky leave is smaller by far."""

NOT_SQUARE = 0.02
"""Relative difference of the sides that a fit takes for a shear of 0.01, a fifth of the usual one
of a lens."""


def sides_of(matrix: ArrayLike) -> tuple[float, float]:
    """Longer and shorter side of a pixel, in the unit of the matrix.

    The singular values: of pixels that are no rectangles, the sides of the rectangle of the same
    area that is stretched as much.

    Parameters
    ----------
    matrix : array_like, shape (2, 2)
        From pixels to the sky.
    """
    longer, shorter = np.linalg.svd(np.asarray(matrix, float), compute_uv=False)
    return float(longer), float(shorter)


def about_sides(sides: tuple[float, float] | None) -> str:
    """Say that pixels are not quite square; empty if they are, or if their sides are not known.

    Parameters
    ----------
    sides : (float, float) or None
        In arcsec.

    Raises
    ------
    DataError
        If their sides differ so much that what a fit finds would be wrong.
    """
    if sides is None:
        return ""
    longer, shorter = max(sides), min(sides)
    difference = longer / shorter - 1
    if difference <= SQUARE:
        return ""
    measured = f"the pixels are not square but {longer:.4g} by {shorter:.4g} arcsec"
    if difference > NOT_SQUARE:
        raise DataError(f"{measured}; resample the image to square ones")
    return f"{measured}; {math.sqrt(longer * shorter):.4g} is taken for both sides"
