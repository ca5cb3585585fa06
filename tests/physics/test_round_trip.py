"""Lenses made by another code, fitted, and given back in the conventions of that code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import fftconvolve

from lumpylens.lenses.analysis import analyse
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.exchange import lenstronomy, pyautolens
from lumpylens.lenses.exchange.parametric import ParametricLens

SIDE, SCALE, FINE = 81, 0.06, 3
Q, SLOPE = 0.65, 2.1


def positions():
    line = (np.arange(SIDE * FINE) - (SIDE * FINE - 1) / 2) * SCALE / FINE
    return np.meshgrid(line, line)


def fit(picture):
    """Add a PSF and noise to a picture of fine pixels, and fit it."""
    picture = picture.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    at = np.arange(15) - 7
    psf = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.1**2))
    psf /= psf.sum()
    sigma = np.sqrt(0.02**2 + 0.002 * picture)
    noise = sigma * np.random.default_rng(3).normal(size=picture.shape)
    observed = fftconvolve(picture, psf, mode="same") + noise
    arrays = (array.astype(np.float32) for array in (observed, sigma, psf))
    return ParametricLens.of(analyse(Cutout("made", *arrays, SCALE)))


@pytest.mark.slow
def test_from_lenstronomy_and_back():
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    e1, e2 = phi_q2_ellipticity(math.radians(35), Q)
    shape = {"e1": e1, "e2": e2, "center_x": 0.02, "center_y": -0.03}
    mass = [
        {"theta_E": 1.2, "gamma": SLOPE, **shape},
        {"gamma1": -0.03, "gamma2": 0.05, "ra_0": 0.02, "dec_0": -0.03},
    ]
    x, y = positions()
    bx, by = LensModel(["EPL", "SHEAR"]).ray_shooting(x.ravel(), y.ravel(), mass)
    galaxy = {"amp": 1.0, "R_sersic": 0.6, "n_sersic": 3.0, **shape}
    source = {"amp": 1.2, "R_sersic": 0.15, "n_sersic": 1.0, "e1": 0.1, "e2": -0.05,
              "center_x": 0.1, "center_y": 0.08}  # fmt: skip
    light = LightModel(["SERSIC_ELLIPSE"])
    picture = light.surface_brightness(x.ravel(), y.ravel(), [galaxy])
    picture = picture + light.surface_brightness(bx, by, [source])
    names, (halo, shear, *multipoles) = lenstronomy.mass(fit(picture.reshape(x.shape)).mass)
    assert names == ["EPL", "SHEAR", *["MULTIPOLE"] * len(multipoles)]
    assert halo["theta_E"] == pytest.approx(1.2, rel=0.01)
    for name in ("e1", "e2", "center_x", "center_y"):
        assert halo[name] == pytest.approx(shape[name], abs=0.02)
    assert halo["gamma"] == pytest.approx(SLOPE, abs=0.2)
    assert (shear["gamma1"], shear["gamma2"]) == pytest.approx((-0.03, 0.05), abs=0.02)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_from_pyautolens_and_back(monkeypatch):
    monkeypatch.setenv("PYAUTO_SKIP_WORKSPACE_VERSION_CHECK", "1")
    al = pytest.importorskip("autolens", reason="PyAutoLens is not installed")

    components = al.convert.ell_comps_from(axis_ratio=Q, angle=35.0)
    mass = al.mp.PowerLaw(
        centre=(0.02, -0.03), ell_comps=components, einstein_radius=1.28, slope=SLOPE
    )
    lens = al.Galaxy(
        redshift=0.5,
        mass=mass,
        shear=al.mp.ExternalShear(gamma_1=-0.03, gamma_2=0.05),
        light=al.lp.Sersic(
            centre=(0.02, -0.03), ell_comps=components, intensity=1.0, effective_radius=0.6,
            sersic_index=3.0,
        ),
    )  # fmt: skip
    behind = al.lp.Exponential(centre=(0.1, 0.08), intensity=1.2, effective_radius=0.15)
    source = al.Galaxy(redshift=1.0, light=behind)
    # Its first row has the largest y; files are written in this order.
    grid = al.Grid2D.uniform(
        shape_native=(SIDE * FINE, SIDE * FINE), pixel_scales=SCALE / FINE, over_sample_size=1
    )
    tracer = al.Tracer(galaxies=[lens, source])
    picture = np.asarray(tracer.image_2d_from(grid=grid).native.array)
    (_, halo), (_, shear), *_ = pyautolens.mass(fit(picture).mass)
    assert halo["einstein_radius"] == pytest.approx(1.28, rel=0.01)
    assert halo["centre"] == pytest.approx((0.02, -0.03), abs=0.02)
    assert halo["ell_comps"] == pytest.approx(components, abs=0.02)
    assert halo["slope"] == pytest.approx(SLOPE, abs=0.2)
    assert tuple(shear.values()) == pytest.approx((-0.03, 0.05), abs=0.02)
