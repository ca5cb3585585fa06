"""Perturbers of a lens: the masses besides its smooth halo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch

from lumpylens.physics.masses import Masses

__all__ = ["Perturber", "Profile", "mass_inside", "masses_of"]

Profile = Literal["point", "sphere", "halo", "rod"]


class Perturber(NamedTuple):
    """One mass; lengths in pixels, relative to the lens.

    Attributes
    ----------
    x_px, y_px : float
        Its centre.
    einstein_radius_px : float
        Its square is the total mass over pi critical surface densities. A sphere, whose total
        mass is infinite, has its own Einstein radius.
    profile : {"point", "sphere", "halo", "rod"}
        Point mass, singular isothermal sphere, truncated NFW halo, uniform string.
    scale_radius_px, truncation : float
        Of a halo: scale radius, and truncation radius over scale radius.
    length_px, angle_deg : float
        Of a rod: from end to end, and from x towards y.
    """

    x_px: float
    y_px: float
    einstein_radius_px: float
    profile: Profile = "point"
    scale_radius_px: float = 0.0
    truncation: float = 0.0
    length_px: float = 0.0
    angle_deg: float = 0.0


def masses_of(perturbers: Sequence[Perturber]) -> Masses:
    """Convert the perturbers of one image to arrays."""
    kinds: dict[str, list[tuple[float, ...]]] = {name: [] for name in get_args(Profile)}
    for perturber in perturbers:
        shape = (1.0, 1.0)
        if perturber.profile == "halo":
            shape = (perturber.scale_radius_px, perturber.truncation)
        elif perturber.profile == "rod":
            shape = (perturber.length_px / 2, math.radians(perturber.angle_deg))
        kinds[perturber.profile].append(
            (perturber.x_px, perturber.y_px, perturber.einstein_radius_px, *shape)
        )
    return Masses(*(np.array(rows, np.float32).reshape(1, len(rows), 5) for rows in kinds.values()))


def mass_inside(perturbers: Sequence[Perturber], radius_px: float) -> float:
    """Mass within a circle about the lens, in units of pi critical surface densities, px^2.

    Point masses inside are added up. For extended masses, by Gauss's law, it is the mean radial
    deflection on the circle times its radius.
    """
    points = [perturber for perturber in perturbers if perturber.profile == "point"]
    extended = [perturber for perturber in perturbers if perturber.profile != "point"]
    total = sum(
        perturber.einstein_radius_px**2
        for perturber in points
        if math.hypot(perturber.x_px, perturber.y_px) < radius_px
    )
    if extended:
        turn = torch.arange(4096) * (2 * math.pi / 4096)
        cos, sin = torch.cos(turn)[None, None], torch.sin(turn)[None, None]
        ax, ay = masses_of(extended).deflection(radius_px * cos, radius_px * sin)
        total += radius_px * float((ax * cos + ay * sin).mean())
    return total
