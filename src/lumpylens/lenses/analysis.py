"""Analysis of one lens: smooth fit, perturbation map, noise, and explicit perturber."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.masks import mask_intruders, without_neighbours
from lumpylens.lenses.observation import Observation, cut_disc
from lumpylens.lenses.perturber import FittedPerturber, PerturbationMap, filter_lens, fit_perturber
from lumpylens.lenses.significance import Inflation, gumbel, measure_inflation
from lumpylens.lenses.smooth import SmoothFit, fit_smooth, polish
from lumpylens.physics.batches import unsplit

__all__ = ["LensAnalysis", "SmoothLens", "analyse", "fit_smooth_lens"]

FIRST_RADIUS = 3.0
"""Radius of the disc in which the lens is first looked for, arcsec: it holds the arcs of the
largest Einstein radius that is tried. A larger one would take in more neighbours."""

ROUGH, FINE = 0.05, 0.03
"""Error of the model as a fraction of the brightness, in the first search and in the final fit. A
sum of Gaussians does not match the centre of a galaxy to within its noise; without this error the
fit would add a source that is hardly lensed to explain the difference."""

DRAWS = 1000
"""Draws of noise from which the law behind every p-value is learned; more make its location and
scale more precise and take longer."""


@dataclass(frozen=True)
class SmoothLens:
    """A cutout and the smooth lens that was fitted to it.

    Attributes
    ----------
    cutout : Cutout
    observation : Observation
        Pixels that the fit compared.
    smooth : SmoothFit
    """

    cutout: Cutout
    observation: Observation
    smooth: SmoothFit

    @property
    def einstein_radius(self) -> float:
        """Arcsec."""
        return math.exp(self.smooth.best.lens["log_einstein_radius"])

    @property
    def chi2_per_pixel(self) -> float:
        """chi2 per pixel of the smooth lens."""
        return self.smooth.best.lens.linear.chi2 / len(self.observation)


@dataclass(frozen=True)
class LensAnalysis(SmoothLens):
    """Results of the analysis of one lens.

    Attributes
    ----------
    cutout : Cutout
    observation : Observation
    smooth : SmoothFit
    map : PerturbationMap
    perturber, with_multipoles : FittedPerturber
        The explicit fit, without and with multipoles of the mass.
    noise_maxima : (float, float)
        Location and scale of the Gumbel law of the largest signal-to-noise ratio under noise.
    inflation : Inflation
    seconds : dict of str to float
        Time of each stage on one core.
    """

    map: PerturbationMap
    perturber: FittedPerturber
    with_multipoles: FittedPerturber
    noise_maxima: tuple[float, float]
    inflation: Inflation
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def snr(self) -> float:
        """Largest signal-to-noise ratio of the map."""
        return max(float(self.map.snr.max()), 0.0)


def fit_smooth_lens(cutout: Cutout) -> SmoothLens:
    """Fit one lens without a perturber.

    Parameters
    ----------
    cutout : Cutout
    """
    with unsplit(), torch.no_grad():
        alone = without_neighbours(cutout, beyond=FIRST_RADIUS)
        rough = fit_smooth(cut_disc(alone, radius=FIRST_RADIUS, roughness=ROUGH))
        observation = mask_intruders(_cut(alone, rough), rough)
        return SmoothLens(cutout, observation, polish(observation, rough))


def analyse(cutout: Cutout, *, seed: int = 0) -> LensAnalysis:
    """Fit one lens and look for a perturber in it.

    Parameters
    ----------
    cutout : Cutout
    seed : int
        Of the draws of noise.
    """
    seconds: dict[str, float] = {}
    with unsplit(), torch.no_grad():
        with _timed(seconds, "smooth"):
            fitted = fit_smooth_lens(cutout)
            observation, smooth = fitted.observation, fitted.smooth
        with _timed(seconds, "filter"):
            reach = min(1.7 * fitted.einstein_radius + 0.2, observation.radius)
            perturbation_map = filter_lens(smooth.best, smooth.belief, reach)
        with _timed(seconds, "noise"):
            generator = torch.Generator().manual_seed(seed)
            maxima = gumbel(perturbation_map.noise_maxima(DRAWS, generator))
            inflation = measure_inflation(smooth.best, perturbation_map)
        with _timed(seconds, "perturber"):
            perturber = fit_perturber(smooth.best, smooth.belief, perturbation_map)
        with _timed(seconds, "multipoles"):
            bent = fit_perturber(
                smooth.best, smooth.belief, perturbation_map, multipoles=True, near=perturber
            )
    return LensAnalysis(
        cutout, observation, smooth, perturbation_map, perturber, bent, maxima, inflation, seconds
    )


def _cut(cutout: Cutout, rough: SmoothFit) -> Observation:
    """Cut out the disc of the final fit: the arcs, and enough of the lens galaxy around them."""
    lens = rough.best.lens
    radius = math.exp(lens["log_einstein_radius"])
    reach = min(max(1.6 * radius + 0.8, 2.0), 4.5)
    centre = (lens["light_x"], lens["light_y"])
    return cut_disc(cutout, radius=reach, centre=centre, roughness=FINE)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    # Time of this process alone: what a free core would take, however busy the machine is.
    begun = time.process_time()
    yield
    seconds[stage] = time.process_time() - begun
