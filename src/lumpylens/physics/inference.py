"""Fitting many smooth lenses at once: Levenberg-Marquardt with Fisher scoring."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lumpylens.physics.batches import is_compiled
from lumpylens.physics.compiled.normal import normal_equations
from lumpylens.physics.fit_data import Data, Fit, Prior, Solution
from lumpylens.physics.model import Linearisation, SmoothModel
from lumpylens.physics.noise import Evidence, compare, deviance_of
from lumpylens.physics.records import keep, put, select

__all__ = [
    "LEAST_AMPLITUDE",
    "MOST_STEPS",
    "SLACK",
    "along",
    "descend",
    "evidence",
    "fit",
    "normal_matrix",
    "solve_amplitudes",
]

CONVERGED = 1e-5
"""Expected gain of a further step, in -2 ln likelihood, below which a fit is done: three
thousandths of a standard deviation."""

MOST_STEPS = 60
"""Bound on the steps of a fit. An image that reaches it gets a warning."""

SLACK = 0.03
"""Rise of the energy that a step may make: near the end of a bad fit, whose energy is some ten
thousand, single precision cannot tell less apart."""

LEARNS_AFTER = 3
"""Steps after which the curvature is learned from the steps. Most fits are done by then."""

FORETOLD = 0.9
"""Relative difference between the gain of a step and what the curvature foretold, up to which the
information at its end is taken for the curvature there. Chosen on 64 smooth lenses of `euclid` (54
converge instead of 45) and 64 of `slc`, smooth and lumpy, among 0.25, 0.5, 0.9, 2 and 5."""

LEAST_CURVATURE = 0.1
"""Part of the expected curvature that a step must have shown to correct it. Not tuned."""

LEAST_AMPLITUDE = 1e-6
"""Of lens light and source, whose amplitudes are not negative."""

SEEN_AT_START = 10.0
"""Standard deviations of noise that the source's light has at least where a fit begins: a source
without light feels no gradient, and stays where it is. Of 400 lenses of `euclid` 20 end without a
source from 0, 16 from 10, and 18 from 3 and from 30."""


def solve_amplitudes(
    model: SmoothModel, data: Data, values: Float[Tensor, "n k"]
) -> Float[Tensor, "n 3"]:
    """Least-squares amplitudes (n, 3) of the light columns to begin with.

    The lens's is not negative, and the source is seen.
    """
    columns = model.measurement.select(model.columns(values, data.blur))
    weighted = columns * data.weight[:, None]
    gram = torch.matmul(weighted, columns.mT)
    right = along(weighted, data.observed)[..., None]
    # A source that is nowhere in the image has no light there to be scaled.
    ridge = (1e-6 * torch.diagonal(gram, dim1=1, dim2=2)).clamp_min(1e-20)
    solved = torch.linalg.solve(gram + torch.diag_embed(ridge), right)[..., 0]
    seen = SEEN_AT_START * gram[:, 1, 1].clamp_min(1e-20).rsqrt()
    least = torch.stack([torch.full_like(seen, LEAST_AMPLITUDE), seen], dim=1)
    return torch.cat([torch.maximum(solved[:, :2], least), solved[:, 2:]], dim=1)


def evidence(model: SmoothModel, data: Data, line: Linearisation) -> Evidence:
    """Compare a prediction with the data under the model's noise."""
    steps = model.measurement.active_steps
    return compare(
        data.observed, line.predicted, line.sigma, None if steps is None else steps.to(line.sigma)
    )


def total_deviance(
    model: SmoothModel, deviance: Float[Tensor, "n a"], sigma: Float[Tensor, "n a"]
) -> Float64[Tensor, " n"]:
    """-2 ln likelihood of each image, float64, shape (n,).

    A rounded datum has a probability, which knows its noise; a continuous one a density, whose
    normalisation must be added where the noise follows the predicted light.
    """
    if model.measurement.steps is None:
        deviance = deviance + 2 * torch.log(sigma)
    return deviance.sum(dim=1, dtype=torch.float64)


def normal_matrix(line: Linearisation, information: Tensor) -> Tensor:
    """J' W J, shape (n, k + 3, k + 3)."""
    return torch.matmul(line.tangents * information[:, None], line.tangents.mT)


def fit(
    model: SmoothModel,
    data: Data,
    start: Float[Tensor, "n k"],
    prior: Prior,
    *,
    steps: int = MOST_STEPS,
    amplitudes: Float[Tensor, "n 3"] | None = None,
) -> Fit:
    """Find the best smooth lens of each image; see `descend`."""
    return descend(model, data, start, prior, steps=steps, amplitudes=amplitudes).fitted


def descend(
    model: SmoothModel,
    data: Data,
    start: Float[Tensor, "n k"],
    prior: Prior,
    *,
    steps: int = MOST_STEPS,
    amplitudes: Float[Tensor, "n 3"] | None = None,
) -> Solution:
    """Find the best smooth lens of each image.

    Each step solves (H + Lambda + damping) d = g for all images at once, with H the information
    of the noise model, later the curvature that the steps have shown, Lambda the prior's
    precision, and g the gradient at the noise predicted there. A step that raises the energy at
    that noise is undone and damped more; an image is done when a further step would gain less
    than `CONVERGED`. No image depends on those beside it.

    Parameters
    ----------
    model : SmoothModel
    data : Data
        n images.
    start : Tensor, shape (n, k)
    prior : Prior
    steps : int
        After which an image is left as it is, not converged.
    amplitudes : Tensor, shape (n, 3), optional
        Default: solved for at `start`.

    Notes
    -----
    Parameters are in coordinates without bounds. Because the amplitudes enter the same linear
    system, a step in them is the one variable projection would take (Golub & Pereyra 1973, in
    Kaufman's approximation).
    """
    # Singular vectors of the PSFs, once and not at each step.
    data = replace(data, known_blur=model.given_blur(data.psf))
    if amplitudes is None:
        amplitudes = solve_amplitudes(model, data, start)
    current = _point(model, data, prior, start, amplitudes)
    results, running = current.solution, torch.arange(len(start), device=start.device)
    damping = torch.full((len(start),), 1e-3, dtype=torch.float64, device=start.device)
    count = start.shape[1]
    for step in range(steps + 1):
        converged = current.gain() < CONVERGED
        if step == steps or bool(converged.any()):
            fitted = replace(current.solution.fitted, converged=converged)
            results = put(results, running, replace(current.solution, fitted=fitted))
            unfinished = torch.nonzero(~converged)[:, 0]
            if step == steps or len(unfinished) == 0:
                break
            running, current, damping = (
                running[unfinished],
                select(current, unfinished),
                damping[unfinished],
            )
            data = data.select(unfinished)
        fitted = current.solution.fitted
        step_taken = _damped_step(current.curvature, current.gradient, damping)
        amplitudes = fitted.amplitudes + step_taken[:, count:].to(start)
        amplitudes[:, :2] = amplitudes[:, :2].clamp_min(LEAST_AMPLITUDE)
        values = fitted.values + step_taken[:, :count].to(start)
        possible = (values.abs() <= model.farthest.to(start)).all(dim=1)
        values = torch.where(possible[:, None], values, fitted.values)
        trial = _point(model, data, prior, values, amplitudes)
        energy = _energy_at(model, data, prior, trial.solution, current.solution.line.sigma)
        accepted = possible & (energy < fitted.energy + SLACK)
        learned = _learned_curvature(
            current.curvature, step_taken, current.gradient - trial.gradient
        )
        foretold = _foretold(current, step_taken, fitted.energy - energy) & accepted
        current = keep(accepted, trial, current)
        if step >= LEARNS_AFTER:
            curvature = torch.where(foretold[:, None, None], current.information, learned)
            current = replace(current, curvature=curvature)
        damping = torch.where(accepted, damping * 0.2, damping * 10).clamp(1e-7, 1e6)
    return results


@dataclass(frozen=True)
class _Point:
    """Where fits stand.

    Attributes
    ----------
    solution : Solution
    gradient : Tensor of float64, shape (n, k + 3)
        Prior included.
    information : Tensor of float64, shape (n, k + 3, k + 3)
        Prior included.
    curvature : Tensor of float64, shape (n, k + 3, k + 3)
        What the next step takes for the second derivative.
    """

    solution: Solution
    gradient: Float64[Tensor, "n q"]
    information: Float64[Tensor, "n q q"]
    curvature: Float64[Tensor, "n q q"]

    def gain(self) -> Float64[Tensor, " n"]:
        """Gain of a step if the information were the curvature, shape (n,)."""
        undamped = torch.zeros_like(self.gradient[:, 0])
        step = _damped_step(self.information, self.gradient, undamped)
        return (self.gradient * step).sum(dim=1)


def _point(
    model: SmoothModel,
    data: Data,
    prior: Prior,
    values: Float[Tensor, "n k"],
    amplitudes: Float[Tensor, "n 3"],
) -> _Point:
    line = model.linearise(values, amplitudes, data.blur, data.noise)
    comparison = evidence(model, data, line)
    deviance = total_deviance(model, comparison.deviance, line.sigma)
    undecided = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    fitted = Fit(values, amplitudes, deviance, deviance + prior.energy(values), undecided)
    solution = Solution(fitted, line, comparison)
    gradient, information = _slopes(solution, prior)
    return _Point(solution, gradient, information, information)


def _foretold(
    point: _Point, step: Float64[Tensor, "n q"], fall: Float64[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """Whether the energy fell along a step about as the curvature said.

    Parameters
    ----------
    point : _Point
        Where the step began.
    step : Tensor, shape (n, q)
    fall : Tensor, shape (n,)
        Of the energy.
    """
    slope = 2 * point.gradient - (point.curvature * step[:, None]).sum(dim=2)
    expected = (slope * step).sum(dim=1).clamp_min(1e-12)
    return (fall / expected - 1).abs() < FORETOLD


def _learned_curvature(
    curvature: Float64[Tensor, "n q q"], move: Float64[Tensor, "n q"], fall: Float64[Tensor, "n q"]
) -> Float64[Tensor, "n q q"]:
    """Curvature corrected by what a step has shown of it.

    The information leaves out that the tangents turn and that the noise follows the light. Far
    from any smooth lens the curvature may be ten times as large, and steps would jump to and fro
    for ever. This is the update of Broyden, Fletcher, Goldfarb and Shanno (Nocedal & Wright 2006,
    equation 6.19).

    Parameters
    ----------
    curvature : Tensor, shape (n, k, k)
    move : Tensor, shape (n, k)
        The step.
    fall : Tensor, shape (n, k)
        By how much the gradient fell along it.
    """
    expected = (curvature * move[:, None]).sum(dim=2)
    square, true = (expected * move).sum(dim=1), (fall * move).sum(dim=1)
    # A curvature that is nearly zero or negative tells of a step that was too long.
    usable = (true > LEAST_CURVATURE * square) & (square > 0)
    square, true = square.clamp_min(1e-300)[:, None, None], true.clamp_min(1e-300)[:, None, None]
    outer = expected[:, :, None] * expected[:, None] / square
    update = fall[:, :, None] * fall[:, None] / true
    return torch.where(usable[:, None, None], curvature - outer + update, curvature)


def _energy_at(
    model: SmoothModel, data: Data, prior: Prior, trial: Solution, sigma: Float[Tensor, "n a"]
) -> Float64[Tensor, " n"]:
    """Energy of a trial under the noise that was predicted before it.

    The gradient does not know that the noise follows the light; neither may what judges a step,
    or the two disagree about where the end is.
    """
    steps = model.measurement.active_steps
    deviance = deviance_of(data.observed, trial.line.predicted, sigma, steps)
    return total_deviance(model, deviance, sigma) + prior.energy(trial.fitted.values)


def _slopes(solution: Solution, prior: Prior) -> tuple[Tensor, Tensor]:
    """Gradient (n, k + 3) and information (n, k + 3, k + 3) at a point, prior included."""
    count = solution.fitted.values.shape[1]
    tangents, evidence = solution.line.tangents, solution.evidence
    information = torch.maximum(evidence.information, evidence.curvature)
    if is_compiled(tangents):
        numbers = (part.numpy() for part in (tangents, evidence.score, information))
        gradient, hessian = map(torch.from_numpy, normal_equations(*numbers))
    else:
        gradient = along(tangents, evidence.score)
        hessian = normal_matrix(solution.line, information)
    gradient[:, :count] -= (prior.precision * (solution.fitted.values - prior.mean)[:, None]).sum(
        dim=2
    )
    hessian[:, :count, :count] += prior.precision
    # An amplitude at its limit that wants to go beyond stays there.
    bound = (solution.fitted.amplitudes[:, :2] <= LEAST_AMPLITUDE) & (
        gradient[:, count : count + 2] < 0
    )
    for column in range(2):
        stays, row = bound[:, column], count + column
        gradient[stays, row] = 0
        hessian[stays, row] = 0
        hessian[stays, :, row] = 0
        hessian[stays, row, row] = 1
    return gradient.double(), hessian.double()


def along(tangents: Tensor, vector: Tensor) -> Tensor:
    """Products (n, k) of tangents (n, k, a) with one vector (n, a) per image.

    A product and a sum, since matrix products of one image and of many round differently.
    """
    return (tangents * vector[:, None]).sum(dim=2)


def _damped_step(
    hessian: Float64[Tensor, "n q q"],
    gradient: Float64[Tensor, "n q"],
    damping: Float[Tensor, " n"],
) -> Float64[Tensor, "n q"]:
    """Solution, float64, of the damped system; arguments of float64."""
    # Scaled to a unit diagonal: amplitudes and parameters differ by orders of magnitude.
    scale = torch.diagonal(hessian, dim1=1, dim2=2).clamp_min(1e-12).rsqrt()
    scaled = hessian * scale[:, :, None] * scale[:, None, :]
    eye = torch.eye(scaled.shape[1], dtype=scaled.dtype, device=scaled.device)
    scaled = scaled + (damping[:, None, None] + 1e-6) * eye
    step: Tensor = torch.linalg.solve(scaled, (gradient * scale)[..., None])[..., 0]
    return step * scale
