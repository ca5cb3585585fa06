"""What no galaxy's halo is like: a fit that needs it has most likely found another lens."""

from __future__ import annotations

import math

from lumpylens.lenses.model import Lens
from lumpylens.lenses.remarks import Note, Remark

__all__ = ["implausibility", "oddities"]

LARGE_SHEAR, LARGE_ELLIPTICITY = 0.2, 0.6
STEEP, SHALLOW = 2.45, 1.55

SOFT = 0.05
"""How far beyond its limit a number has become impossible rather than odd. Of two fits that end on
either side of a limit, it must not decide alone."""


def oddities(lens: Lens) -> list[Note]:
    """What is implausible about the mass of a lens; nothing for most."""
    return [note for note, beyond in _judged(lens) if beyond > 0]


def implausibility(lens: Lens) -> float:
    """From 0 for a mass within all limits to 1 for one that is beyond one of them by `SOFT`."""
    return min(max(beyond for _, beyond in _judged(lens)) / SOFT, 1.0)


def _judged(lens: Lens) -> list[tuple[Note, float]]:
    """Each number of the mass that has a limit, and by how much it is beyond, at least 0."""
    shear = math.hypot(lens["shear_1"], lens["shear_2"])
    ellipticity = 1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"]))
    slope = lens["slope"]
    judged = [
        (Note(Remark.LARGE_SHEAR, (shear,)), shear - LARGE_SHEAR),
        (Note(Remark.LARGE_ELLIPTICITY, (ellipticity,)), ellipticity - LARGE_ELLIPTICITY),
        (Note(Remark.ODD_SLOPE, (slope,)), max(slope - STEEP, SHALLOW - slope)),
    ]
    return [(note, max(beyond, 0.0)) for note, beyond in judged]
