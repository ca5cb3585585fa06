"""Distances, critical surface density and sizes of haloes, in one cosmology for the whole package.

It is flat, with 70 km/s/Mpc and a matter density of 0.3: the round numbers of most simulations and
catalogues of lenses. Simulated and fitted masses are therefore consistent.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARCSEC",
    "Relation",
    "angular_diameter_distance_mpc",
    "concentration",
    "einstein_radius_arcsec",
    "msun_per_square_arcsec",
    "scale_radius_kpc",
]

HUBBLE, MATTER = 70.0, 0.3
"""Hubble constant in km/s/Mpc, and matter density in units of the critical density; the rest is a
cosmological constant."""

ARCSEC = math.pi / 180 / 3600

Relation = Literal["duffy2008", "ludlow2016"]
"""Mass and concentration of haloes: what simulations of cold dark matter found."""


@lru_cache(maxsize=1)
def _universe() -> Any:
    from astropy.cosmology import FlatLambdaCDM

    return FlatLambdaCDM(H0=HUBBLE, Om0=MATTER)


@lru_cache(maxsize=1)
def _light_and_gravity() -> tuple[float, float]:
    """Speed of light in km/s, and the gravitational constant in Mpc (km/s)^2 / Msun."""
    from astropy import constants, units

    speed = units.km / units.s
    gravity = constants.G.to_value(units.Mpc * speed**2 / units.Msun)
    return float(constants.c.to_value(speed)), float(gravity)


# The same two distances are needed several times for each lens.
@lru_cache(maxsize=64)
def _comoving_mpc(redshift: float) -> float:
    return float(_universe().comoving_distance(redshift).to_value("Mpc"))


def angular_diameter_distance_mpc(z_near: float, z_far: float) -> float:
    """Distance from redshift `z_near` to `z_far` (Hogg 1999, astro-ph/9905116, equation 19)."""
    return (_comoving_mpc(z_far) - _comoving_mpc(z_near)) / (1 + z_far)


def einstein_radius_arcsec(dispersion_kms: float, lens: float, source: float) -> float:
    """Einstein radius of an isothermal sphere: ``4 pi (sigma / c)^2 D_ls / D_s``."""
    ratio = angular_diameter_distance_mpc(lens, source) / angular_diameter_distance_mpc(0, source)
    return 4 * math.pi * (dispersion_kms / _light_and_gravity()[0]) ** 2 * ratio / ARCSEC


def msun_per_square_arcsec(lens: float, source: float) -> float:
    """Mass of a point whose Einstein radius is one arcsec: pi critical surface densities.

    ``theta^2 = 4 G M D_ls / (c^2 D_l D_s)`` with angular-diameter distances.
    """
    d_l = angular_diameter_distance_mpc(0, lens)
    d_s = angular_diameter_distance_mpc(0, source)
    d_ls = angular_diameter_distance_mpc(lens, source)
    light, gravity = _light_and_gravity()
    return ARCSEC**2 * light**2 * d_l * d_s / (4 * gravity * d_ls)


def concentration(
    mass_msun: NDArray[np.float64], redshift: float, relation: Relation = "duffy2008"
) -> NDArray[np.float64]:
    """Concentration of NFW haloes with this mass within 200 critical densities.

    Parameters
    ----------
    mass_msun : ndarray of float64
    redshift : float
    relation : {"duffy2008", "ludlow2016"}
        Duffy et al. 2008 (arXiv:0804.2486), table 1, full sample, which is a power law:
        ``5.71 (M / 2e12 Msun / h)^-0.084 (1 + z)^-0.47``. Or Ludlow et al. 2016
        (arXiv:1601.02624), appendix C, whose small haloes are more concentrated.
    """
    if relation not in get_args(Relation):
        raise ValueError(f"relation is {' or '.join(get_args(Relation))}, got {relation!r}")
    mass_per_h = np.asarray(mass_msun, dtype=np.float64) * (HUBBLE / 100)
    if relation == "ludlow2016":
        return _ludlow_2016(mass_per_h, redshift)
    of_mass: NDArray[np.float64] = 5.71 * (mass_per_h / 2e12) ** -0.084 * (1 + redshift) ** -0.47
    return of_mass


def _ludlow_2016(mass_per_h: NDArray[np.float64], redshift: float) -> NDArray[np.float64]:
    """Fits C1 to C11 of Ludlow et al. 2016, made for a Planck cosmology."""
    stretch = 1 + redshift
    growth = _linear_growth(redshift)
    inverse = 1e10 / mass_per_h
    scatter = growth * 22.26 * inverse**0.292 / (1 + 1.53 * inverse**0.275 + 3.36 * inverse**0.198)
    # Height of the peak that collapsed, and that at which the power law bends.
    height = 1.686 / scatter
    bend = (
        4.135 - 0.564 * stretch - 0.210 * stretch**2 + 0.0557 * stretch**3 - 0.00348 * stretch**4
    ) / growth
    at_bend, sharpness = 3.395 * stretch**-0.215, 0.307 * stretch**0.540
    low, high = 0.628 * stretch**-0.047, 0.317 * stretch**-0.893
    ratio = height / bend
    found: NDArray[np.float64] = (
        at_bend * ratio**-low * (1 + ratio ** (1 / sharpness)) ** (-sharpness * (high - low))
    )
    return found


def _linear_growth(redshift: float) -> float:
    """Growth of fluctuations since a redshift, 1 today (Carroll, Press & Turner 1992, eq. 29)."""

    def suppressed(z: float) -> tuple[float, float]:
        matter = MATTER * (1 + z) ** 3
        matter /= matter + 1 - MATTER
        vacuum = 1 - matter
        return matter, matter ** (4 / 7) - vacuum + (1 + matter / 2) * (1 + vacuum / 70)

    (then, slow_then), (now, slow_now) = suppressed(redshift), suppressed(0.0)
    return then / now * slow_now / slow_then / (1 + redshift)


def scale_radius_kpc(
    mass_msun: NDArray[np.float64], redshift: float, relation: Relation = "duffy2008"
) -> NDArray[np.float64]:
    """Scale radius of NFW haloes with this mass within 200 critical densities.

    See `concentration`.
    """
    critical = float(_universe().critical_density(redshift).to_value("Msun / Mpc3"))
    radius_mpc = (3 * mass_msun / (800 * math.pi * critical)) ** (1 / 3)
    found = concentration(mass_msun, redshift, relation)
    radius_kpc: NDArray[np.float64] = 1e3 * radius_mpc / found
    return radius_kpc
