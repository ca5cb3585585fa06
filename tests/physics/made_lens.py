"""A lens cutout with a known truth, made without the code that fits it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import fftconvolve

from lumpylens.lenses.cutout import Cutout

__all__ = ["made_cutout"]


def made_cutout(
    *,
    side: int = 101,
    scale: float = 0.05,
    einstein_radius: float = 1.1,
    axis_ratio: float = 0.8,
    shear: tuple[float, float] = (0.03, -0.02),
    source: tuple[float, float] = (0.08, 0.12),
    perturber: tuple[float, float, float] | None = None,
    subhalo: tuple[str, dict[str, float]] | None = None,
    mass: Sequence[tuple[str, dict[str, float]]] | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    mass_angle: float = 0.4,
    lens_light: float = 1.0,
    satellite: tuple[float, float, float] | None = None,
    noise: float = 0.02,
    photons: float = 0.002,
    source_index: float = 1.0,
    seed: int = 0,
) -> Cutout:
    """Simulate a lens with lenstronomy: Sersic galaxy, Sersic source, Gaussian PSF.

    `perturber` is x, y and Einstein radius of a point mass, arcsec; `subhalo` is another mass, with
    the name and the numbers that lenstronomy has for it. `mass` are masses of the same kind that
    stand for the isothermal halo. The light has its long axis at
    0.4 rad, and `lens_light` is its brightness. `satellite` is the light of a small galaxy: x, y,
    arcsec, and its brightness. `noise` is that of the sky, `photons` the squared noise of photons
    per brightness, `source_index` the Sersic index of the source.
    """
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    fine = 3
    line = (np.arange(side * fine) - (side * fine - 1) / 2) * scale / fine
    x, y = np.meshgrid(line, line)
    e1, e2 = phi_q2_ellipticity(0.4, axis_ratio)
    at = {"center_x": centre[0], "center_y": centre[1]}
    mass_1, mass_2 = phi_q2_ellipticity(mass_angle, axis_ratio)
    isothermal = {"theta_E": einstein_radius, "e1": mass_1, "e2": mass_2, **at}
    tidal = {"gamma1": shear[0], "gamma2": shear[1]}
    masses = [*(mass or [("SIE", isothermal)]), ("SHEAR", tidal)]
    if perturber is not None:
        point = {"theta_E": perturber[2], "center_x": perturber[0], "center_y": perturber[1]}
        masses.append(("POINT_MASS", point))
    if subhalo is not None:
        masses.append(subhalo)
    names, numbers = zip(*masses, strict=True)
    bx, by = LensModel(list(names)).ray_shooting(x, y, list(numbers))
    light = LightModel(["SERSIC_ELLIPSE"])
    galaxy = {"amp": lens_light, "R_sersic": 0.6, "n_sersic": 3.0, "e1": e1, "e2": e2, **at}
    behind = {"amp": 1.2, "R_sersic": 0.15, "n_sersic": source_index, "e1": 0.1, "e2": -0.05,
              "center_x": source[0], "center_y": source[1]}  # fmt: skip
    picture = light.surface_brightness(x, y, [galaxy]) + light.surface_brightness(bx, by, [behind])
    if satellite is not None:
        small = {"amp": satellite[2], "R_sersic": 0.1, "n_sersic": 1.5, "e1": 0.05, "e2": 0.0,
                 "center_x": satellite[0], "center_y": satellite[1]}  # fmt: skip
        picture += light.surface_brightness(x, y, [small])
    picture = picture.reshape(side, fine, side, fine).mean(axis=(1, 3))
    pixel = np.arange(15) - 7
    psf = np.exp(-(pixel[:, None] ** 2 + pixel**2) / (2 * 1.0**2))
    psf /= psf.sum()
    sigma = np.sqrt(noise**2 + photons * np.clip(picture, 0, None))
    picture = fftconvolve(picture, psf, mode="same")
    observed = picture + sigma * np.random.default_rng(seed).normal(size=picture.shape)
    return Cutout(
        "made",
        observed.astype(np.float32),
        sigma.astype(np.float32),
        psf.astype(np.float32),
        scale,
    )
