"""The numbers of a lens in words, and which of them are unlike those of normal lenses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lumpylens.results.explanation import Surprise

__all__ = ["departure", "departures", "surprises_of"]

OUTSTANDING = 4.0
"""Standard deviations from which a parameter is named in a sentence: of a dozen Gaussian parameters
of normal lenses, one reaches it in a thousand lenses."""

NAMED = 3
"""Parameters named at most."""


@dataclass(frozen=True)
class Wording:
    """A parameter in words, its unit, and how it is shown."""

    words: str
    unit: str = ""
    shown: Callable[[float], float] = float


WORDS = {
    "log_einstein_radius_px": Wording("Einstein radius", "px", math.exp),
    "shear_1": Wording("shear (x)"),
    "shear_2": Wording("shear (diagonal)"),
    "source_x": Wording("source offset (x)", "Einstein radii"),
    "source_y": Wording("source offset (y)", "Einstein radii"),
    "source_eta_1": Wording("source ellipticity (x)"),
    "source_eta_2": Wording("source ellipticity (diagonal)"),
    "lens_light_eta_1": Wording("lens-light ellipticity (x)"),
    "lens_light_eta_2": Wording("lens-light ellipticity (diagonal)"),
    "log_source_radius_px": Wording("source radius", "px", math.exp),
    "log_source_index": Wording("source Sersic index", "", math.exp),
    "log_lens_light_radius_px": Wording("lens-light radius", "px", math.exp),
    "log_lens_light_index": Wording("lens-light Sersic index", "", math.exp),
    "mass_eta_1": Wording("halo ellipticity (x)"),
    "mass_eta_2": Wording("halo ellipticity (diagonal)"),
    "centre_x_px": Wording("lens centre (x)", "px"),
    "centre_y_px": Wording("lens centre (y)", "px"),
    "log_psf_sigma_px": Wording("width of the blur", "px", math.exp),
}


def surprises_of(
    table: Iterable[tuple[str, float, float, float]],
) -> tuple[Surprise, ...]:
    """Parameters in words, the most surprising first.

    Parameters
    ----------
    table : iterable of (str, float, float, float)
        Name of a parameter, its value, that of normal lenses, and the departure in standard
        deviations.
    """
    surprises = []
    for name, value, typical, sigma in table:
        wording = WORDS[name]
        numbers = wording.shown(value), wording.shown(typical)
        surprises.append(Surprise(wording.words, *numbers, wording.unit, sigma))
    return tuple(sorted(surprises, key=lambda surprise: -abs(surprise.sigma)))


def departures(surprises: Iterable[Surprise]) -> list[str]:
    """Each parameter that stands out, in words; at most three."""
    outstanding = [surprise for surprise in surprises if abs(surprise.sigma) >= OUTSTANDING]
    return [departure(surprise) for surprise in outstanding[:NAMED]]


def departure(surprise: Surprise) -> str:
    """Surprising parameter in words."""
    side = "above" if surprise.value > surprise.typical else "below"
    unit = f" {surprise.unit}" if surprise.unit else ""
    return (
        f"{surprise.parameter} {abs(surprise.value - surprise.typical):.2f}{unit} {side} the "
        f"population ({abs(surprise.sigma):.0f} sigma)"
    )
