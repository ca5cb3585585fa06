"""Distances, critical surface density and sizes of haloes, in one cosmology for the whole package.

It is flat, with 70 km/s/Mpc and a matter density of 0.3: the round numbers of most simulations and
catalogues of lenses. Simulated and fitted masses are therefore consistent.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARCSEC",
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


def concentration(mass_msun: NDArray[np.float64], redshift: float) -> NDArray[np.float64]:
    """Concentration of NFW haloes with this mass within 200 critical densities.

    Those of Duffy et al. 2008 (arXiv:0804.2486), table 1, full sample:
    ``5.71 (M / 2e12 Msun / h)^-0.084 (1 + z)^-0.47``.
    """
    h = HUBBLE / 100
    of_mass: NDArray[np.float64] = 5.71 * (mass_msun * h / 2e12) ** -0.084 * (1 + redshift) ** -0.47
    return of_mass


def scale_radius_kpc(mass_msun: NDArray[np.float64], redshift: float) -> NDArray[np.float64]:
    """Scale radius of NFW haloes with this mass within 200 critical densities."""
    critical = float(_universe().critical_density(redshift).to_value("Msun / Mpc3"))
    radius_mpc = (3 * mass_msun / (800 * math.pi * critical)) ** (1 / 3)
    radius_kpc: NDArray[np.float64] = 1e3 * radius_mpc / concentration(mass_msun, redshift)
    return radius_kpc
