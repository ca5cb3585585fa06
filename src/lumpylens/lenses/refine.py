"""Gauss-Newton fit of the parameters of a lens, whose light is solved for at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.lenses.model import INDEX, RealLens, SolvedLens

__all__ = ["Belief", "Refined", "refine"]

STRENGTH = INDEX["perturber_strength"]
CONVERGED = 0.02
"""Expected gain in chi2 of a step below which the fit ends: a seventh of a standard deviation. A
smaller limit takes more steps for parameters that are known no better."""


@dataclass(frozen=True)
class Belief:
    """Gaussian priors of some parameters: mean and standard deviation of each."""

    of: Mapping[str, tuple[float, float]]

    def energy(self, values: Tensor) -> float:
        """Squared distance from the means in standard deviations."""
        return sum(((float(values[INDEX[n]]) - m) / s) ** 2 for n, (m, s) in self.of.items())

    def precision_and_pull(self, values: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Precision of the named parameters, and precision times distance to the mean."""
        precision = torch.zeros(len(names), dtype=torch.float64)
        pull = torch.zeros_like(precision)
        for row, name in enumerate(names):
            if name in self.of:
                mean, spread = self.of[name]
                precision[row] = spread**-2
                pull[row] = (mean - float(values[INDEX[name]])) * spread**-2
        return precision, pull


@dataclass(frozen=True)
class Refined:
    """A fitted lens.

    Attributes
    ----------
    model : RealLens
    lens : SolvedLens
    energy : float
        chi2, the source's penalty and the priors' energy; the sum that was minimised.
    names : tuple of str
        Parameters that were free.
    information : Tensor, shape (k, k)
        Of the free parameters, with all amplitudes marginalised and priors included.
    """

    model: RealLens
    lens: SolvedLens
    energy: float
    names: tuple[str, ...]
    information: Tensor

    def spread(self, name: str) -> float:
        """Standard deviation of one parameter; NaN if it was not free."""
        if name not in self.names:
            return float("nan")
        inverse = torch.linalg.inv(self.information)
        return float(inverse[self.names.index(name), self.names.index(name)].sqrt())


def refine(
    model: RealLens,
    start: Tensor | SolvedLens,
    names: Sequence[str],
    belief: Belief,
    *,
    steps: int = 10,
    learn_source: bool = True,
) -> Refined:
    """Find the best parameters near a start.

    Each step solves ``(T' P T + Lambda + damping) d = T' r``, with T the tangents, r the residual
    and P what projects out every column of light with its prior: variable projection in
    Kaufman's approximation (Golub & Pereyra 1973; Kaufman 1975).

    Parameters
    ----------
    model : RealLens
    start : Tensor, shape (len(NAMES),), or SolvedLens
        Parameters, or a lens that this model has solved for.
    names : sequence of str
        Parameters that are free.
    belief : Belief
    steps : int
    learn_source : bool
        Let the evidence set the prior of the source's amplitudes after each step.
    """
    names = tuple(names)
    index = [INDEX[name] for name in names]
    lens = model.lens(start) if isinstance(start, Tensor) else start
    if learn_source:
        model, lens = _learn_source(model, lens)
    energy = _energy(lens, belief)
    damping, fresh = 1e-3, True
    information = torch.eye(len(names), dtype=torch.float64)
    for _ in range(steps):
        if fresh:
            tangents = model.tangents(lens, names)
            precision, pull = belief.precision_and_pull(lens.values, names)
            gradient = tangents @ lens.linear.residual + pull
            information = lens.linear.information(tangents) + torch.diag(precision)
        scale = information.diagonal().clamp_min(1e-12).rsqrt()
        scaled = information * scale * scale[:, None]
        scaled.diagonal().add_(damping)
        move = torch.linalg.solve(scaled, gradient * scale) * scale
        if fresh and float(move @ gradient) < CONVERGED:
            break
        values = lens.values.clone()
        values[index] += _limited(move, names)
        values[STRENGTH].clamp_(min=0.0)
        trial = model.lens(values, lens)
        trial_energy = _energy(trial, belief)
        fresh = trial_energy < energy
        damping = max(damping * 0.2, 1e-6) if fresh else damping * 10
        if fresh:
            lens, energy = trial, trial_energy
            if learn_source:
                model, lens = _learn_source(model, lens)
                energy = _energy(lens, belief)
        elif damping > 1e5:
            break
    return Refined(model, lens, energy, names, information)


LARGEST = {
    "log_einstein_radius": 0.15,
    "slope": 0.15,
    "source_x": 0.2,
    "source_y": 0.2,
    "log_source_scale": 0.4,
    "centre_x": 0.05,
    "centre_y": 0.05,
    "perturber_x": 0.15,
    "perturber_y": 0.15,
}
"""Longest single step of some parameters: beyond it the tangents are no longer valid."""


def _limited(move: Tensor, names: Sequence[str]) -> Tensor:
    longest = max(abs(float(m)) / LARGEST.get(n, 0.3) for m, n in zip(move, names, strict=True))
    return move / max(longest, 1.0)


def _energy(lens: SolvedLens, belief: Belief) -> float:
    # The determinant moves with the source's scale and prior, and is part of what is compared.
    linear = lens.linear
    return linear.chi2 + linear.penalty + linear.log_determinant + belief.energy(lens.values)


def _learn_source(model: RealLens, lens: SolvedLens) -> tuple[RealLens, SolvedLens]:
    source = slice(0, len(lens.linear.free) - 1)
    factor = lens.linear.evidence_factor(source)
    if 0.7 < factor < 1.4:
        return model, lens
    linear = lens.linear.with_precision(lens.linear.precision * factor)
    model = replace(model, source_precision=model.source_precision * factor)
    return model, replace(lens, linear=linear)
