"""The masses that disturb one lens."""

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
        Its square is the total mass over pi critical surface densities. That of a sphere, whose
        mass has no end, is its own Einstein radius.
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
    """The same as arrays for one image."""
    kinds: dict[str, list[tuple[float, ...]]] = {name: [] for name in get_args(Profile)}
    for one in perturbers:
        own = (1.0, 1.0)
        if one.profile == "halo":
            own = (one.scale_radius_px, one.truncation)
        elif one.profile == "rod":
            own = (one.length_px / 2, math.radians(one.angle_deg))
        kinds[one.profile].append((one.x_px, one.y_px, one.einstein_radius_px, *own))
    return Masses(*(np.array(rows, np.float32).reshape(1, len(rows), 5) for rows in kinds.values()))


def mass_inside(perturbers: Sequence[Perturber], radius_px: float) -> float:
    """Mass within a circle about the lens, in units of pi critical surface densities, px^2.

    Points are counted. Of extended masses, Gauss's law: the mean radial deflection on the circle
    times its radius.
    """
    points = [one for one in perturbers if one.profile == "point"]
    extended = [one for one in perturbers if one.profile != "point"]
    total = sum(
        one.einstein_radius_px**2 for one in points if math.hypot(one.x_px, one.y_px) < radius_px
    )
    if extended:
        turn = torch.arange(4096) * (2 * math.pi / 4096)
        cos, sin = torch.cos(turn)[None, None], torch.sin(turn)[None, None]
        ax, ay = masses_of(extended).deflection(radius_px * cos, radius_px * sin)
        total += radius_px * float((ax * cos + ay * sin).mean())
    return total
