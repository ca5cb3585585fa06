"""Numbers of a fitted lens with their errors, by the names of the catalogue's columns."""

from __future__ import annotations

import math

from lumpylens.lenses.model import MULTIPOLES
from lumpylens.lenses.posterior import MOSTLY, Posterior

__all__ = [
    "measured_area", "measured_mass", "measured_perturber", "mostly_prior", "radius_error",
]  # fmt: skip

UNKNOWN_ANGLE_DEG = 180 / math.sqrt(12)
"""Standard deviation of an angle of which nothing is known."""

STEP = 1e-4
"""Change of a parameter from which the derivative of a number is taken."""

PROFILE_ERROR_ARCSEC = 0.01
"""Error of a perturber's place because its profile is not known, a fifth of the core that stands
for it: added to the errors from the data. Six mocks with point masses lay about so far away."""

PARAMETERS = {
    "einstein_radius_arcsec": ("log_einstein_radius",),
    "ellipticity": ("eta_1", "eta_2"),
    "shear": ("shear_1", "shear_2"),
    "slope": ("slope",),
    "mass_x_arcsec": ("centre_x",),
    "mass_y_arcsec": ("centre_y",),
    **{name: (name,) for name in MULTIPOLES},
}
"""Columns, and the parameters whose priors count for each."""


def measured_mass(fit: Posterior) -> dict[str, float]:
    """Columns of the mass of a lens, each with its error."""
    lens, error = fit.fitted.lens, fit.error
    radius = math.exp(lens["log_einstein_radius"])
    flattening = math.hypot(lens["eta_1"], lens["eta_2"])
    eta_error, eta_turn = _along_and_across(fit, "eta")
    shear_error, shear_turn = _along_and_across(fit, "shear")
    numbers = {
        "einstein_radius_arcsec": radius,
        "ellipticity": 1 - math.exp(-flattening),
        "ellipticity_error": math.exp(-flattening) * eta_error,
        "ellipticity_angle_deg": _angle(lens["eta_1"], lens["eta_2"]),
        "ellipticity_angle_error_deg": eta_turn,
        "shear": math.hypot(lens["shear_1"], lens["shear_2"]),
        "shear_error": shear_error,
        "shear_angle_deg": _angle(lens["shear_1"], lens["shear_2"]),
        "shear_angle_error_deg": shear_turn,
        "slope": lens["slope"],
        "slope_error": error("slope"),
        "einstein_radius_err": radius * error("log_einstein_radius"),
    }
    for axis in "xy":
        numbers[f"mass_{axis}_arcsec"] = lens[f"centre_{axis}"] - lens[f"light_{axis}"]
        apart = {f"centre_{axis}": 1.0, f"light_{axis}": -1.0}
        numbers[f"mass_{axis}_error_arcsec"] = fit.error_along(apart)
    for name in MULTIPOLES:
        numbers[name], numbers[f"{name}_error"] = lens[name], error(name)
    return numbers


def measured_perturber(fit: Posterior) -> dict[str, float]:
    """Errors of the place and strength of a perturber; NaN if it has no mass."""
    lens = fit.fitted.lens
    strength = lens["perturber_strength"]
    numbers = {}
    for axis in "xy":
        apart = {f"perturber_{axis}": 1.0, f"light_{axis}": -1.0}
        error = math.hypot(fit.error_along(apart), PROFILE_ERROR_ARCSEC)
        numbers[f"perturber_{axis}_error_arcsec"] = error if strength > 0 else math.nan
    error = fit.error("perturber_strength") if strength > 0 else math.nan
    numbers["perturber_einstein_radius_error_arcsec"] = radius_error(strength, error)
    return numbers


def radius_error(strength: float, error: float) -> float:
    """Standard deviation of an Einstein radius from that of its square.

    Where the square is hardly above zero, the radius is at most the root of its error.
    """
    if not strength > 0:
        return math.nan
    return min(error / (2 * math.sqrt(strength)), math.sqrt(error))


def mostly_prior(fit: Posterior, prefix: str = "") -> list[str]:
    """Names of the columns of the mass that say more of the prior than of the image."""
    return [
        f"{prefix}{column}"
        for column, names in PARAMETERS.items()
        if fit.prior_share(names) > MOSTLY
    ]


def measured_area(fit: Posterior) -> dict[str, float]:
    """Columns of the Einstein radius by the area inside the critical curve, with its error."""
    # torch is loaded for this alone, and rows are read without it.
    from lumpylens.physics.critical_curve import effective_einstein_radius

    lens = fit.fitted.lens
    radius = math.exp(lens["log_einstein_radius"])
    at = {name: lens[name] for name in ("eta_1", "eta_2", "slope", "shear_1", "shear_2")}
    effective = radius * effective_einstein_radius(*at.values())
    derivatives = {"log_einstein_radius": effective}
    for name, value in at.items():
        up, down = (
            effective_einstein_radius(*(at | {name: value + step}).values())
            for step in (STEP, -STEP)
        )
        derivatives[name] = radius * (up - down) / (2 * STEP)
    return {
        "effective_einstein_radius_arcsec": effective,
        "effective_einstein_radius_error_arcsec": fit.error_along(derivatives),
    }


def _along_and_across(fit: Posterior, kind: str) -> tuple[float, float]:
    """Errors of the size, and of the angle in degrees, of a pair that turns by twice the angle."""
    first, second = (fit.fitted.lens[f"{kind}_{k}"] for k in (1, 2))
    size = math.hypot(first, second)
    cos, sin = (first / size, second / size) if size > 0 else (1.0, 0.0)
    along = fit.error_along({f"{kind}_1": cos, f"{kind}_2": sin})
    across = fit.error_along({f"{kind}_1": -sin, f"{kind}_2": cos})
    turn = math.degrees(across / size) / 2 if size > 0 else math.inf
    return along, min(turn, UNKNOWN_ANGLE_DEG)


def _angle(first: float, second: float) -> float:
    """Position angle of a quantity that turns by twice the angle, degrees from -90 to 90."""
    return math.degrees(math.atan2(second, first)) / 2
