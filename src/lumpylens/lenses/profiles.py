"""What kind of mass a perturber is: other profiles, fitted where a point mass was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from lumpylens.lenses.compact_mass import CompactMass, PointMass, PseudoJaffe, TruncatedNfw
from lumpylens.lenses.inflation import REFERENCE_ERROR, p_value
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.perturber import FittedPerturber
from lumpylens.lenses.posterior import Posterior
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.refine import refine
from lumpylens.lenses.significance import Inflation

__all__ = ["NFW", "PSEUDO_JAFFE", "ProfileFit", "fit_profiles", "is_worth_it", "measured_profiles"]

POINT, PSEUDO_JAFFE, NFW = "point", "pseudo-jaffe", "nfw"

WORTH_P = 0.1
"""p-value, with the model's error of other surveys, from which no other profile is tried: there is
nothing to describe, and each takes a tenth of the time of a lens."""

STEPS = 40
"""Most steps of a fit. Place and lens hardly change, but the strength does by a factor of ten."""

ALIKE_ARCSEC, MOST = 0.15, 10.0
"""Distance at which profiles deflect alike in the first step, and largest mass over that of the
point there. A halo that deflects like a point would have the mass of a galaxy. Not tuned."""


@dataclass(frozen=True)
class ProfileFit:
    """A lens with a perturber of one profile.

    Attributes
    ----------
    mass : CompactMass
    fit : Posterior
    log_evidence : float
        Gain over the lens without a perturber, multipoles free in both.
    """

    mass: CompactMass
    fit: Posterior
    log_evidence: float


def is_worth_it(
    perturber: FittedPerturber, noise_maxima: tuple[float, float], inflation: Inflation
) -> bool:
    """Tell whether a perturber may be significant, before other lenses tell the model's error."""
    significance = math.sqrt(2 * max(perturber.log_evidence, 0.0))
    expected = max(inflation.off_arcs, 1e-30) * REFERENCE_ERROR
    return p_value(significance / expected, noise_maxima) < WORTH_P


def fit_profiles(
    joint: Posterior, log_evidence: float, redshifts: Redshifts | None
) -> dict[str, ProfileFit]:
    """Fit a lens with perturbers of other profiles, from where a point mass was found.

    Parameters
    ----------
    joint : Posterior
        The lens with the point mass, multipoles free.
    log_evidence : float
        Gain by the point mass, multipoles free.
    redshifts : Redshifts or None
        Without them there is no NFW halo, whose size depends on them.

    Returns
    -------
    dict of str to ProfileFit
        By `POINT`, `PSEUDO_JAFFE` and `NFW`, without those that have not converged; none if the
        joint fit has left the perturber no mass.
    """
    lens = joint.fitted.lens
    if not lens["perturber_strength"] > 0:
        return {}
    masses: dict[str, CompactMass] = {
        PSEUDO_JAFFE: PseudoJaffe(math.exp(lens["log_einstein_radius"]))
    }
    if redshifts is not None:
        masses[NFW] = TruncatedNfw(redshifts.lens, redshifts.source)
    fits = {POINT: ProfileFit(PointMass(), joint, log_evidence)}
    for name, mass in masses.items():
        values = lens.values.clone()
        values[INDEX["perturber_strength"]] = _strength_alike(mass, lens["perturber_strength"])
        fitted = refine(
            replace(joint.fitted.model, perturber=mass),
            values,
            joint.fitted.names,
            joint.stated.narrowed(joint.inflation),
            steps=STEPS,
            learn_curvature=True,
            unit=joint.inflation**2,
        )
        if not fitted.converged:
            # A halo that is to deflect like a point ends anywhere.
            continue
        gain = log_evidence + (joint.fitted.energy - fitted.energy) / 2
        fits[name] = ProfileFit(mass, replace(joint, fitted=fitted), gain)
    return fits


def _strength_alike(mass: CompactMass, strength: float) -> float:
    """Strength with which a profile deflects like a point mass, at `ALIKE_ARCSEC`."""
    square = np.array(ALIKE_ARCSEC**2)
    wanted = float(PointMass().over_distance(square, strength))
    alike = strength
    for _ in range(6):
        alike *= wanted / float(mass.over_distance(square, alike))
    return min(alike, MOST * strength)


def measured_profiles(
    fits: Mapping[str, ProfileFit], redshifts: Redshifts | None
) -> dict[str, float | str]:
    """Columns of the profiles of a perturber; none if they were not compared."""
    if not fits:
        return {}
    numbers: dict[str, float | str] = {
        "perturber_profile": max(fits, key=lambda name: fits[name].log_evidence),
        "nfw_redshifts": "" if redshifts is None else str(redshifts),
    }
    jaffe = fits.get(PSEUDO_JAFFE)
    if jaffe is not None and isinstance(jaffe.mass, PseudoJaffe):
        strength, error = _strength(jaffe)
        radius = jaffe.mass.sphere_radius(strength)
        numbers |= {
            "pseudo_jaffe_log_evidence": jaffe.log_evidence,
            "pseudo_jaffe_strength_arcsec2": strength,
            "pseudo_jaffe_strength_error_arcsec2": error,
            "pseudo_jaffe_einstein_radius_arcsec": radius,
        }
    halo = fits.get(NFW)
    if halo is not None and isinstance(halo.mass, TruncatedNfw):
        strength, error = _strength(halo)
        numbers |= {
            "nfw_log_evidence": halo.log_evidence,
            "nfw_m200_msun": strength * halo.mass.msun,
            "nfw_m200_error_msun": error * halo.mass.msun,
        }
    return numbers


def _strength(fit: ProfileFit) -> tuple[float, float]:
    return fit.fit.fitted.lens["perturber_strength"], fit.fit.error("perturber_strength")
