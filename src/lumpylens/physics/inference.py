"""Fitting many smooth lenses at once: Levenberg-Marquardt with Fisher scoring."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.physics.model import Linearisation, SmoothModel
from lumpylens.physics.noise import Evidence, compare

__all__ = ["Data", "Fit", "Prior", "fit", "observe", "solve_amplitudes"]


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
    """

    observed: Tensor
    weight: Tensor
    noise: Tensor | None = None
    psf: Tensor | None = None

    def __len__(self) -> int:
        return len(self.observed)

    def select(self, index: Tensor) -> Data:
        """Some of the images."""
        return Data(
            self.observed[index],
            self.weight[index],
            None if self.noise is None else self.noise[index],
            None if self.psf is None else self.psf[index],
        )


def observe(
    model: SmoothModel, pixels: Tensor, noise: Tensor | None = None, psf: Tensor | None = None
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

    mean: Tensor
    precision: Tensor

    def energy(self, values: Tensor) -> Tensor:
        """Squared distance of each row of `values` from the mean, shape (n,)."""
        off = values - self.mean
        return torch.einsum("ni,ij,nj->n", off, self.precision, off)


@dataclass(frozen=True)
class Fit:
    """Fitted lenses.

    Attributes
    ----------
    values : Tensor, shape (n, k)
    amplitudes : Tensor, shape (n, 3)
    deviance : Tensor, shape (n,)
        -2 ln likelihood.
    energy : Tensor, shape (n,)
        Deviance plus prior; what was minimised.
    """

    values: Tensor
    amplitudes: Tensor
    deviance: Tensor
    energy: Tensor

    def select(self, index: Tensor) -> Fit:
        """Some of the images."""
        return Fit(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def better_of(self, other: Fit) -> Fit:
        """Per image, the one with the lower energy."""
        won = other.energy < self.energy
        pick = {}
        for name in self.__dataclass_fields__:
            a, b = getattr(self, name), getattr(other, name)
            pick[name] = torch.where(won.reshape(-1, *[1] * (a.ndim - 1)), b, a)
        return Fit(**pick)


def solve_amplitudes(model: SmoothModel, data: Data, values: Tensor) -> Tensor:
    """Least-squares amplitudes (n, 3) of the light columns, lens and source not negative."""
    columns = model.measurement.select(model.columns(values, data.psf))
    weighted = columns * data.weight[:, None]
    gram = torch.matmul(weighted, columns.mT)
    right = torch.matmul(weighted, data.observed[..., None])
    ridge = 1e-6 * torch.diagonal(gram, dim1=1, dim2=2)
    solved = torch.linalg.solve(gram + torch.diag_embed(ridge), right)[..., 0]
    return torch.cat([solved[:, :2].clamp_min(1e-6), solved[:, 2:]], dim=1)


def evidence(model: SmoothModel, data: Data, line: Linearisation) -> Evidence:
    """Compare a prediction with the data under the model's noise."""
    steps = model.measurement.active_steps
    return compare(
        data.observed, line.predicted, line.sigma, None if steps is None else steps.to(line.sigma)
    )


def total_deviance(model: SmoothModel, line: Linearisation, seen: Evidence) -> Tensor:
    """-2 ln likelihood of each image, shape (n,).

    A rounded datum has a probability, which knows its noise; a continuous one a density, whose
    normalisation must be added where the noise follows the predicted light.
    """
    total = seen.deviance.sum(dim=1)
    if model.measurement.steps is None:
        total = total + 2 * torch.log(line.sigma).sum(dim=1)
    return total


def normal_matrix(line: Linearisation, information: Tensor) -> Tensor:
    """J' W J, shape (n, k + 3, k + 3)."""
    return torch.matmul(line.tangents * information[:, None], line.tangents.mT)


def fit(
    model: SmoothModel,
    data: Data,
    start: Tensor,
    prior: Prior,
    *,
    steps: int = 8,
    amplitudes: Tensor | None = None,
) -> Fit:
    """Find the best smooth lens of each image.

    Each step solves (H + Lambda + damping) d = g for all images at once, with H the expected
    information of the noise model, Lambda the prior's precision, and g the gradient; a step that
    raises the energy is undone and damped more.

    Parameters
    ----------
    model : SmoothModel
    data : Data
        n images.
    start : Tensor, shape (n, k)
    prior : Prior
    steps : int
    amplitudes : Tensor, shape (n, 3), optional
        Default: solved for at `start`.

    Notes
    -----
    Parameters are in coordinates without bounds. Because the amplitudes enter the same linear
    system, a step in them is the one variable projection would take (Golub & Pereyra 1973, in
    Kaufman's approximation).
    """
    if amplitudes is None:
        amplitudes = solve_amplitudes(model, data, start)
    count = start.shape[1]
    values = start.clone()
    damping = torch.full((len(values),), 1e-3, dtype=values.dtype, device=values.device)
    line = model.linearise(values, amplitudes, data.psf, data.noise)
    seen = evidence(model, data, line)
    deviance = total_deviance(model, line, seen)
    best = Fit(values, amplitudes, deviance, deviance + prior.energy(values))
    for step in range(steps):
        gradient = torch.matmul(line.tangents, seen.score[..., None])[..., 0]
        hessian = normal_matrix(line, torch.maximum(seen.information, seen.curvature))
        gradient[:, :count] -= (best.values - prior.mean) @ prior.precision
        hessian[:, :count, :count] += prior.precision
        move = _damped_step(hessian, gradient, damping)
        trial_values = best.values + move[:, :count]
        trial_amplitudes = best.amplitudes + move[:, count:]
        trial_amplitudes[:, :2] = trial_amplitudes[:, :2].clamp_min(1e-6)
        last = step == steps - 1
        trial_line = model.linearise(trial_values, trial_amplitudes, data.psf, data.noise)
        trial_seen = evidence(model, data, trial_line)
        trial_deviance = total_deviance(model, trial_line, trial_seen)
        trial = Fit(
            trial_values, trial_amplitudes, trial_deviance,
            trial_deviance + prior.energy(trial_values),
        )  # fmt: skip
        won = trial.energy < best.energy
        best = best.better_of(trial)
        damping = torch.where(won, damping * 0.2, damping * 10).clamp(1e-7, 1e6)
        if last:
            break
        keep = won[:, None]
        line = Linearisation(
            torch.where(keep, trial_line.predicted, line.predicted),
            torch.where(keep, trial_line.sigma, line.sigma),
            torch.where(keep[..., None], trial_line.tangents, line.tangents),
            line.source_gradient,
        )
        seen = Evidence(
            torch.where(keep, trial_seen.score, seen.score),
            torch.where(keep, trial_seen.information, seen.information),
            torch.where(keep, trial_seen.curvature, seen.curvature),
            seen.deviance,
        )
    return best


def _damped_step(hessian: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    diagonal = torch.diagonal(hessian, dim1=1, dim2=2).clamp_min(1e-12)
    # Scaled to a unit diagonal: amplitudes and parameters differ by orders of magnitude.
    scale = diagonal.rsqrt()
    scaled = hessian * scale[:, :, None] * scale[:, None, :]
    eye = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    scaled = scaled + (damping[:, None, None] + 1e-6) * eye
    step = torch.linalg.solve(scaled.double(), (gradient * scale).double()[..., None])[..., 0]
    return step.to(gradient) * scale


def restart(first: Fit, second: Fit, poor: Tensor) -> Fit:
    """`first` with its `poor` images replaced where `second`, fitted to those, is better."""
    chosen = first.select(poor).better_of(second)
    merged = {}
    for name in first.__dataclass_fields__:
        whole = getattr(first, name).clone()
        whole[poor] = getattr(chosen, name)
        merged[name] = whole
    return replace(first, **merged)
