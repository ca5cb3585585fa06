"""Distances, critical surface density and the sizes of haloes, in a flat universe."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARCSEC",
    "angular_diameter_distance_mpc", "einstein_radius_arcsec", "msun_per_square_arcsec",
    "scale_radius_kpc",
]  # fmt: skip

HUBBLE, MATTER = 70.0, 0.3
"""km/s/Mpc, and density in units of the critical one; the rest is a cosmological constant."""

LIGHT_KMS = 299792.458
G = 4.30091e-9
"""Gravitational constant, Mpc (km/s)^2 / Msun."""

ARCSEC = math.pi / 180 / 3600
HIGHEST = 12.0
"""Redshift up to which distances are tabulated."""


@lru_cache(maxsize=1)
def _comoving() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Redshifts and comoving distances in Mpc, by the trapezium rule (error below 1e-6)."""
    z = np.linspace(0, HIGHEST, 6001)
    rate = 1 / np.sqrt(MATTER * (1 + z) ** 3 + 1 - MATTER)
    steps = 0.5 * (rate[1:] + rate[:-1]) * np.diff(z)
    return z, LIGHT_KMS / HUBBLE * np.concatenate([[0.0], np.cumsum(steps)])


def angular_diameter_distance_mpc(near: float, far: float) -> float:
    """From redshift `near` to redshift `far` (Hogg 1999, astro-ph/9905116, equation 19)."""
    z, comoving = _comoving()
    ends = np.interp([near, far], z, comoving)
    return float(ends[1] - ends[0]) / (1 + far)


def einstein_radius_arcsec(dispersion_kms: float, lens: float, source: float) -> float:
    """Of an isothermal sphere: ``4 pi (sigma / c)^2 D_ls / D_s``."""
    ratio = angular_diameter_distance_mpc(lens, source) / angular_diameter_distance_mpc(0, source)
    return 4 * math.pi * (dispersion_kms / LIGHT_KMS) ** 2 * ratio / ARCSEC


def msun_per_square_arcsec(lens: float, source: float) -> float:
    """Mass of a point whose Einstein radius is one arcsec: pi critical surface densities.

    ``theta^2 = 4 G M D_ls / (c^2 D_l D_s)`` with angular-diameter distances.
    """
    d_l = angular_diameter_distance_mpc(0, lens)
    d_s = angular_diameter_distance_mpc(0, source)
    d_ls = angular_diameter_distance_mpc(lens, source)
    return ARCSEC**2 * LIGHT_KMS**2 * d_l * d_s / (4 * G * d_ls)


def scale_radius_kpc(mass_msun: NDArray[np.float64], redshift: float) -> NDArray[np.float64]:
    """Scale radius of NFW haloes with this mass within 200 critical densities.

    Concentrations are those of Duffy et al. 2008 (arXiv:0804.2486), table 1, full sample:
    ``5.71 (M / 2e12 Msun / h)^-0.084 (1 + z)^-0.47``.
    """
    h = HUBBLE / 100
    concentration = 5.71 * (mass_msun * h / 2e12) ** -0.084 * (1 + redshift) ** -0.47
    expansion = HUBBLE**2 * (MATTER * (1 + redshift) ** 3 + 1 - MATTER)
    critical = 3 * expansion / (8 * math.pi * G)
    radius_mpc = (3 * mass_msun / (800 * math.pi * critical)) ** (1 / 3)
    found: NDArray[np.float64] = 1e3 * radius_mpc / concentration
    return found
