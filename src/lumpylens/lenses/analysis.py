"""Analysis of one lens: smooth fit, perturbation map, noise, and explicit perturber."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from lumpylens.lenses.companion_search import reach_of, with_companion
from lumpylens.lenses.competing import MassFit, fit_competing
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.masks import mask_intruders, without_neighbours
from lumpylens.lenses.observation import Observation, cut_disc
from lumpylens.lenses.perturber import FittedPerturber, PerturbationMap, filter_lens, fit_perturber
from lumpylens.lenses.posterior import Posterior, posterior
from lumpylens.lenses.priors import DEFAULT, Priors
from lumpylens.lenses.profiles import ProfileFit, fit_profiles, is_worth_it
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.refine import Refined
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
    def reported(self) -> Refined:
        """The fit whose numbers are given."""
        return self.smooth.best

    @property
    def radius_error(self) -> float:
        """Standard deviation of the logarithm of the Einstein radius."""
        return self.reported.spread("log_einstein_radius")

    @property
    def converged(self) -> bool:
        """Whether the last fits ended at their best; without any, there is nothing to doubt.

        A map of sensitivities changes little while a smooth fit takes its last steps.
        """
        return True

    @property
    def einstein_radius(self) -> float:
        """Arcsec, of the smooth fit."""
        return math.exp(self.smooth.best.lens["log_einstein_radius"])

    @property
    def chi2_per_pixel(self) -> float:
        """chi2 per pixel of the lens without a perturber."""
        return self.reported.lens.linear.chi2 / len(self.observation)


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
    mass : Posterior
        The lens without a perturber, with multipoles: its numbers are those of the catalogue.
    joint : Posterior
        The same with the perturber.
    seconds : dict of str to float
        Time of each stage on one core.
    profiles : dict of str to ProfileFit
        The lens with perturbers of several profiles; none where no perturber is significant.
    other_masses : dict of str to MassFit
        The lens with masses that compete with the power law; none where no perturber is
        significant, or multipoles explain it.
    """

    map: PerturbationMap
    perturber: FittedPerturber
    with_multipoles: FittedPerturber
    noise_maxima: tuple[float, float]
    inflation: Inflation
    mass: Posterior
    joint: Posterior
    seconds: dict[str, float] = field(default_factory=dict)
    profiles: dict[str, ProfileFit] = field(default_factory=dict)
    other_masses: dict[str, MassFit] = field(default_factory=dict)

    @property
    def reported(self) -> Refined:
        """The fit whose numbers are given: without a perturber, with multipoles."""
        return self.mass.fitted

    @property
    def radius_error(self) -> float:
        """Standard deviation of the logarithm of the Einstein radius, errors of the model in it."""
        return self.mass.error("log_einstein_radius")

    @property
    def converged(self) -> bool:
        """Whether the fits with and without a perturber ended at their best."""
        return self.mass.fitted.converged and self.joint.fitted.converged

    @property
    def best_perturber(self) -> FittedPerturber:
        """The perturber that is reported: where the joint fit puts it, if that leaves it a mass."""
        if self.joint.fitted.lens["perturber_strength"] > 0:
            return replace(self.perturber, fitted=self.joint.fitted)
        return self.perturber

    @property
    def snr(self) -> float:
        """Largest signal-to-noise ratio of the map."""
        return max(float(self.map.snr.max()), 0.0)


def fit_smooth_lens(cutout: Cutout, priors: Priors = DEFAULT) -> SmoothLens:
    """Fit one lens without a perturber.

    Parameters
    ----------
    cutout : Cutout
    priors : Priors
    """
    with unsplit(), torch.no_grad():
        alone = without_neighbours(cutout, beyond=FIRST_RADIUS)
        rough = fit_smooth(cut_disc(alone, radius=FIRST_RADIUS, roughness=ROUGH), priors)
        observation = mask_intruders(_cut(alone, rough), rough)
        smooth = with_companion(cutout, observation, polish(observation, rough))
        return SmoothLens(cutout, observation, smooth)


def analyse(
    cutout: Cutout, *, seed: int = 0, priors: Priors = DEFAULT, redshifts: Redshifts | None = None
) -> LensAnalysis:
    """Fit one lens and look for a perturber in it.

    Parameters
    ----------
    cutout : Cutout
    seed : int
        Of the draws of noise.
    priors : Priors
    redshifts : Redshifts, optional
        Without them, a perturber is not fitted as an NFW halo.
    """
    seconds: dict[str, float] = {}
    with unsplit(), torch.no_grad():
        with _timed(seconds, "smooth"):
            fitted = fit_smooth_lens(cutout, priors)
            observation, smooth = fitted.observation, fitted.smooth
        with _timed(seconds, "filter"):
            reach = min(reach_of(fitted.einstein_radius), observation.radius)
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
        with _timed(seconds, "errors"):
            mass, joint = (
                posterior(fit, smooth.stated, reach) for fit in (bent.smooth, bent.fitted)
            )
        worth_it = is_worth_it(perturber, maxima, inflation)
        with _timed(seconds, "profiles"):
            profiles = fit_profiles(joint, bent.log_evidence, redshifts) if worth_it else {}
        with _timed(seconds, "masses"):
            # Where multipoles explain a perturber, no other mass has to.
            worth_it = worth_it and is_worth_it(bent, maxima, inflation)
            other_masses = fit_competing(smooth, perturber) if worth_it else {}
    return LensAnalysis(
        cutout, observation, smooth, perturbation_map, perturber, bent, maxima, inflation,
        mass, joint, seconds, profiles, other_masses,
    )  # fmt: skip


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
