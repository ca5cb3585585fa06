"""Implausible halos: a fit that needs one is most likely a fit of the wrong Einstein radius."""

from __future__ import annotations

import math

from lumpylens.lenses.model import SolvedLens
from lumpylens.lenses.remarks import Note, Remark

__all__ = ["APART", "implausibility", "light_from_mass", "oddities", "source_distance"]

LARGE_SHEAR, LARGE_ELLIPTICITY = 0.2, 0.6
STEEP, SHALLOW = 2.45, 1.55
"""Largest shear and ellipticity (1 - axis ratio), and largest and smallest slope, of a plausible
halo. The slopes are three times the prior's standard deviation from isothermal, the shear 2.5 times
from none. Tighter limits put more good fits in doubt."""

APART = 0.1
"""Largest distance between the mass of a lens and its light, arcsec: five standard deviations of
the prior. Not tuned."""

SOFT_MARGIN = 0.05
"""Distance beyond a limit over which a number turns from odd to impossible. A hard limit alone
would decide between two fits that end close to it on either side. Not tuned."""


def oddities(lens: SolvedLens) -> list[Note]:
    """Notes on everything implausible about the mass of a lens; empty for most."""
    return [note for note, beyond in _judged(lens) if beyond > 0]


def implausibility(lens: SolvedLens) -> float:
    """Rate a mass from 0, within all limits, to 1, beyond one of them by `SOFT_MARGIN`.

    A source so far out that it has only one image counts too: its lens may have any radius.
    """
    beyond = max(*(beyond for _, beyond in _judged(lens)), source_distance(lens) - 1)
    return min(beyond / SOFT_MARGIN, 1.0)


def source_distance(lens: SolvedLens) -> float:
    """Distance of the source from the mass in Einstein radii; above 1 it has only one image."""
    away = math.hypot(*(lens[f"source_{axis}"] - lens[f"centre_{axis}"] for axis in "xy"))
    return away / math.exp(lens["log_einstein_radius"])


def light_from_mass(lens: SolvedLens) -> float:
    """Distance of the lens galaxy's light from its mass, arcsec."""
    return math.hypot(*(lens[f"light_{axis}"] - lens[f"centre_{axis}"] for axis in "xy"))


def _judged(lens: SolvedLens) -> list[tuple[Note, float]]:
    """Note on each number of the mass that has a limit, and how far it is beyond it, at least 0."""
    shear = math.hypot(lens["shear_1"], lens["shear_2"])
    ellipticity = 1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"]))
    slope = lens["slope"]
    judged = [
        (Note(Remark.LARGE_SHEAR, (shear,)), shear - LARGE_SHEAR),
        (Note(Remark.LARGE_ELLIPTICITY, (ellipticity,)), ellipticity - LARGE_ELLIPTICITY),
        (Note(Remark.ODD_SLOPE, (slope,)), max(slope - STEEP, SHALLOW - slope)),
    ]
    return [(note, max(beyond, 0.0)) for note, beyond in judged]
