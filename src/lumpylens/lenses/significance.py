"""Significance of a perturber: the look-elsewhere effect of noise, and errors of the noise map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lumpylens.lenses.perturber import PerturbationMap
from lumpylens.lenses.refine import Refined

__all__ = ["Inflation", "gumbel", "measure_inflation"]

EULER = 0.5772156649015329
"""Euler's constant: the mean of a Gumbel law of location 0 and scale 1."""

OFF_ARC = 0.5
"""Source light, in units of the noise, below which a pixel is off the arcs. A lower limit leaves
fewer pixels, a higher one lets residuals of the arcs in. Not tuned."""


@dataclass(frozen=True)
class Inflation:
    """Factors by which signal-to-noise ratios exceed those of noise.

    Attributes
    ----------
    off_arcs : float
        Scatter of the smoothed residual off the arcs, in units of what the noise map promises.
    of_map : float
        Scatter of the perturbation map in the same units.
    """

    off_arcs: float
    of_map: float


def measure_inflation(fitted: Refined, perturbation_map: PerturbationMap) -> Inflation:
    """Measure the inflation on the residuals of the same lens."""
    observation, lens = fitted.model.observation, fitted.lens
    light = observation.blur(lens.source_light[None])[0].abs() * observation.weight
    off_arcs = ((light < OFF_ARC) & observation.usable).double()
    residual = torch.nan_to_num(observation.picture(lens.linear.residual)) * off_arcs
    blurred = observation.blur(torch.stack([residual]))[0]
    power = _blurred_power(observation.kernel, off_arcs)
    usable = power > 0.5 * power.max()
    scatter = (blurred[usable].square() / power[usable]).mean().sqrt()
    return Inflation(float(scatter), perturbation_map.scatter())


def _blurred_power(kernel: Tensor, mask: Tensor) -> Tensor:
    """Variance of blurred white noise of variance 1 where `mask` is 1."""
    psf = torch.fft.ifft2(kernel).real.double()
    transfer = torch.fft.rfft2(psf.square())
    power: Tensor = torch.fft.irfft2(torch.fft.rfft2(mask) * transfer, s=mask.shape)
    return power


def gumbel(maxima: Tensor) -> tuple[float, float]:
    """Estimate location and scale of a Gumbel law from draws, by their mean and variance."""
    scale = float(maxima.double().std()) * math.sqrt(6) / math.pi
    return float(maxima.double().mean()) - EULER * scale, scale
