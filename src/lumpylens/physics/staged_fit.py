"""A fit in stages, and further attempts where it is poor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from lumpylens.physics.fit_data import Data, Fit, Prior, Solution
from lumpylens.physics.inference import LEAST_AMPLITUDE, MOST_STEPS, SLACK, descend
from lumpylens.physics.model import SmoothModel
from lumpylens.physics.noise import expected_deviance
from lumpylens.physics.records import keep, put, select

__all__ = ["Stage", "staged_fit"]

POOR = 5.0
"""Times the expected deviance beyond which a fit of a compressed image is tried again. Good fits of
the challenge's normal images stay below 2; one that ended in another valley has 5 to 30. Fits of
lumpy lenses are poor, too, wherever they begin."""

POOR_LINEAR = 1.2
"""The same for images that are not compressed. Noise alone scatters by 0.05 in 900 pixels."""

UNLIKELY = 2.5
"""Squared standard deviations of the prior per parameter beyond which the fit of a linear image is
tried again: with 17 parameters one of a thousand lenses has more. Not tuned."""

PLACES, AWAY = 8, 0.75
"""Places around the middle where sources are looked for, and how far away, in standard deviations
of the prior. Not tuned."""

FIRST_STEPS = 12
"""Steps from each place, before the best is chosen. Not tuned."""


@dataclass(frozen=True)
class Stage:
    """One stage of a fit: with which model, for how many steps."""

    model: SmoothModel
    steps: int = MOST_STEPS


def staged_fit(
    stages: Sequence[Stage],
    data: Data,
    start: Float[Tensor, "n k"],
    prior: Prior,
    *,
    again: bool = False,
) -> Solution:
    """Fit in stages, from a tolerant model to the exact one, and once more where that was poor.

    Parameters
    ----------
    stages : sequence of Stage
        The noise of early ones is exaggerated: far from the answer, rounded data pull all ways.
    data : Data
    start : Tensor, shape (n, k)
    prior : Prior
    again : bool
        Whether images that may have ended in another valley (see `_is_poor`) are fitted again,
        from the places of the prior; the better answer stays.
    """
    first = _run(stages, data, start, prior)
    if not again:
        return first
    poor = torch.nonzero(_is_poor(stages[-1].model, first, prior))[:, 0]
    if len(poor) == 0:
        return first
    poor_data = data.select(poor)
    tolerant = _from_the_prior(stages[:-1], poor_data, prior)
    last = stages[-1].model
    begin = last.adopt(tolerant.values)
    second = descend(last, poor_data, begin, prior, amplitudes=tolerant.amplitudes)
    previous = select(first, poor)
    better = second.fitted.energy < previous.fitted.energy - SLACK
    return put(first, poor, keep(better, second, previous))


def _is_poor(model: SmoothModel, solution: Solution, prior: Prior) -> Tensor:
    """Whether each fit may have ended in another valley; bool, shape (n,).

    Its deviance is far above what noise explains, its source has vanished, no such lens is in the
    population, or it has not converged.
    """
    steps = model.measurement.active_steps
    expected, _ = expected_deviance(solution.line.predicted, solution.line.sigma, steps)
    observed = solution.evidence.deviance.sum(dim=1)
    lost = solution.fitted.amplitudes[:, 1] <= 2 * LEAST_AMPLITUDE
    doubtful = lost | ~solution.fitted.converged
    if steps is not None:
        return doubtful | (observed > POOR * expected.sum(dim=1))
    unlikely = prior.energy(solution.fitted.values) > UNLIKELY * len(prior.mean)
    return doubtful | unlikely | (observed > POOR_LINEAR * expected.sum(dim=1))


def _from_the_prior(stages: Sequence[Stage], data: Data, prior: Prior) -> Fit:
    """Fit with the tolerant models, from places where lenses of the prior are."""
    model = stages[0].model
    if model.measurement.steps is not None:
        patient = [replace(stage, steps=MOST_STEPS) for stage in stages]
        start = prior.mean.expand(len(data), -1)
        return _run(patient, data, start, prior).fitted
    brief = [replace(stage, steps=FIRST_STEPS) for stage in stages]
    fits = (
        _run(brief, data, place.expand(len(data), -1), prior).fitted
        for place in _places(model, prior)
    )
    return reduce(lambda best, fitted: keep(fitted.energy < best.energy, fitted, best), fits)


def _places(model: SmoothModel, prior: Prior) -> Iterator[Float[Tensor, " k"]]:
    """The mean lens, with its source in the middle of its places and around it."""
    covariance = torch.linalg.inv(prior.precision.double())
    yield prior.mean
    for k in range(PLACES):
        start = prior.mean.clone()
        angle = 2 * math.pi * k / PLACES
        for name, part in (("source_x", math.cos(angle)), ("source_y", math.sin(angle))):
            place = model.free.index(name)
            start[place] += AWAY * part * float(covariance[place, place].sqrt())
        yield start


def _run(
    stages: Sequence[Stage], data: Data, start: Float[Tensor, "n k"], prior: Prior
) -> Solution:
    first = stages[0].model
    begin, within = first.adopt(start), prior.first(first.count)
    solution = descend(first, data, begin, within, steps=stages[0].steps)
    for stage in stages[1:]:
        solution = descend(
            stage.model,
            data,
            stage.model.adopt(solution.fitted.values),
            prior.first(stage.model.count),
            steps=stage.steps,
            amplitudes=solution.fitted.amplitudes,
        )
    return solution
