"""Fitting many smooth lenses at once: Levenberg-Marquardt with Fisher scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from lumpylens.physics.model import Linearisation, SmoothModel, View
from lumpylens.physics.noise import Evidence, compare, expected_deviance

__all__ = [
    "Data", "Fit", "Prior", "Stage", "fit", "join", "observe", "solve_amplitudes", "staged_fit",
]  # fmt: skip

Part = TypeVar("Part", bound=Any)

POOR = 5.0
"""Times the expected deviance beyond which a fit is tried again. Good fits of the challenge's
normal images stay below 2; one that ended in another valley has 5 to 30."""


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
        return _keep(other.energy < self.energy, other, self)


def solve_amplitudes(model: SmoothModel, data: Data, values: Tensor) -> Tensor:
    """Least-squares amplitudes (n, 3) of the light columns, lens and source not negative."""
    columns = model.measurement.select(model.columns(values, data.psf))
    weighted = columns * data.weight[:, None]
    gram = torch.matmul(weighted, columns.mT)
    right = torch.matmul(weighted, data.observed[..., None])
    ridge = 1e-6 * torch.diagonal(gram, dim1=1, dim2=2)
    solved = torch.linalg.solve(gram + torch.diag_embed(ridge), right)[..., 0]
    return torch.cat([solved[:, :2].clamp_min(1e-6), solved[:, 2:]], dim=1)


def evidence(model: SmoothModel, data: Data, view: View) -> Evidence:
    """Compare a prediction with the data under the model's noise."""
    steps = model.measurement.active_steps
    return compare(
        data.observed, view.predicted, view.sigma, None if steps is None else steps.to(view.sigma)
    )


def total_deviance(model: SmoothModel, view: View, seen: Evidence) -> Tensor:
    """-2 ln likelihood of each image, shape (n,).

    A rounded datum has a probability, which knows its noise; a continuous one a density, whose
    normalisation must be added where the noise follows the predicted light.
    """
    total = seen.deviance.sum(dim=1)
    if model.measurement.steps is None:
        total = total + 2 * torch.log(view.sigma).sum(dim=1)
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
        where = (trial_values, trial_amplitudes, data.psf, data.noise)
        last = step == steps - 1
        trial_line = model.view(*where) if last else model.linearise(*where)
        trial_seen = evidence(model, data, trial_line)
        trial_deviance = total_deviance(model, trial_line, trial_seen)
        trial = Fit(
            trial_values, trial_amplitudes, trial_deviance,
            trial_deviance + prior.energy(trial_values),
        )  # fmt: skip
        won = trial.energy < best.energy
        best = best.better_of(trial)
        damping = torch.where(won, damping * 0.2, damping * 10).clamp(1e-7, 1e6)
        if isinstance(trial_line, Linearisation):
            line, seen = _keep(won, trial_line, line), _keep(won, trial_seen, seen)
    return best


def _keep(won: Tensor, new: Part, old: Part) -> Part:
    """Per image, the tensors of `new` where it won and of `old` where it did not."""
    chosen = {}
    for item in fields(old):
        a, b = getattr(new, item.name), getattr(old, item.name)
        if isinstance(a, Tensor):
            chosen[item.name] = torch.where(won.reshape(-1, *[1] * (a.ndim - 1)), a, b)
    return replace(old, **chosen)


def _damped_step(hessian: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    diagonal = torch.diagonal(hessian, dim1=1, dim2=2).clamp_min(1e-12)
    # Scaled to a unit diagonal: amplitudes and parameters differ by orders of magnitude.
    scale = diagonal.rsqrt()
    scaled = hessian * scale[:, :, None] * scale[:, None, :]
    eye = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    scaled = scaled + (damping[:, None, None] + 1e-6) * eye
    step = torch.linalg.solve(scaled.double(), (gradient * scale).double()[..., None])[..., 0]
    unscaled: Tensor = step.to(gradient) * scale
    return unscaled


@dataclass(frozen=True)
class Stage:
    """One stage of a fit: with which model, for how many steps."""

    model: SmoothModel
    steps: int


def staged_fit(
    stages: Sequence[Stage], data: Data, start: Tensor, prior: Prior, retry: Prior | None = None
) -> Fit:
    """Fit in stages, from a tolerant model to the exact one, and once more where that was poor.

    Parameters
    ----------
    stages : sequence of Stage
        The noise of early ones is exaggerated: far from the answer, rounded data pull all ways.
    data : Data
    start : Tensor, shape (n, k)
    prior : Prior
        Of the fit.
    retry : Prior, optional
        Where images of the population lie. Images whose deviance is more than `POOR` times what
        noise explains are fitted again from its mean and under it, then under `prior`; the
        better answer stays.
    """
    first = _run(stages, data, start, prior)
    if retry is None:
        return first
    model = stages[-1].model
    line = model.view(first.values, first.amplitudes, data.psf, data.noise)
    expected, _ = expected_deviance(line.predicted, line.sigma, model.measurement.active_steps)
    observed = evidence(model, data, line).deviance.sum(dim=1)
    poor = torch.nonzero(observed > POOR * expected.sum(dim=1))[:, 0]
    if len(poor) == 0:
        return first
    part = data.select(poor)
    middle = retry.mean.expand(len(poor), -1)
    near = _run(stages[:-1], part, middle, retry)
    second = fit(model, part, near.values, prior, steps=stages[-1].steps,
                 amplitudes=near.amplitudes)  # fmt: skip
    return _replace(first, poor, first.select(poor).better_of(second))


def _run(stages: Sequence[Stage], data: Data, start: Tensor, prior: Prior) -> Fit:
    found = fit(stages[0].model, data, start, prior, steps=stages[0].steps)
    for stage in stages[1:]:
        found = fit(stage.model, data, found.values, prior, steps=stage.steps,
                    amplitudes=found.amplitudes)  # fmt: skip
    return found


def _replace(whole: Fit, index: Tensor, part: Fit) -> Fit:
    merged = {}
    for name in whole.__dataclass_fields__:
        merged[name] = getattr(whole, name).clone()
        merged[name][index] = getattr(part, name)
    return Fit(**merged)


def join(parts: Sequence[Fit]) -> Fit:
    """One fit of all images from those of its parts."""
    return Fit(*(torch.cat([getattr(p, name) for p in parts]) for name in FIT_FIELDS))


FIT_FIELDS = tuple(Fit.__dataclass_fields__)
