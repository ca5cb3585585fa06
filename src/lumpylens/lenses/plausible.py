"""What no galaxy's halo is like: a fit that needs it has most likely found another lens."""

from __future__ import annotations

import math

from lumpylens.lenses.model import Lens
from lumpylens.lenses.remarks import Note, Remark

__all__ = ["oddities"]

LARGE_SHEAR, LARGE_ELLIPTICITY = 0.2, 0.6
STEEP, SHALLOW = 2.45, 1.55


def oddities(lens: Lens) -> list[Note]:
    """What is implausible about the mass of a lens; nothing for most."""
    made = []
    shear = math.hypot(lens["shear_1"], lens["shear_2"])
    if shear > LARGE_SHEAR:
        made.append(Note(Remark.LARGE_SHEAR, (shear,)))
    ellipticity = 1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"]))
    if ellipticity > LARGE_ELLIPTICITY:
        made.append(Note(Remark.LARGE_ELLIPTICITY, (ellipticity,)))
    if not SHALLOW < lens["slope"] < STEEP:
        made.append(Note(Remark.ODD_SLOPE, (lens["slope"],)))
    return made
