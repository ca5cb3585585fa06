"""A fitted lens in the conventions of lenstronomy.

It has our axes, our Einstein radius and our ellipticity; its surface brightness is per square
arcsec, and its shapelets have no unit.
"""

from __future__ import annotations

import math
from itertools import groupby
from typing import Any

from lumpylens.lenses.exchange.parametric import ParametricLens, PowerLaw

__all__ = ["lens_light", "mass", "source_light"]

Profiles = tuple[list[str], list[dict[str, Any]]]
"""Names of profiles, and the keywords of each."""


def mass(lens: PowerLaw) -> Profiles:
    """Names and keywords for ``LensModel``."""
    x, y = lens.centre
    e1, e2 = lens.ellipse.components
    centre = {"center_x": x, "center_y": y}
    names = ["EPL", "SHEAR"]
    keywords: list[dict[str, Any]] = [
        {"theta_E": lens.einstein_radius, "gamma": lens.slope, "e1": e1, "e2": e2, **centre},
        {"gamma1": lens.shear[0], "gamma2": lens.shear[1], "ra_0": x, "dec_0": y},
    ]
    for part in lens.multipoles:
        names.append("MULTIPOLE")
        size = math.hypot(part.cosine, part.sine)
        phase = math.atan2(part.sine, part.cosine) / part.order
        # Its amplitude is a length, and its reference radius matters to m = 1 alone.
        of_mass = {"m": part.order, "a_m": size * lens.einstein_radius, "phi_m": phase}
        keywords.append({**of_mass, **centre, "r_E": lens.einstein_radius})
    return names, keywords


def lens_light(lens: ParametricLens) -> Profiles:
    """Names and keywords for the ``LightModel`` of lens galaxy and sky."""
    area = lens.pixel_scale_arcsec**2
    x, y = lens.light_centre
    names, keywords = [], []
    for ellipse, group in groupby(lens.light, key=lambda gaussian: gaussian.ellipse):
        gaussians = list(group)
        e1, e2 = ellipse.components
        names.append("MULTI_GAUSSIAN_ELLIPSE")
        fluxes = [2 * math.pi * part.sigma**2 * part.peak / area for part in gaussians]
        sigmas = [part.sigma for part in gaussians]
        shape = {"e1": e1, "e2": e2, "center_x": x, "center_y": y}
        keywords.append({"amp": fluxes, "sigma": sigmas, **shape})
    return [*names, "UNIFORM"], [*keywords, {"amp": lens.sky / area}]


def source_light(lens: ParametricLens) -> Profiles:
    """Names and keywords for the ``LightModel`` of the source."""
    source = lens.source
    norm = source.scale * lens.pixel_scale_arcsec**2
    amplitude_of = dict(zip(source.orders, (source.amplitudes / norm).tolist(), strict=True))
    # Within a total order, its shapelets begin with the highest order along x.
    amplitudes = [
        amplitude_of[along_x, total - along_x]
        for total in range(source.largest_order + 1)
        for along_x in range(total, -1, -1)
    ]
    keywords = {
        "amp": amplitudes, "n_max": source.largest_order, "beta": source.scale,
        "center_x": source.centre[0], "center_y": source.centre[1],
    }  # fmt: skip
    return ["SHAPELETS"], [keywords]
