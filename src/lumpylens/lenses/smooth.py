"""The staged fit of a smooth lens, from no idea of it to its best numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.lenses.model import ALL, INDEX, LIGHT, MASS, MULTIPOLES, SOURCE, RealLens, vector
from lumpylens.lenses.observation import Observation
from lumpylens.lenses.plausible import implausibility
from lumpylens.lenses.refine import Belief, Refined, refine
from lumpylens.lenses.starts import LensLight, Trial, fit_lens_light, scan

__all__ = ["SmoothFit", "fit_smooth", "polish", "polish_from"]

RADII = torch.logspace(math.log10(0.45), math.log10(2.6), 22, dtype=torch.float64)
"""Einstein radii that are tried, arcsec: those of single galaxies, in steps of 9 %."""

MODEL_ERROR = 2.0
"""Perturbation maps of real lenses scatter by this much more than noise. The likelihood knows
nothing of it and is too sure by its square; so the priors are made as much surer."""

SPREAD = {"log_einstein_radius": 0.45, "eta": 0.25, "shear": 0.08, "slope": 0.15, "centre": 0.04,
          "log_source_scale": 0.5, "light_eta": 0.5}  # fmt: skip
"""Standard deviations of the numbers in nature. That of the slope is what lensing and dynamics of
such galaxies found (Auger et al. 2010, arXiv:1007.2880: 2.08 with a scatter of 0.16)."""

MULTIPOLE_SPREAD = 0.02
"""Of multipoles as fractions of the halo, like those of the isophotes of ellipticals."""

TYPICAL_RADIUS = 1.2
"""Arcsec. Massive galaxies halfway to their sources have this within a factor of 1.6: it goes
with the square of their velocity dispersions, 250 km/s give or take a quarter."""

TYPICAL_SOURCE = 0.11
"""Scale of a source's shapelets, arcsec. A larger one, with a halo too small to image it twice,
would pass for light of the lens galaxy that its Gaussians cannot make."""

FIRST_ORDER, MIDDLE_ORDER = 5, 8
LARGER_ORDERS = (12, 17, 23)
"""Highest total order of the source's shapelets, stage by stage."""

WORTH = 20.0
"""Gain in -2 ln evidence that a source of more detail must bring."""

FOLLOWED = 3
"""Starts that are followed beyond the first stage."""

UNLIKELY = 0.1
"""Part of its energy by which a fit with an implausible halo must be better than one without: the
likelihood's model error lets a bent and sheared halo imitate any ring."""

TIGHT = tuple(name for name in ALL if name in MASS[:3] + MASS[6:] + SOURCE)
"""Free in the first stage: the halo sits on the light and is isothermal."""


@dataclass(frozen=True)
class SmoothFit:
    """A fitted smooth lens.

    Attributes
    ----------
    best : Refined
    belief : Belief
    rivals : tuple of (float, float)
        Einstein radius and energy above the best of every other start that was followed.
    light : LensLight
    """

    best: Refined
    belief: Belief
    rivals: tuple[tuple[float, float], ...]
    light: LensLight


def beliefs(light: LensLight) -> Belief:
    """Priors that the lens galaxy's light suggests for its mass."""
    shrink = min(0.8, 0.6 / max(math.hypot(*light.eta), 1e-9))
    at_x, at_y = (float(light.values[INDEX[name]]) for name in LIGHT[:2])
    of = {
        "log_einstein_radius": (math.log(TYPICAL_RADIUS), SPREAD["log_einstein_radius"]),
        "eta_1": (shrink * light.eta[0], SPREAD["eta"]),
        "eta_2": (shrink * light.eta[1], SPREAD["eta"]),
        "shear_1": (0.0, SPREAD["shear"]),
        "shear_2": (0.0, SPREAD["shear"]),
        "slope": (2.0, SPREAD["slope"]),
        "centre_x": (at_x, SPREAD["centre"]),
        "centre_y": (at_y, SPREAD["centre"]),
        "log_source_scale": (math.log(TYPICAL_SOURCE), SPREAD["log_source_scale"]),
    }
    for name in LIGHT[2:]:
        of[name] = (0.0, SPREAD["light_eta"])
    narrow = {name: (mean, spread / MODEL_ERROR) for name, (mean, spread) in of.items()}
    # Multipoles keep their width: they are there to doubt a perturber.
    return Belief(narrow | dict.fromkeys(MULTIPOLES, (0.0, MULTIPOLE_SPREAD)))


def fit_smooth(observation: Observation) -> SmoothFit:
    """Fit a smooth lens with a source of moderate detail, from many starts.

    Parameters
    ----------
    observation : Observation
        A disc that holds the whole lens.
    """
    light = fit_lens_light(observation)
    belief = beliefs(light)
    model = RealLens(observation, FIRST_ORDER)
    first = [
        refine(model, _start(light, trial), TIGHT, belief, steps=8)
        for trial in _promising(scan(observation, light, RADII, light.eta))
    ]
    second = [
        refine(
            RealLens(observation, MIDDLE_ORDER, rough.model.source_precision),
            rough.lens.values, ALL, belief, steps=10,
        )
        for rough in _distinct(first)[:FOLLOWED]
    ]  # fmt: skip
    second.sort(key=lambda fit: fit.energy * (1 + UNLIKELY * implausibility(fit.lens)))
    return SmoothFit(second[0], belief, _rivals(second, first), light)


def polish(observation: Observation, rough: SmoothFit) -> SmoothFit:
    """Fit again with as much detail in the source as the evidence asks for.

    Parameters
    ----------
    observation : Observation
        May be another disc, or have other pixels masked.
    rough : SmoothFit
        Where to begin.
    """
    precision = rough.best.model.source_precision
    best = refine(
        RealLens(observation, MIDDLE_ORDER, precision), rough.best.lens.values, ALL, rough.belief
    )
    for order in LARGER_ORDERS:
        larger = RealLens(observation, order, best.model.source_precision)
        tried = refine(larger, best.lens.values, ALL, rough.belief, steps=8)
        if tried.energy > best.energy - WORTH:
            break
        best = tried
    return replace(rough, best=best)


def polish_from(observation: Observation, known: Refined, belief: Belief) -> Refined:
    """Fit a lens again that hardly changed, with a source of the same detail."""
    return refine(replace(known.model, observation=observation), known.lens.values, ALL, belief)


def _rivals(second: list[Refined], first: list[Refined]) -> tuple[tuple[float, float], ...]:
    """Other Einstein radii that were found, with their energies above the best."""
    others = [
        (math.exp(fit.lens["log_einstein_radius"]), fit.energy - group[0].energy)
        for group in (second, sorted(first, key=lambda fit: fit.energy))
        for fit in group[1:]
    ]
    return tuple(others)


def _promising(trials: list[Trial]) -> list[Trial]:
    """Local minima of the misfit, and enough others that no octave goes untried."""
    misfit = [t.misfit for t in trials]
    minima = [i for i in range(len(trials)) if misfit[i] <= min(misfit[max(i - 1, 0) : i + 2])]
    minima.sort(key=lambda i: misfit[i])
    chosen = minima[:4]
    for i in range(3, len(trials), 4):
        if all(abs(i - j) > 1 for j in chosen):
            chosen.append(i)
    return [trials[i] for i in chosen]


def _start(light: LensLight, trial: Trial) -> Tensor:
    at_x, at_y = (float(light.values[INDEX[name]]) for name in LIGHT[:2])
    values = vector(
        log_einstein_radius=math.log(trial.einstein_radius),
        eta_1=trial.eta[0], eta_2=trial.eta[1], centre_x=at_x, centre_y=at_y,
        source_x=at_x + trial.source_x, source_y=at_y + trial.source_y,
        log_source_scale=math.log(min(max(trial.source_scale / 2, 0.06), 0.25)),
    )  # fmt: skip
    index = [INDEX[name] for name in LIGHT]
    values[index] = light.values[index]
    return values


def _distinct(fits: list[Refined]) -> list[Refined]:
    """Best of those that ended at the same Einstein radius, best first."""
    kept: list[Refined] = []
    for fit in sorted(fits, key=lambda one: one.energy):
        radius = fit.lens["log_einstein_radius"]
        if all(abs(radius - other.lens["log_einstein_radius"]) > 0.03 for other in kept):
            kept.append(fit)
    return kept
