"""Pixels that belong to neither lens nor source: neighbours and defects the noise map missed."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lumpylens.lenses.observation import Observation
from lumpylens.lenses.smooth import SmoothFit

__all__ = ["mask_intruders"]

NEIGHBOUR = 6.0
"""Significance of three by three pixels, in units of the residual's robust scatter, above which
light far from any arc is a neighbour. Not tuned."""

DEFECT, SHARE = 6.0, 0.2
"""Scatters beyond which a pixel may be a defect, and the part of it that its neighbours then have
less than on average: a point source gives them a third. Not tuned."""


def mask_intruders(observation: Observation, rough: SmoothFit) -> Observation:
    """Mask neighbours outside the arcs, and single bad pixels.

    Parameters
    ----------
    observation : Observation
    rough : SmoothFit
        From the same image; may be of another disc.

    Notes
    -----
    Only positive residuals beyond 1.4 Einstein radii plus 0.4 arcsec count as neighbours, where
    the source has no light: nothing that lensing makes may be masked.
    """
    model, values = rough.best.model, rough.best.lens.values
    lens = replace(model, observation=observation).lens(values)
    residual = torch.nan_to_num(observation.picture(lens.linear.residual))
    counted = observation.usable.double()
    box = torch.ones(1, 1, 3, 3, dtype=torch.float64)

    def boxed(image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(image[None, None], box, padding=1)[0, 0]

    number = boxed(counted)
    mean = boxed(residual) / number.clamp_min(1).sqrt()
    around = (boxed(residual) - residual) / (number - 1).clamp_min(1)
    scatter = 1.4826 * float(lens.linear.residual.abs().median())
    x, y = observation.x - lens["light_x"], observation.y - lens["light_y"]
    outside = torch.hypot(x, y) > 1.4 * math.exp(lens["log_einstein_radius"]) + 0.4
    bright = observation.blur(lens.source_light[None])[0].abs() * observation.weight > 1.0
    neighbour = outside & ~bright & (mean > NEIGHBOUR * scatter)
    grown = torch.nn.functional.max_pool2d(neighbour.double()[None, None], 7, 1, 3)[0, 0] > 0
    defect = (residual.abs() > DEFECT * scatter) & (around.abs() < SHARE * residual.abs())
    return observation.masked(~((grown & outside & ~bright) | defect))
