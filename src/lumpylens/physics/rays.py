"""Rays from the image back to the source, through all mass of a real lens."""

from __future__ import annotations

import torch
from torch import Tensor

from lumpylens.physics.deflection import external_shear, softened_point
from lumpylens.physics.power_law import multipole, power_law

__all__ = ["RAYS", "SOFTENING_ARCSEC", "trace"]

RAYS = (
    "log_einstein_radius", "eta_1", "eta_2", "slope", "centre_x", "centre_y", "shear_1", "shear_2",
    "m3_cosine", "m3_sine", "m4_cosine", "m4_sine",
    "perturber_x", "perturber_y", "perturber_strength",
)  # fmt: skip
"""Parameters that move rays, in the order in which functions take them."""

SOFTENING_ARCSEC = 0.05
"""Core of a perturber in arcsec: one pixel of the Hubble camera."""


def trace(x: Tensor, y: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Trace rays back to the source.

    Parameters
    ----------
    x, y : Tensor of float64, shape (h, w)
        Arcsec.
    numbers : Tensor, shape (len(RAYS),)
        Multipoles are fractions of the halo; the strength is a squared Einstein radius, arcsec^2.

    Returns
    -------
    pair of Tensor, shape (h, w)
        Positions at which the rays end.

    Notes
    -----
    Fits use `lumpylens.physics.compiled.rays.trace`, which agrees with this to 1e-8 arcsec.
    """
    p = dict(zip(RAYS, numbers.unbind(), strict=True))
    u, v = x - p["centre_x"], y - p["centre_y"]
    radius = torch.exp(p["log_einstein_radius"])
    ax, ay = power_law(u / radius, v / radius, p["eta_1"], p["eta_2"], p["slope"])
    for order in (3, 4):
        mx, my = multipole(u, v, p[f"m{order}_cosine"], p[f"m{order}_sine"], order)
        ax, ay = ax + mx, ay + my
    gx, gy = external_shear(u, v, p["shear_1"], p["shear_2"])
    px, py = softened_point(x - p["perturber_x"], y - p["perturber_y"], SOFTENING_ARCSEC)
    strength = p["perturber_strength"]
    return x - radius * ax - gx - strength * px, y - radius * ay - gy - strength * py
