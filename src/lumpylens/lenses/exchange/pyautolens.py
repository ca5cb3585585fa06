"""A fitted lens in the conventions of PyAutoLens.

Its arrays begin with the largest y, so that y and all angles have the other sign; pairs have y
first. Its Einstein radius and the width of its Gaussians are not those of the intermediate axis.
"""

from __future__ import annotations

import math
from typing import Any

from lumpylens.lenses.exchange.parametric import Ellipse, ParametricLens, PowerLaw

__all__ = ["lens_light", "mass", "source_light"]

Profiles = list[tuple[str, dict[str, Any]]]
"""Name of the class of a profile, and its keywords."""


def mass(lens: PowerLaw) -> Profiles:
    """Profiles of ``autolens.mp``: power law, shear, multipoles."""
    centre = _pair(lens.centre)
    halo = {"centre": centre, "ell_comps": _components(lens.ellipse)}
    profiles: Profiles = [
        ("PowerLaw", {**halo, "einstein_radius": _einstein_radius(lens), "slope": lens.slope}),
        ("ExternalShear", {"gamma_1": lens.shear[0], "gamma_2": -lens.shear[1]}),
    ]
    for part in lens.multipoles:
        of_mass = {"centre": centre, "einstein_radius": lens.einstein_radius, "slope": 2.0}
        components = (-part.sine, part.cosine)
        keywords = {"m": part.order, **of_mass, "multipole_comps": components}
        profiles.append(("PowerLawMultipole", keywords))
    return profiles


def lens_light(lens: ParametricLens) -> Profiles:
    """Profiles of ``autolens.lp`` of the lens galaxy; the sky is not a profile."""
    return [
        (
            "Gaussian",
            {
                "centre": _pair(lens.light_centre),
                "ell_comps": _components(part.ellipse),
                "intensity": part.peak,
                # Its width is that of the minor axis.
                "sigma": part.sigma * math.sqrt(part.ellipse.axis_ratio),
            },
        )
        for part in lens.light
    ]


def source_light(lens: ParametricLens) -> Profiles:
    """Profiles of ``autolens.lp`` of the source."""
    source = lens.source
    # Its shear is about the middle of the image.
    x, y = (at + by for at, by in zip(source.centre, lens.mass.shift, strict=True))
    return [
        (
            "ShapeletCartesianSph",
            {
                "n_y": along_y,
                "n_x": along_x,
                "centre": _pair((x, y)),
                # A function of odd order changes its sign with y.
                "intensity": float(amplitude) * (-1) ** along_y,
                "beta": source.scale,
            },
        )
        for (along_x, along_y), amplitude in zip(source.orders, source.amplitudes, strict=True)
    ]


def _einstein_radius(lens: PowerLaw) -> float:
    q = lens.ellipse.axis_ratio
    return lens.einstein_radius / (math.sqrt(q) * math.pow(2 / (1 + q), 1 / (lens.slope - 1)))


def _pair(place: tuple[float, float]) -> tuple[float, float]:
    return -place[1], place[0]


def _components(ellipse: Ellipse) -> tuple[float, float]:
    cosine, sine = ellipse.components
    return -sine, cosine
