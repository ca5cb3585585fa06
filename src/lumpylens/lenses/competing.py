"""Masses of the lens galaxy that compete with the power law: whether a perturber is needed in each.

A power law is too simple for some galaxies, and a perturber then explains what it misses. Where a
perturber may be significant, the lens is fitted with other masses too, with and without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.lenses.central_mass import BrokenMass, CentralMass, StarsAndHalo
from lumpylens.lenses.model import INDEX, LIGHT, PERTURBER, SHEAR, SOURCE, WIDTHS, RealLens
from lumpylens.lenses.observation import Observation
from lumpylens.lenses.perturber import FittedPerturber
from lumpylens.lenses.refine import Belief, Refined, refine
from lumpylens.lenses.smooth import SmoothFit
from lumpylens.physics.gaussian_mass import gaussian_deflection

__all__ = [
    "BROKEN_POWER_LAW", "STARS_AND_HALO", "MassFit", "fit_competing", "measured_competing",
    "stars_and_halo",
]  # fmt: skip

STARS_AND_HALO, BROKEN_POWER_LAW = "stars_halo", "broken_power_law"

ALIKE_ARCSEC = 0.001
"""Distance of the ends of rays, root mean square over the light of the arcs, that counts as much as
one standard deviation of a prior where a start is looked for. Not tuned."""

STEPS = 15
"""Most steps of a fit; they start at a lens with the same deflections."""

FRACTION = (0.5, 0.25)
"""Mean and standard deviation of the part of the mass within the Einstein radius that is stars: 0.4
to 0.7 in massive galaxies, by the mass function of their stars (Auger et al. 2010,
arXiv:1007.2409, table 1)."""

SCALE_RADIUS = (math.log(20.0), 0.6)
"""Of the logarithm of the halo's scale radius in arcsec. With the concentrations of Duffy et al.
2008, haloes of 3e12 to 3e13 solar masses at redshifts of 0.1 to 0.5 have 9 to 75 arcsec."""

GRADIENT = (0.2, 0.2)
"""Of the power with which the mass-to-light ratio of the stars falls with their distance: 0.24 in
lenses of the SLACS survey (Sonnenfeld et al. 2018, arXiv:1801.01883)."""

OF_POTENTIAL = 0.45
"""Ellipticity of the potential of an NFW halo over that of its mass, well within its scale radius:
that of the deflections along both axes, for scale radii of 10 to 40 arcsec."""

OF_STARS = {
    "stellar_fraction": FRACTION,
    "log_scale_radius": SCALE_RADIUS,
    "mass_to_light_slope": GRADIENT,
}
"""Priors of what only stars and a halo have."""

INNER_SPREAD = 0.3
"""Standard deviation of the inner slope of a broken power law, twice that of the slope. Not
tuned."""

BREAK_RADIUS = (0.7, 0.5)
"""Break radius over Einstein radius, and the standard deviation of its logarithm: a break far from
the arcs is not seen. Not tuned."""


@dataclass(frozen=True)
class MassFit:
    """A lens with another mass than a power law, and the gain of a perturber in it.

    Attributes
    ----------
    smooth : Refined
        The best lens without a perturber.
    log_evidence : float
        Of that lens, minus that of the best smooth power law.
    gain : float
        Gain in log evidence by the perturber, not negative.
    """

    smooth: Refined
    log_evidence: float
    gain: float


def stars_and_halo(observation: Observation, fitted: Refined) -> StarsAndHalo | None:
    """Stars where a fitted lens has its light, on the pixels of an observation.

    Parameters
    ----------
    observation : Observation
    fitted : Refined

    Returns
    -------
    StarsAndHalo or None
        None if the lens has no light.
    """
    lens, widths = fitted.lens, WIDTHS.numpy()
    amplitudes = lens.galaxy_amplitudes.numpy().astype(np.float64)
    if not amplitudes.sum() > 0:
        return None
    x, y = observation.x.numpy(), observation.y.numpy()
    u, v = x - lens["light_x"], y - lens["light_y"]
    light = amplitudes.reshape(-1, len(widths)) / amplitudes.sum()
    shapes = np.array([lens[name] for name in LIGHT[2:]]).reshape(len(light), 2)
    stars = np.zeros((len(widths), 2, *x.shape))
    for (eta_1, eta_2), of_set in zip(shapes, light, strict=True):
        for k in np.flatnonzero(of_set):
            one = slice(k, k + 1)
            stars[k] += gaussian_deflection(u, v, (eta_1, eta_2), widths[one], of_set[one])
    return StarsAndHalo(x, y, stars, widths, light.sum(axis=0))


def fit_competing(smooth: SmoothFit, perturber: FittedPerturber) -> dict[str, MassFit]:
    """Fit a lens with every competing mass, with a perturber and without one.

    Parameters
    ----------
    smooth : SmoothFit
    perturber : FittedPerturber
        In a power law; its place is where the fits start.

    Returns
    -------
    dict of str to MassFit
        By `STARS_AND_HALO` and `BROKEN_POWER_LAW`; without the first if the lens has no light.
    """
    observation = smooth.best.model.observation
    masses: dict[str, CentralMass] = {
        BROKEN_POWER_LAW: BrokenMass(observation.x.numpy(), observation.y.numpy())
    }
    stars = stars_and_halo(observation, smooth.best) if smooth.shines else None
    if stars is not None:
        masses = {STARS_AND_HALO: stars, **masses}
    return {name: _fitted(mass, smooth, perturber) for name, mass in masses.items()}


def _fitted(mass: CentralMass, smooth: SmoothFit, perturber: FittedPerturber) -> MassFit:
    names = (*mass.names, *SHEAR, *SOURCE, *LIGHT)
    power_law, joint_before = perturber.smooth, perturber.fitted
    belief = _belief(mass, smooth, power_law)
    model = replace(power_law.model, mass=mass)
    starts = [_start(fit, model, belief) for fit in (joint_before, power_law)]
    joint = refine(model, starts[0], (*names, *PERTURBER), belief, steps=STEPS)
    bare = joint.lens.values.clone()
    bare[INDEX["perturber_strength"]] = 0
    without = [refine(model, start, names, belief, steps=STEPS) for start in (starts[1], bare)]
    plain = min(without, key=lambda fit: fit.energy)
    if plain is without[0]:
        # The fit with the perturber ended elsewhere, perhaps at a lens that fits worse.
        beside = plain.lens.values.clone()
        places = [INDEX[name] for name in PERTURBER]
        beside[places] = joint_before.lens.values[places]
        again = refine(model, beside, (*names, *PERTURBER), belief, steps=STEPS)
        joint = min(joint, again, key=lambda fit: fit.energy)
    evidence = _log_evidence(plain, belief) - _log_evidence(power_law, smooth.belief)
    return MassFit(plain, evidence, max(plain.energy - joint.energy, 0.0) / 2)


def _start(fitted: Refined, model: RealLens, belief: Belief) -> Tensor:
    """Parameters of another mass that images the source of a fitted power law as that does."""
    lens = fitted.lens
    values = lens.values.clone()
    values[INDEX["inner_slope"]] = values[INDEX["slope"]]
    middle = lens["log_einstein_radius"] + math.log(BREAK_RADIUS[0])
    values[INDEX["log_break_radius"]] = middle
    # With equal slopes, a broken power law is one that is not broken.
    if not isinstance(model.mass, StarsAndHalo):
        return values
    return _like(fitted, model, (*model.mass.names, *SHEAR, *SOURCE[:2]), belief)


def _like(fitted: Refined, model: RealLens, names: Sequence[str], belief: Belief) -> Tensor:
    """Stars and halo whose rays end where those of a power law do, up to a larger source.

    A start at other deflections would end at another lens. Both masses image sources alike if all
    rays end at places that are larger by one factor (Falco, Gorenstein & Shapiro 1985).
    """
    from scipy.optimize import least_squares

    lens = fitted.lens
    bare = lens.values.clone()
    bare[[INDEX["perturber_strength"], INDEX["companion_strength"]]] = 0
    wanted = torch.stack(fitted.model.rays(bare))
    light = lens.source_light.clamp_min(0)
    weight = (light / light.sum().clamp_min(1e-30)).sqrt() / ALIKE_ARCSEC
    for name, (mean, _) in OF_STARS.items():
        bare[INDEX[name]] = mean
    bare[[INDEX["eta_1"], INDEX["eta_2"]]] *= OF_POTENTIAL
    index = [INDEX[name] for name in names]
    priors = [(k, *belief.of[name]) for k, name in enumerate(names) if name in belief.of]

    def off(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        tried = bare.clone()
        tried[index] = torch.from_numpy(numbers[:-1])
        rays = torch.stack(model.rays(tried))
        misses = ((rays - math.exp(numbers[-1]) * wanted) * weight).flatten().numpy()
        unlikely = [(numbers[k] - mean) / spread for k, mean, spread in priors]
        return np.concatenate([misses, unlikely])

    first = np.append(bare[index].numpy(), 0.0)
    least = np.array([0.0 if name == "stellar_fraction" else -np.inf for name in (*names, "")])
    found = least_squares(off, first, bounds=(least, np.inf), x_scale="jac", max_nfev=20)
    values = lens.values.clone()
    values[index] = torch.from_numpy(found.x[:-1])
    values[INDEX["log_source_scale"]] += found.x[-1]
    return values


def _belief(mass: CentralMass, smooth: SmoothFit, power_law: Refined) -> Belief:
    """Priors of a search with another mass.

    As those of multipoles, the priors of what a power law lacks are not narrowed: it is to test
    whether a perturber is needed.
    """
    of = dict(smooth.belief.of)
    if isinstance(mass, StarsAndHalo):
        del of["slope"]
        of |= OF_STARS
        for name in ("eta_1", "eta_2"):
            mean, spread = smooth.stated.of[name]
            of[name] = (OF_POTENTIAL * mean, OF_POTENTIAL * spread)
    else:
        middle = power_law.lens["log_einstein_radius"] + math.log(BREAK_RADIUS[0])
        of["inner_slope"] = (smooth.stated.of["slope"][0], INNER_SPREAD)
        of["log_break_radius"] = (middle, BREAK_RADIUS[1])
    return Belief(of)


def _log_evidence(fitted: Refined, belief: Belief) -> float:
    """Log evidence with all parameters marginalised, but for a constant.

    In Laplace's approximation (MacKay 1992, Neural Computation 4, 415): masses have different
    numbers of parameters. Those without a prior are the same in all.
    """
    priors = sum(math.log(belief.of[name][1]) for name in fitted.names if name in belief.of)
    return -fitted.energy / 2 - float(torch.logdet(fitted.information)) / 2 - priors


def measured_competing(fits: Mapping[str, MassFit]) -> dict[str, float]:
    """Columns of the competing masses; none if they were not fitted."""
    numbers = {}
    for name, fit in fits.items():
        numbers[f"{name}_log_evidence"] = fit.log_evidence
        numbers[f"perturber_log_evidence_{name}"] = fit.gain
    if STARS_AND_HALO in fits:
        fit = fits[STARS_AND_HALO]
        numbers["stellar_fraction"] = fit.smooth.lens["stellar_fraction"]
    return numbers
