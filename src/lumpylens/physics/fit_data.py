"""What goes into fits of many lenses at once, and what comes out of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from lumpylens.physics.model import Linearisation, SmoothModel
from lumpylens.physics.noise import Evidence
from lumpylens.physics.psf import Blur
from lumpylens.physics.records import select

__all__ = ["Data", "Fit", "Prior", "Solution", "observe"]


@dataclass(frozen=True)
class Data:
    """Observations of a batch.

    Attributes
    ----------
    observed : Tensor, shape (n, a)
        Compared coefficients.
    weight : Tensor, shape (n, a)
        Rough inverse variance of each, before anything is known of the image's light.
    noise : Tensor, shape (n, H, W), or None
    psf : Tensor, shape (n, p, p), or None
    known_blur : Blur or None
        By the PSFs, in the model that the data are compared with, where it is known already.
    """

    observed: Float[Tensor, "n a"]
    weight: Float[Tensor, "n a"]
    noise: Float[Tensor, "n H W"] | None = None
    psf: Float[Tensor, "n p p"] | None = None
    known_blur: Blur | None = None

    def __len__(self) -> int:
        return len(self.observed)

    @property
    def blur(self) -> Blur | Tensor | None:
        """PSFs, or what they do where that is known."""
        return self.psf if self.known_blur is None else self.known_blur

    def select(self, index: Shaped[Tensor, " m"]) -> Data:
        """Data of some of the images."""
        return select(self, index)


def observe(
    model: SmoothModel,
    pixels: Float[Tensor, "n H W"],
    noise: Float[Tensor, "n H W"] | None = None,
    psf: Float[Tensor, "n p p"] | None = None,
) -> Data:
    """Prepare images (n, H, W) for comparison with a model."""
    measurement = model.measurement
    full = measurement.observe(pixels)
    if noise is not None:
        weight = measurement.crop(noise).square().reciprocal()
    else:
        light = measurement.local_mean(full)
        low = torch.quantile(light.flatten(1), 0.1, dim=1)[:, None, None].clamp_min(0)
        variance = model.noise.variance(light - low, low)
        if measurement.steps is not None:
            variance = variance + measurement.steps.to(full).square() / 12
        weight = variance.reciprocal()
    return Data(measurement.select(full), measurement.select(weight), noise, psf)


@dataclass(frozen=True)
class Prior:
    """Gaussian prior of the free parameters.

    Attributes
    ----------
    mean : Tensor, shape (k,)
    precision : Tensor, shape (k, k)
    """

    mean: Float[Tensor, " k"]
    precision: Float[Tensor, "k k"]

    def first(self, count: int) -> Prior:
        """Make the prior of the first numbers alone, which do not depend on the others."""
        if count == len(self.mean):
            return self
        return Prior(self.mean[:count], self.precision[:count, :count])

    def energy(self, values: Float[Tensor, "n k"]) -> Float64[Tensor, " n"]:
        """Squared distance of each row of `values` from the mean, shape (n,)."""
        departure = (values - self.mean).double()
        return (departure[:, :, None] * self.precision.double() * departure[:, None, :]).sum(
            dim=(1, 2)
        )


@dataclass(frozen=True)
class Fit:
    """Fitted lenses.

    Attributes
    ----------
    values : Tensor, shape (n, k)
    amplitudes : Tensor, shape (n, 3)
    deviance : Tensor of float64, shape (n,)
        -2 ln likelihood.
    energy : Tensor of float64, shape (n,)
        Deviance plus prior; what was minimised.
    converged : Tensor of bool, shape (n,)
        Whether a further step would gain less than `CONVERGED`.
    """

    values: Float[Tensor, "n k"]
    amplitudes: Float[Tensor, "n 3"]
    deviance: Float64[Tensor, " n"]
    energy: Float64[Tensor, " n"]
    converged: Bool[Tensor, " n"]

    def select(self, index: Shaped[Tensor, " m"]) -> Fit:
        """Fits of some of the images."""
        return select(self, index)


@dataclass(frozen=True)
class Solution:
    """Fitted lenses, and what the model says there.

    Attributes
    ----------
    fitted : Fit
    line : Linearisation
    evidence : Evidence
        Of the data, at `line`.
    """

    fitted: Fit
    line: Linearisation
    evidence: Evidence
