"""What a fit says about its lens, in one sentence."""

from __future__ import annotations

import math
from enum import StrEnum

from lumpylens.lenses.catalogue import LensRow, p_words
from lumpylens.lenses.inflation import p_value

__all__ = ["CANDIDATE_P", "Status", "status_of", "verdict_of"]

CANDIDATE_P = 0.01
"""p-value below which a perturber is a candidate: one of a hundred lenses without one has it."""

COMPANION_P = 0.05
"""p-value below which the mass of a companion counts as seen. Its place is known, and a mass is
expected there, so that less is asked than of a dark one."""

LARGER_PART = 0.5
"""Part of the gain that another mass explains, from which a verdict says so: more than half."""


class Status(StrEnum):
    """Kinds of verdicts; the value is the word for it."""

    CANDIDATE = "candidate"
    COMPLEX_MASS = "complex mass"
    LUMINOUS = "luminous"
    NO_PERTURBER = "no perturber"
    DOUBTFUL = "in doubt"
    UNTESTED = "not tested"
    FAILED = "not fitted"


def status_of(row: LensRow) -> Status:
    """Tell which kind of verdict a lens has."""
    if row.error:
        return Status.FAILED
    if row.doubts:
        return Status.DOUBTFUL
    if math.isnan(row.perturber_p_value):
        return Status.UNTESTED
    if row.perturber_p_value < CANDIDATE_P:
        # A table of an earlier version has no p-value of other masses.
        kept = not row.perturber_p_value_any_mass >= CANDIDATE_P
        return Status.CANDIDATE if kept else Status.COMPLEX_MASS
    needed = row.without_companion_p_value < CANDIDATE_P and row.companion_p_value < COMPANION_P
    return Status.LUMINOUS if needed else Status.NO_PERTURBER


def verdict_of(row: LensRow) -> str:
    """Say in one sentence, without a full stop, what a fit found.

    A fit in doubt gets its reasons, and neither p-value nor limit; but a large gain is named, since
    a massive perturber can be what makes the smooth model wrong.
    """
    status = status_of(row)
    match status:
        case Status.FAILED:
            finding = row.error
        case Status.DOUBTFUL:
            finding = f"{row.quality}{_doubtful_gain(row)}"
        case Status.UNTESTED:
            finding = "no perturber could be seen anywhere in this image"
        case Status.CANDIDATE:
            finding = _candidate(row)
        case Status.COMPLEX_MASS:
            finding = _complex_mass(row)
        case Status.LUMINOUS:
            finding = _luminous(row)
        case Status.NO_PERTURBER:
            finding = f"{p_words(row.perturber_p_value)}{_limit(row)}{_beside(row)}"
    return f"{status}: {finding}"


def _doubtful_gain(row: LensRow) -> str:
    law = (row.noise_maximum, row.noise_maximum_scale)
    if not p_value(row.perturber_significance / row.inflation, law) < CANDIDATE_P:
        return ""
    return (
        f"; the gain of a perturber, {row.perturber_log_evidence:.0f} in log evidence, would be "
        "significant if the fit were right"
    )


def _candidate(row: LensRow) -> str:
    words = f"{p_words(row.perturber_p_value)}, {_perturber(row)}"
    name, explained = _most_explained(row)
    if explained >= LARGER_PART:
        words += f"; {name} would explain {explained:.0%} of its gain"
    return words + _beside(row)


def _complex_mass(row: LensRow) -> str:
    name, explained = _most_explained(row)
    return (
        f"{p_words(row.perturber_p_value)} of a perturber in a power law, {_perturber(row)}; but "
        f"{p_words(row.perturber_p_value_any_mass)} with {name}, which would explain "
        f"{explained:.0%} of its gain{_beside(row)}"
    )


def _perturber(row: LensRow) -> str:
    size = _mass(row.perturber_einstein_radius_arcsec, row.perturber_mass_msun)
    return (
        f"{size} at ({row.perturber_x_arcsec:+.2f}, {row.perturber_y_arcsec:+.2f}) arcsec from the "
        "lens"
    )


def _most_explained(row: LensRow) -> tuple[str, float]:
    """Mass in which a perturber gains least, and the part of its gain that is lost there."""
    gains, gain = row.gains_of_masses, row.perturber_log_evidence
    name = min(gains, key=lambda name: gains[name], default="")
    return name, 1 - gains[name] / gain if name and gain > 0 else 0.0


def _beside(row: LensRow) -> str:
    if math.isnan(row.companion_x_arcsec):
        return ""
    return f"; the mass of a companion that shines at {_place(row)} is in the model"


def _place(row: LensRow) -> str:
    return f"({row.companion_x_arcsec:+.2f}, {row.companion_y_arcsec:+.2f}) arcsec from the lens"


def _luminous(row: LensRow) -> str:
    size = _mass(row.companion_einstein_radius_arcsec, row.companion_mass_msun)
    return (
        f"a mass is needed ({p_words(row.without_companion_p_value)} without one), and a companion "
        f"that shines at {_place(row)} has it, {size}; with it, "
        f"{p_words(row.perturber_p_value)} of a dark one"
    )


def _mass(einstein_radius: float, msun: float) -> str:
    radius = f"Einstein radius {einstein_radius:.2f} arcsec"
    return radius if math.isnan(msun) else f"mass {_msun(msun)} ({radius})"


def _limit(row: LensRow) -> str:
    if math.isnan(row.perturber_limit_arcsec):
        return ""
    if math.isnan(row.perturber_limit_msun):
        least = f"a perturber of Einstein radius above {row.perturber_limit_arcsec:.2f} arcsec"
    else:
        least = f"a mass above {_msun(row.perturber_limit_msun)}"
    return f"; {least} near the arcs would have been seen"


def _msun(mass: float) -> str:
    mantissa, _, power = f"{mass:.1e}".partition("e")
    return f"{mantissa}e{int(power)} Msun"
