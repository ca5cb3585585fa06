"""Derivatives of the Occam factor: what marginalising the source adds to -2 ln evidence.

The amplitudes of the source are marginalised, which adds log |G + Lambda| with G the products of
the source's columns (Suyu et al. 2006, astro-ph/0601493, equation 19). It changes with the mass,
since a shallower halo magnifies the source more. Without it, slopes would be too shallow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lumpylens.lenses.model import RealLens, SolvedLens
from lumpylens.physics.compiled.shapelets import weighted_light

__all__ = ["occam_gradient"]


def occam_gradient(model: RealLens, lens: SolvedLens, names: Sequence[str]) -> Tensor:
    """Derivatives of log |G + Lambda| of the source by the named parameters, shape (k,).

    Parameters
    ----------
    model : RealLens
    lens : SolvedLens
        Of this model.
    names : sequence of str
        Parameters of the lens galaxy's light do not change it: their derivatives are 0.

    Notes
    -----
    With whitened columns C = B F, where F are the shapelets where the rays end and B blurs and
    whitens, the derivative is 2 tr[(G + Lambda)^-1 C' B dF]. So every ray has a derivative by
    the place where it ends, which is the same for all parameters.
    """
    linear, grid = lens.linear, model.observation
    count = len(linear.free) - 1
    information = linear.gram[:count, :count] + torch.diag(linear.precision[:count])
    factor = torch.linalg.cholesky(information)
    # Single precision is enough for a derivative, and takes a third of the time.
    inverse = torch.cholesky_inverse(factor).float()
    weights = grid.unsee(inverse @ linear.columns[:count].float())
    x, y = lens.rays
    scale = math.exp(lens["log_source_scale"])
    light, by_x, by_y = weighted_light(
        x.numpy(), y.numpy(), scale, weights.numpy(), lens.largest_order
    )
    moved = model.moved(lens.values, (by_x, by_y), names)
    derivatives = {name: float(change.sum(dtype=torch.float64)) for name, change in moved.items()}
    derivatives["source_x"], derivatives["source_y"] = -float(by_x.sum()), -float(by_y.sum())
    stretched = by_x * x.numpy() + by_y * y.numpy() + light
    derivatives["log_source_scale"] = -float(stretched.sum())
    return 2 * torch.tensor([derivatives.get(name, 0.0) for name in names], dtype=torch.float64)
