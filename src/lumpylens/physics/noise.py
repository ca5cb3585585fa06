"""Noise and compression: the likelihood of an observed image, given a prediction.

Images are compared as coefficients in a basis in which their errors are independent. For linear
data that basis is the pixels. A JPEG file holds the 8x8 block cosine transform of an image, each
coefficient rounded to a multiple of a known step, so there the basis is that transform and a
coefficient is known to lie in an interval: the likelihood is that of a censored Gaussian. It is
exact; a Gaussian of variance step^2 / 12 would lose most of the information of small coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lumpylens.physics.batches import is_compiled
from lumpylens.physics.compiled.likelihood import (
    interval_deviance,
    interval_evidence,
    interval_expectation,
)
from lumpylens.physics.compiled.projection import Lines

__all__ = [
    "Evidence",
    "Measurement",
    "block_cosine_basis",
    "compare",
    "deviance_of",
    "expected_deviance",
    "jpeg_steps",
]

BLOCK = 8
"""Side of the blocks of baseline JPEG (ITU-T T.81, section A.1.1)."""

KEPT = 5
"""Frequencies kept per axis of a block. A Gaussian blur of 1.2 pixels leaves 6 % of the sixth,
which is then rounded to steps of 12 grey levels and more: to zero."""


def block_cosine_basis(
    size: int, frequencies: int = KEPT, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Orthonormal 8-point cosine transform of consecutive blocks.

    Parameters
    ----------
    size : int
        Samples, a multiple of 8.
    frequencies : int
        Number of frequencies kept, the lowest ones.

    Returns
    -------
    Tensor, shape (size / 8 * frequencies, size)
    """
    if size % BLOCK:
        raise ValueError(f"a block transform needs a multiple of {BLOCK} samples, got {size}")
    sample = torch.arange(BLOCK, dtype=torch.float64, device="cpu")
    frequency = torch.arange(frequencies, dtype=torch.float64, device="cpu")[:, None]
    block = torch.cos(math.pi * (2 * sample + 1) * frequency / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    block[0] /= math.sqrt(2)
    basis: Tensor = torch.block_diag(*[block] * (size // BLOCK)).to(dtype)
    return basis


def jpeg_steps(table: Tensor, blocks: int, frequencies: int = KEPT) -> Tensor:
    """Lay out quantisation steps like the coefficients of `block_cosine_basis`.

    Parameters
    ----------
    table : Tensor, shape (8, 8)
        Luminance table, row = vertical frequency.
    blocks : int
        Blocks per side.

    Returns
    -------
    Tensor, shape (blocks * frequencies, blocks * frequencies)
    """
    return table[:frequencies, :frequencies].to(torch.float32).repeat(blocks, blocks)


@dataclass(frozen=True)
class Measurement:
    """The part of an image that is compared, and the basis it is compared in.

    Attributes
    ----------
    row, column, size : int
        First pixel and side of the square region.
    steps : Tensor, shape (c, c), or None
        Quantisation steps of a compressed image in grey levels; None compares pixels.
    active : Tensor of int, shape (a,), or None
        Which of the flattened coefficients are compared; None compares all. Most coefficients
        of a compressed lens hold no information: nine tenths are always rounded to zero.
    """

    row: int
    column: int
    size: int
    steps: Tensor | None = None
    active: Tensor | None = None

    @cached_property
    def basis(self) -> Tensor:
        """Matrix from pixels to coefficients along one axis, shape (c, size)."""
        if self.steps is None:
            return torch.eye(self.size, device="cpu")
        return block_cosine_basis(self.size)

    def select(self, coefficients: Tensor) -> Tensor:
        """Select the compared coefficients (..., a) of all coefficients (..., c, c)."""
        flat = coefficients.flatten(-2)
        if self.active is None:
            return flat
        return flat.index_select(-1, self.active.to(flat.device))

    @cached_property
    def lines(self) -> Lines:
        """Rows and columns that hold compared coefficients."""
        active = None if self.active is None else self.active.numpy()
        return Lines.of(len(self.basis), active)

    @cached_property
    def all_lines(self) -> Lines:
        """All rows and columns."""
        return Lines.of(len(self.basis), None)

    @cached_property
    def active_steps(self) -> Tensor | None:
        """Quantisation steps of the compared coefficients, shape (a,)."""
        return None if self.steps is None else self.select(self.steps)

    def crop(self, images: Tensor) -> Tensor:
        """Cut the compared region out of images (n, H, W)."""
        return images[:, self.row : self.row + self.size, self.column : self.column + self.size]

    def observe(self, pixels: Tensor) -> Tensor:
        """Coefficients (n, c, c) of images (n, H, W).

        Decoding rounds to whole grey levels and clips. Rounding the coefficients to their steps
        restores the values in the file.
        """
        region = self.crop(pixels)
        if self.steps is None:
            return region
        raw, shift = self._transform(region)
        steps = self.steps.to(region)
        return torch.round(raw / steps) * steps + shift

    def off_lattice(self, pixels: Tensor) -> Tensor:
        """Mean distance, shape (n,), of an image's coefficients from multiples of their steps.

        In grey levels; nearly zero for images compressed with these steps.
        """
        if self.steps is None:
            return torch.zeros_like(pixels[:, 0, 0])
        raw, _ = self._transform(self.crop(pixels))
        steps = self.steps.to(raw)
        # Coefficients within half a step of zero are the same in any image of low contrast.
        large = raw.abs() > 0.75 * steps
        departure = (raw - torch.round(raw / steps) * steps).abs() * large
        return departure.sum(dim=(1, 2)) / large.sum(dim=(1, 2)).clamp_min(1)

    def single_steps(self, pixels: Tensor) -> Tensor:
        """Share, shape (n,), of an image's waves whose coefficient is one step.

        Nearly zero for images that were rounded to multiples of these steps.
        """
        if self.steps is None:
            return torch.ones_like(pixels[:, 0, 0])
        raw, _ = self._transform(self.crop(pixels))
        counts = torch.round(raw / self.steps.to(raw)).abs()
        counts[:, ::KEPT, ::KEPT] = 0  # The means of blocks are no waves.
        nonzero = (counts > 0).sum(dim=(1, 2))
        share = (counts == 1).sum(dim=(1, 2)) / nonzero.clamp_min(1)
        # Nothing can be said of an image without waves.
        return torch.where(nonzero > 0, share, torch.ones_like(share))

    def _transform(self, region: Tensor) -> tuple[Tensor, Tensor]:
        basis = self.basis.to(region)
        # The file holds the transform of grey levels minus 128, which shifts only the mean
        # coefficient, by 128 * 8 grey levels.
        shift = self.constant.to(region) * 128.0
        return torch.matmul(torch.matmul(basis, region), basis.T) - shift, shift

    @cached_property
    def constant(self) -> Tensor:
        """Coefficients (c, c) of an image that is 1 everywhere."""
        ones = self.basis.sum(dim=1)
        return ones[:, None] * ones[None, :]

    def rounding_variance(self, predicted: Tensor, variance: Tensor) -> Tensor:
        """Variance that rounding to whole grey levels adds to the mean of a flat block.

        Rounding errors of neighbours are independent where the brightness changes by more than
        a grey level between them, by its gradient or by noise. In an empty block they are all
        equal, so the block's mean is uncertain by a grey level. For a brightness spread of
        variance v around a block's mean their correlation is exp(-4 pi^2 v) to first order in
        the Fourier series of the rounding error (Bennett 1948).

        Parameters
        ----------
        predicted, variance : Tensor, shape (n, c, c)
        """
        added = torch.zeros_like(predicted)
        if self.steps is None:
            return added
        blocks = predicted.shape[-1] // KEPT
        power = predicted.square().reshape(-1, blocks, KEPT, blocks, KEPT).sum(dim=(2, 4))
        mean = predicted[:, ::KEPT, ::KEPT]
        spread = (power - mean.square()).clamp_min(0) / BLOCK**2 + variance[:, ::KEPT, ::KEPT]
        added[:, ::KEPT, ::KEPT] = BLOCK**2 / 12 * torch.exp(-4 * math.pi**2 * spread)
        return added

    def local_mean(self, coefficients: Tensor) -> Tensor:
        """Brightness around each coefficient: the pixel itself, or the mean of its block."""
        if self.steps is None:
            return coefficients
        mean = coefficients[..., ::KEPT, ::KEPT] / BLOCK
        return mean.repeat_interleave(KEPT, dim=-2).repeat_interleave(KEPT, dim=-1)


@dataclass(frozen=True)
class Evidence:
    """Log likelihood and its derivatives, for each coefficient.

    Attributes
    ----------
    score : Tensor
        Derivative of the log likelihood with respect to the prediction.
    information : Tensor
        Its expected variance, the Fisher information of the prediction.
    curvature : Tensor
        Second derivative of minus the log likelihood for this observation. Far from the solution
        it prevents steps that are too long: the expected information of rounded data does not
        depend on how far away they are.
    deviance : Tensor
        -2 ln likelihood, up to a constant of the noise.
    """

    score: Tensor
    information: Tensor
    curvature: Tensor
    deviance: Tensor


def compare(
    observed: Tensor, predicted: Tensor, sigma: Tensor, steps: Tensor | None = None
) -> Evidence:
    """Compute the likelihood of observations and its derivatives.

    Parameters
    ----------
    observed, predicted, sigma : Tensor, shape (n, a)
        `sigma` is the standard deviation of the noise before rounding.
    steps : Tensor, shape (a,), optional
        Rounding steps; without them the noise is Gaussian.

    Notes
    -----
    With z = (observed - predicted) / sigma and h = step / (2 sigma), an interval-censored
    Gaussian has likelihood Phi(z + h) - Phi(z - h). It is evaluated through the scaled
    complementary error function, which neither underflows nor cancels. Single precision on the
    processor is computed by `lumpylens.physics.compiled.likelihood`.
    """
    if steps is None:
        weight = sigma.square().reciprocal()
        residual = observed - predicted
        return Evidence(residual * weight, weight, weight, residual.square() * weight)
    if is_compiled(observed, predicted, sigma, steps):
        return Evidence(*_compiled(interval_evidence, observed, predicted, sigma, steps))
    half = steps / (2 * sigma)
    z = (observed - predicted) / sigma
    near, far, ratio, mass = _interval_mass(z, half)
    # The tail is erfcx / 2 * exp(-near^2 / 2); the density exp(-near^2 / 2) / sqrt(2 pi).
    density = math.sqrt(2 / math.pi) / mass
    slope = density * (1 - ratio)
    curvature = (slope.square() - density * (near - far * ratio)).clamp_min(0) / sigma.square()
    score = z.sign() * slope / sigma
    deviance = near.square() - 2 * torch.log(0.5 * mass)
    information = _interval_information(predicted, sigma, steps)
    inside = (z.abs() - half) < -6.0
    score = score.masked_fill(inside, 0)
    return Evidence(score, information, curvature.masked_fill(inside, 0), deviance.clamp_min(0))


def deviance_of(
    observed: Tensor, predicted: Tensor, sigma: Tensor, steps: Tensor | None = None
) -> Tensor:
    """Compute only the deviance of `compare`, in half the time."""
    if steps is None:
        return ((observed - predicted) / sigma).square()
    if is_compiled(observed, predicted, sigma, steps):
        return _compiled(interval_deviance, observed, predicted, sigma, steps)
    near, _, _, mass = _interval_mass((observed - predicted) / sigma, steps / (2 * sigma))
    return (near.square() - 2 * torch.log(0.5 * mass)).clamp_min(0)


def expected_deviance(
    predicted: Tensor, sigma: Tensor, steps: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the deviance of each datum if the prediction is right.

    Arguments as in `compare`. For rounded data three cases are distinguished: the interval around
    the prediction, and everything on either side of it.
    """
    if steps is None:
        return torch.ones_like(predicted), torch.full_like(predicted, 2.0)
    if is_compiled(predicted, sigma, steps):
        mean, variance = _compiled(interval_expectation, predicted, sigma, steps)
        return mean, variance
    mean, square = torch.zeros_like(predicted), torch.zeros_like(predicted)
    for part in _interval_probabilities(predicted, sigma, steps):
        deviance = -2 * torch.log(part.clamp_min(1e-30))
        mean = mean + part * deviance
        square = square + part * deviance.square()
    return mean, (square - mean.square()).clamp_min(0)


def _compiled(function: Callable[..., np.ndarray], *tensors: Tensor) -> Tensor:
    """Apply compiled code to tensors that broadcast; their shape follows its leading axes."""
    parts = torch.broadcast_tensors(*tensors)
    numbers = function(*(part.reshape(-1).numpy() for part in parts))
    return torch.from_numpy(numbers).view(*numbers.shape[:-1], *parts[0].shape)


def _interval_probabilities(
    predicted: Tensor, sigma: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities of a value below, inside and above the rounding interval of the prediction."""
    low = (torch.round(predicted / steps) - 0.5) * steps
    root = math.sqrt(2)
    # erfc, since the textbook form (1 + erf) / 2 is zero in float32 five sigma out.
    below = 0.5 * torch.special.erfc((predicted - low) / sigma / root)
    above = 0.5 * torch.special.erfc((low + steps - predicted) / sigma / root)
    return below, (1 - below - above).clamp_min(1e-30), above


def _interval_mass(z: Tensor, half: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Likelihood of an interval, times 2 exp(near^2 / 2), with its parts.

    Parameters
    ----------
    z, half : Tensor
        Middle of the interval relative to the prediction, and its half width, in sigma.

    Returns
    -------
    near, far, ratio, mass : Tensor
        Distances of the two ends, the ratio of the densities there, and the scaled likelihood.
    """
    near = (z.abs() - half).clamp_min(-6.0)  # at -6 the likelihood is 1 to float32
    far = z.abs() + half
    ratio = torch.exp(0.5 * (near.square() - far.square()).clamp_max(0))
    return near, far, ratio, _scaled_tail(near) - ratio * _scaled_tail(far)


def _scaled_tail(t: Tensor) -> Tensor:
    scaled: Tensor = torch.special.erfcx(t / math.sqrt(2))
    return scaled


def _interval_information(predicted: Tensor, sigma: Tensor, steps: Tensor) -> Tensor:
    """Fisher information of a Gaussian mean of which only the rounding interval is known.

    The interval around the prediction and everything on either side of it are distinguished.
    Intervals further away matter only if sigma exceeds half a step, and there the Gaussian limit
    1 / (sigma^2 + step^2 / 12) is used.
    """
    low = (torch.round(predicted / steps) - 0.5) * steps
    t1, t2 = (low - predicted) / sigma, (low + steps - predicted) / sigma
    p1, p2, p3 = _interval_probabilities(predicted, sigma, steps)
    f1, f2 = torch.exp(-0.5 * t1.square()), torch.exp(-0.5 * t2.square())
    tiny = 1e-30
    terms = f1.square() / p1.clamp_min(tiny) + f2.square() / p3.clamp_min(tiny)
    narrow = (terms + (f1 - f2).square() / p2) / (2 * math.pi) / sigma.square()
    wide = 1 / (sigma.square() + steps.square() / 12)
    return torch.where(sigma > 0.5 * steps, wide, narrow)
