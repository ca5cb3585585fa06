"""Gauss-Newton fit of the parameters of a lens, whose light is solved for at every step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.lenses.model import INDEX, RealLens, SolvedLens
from lumpylens.lenses.occam import occam_gradient

__all__ = ["Belief", "Refined", "refine"]

NOT_NEGATIVE = [
    INDEX[name] for name in ("perturber_strength", "companion_strength", "stellar_fraction")
]
CONVERGED = 0.02
"""Expected gain in chi2 of a step below which the fit ends: a seventh of a standard deviation. A
smaller limit takes more steps for parameters that are known no better."""

SMALL_STEP = 0.5
"""Expected gain in chi2 of a step after which a search does not compute the derivatives of the
Occam factor again. They take as long as all else of a step."""

LEAST_STEP, LEAST_CURVATURE, MOST_CURVATURE = 0.05, 1 / 3, 30.0
"""Length of a step in standard deviations from which the curvature is learned from it: over a
shorter one, rounding decides. And the smallest and the largest factor by which what was learned may
change the curvature of the first derivatives. In the errors it never is larger, so that none of
them becomes smaller."""

LEAST_DAMPING = 1e-6
"""Part of the information's diagonal that is added to it, so that it can always be inverted."""

TOLERABLE = 0.25
"""Expected gain in chi2 of one more step up to which a fit counts as converged: half a standard
deviation in all its twenty parameters together, a ninth in each."""


@dataclass(frozen=True)
class Belief:
    """Gaussian priors of some parameters: mean and standard deviation of each."""

    of: Mapping[str, tuple[float, float]]

    def narrowed(self, factor: float) -> Belief:
        """The same with standard deviations divided by a factor."""
        return Belief({name: (mean, spread / factor) for name, (mean, spread) in self.of.items()})

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
    left : float
        Decrease of the energy, over its unit, that the next step would have brought, as far as the
        tangents tell; infinite if they were not computed at the end.
    """

    model: RealLens
    lens: SolvedLens
    energy: float
    names: tuple[str, ...]
    information: Tensor
    left: float = math.inf

    @property
    def converged(self) -> bool:
        """Whether the fit ended at its best, and not for lack of steps."""
        return self.left < TOLERABLE

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
    learn_curvature: bool = False,
    occam: bool = True,
    unit: float = 1.0,
) -> Refined:
    """Find the best parameters near a start.

    Each step solves ``(T' P T + Lambda + damping) d = T' r + Lambda (mu - theta) - o / 2``, with T
    the tangents, r the residual, mu the means of the priors, o the derivatives of the Occam factor,
    and P what projects out every column of light with its prior: variable projection in
    Kaufman's approximation (Golub & Pereyra 1973; Kaufman 1975). The right side is exact, so that a
    fit ends where the energy is least.

    Parameters
    ----------
    model : RealLens
    start : Tensor, shape (len(NAMES),), or SolvedLens
        Parameters, or a lens that this model has solved for.
    names : sequence of str
        Parameters that are free, besides those that the model always varies.
    belief : Belief
    steps : int
    learn_source : bool
        Let the evidence set the prior of the source's amplitudes after each step.
    learn_curvature : bool
        Correct the information by what the steps show of it. The fit ends closer to the maximum,
        and errors are those of the energy's true curvature; each step takes longer.
    occam : bool
        Let steps know the derivatives of the Occam factor. A search that is still far from every
        maximum does without: it decides between radii whose chi2 differ by thousands.
    unit : float
        What the energy rises by at a distance of one error. It is above 1 where errors are larger
        than those of the noise alone; there is no use in getting closer.
    """
    names = tuple(dict.fromkeys((*names, *model.always_free)))
    index = [INDEX[name] for name in names]
    lens = model.lens(start) if isinstance(start, Tensor) else start
    if learn_source:
        model, lens = _learn_source(model, lens)
    energy = _energy(lens, belief)
    damping, fresh = 1e-3, True
    information = torch.eye(len(names), dtype=torch.float64)
    of_occam = fell = torch.zeros(len(names), dtype=torch.float64)
    left, step = math.inf, None
    first_order = bend = torch.zeros(len(names), len(names), dtype=torch.float64)
    for _ in range(steps):
        if fresh:
            tangents = model.tangents(lens, names)
            precision, pull = belief.precision_and_pull(lens.values, names)
            if occam and (learn_curvature or left > SMALL_STEP):
                of_occam = occam_gradient(model, lens, names)
            gradient = tangents @ lens.linear.residual + pull - of_occam / 2
            first_order = lens.linear.information(tangents) + torch.diag(precision)
            if learn_curvature and step is not None:
                bend = _bent(bend, first_order, step, fell - gradient)
            information = _limited_bend(first_order, bend, MOST_CURVATURE)
        scale = information.diagonal().clamp_min(1e-12).rsqrt()
        scaled = information * scale * scale[:, None]
        if fresh:
            whole = _solved(scaled, LEAST_DAMPING, gradient * scale) * scale
            left = float(whole @ gradient) / unit
            if left < CONVERGED:
                break
        move = _solved(scaled, damping, gradient * scale) * scale
        values = lens.values.clone()
        values[index] += _limited(move, names)
        values[NOT_NEGATIVE] = values[NOT_NEGATIVE].clamp(min=0.0)
        moved = (values - lens.values)[index]
        expected = float(2 * moved @ gradient - moved @ information @ moved)
        trial = model.lens(values, lens)
        trial_energy = _energy(trial, belief)
        fresh = trial_energy < energy
        damping = _damped(damping, (energy - trial_energy) / max(expected, 1e-9))
        if fresh:
            step, fell = moved, gradient
            lens, energy = trial, trial_energy
            if learn_source:
                earlier = model
                model, lens = _learn_source(model, lens)
                step = step if model is earlier else None
                energy = _energy(lens, belief)
        elif damping > 1e5:
            break
    return Refined(model, lens, energy, names, _limited_bend(first_order, bend, 1.0), left)


def _solved(matrix: Tensor, damping: float, right: Tensor) -> Tensor:
    damped = matrix.clone()
    damped.diagonal().add_(damping)
    solution: Tensor = torch.linalg.solve(damped, right)
    return solution


def _damped(damping: float, gained: float) -> float:
    """Damping of the next step, by the part of its expected gain that the last one brought.

    Where the tangents describe only half of the way, it stays: less of it would lead to a step that
    fails, every second time (Nielsen 1999, IMM-REP-1999-05, equation 2.4).
    """
    if gained <= 0:
        return damping * 10
    return max(damping * min(max(0.2, 1 - (2 * gained - 1) ** 3), 2.0), LEAST_DAMPING)


def _bent(bend: Tensor, first_order: Tensor, step: Tensor, fall: Tensor) -> Tensor:
    """Correct the curvature by what the last step showed of it: the gradient's fall along it.

    First derivatives of the model give the curvature of the energy only where residuals are noise
    and the Occam factor is straight. The rest is learned from step to step by symmetric updates of
    rank one (Dennis, Gay & Welsch 1981, ACM Trans. Math. Softw. 7, 348; Broyden 1967).
    """
    missing = fall - (first_order + bend) @ step
    along = float(missing @ step)
    size = float(step @ first_order @ step)
    if size < LEAST_STEP**2 or abs(along) < 1e-3 * size:
        return bend
    return bend + torch.outer(missing, missing) / along


def _limited_bend(first_order: Tensor, bend: Tensor, most: float) -> Tensor:
    """Curvature with its correction, which changes it by factors of `LEAST_CURVATURE` to `most`."""
    if not bend.any():
        return first_order
    scale = first_order.diagonal().clamp_min(1e-12).rsqrt()
    scaled = first_order * scale * scale[:, None]
    scaled.diagonal().add_(1e-9)
    factor = torch.linalg.cholesky(scaled)
    half = torch.linalg.solve_triangular(factor, bend * scale * scale[:, None], upper=False)
    ratio = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    ratios, axes = torch.linalg.eigh((ratio + ratio.mT) / 2 + torch.eye(len(ratio)).double())
    root = factor @ axes
    limited: Tensor = root * ratios.clamp(LEAST_CURVATURE, most) @ root.mT
    return limited / scale / scale[:, None]


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
    "companion_x": 0.15,
    "companion_y": 0.15,
    "stellar_fraction": 0.15,
    "inner_slope": 0.15,
    "log_break_radius": 0.15,
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
