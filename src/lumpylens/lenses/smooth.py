"""Staged fit of a smooth lens, from a scan of Einstein radii to the best parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumpylens.lenses.model import (
    ALL,
    INDEX,
    LIGHT,
    MASS,
    MULTIPOLES,
    SOURCE,
    RealLens,
    SolvedLens,
    vector,
)
from lumpylens.lenses.observation import Observation
from lumpylens.lenses.plausible import APART, implausibility, light_from_mass
from lumpylens.lenses.priors import DEFAULT, Priors
from lumpylens.lenses.refine import Belief, Refined, refine
from lumpylens.lenses.starts import (
    FARTHEST,
    LensLight,
    Trial,
    fit_lens_light,
    no_lens_light,
    scan,
)

__all__ = ["SmoothFit", "fit_smooth", "polish", "polish_from"]

RADII = torch.logspace(math.log10(0.45), math.log10(2.6), 22, dtype=torch.float64)
"""Einstein radii that are tried, arcsec: those of single galaxies, in steps of 9 %."""

MODEL_ERROR = 2.0
"""Factor by which perturbation maps of real lenses scatter more than noise. The likelihood of a
search ignores it and is too certain by its square; to keep the balance, the priors are narrowed by
the same factor. The last fit measures it for each lens; see `posterior`."""

SOURCE_SPREAD, LIGHT_SPREAD = 0.5, 0.5
"""Standard deviations of the logarithm of the source's scale, and of the ellipticities of light."""

TYPICAL_SOURCE = 0.11
"""Typical scale of a source's shapelets, arcsec. A larger source, behind a halo too small to image
it twice, could imitate light of the lens galaxy that the Gaussians do not describe."""

FIRST_ORDER, MIDDLE_ORDER = 5, 8
LARGER_ORDERS = (12, 17, 23)
"""Highest total order of the source's shapelets in each stage. Low orders are fast and let a fit
move far; high ones are needed to describe detailed sources to within the noise."""

WORTH = 20.0
"""Gain in -2 ln evidence that a source of more detail must bring. With it, 9 of 24 lenses of the
SLACS survey keep order 8, 6 end at 12, 2 at 17 and 7 at 23."""

FOLLOWED = 3
"""Starts that are continued after the first stage; more find the right Einstein radius more surely,
and take longer. Not tuned."""

UNLIKELY = 0.1
"""Fraction of the energy by which a fit with an implausible halo must be better than one without:
within the error of the model, a halo with strong shear and ellipticity can imitate any ring.
Not tuned."""

TURNED = tuple(
    (0.4 * math.cos(turn * math.pi / 3), 0.4 * math.sin(turn * math.pi / 3)) for turn in range(6)
)
"""Ellipticities of halos along six directions, with an axis ratio of 0.67: a halo of 0.5 to 1 along
any direction is found from one of them."""

ANYWHERE = 0.3
"""Standard deviation of the centre of a mass without light around the middle of the image, arcsec.
Not tuned."""

TIGHT = tuple(name for name in ALL if name in MASS[:3] + MASS[6:] + SOURCE)
"""Parameters that are free in the first stage: the halo is centred on the light and isothermal."""


@dataclass(frozen=True)
class SmoothFit:
    """A fitted smooth lens.

    Attributes
    ----------
    best : Refined
    stated : Belief
        Its priors, as they are stated.
    rivals : tuple of (float, float)
        Einstein radius, and energy above the best, of every other start that was continued.
    light : LensLight
    shines : bool
        Whether the lens galaxy is seen; if not, its light is put where the mass is.
    """

    best: Refined
    stated: Belief
    rivals: tuple[tuple[float, float], ...]
    light: LensLight
    shines: bool = True

    @property
    def belief(self) -> Belief:
        """The priors of its search, see `for_search`."""
        return for_search(self.stated)


def beliefs(light: LensLight, priors: Priors) -> Belief:
    """Make the priors of a lens, whose mass follows the lens galaxy's light, as they are stated."""
    shrink = min(0.8, 0.6 / max(math.hypot(*light.eta), 1e-9))
    at_x, at_y = (float(light.values[INDEX[name]]) for name in LIGHT[:2])
    radius, radius_spread = priors.einstein_radius
    slope, slope_spread = priors.slope
    return Belief({
        "log_einstein_radius": (math.log(radius), radius_spread / radius),
        "eta_1": (shrink * light.eta[0], priors.ellipticity),
        "eta_2": (shrink * light.eta[1], priors.ellipticity),
        "shear_1": (0.0, priors.shear),
        "shear_2": (0.0, priors.shear),
        "slope": (slope, slope_spread),
        "centre_x": (at_x, priors.centre),
        "centre_y": (at_y, priors.centre),
        "log_source_scale": (math.log(TYPICAL_SOURCE), SOURCE_SPREAD),
        **dict.fromkeys(LIGHT[2:], (0.0, LIGHT_SPREAD)),
        **dict.fromkeys(MULTIPOLES, (0.0, priors.multipoles)),
    })  # fmt: skip


def beliefs_in_the_dark(light: LensLight, priors: Priors) -> Belief:
    """Make the priors of a lens that does not shine: its mass may be anywhere near the middle."""
    of = dict(beliefs(light, priors).of)
    for axis in "xy":
        of[f"centre_{axis}"] = (0.0, ANYWHERE)
        of[f"light_{axis}"] = (0.0, priors.centre)
    return Belief(of)


def for_search(stated: Belief) -> Belief:
    """Narrow the priors by `MODEL_ERROR`; but multipoles are to test whether a perturber is needed.

    These have twice their width instead.
    """
    wide = {name: stated.of[name] for name in MULTIPOLES if name in stated.of}
    of = stated.narrowed(MODEL_ERROR).of
    return Belief({**of, **{name: (mean, MODEL_ERROR * s) for name, (mean, s) in wide.items()}})


def fit_smooth(observation: Observation, priors: Priors = DEFAULT) -> SmoothFit:
    """Fit a smooth lens with a source of moderate detail, from many starts.

    The first starts have a halo along the light of the lens galaxy. If they lead to an implausible
    halo, halos along any direction are tried. If the light ends far from the mass or the middle, a
    lens that does not shine is tried, too.

    Parameters
    ----------
    observation : Observation
        A disc that holds the whole lens.
    priors : Priors
    """
    light = fit_lens_light(observation)
    stated = beliefs(light, priors)
    first = _searched(observation, light, stated, scan(observation, light, RADII, light.eta))
    fits = [first]
    if implausibility(first.best.lens) > 0 or _light_is_astray(first.best.lens):
        fits.append(_searched(observation, light, stated, _scan_turned(observation, light)))
    if all(_light_is_astray(fit.best.lens) for fit in fits):
        dark = no_lens_light(observation)
        trials = _scan_turned(observation, dark)
        unseen = _searched(observation, dark, beliefs_in_the_dark(dark, priors), trials)
        fits.append(_with_light_on_the_mass(unseen))
    # Of implausible halos the first is as good as any.
    plausible = [fit for fit in fits if implausibility(fit.best.lens) == 0]
    chosen = min(plausible or [first], key=lambda fit: fit.best.energy)
    rivals = [
        (math.exp(fit.best.lens["log_einstein_radius"]), fit.best.energy - chosen.best.energy)
        for fit in fits
        if fit is not chosen
    ]
    return replace(chosen, rivals=(*rivals, *chosen.rivals))


def _with_light_on_the_mass(fit: SmoothFit) -> SmoothFit:
    """Move the light of a lens that does not shine to the mass, from where places are counted."""
    values, of = fit.best.lens.values.clone(), dict(fit.stated.of)
    for axis in "xy":
        values[INDEX[f"light_{axis}"]] = values[INDEX[f"centre_{axis}"]]
        of[f"light_{axis}"] = (float(values[INDEX[f"centre_{axis}"]]), of[f"light_{axis}"][1])
    best = replace(fit.best, lens=fit.best.model.lens(values))
    return replace(fit, best=best, stated=Belief(of), shines=False)


def _light_is_astray(lens: SolvedLens) -> bool:
    """Whether the lens galaxy's light is far from the middle of the image, or from the mass."""
    off_centre = math.hypot(lens["light_x"], lens["light_y"])
    return off_centre > FARTHEST or light_from_mass(lens) > APART


def _judged(fit: Refined) -> float:
    """Energy of a fit, higher if its halo is implausible."""
    return fit.energy * (1 + UNLIKELY * implausibility(fit.lens))


def _scan_turned(observation: Observation, light: LensLight) -> list[Trial]:
    """The best trial at each radius, of halos along any direction."""
    trials = [scan(observation, light, RADII, eta) for eta in TURNED]
    return [min(of_radius, key=lambda t: t.misfit) for of_radius in zip(*trials, strict=True)]


def _searched(
    observation: Observation, light: LensLight, stated: Belief, trials: list[Trial]
) -> SmoothFit:
    """Continue the promising trials, and the best of these with more detail in the source."""
    belief = for_search(stated)
    model = RealLens(observation, FIRST_ORDER)
    first = [
        refine(model, _start(light, trial), TIGHT, belief, steps=8, occam=False)
        for trial in _promising(trials)
    ]
    second = [
        refine(rough.model.with_source(MIDDLE_ORDER), rough.lens.values, ALL, belief, occam=False)
        for rough in _distinct(first)[:FOLLOWED]
    ]
    second.sort(key=_judged)
    return SmoothFit(second[0], stated, _rivals(second, first), light)


def polish(observation: Observation, rough: SmoothFit) -> SmoothFit:
    """Fit again, with more detail in the source as long as the evidence increases.

    Parameters
    ----------
    observation : Observation
        May be another disc, or have other pixels masked.
    rough : SmoothFit
        Where the fit starts.
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


def polish_from(observation: Observation, earlier: Refined, belief: Belief) -> Refined:
    """Fit an image again that hardly changed, with a source of the same detail."""
    return refine(replace(earlier.model, observation=observation), earlier.lens.values, ALL, belief)


def _rivals(second: list[Refined], first: list[Refined]) -> tuple[tuple[float, float], ...]:
    """Other Einstein radii at which fits ended, with their energies above the best."""
    rivals = [
        (math.exp(fit.lens["log_einstein_radius"]), fit.energy - group[0].energy)
        for group in (second, sorted(first, key=lambda fit: fit.energy))
        for fit in group[1:]
    ]
    return tuple(rivals)


def _promising(trials: list[Trial]) -> list[Trial]:
    """Choose local minima of the misfit, and others so that no range of radii is left out."""
    misfit = [t.misfit for t in trials]
    minima = [i for i in range(len(trials)) if misfit[i] <= min(misfit[max(i - 1, 0) : i + 2])]
    minima.sort(key=lambda i: misfit[i])
    promising = minima[:4]
    for i in range(3, len(trials), 4):
        if all(abs(i - j) > 1 for j in promising):
            promising.append(i)
    return [trials[i] for i in promising]


def _start(light: LensLight, trial: Trial) -> Tensor:
    at_x, at_y = (float(light.values[INDEX[name]]) for name in LIGHT[:2])
    values = vector(
        log_einstein_radius=math.log(trial.einstein_radius),
        eta_1=trial.eta[0],
        eta_2=trial.eta[1],
        centre_x=at_x,
        centre_y=at_y,
        source_x=at_x + trial.source_x,
        source_y=at_y + trial.source_y,
        log_source_scale=math.log(min(max(trial.source_scale / 2, 0.06), 0.25)),
    )
    index = [INDEX[name] for name in LIGHT]
    values[index] = light.values[index]
    return values


def _distinct(fits: list[Refined]) -> list[Refined]:
    """Keep the best of the fits that ended at the same Einstein radius; best first."""
    distinct: list[Refined] = []
    for fit in sorted(fits, key=lambda fit: fit.energy):
        radius = fit.lens["log_einstein_radius"]
        if all(abs(radius - rival.lens["log_einstein_radius"]) > 0.03 for rival in distinct):
            distinct.append(fit)
    return distinct
