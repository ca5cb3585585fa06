"""Residual of a fit as an image in which noise has unit variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumpylens.physics.model import SmoothModel
from lumpylens.physics.noise import Evidence
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.psf import gaussian_matrix

__all__ = ["whitened_residual"]

KNOWN = 1e-3
"""A pixel is left out if the information on a spot of light there is below this fraction of the
largest: the image would show only a few rounded coefficients there. Not tuned."""


def whitened_residual(model: SmoothModel, evidence: Evidence) -> Tensor:
    """Compute the excess of light over the model at every compared pixel, in standard deviations.

    With s the derivative of the log likelihood with respect to the prediction, W its variance
    and g a spot of light of unit flux on that pixel, this is g's / sqrt(g'Wg): the score test of
    the spot, whose variance under noise is 1. For linear data the spot is the pixel, and this is
    data minus model over noise. In a compressed image no single pixel is known, so the spot has
    the width of the blur. The dozen directions that the fit absorbs are not corrected for.

    Parameters
    ----------
    model : SmoothModel
    evidence : Evidence
        Of n images, where `model` was fitted.

    Returns
    -------
    Tensor, shape (n, size, size)
        NaN where nothing is known.
    """
    measurement = model.measurement
    spot = measurement.basis.to(evidence.score)
    if measurement.steps is not None:
        width = torch.exp(model.shared[INDEX["log_psf_sigma_px"]]).to(spot)
        spot = spot @ gaussian_matrix(measurement.size, width[None], model.psf_radius)[0]
    side = len(spot)

    def laid_out(compared: Tensor) -> Tensor:
        if measurement.active is None:
            return compared.reshape(-1, side, side)
        full = compared.new_zeros(len(compared), side * side)
        full[:, measurement.active.to(compared.device)] = compared
        return full.reshape(-1, side, side)

    excess = spot.T @ laid_out(evidence.score) @ spot
    variance = spot.T.square() @ laid_out(evidence.information) @ spot.square()
    informative = variance > KNOWN * variance.amax(dim=(1, 2), keepdim=True)
    return (excess * variance.clamp_min(1e-30).rsqrt()).masked_fill(~informative, math.nan)
