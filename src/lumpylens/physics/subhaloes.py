"""Deflection of light by single subhaloes of given mass, by profile."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lumpylens.physics.cosmology import (
    ARCSEC,
    angular_diameter_distance_mpc,
    msun_per_square_arcsec,
    scale_radius_kpc,
)
from lumpylens.physics.truncated_nfw import enclosed_mass

__all__ = ["PROFILES", "TRUNCATION", "Profile", "bending"]

Profile = Literal["nfw", "pseudo-jaffe"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

TRUNCATION = 5.0
"""Truncation radius of an NFW subhalo over its scale radius: the middle of the 2 to 8 that
simulated haloes have."""


def bending(
    profile: Profile,
    mass_msun: NDArray[np.float64],
    radius_arcsec: NDArray[np.float64],
    *,
    lens_redshift: float,
    source_redshift: float,
    einstein_radius_arcsec: float,
    concentration: float = 1.0,
) -> NDArray[np.float64]:
    """Compute deflection over distance, which has no unit, for subhaloes in the lens plane.

    Parameters
    ----------
    profile : {"nfw", "pseudo-jaffe"}
        See Notes.
    mass_msun : ndarray, shape (k,)
        Total masses.
    radius_arcsec : ndarray, shape (n,)
        Distances from the subhalo.
    lens_redshift, source_redshift : float
    einstein_radius_arcsec : float
        Of the lens, whose tide truncates a pseudo-Jaffe subhalo.
    concentration : float
        Of an NFW subhalo, times that of the relation of masses and concentrations.

    Returns
    -------
    ndarray, shape (k, n)

    Notes
    -----
    ``nfw`` is an NFW halo with the scale radius of `scale_radius_kpc`, truncated as in Baltz,
    Marshall & Oguri 2009 (arXiv:0705.0682) at `TRUNCATION` scale radii.

    ``pseudo-jaffe`` is an isothermal sphere of Einstein radius b whose convergence is
    ``b / 2 (1 / r - 1 / sqrt(r^2 + t^2))``. Its total mass is b t, in units of pi critical surface
    densities, and its tidal radius is ``t = sqrt(b R)`` for an isothermal lens of Einstein radius R
    (Metcalf & Madau 2001, astro-ph/0108224).
    """
    strength = mass_msun / msun_per_square_arcsec(lens_redshift, source_redshift)
    strength, mass_msun = strength[:, None], mass_msun[:, None]
    if profile == "pseudo-jaffe":
        b = (strength**2 / einstein_radius_arcsec) ** (1 / 3)
        tidal = np.sqrt(b * einstein_radius_arcsec)
        beyond = np.sqrt(radius_arcsec**2 + tidal**2) - tidal
        sphere: NDArray[np.float64] = b * (radius_arcsec - beyond) / radius_arcsec**2
        return sphere
    kpc_per_arcsec = 1e3 * ARCSEC * angular_diameter_distance_mpc(0, lens_redshift)
    scale_radius = scale_radius_kpc(mass_msun, lens_redshift) / kpc_per_arcsec / concentration
    within = enclosed_mass(radius_arcsec / scale_radius, TRUNCATION)
    halo: NDArray[np.float64] = strength * within / radius_arcsec**2
    return halo
