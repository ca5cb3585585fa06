"""What no galaxy's halo is like: a fit that needs it has most likely found another lens."""

from __future__ import annotations

import math

from lumpylens.lenses.model import Lens

__all__ = ["oddities"]

LARGE_SHEAR, LARGE_ELLIPTICITY = 0.2, 0.6
STEEP, SHALLOW = 2.45, 1.55


def oddities(lens: Lens) -> list[str]:
    """In words, what is implausible about the mass of a lens; nothing for most."""
    made = []
    shear = math.hypot(lens["shear_1"], lens["shear_2"])
    if shear > LARGE_SHEAR:
        made.append(f"shear of {shear:.2f} is implausible")
    ellipticity = 1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"]))
    if ellipticity > LARGE_ELLIPTICITY:
        made.append(f"ellipticity of {ellipticity:.2f} is implausible")
    if not SHALLOW < lens["slope"] < STEEP:
        made.append(f"slope of {lens['slope']:.2f} is implausible")
    return made
