"""Masses that compete with the power law: derivatives, and what becomes of perturbers in them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.central_mass import BrokenMass
from lumpylens.lenses.competing import (
    BROKEN_POWER_LAW,
    STARS_AND_HALO,
    fit_competing,
    measured_competing,
    stars_and_halo,
)
from lumpylens.lenses.inflation import with_p_values
from lumpylens.lenses.lens_row import LensRow
from lumpylens.lenses.model import ALL, INDEX, PERTURBER, SHEAR, RealLens, vector
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.perturber import FittedPerturber, filter_lens, fit_perturber
from lumpylens.lenses.priors import DEFAULT
from lumpylens.lenses.refine import Belief, refine
from lumpylens.lenses.significance import gumbel
from lumpylens.lenses.smooth import SmoothFit, beliefs, for_search
from lumpylens.lenses.starts import fit_lens_light
from lumpylens.lenses.verdict import Status, status_of, verdict_of
from lumpylens.physics.batches import unsplit

TRUTH = vector(
    log_einstein_radius=math.log(1.1), eta_1=0.15, eta_2=0.15, shear_1=0.03, shear_2=-0.02,
    source_x=0.08, source_y=0.12, log_source_scale=math.log(0.1), stellar_fraction=0.6,
    log_scale_radius=math.log(15.0), mass_to_light_slope=0.1, inner_slope=1.8,
    log_break_radius=math.log(0.8), centre_x=0.01, centre_y=-0.02,
)  # fmt: skip


@pytest.fixture(scope="module")
def smooth():
    """A smooth power law that was fitted to a small image for a few steps."""
    pytest.importorskip("lenstronomy")
    observation = cut_disc(made_cutout(side=61), radius=1.4)
    stated = beliefs(fit_lens_light(observation), DEFAULT)
    with torch.no_grad():
        model = RealLens(observation, 5, 1e-2)
        return refine(model, TRUTH, ALL, for_search(stated), steps=2)


@pytest.mark.parametrize("kind", ["stars and halo", "broken power law"])
def test_derivatives_are_those_of_the_rays(smooth, kind):
    grid = smooth.model.observation
    mass = stars_and_halo(grid, smooth)
    if kind == "broken power law":
        mass = BrokenMass(grid.x.numpy(), grid.y.numpy())
    model = RealLens(grid, mass=mass)
    one, none = np.ones(mass.x.shape), np.zeros(mass.x.shape)
    names = (*mass.names, *SHEAR)
    along_x, along_y = (model.moved(TRUTH, pair, names) for pair in ((one, none), (none, one)))
    step = 1e-4
    for name in names:
        up, down = TRUTH.clone(), TRUTH.clone()
        up[INDEX[name]] += step
        down[INDEX[name]] -= step
        ends = zip(model.rays(up), model.rays(down), strict=True)
        for moved, (high, low) in zip((along_x, along_y), ends, strict=True):
            known = (high - low) / (2 * step)
            # The slope of a broken power law jumps at the break, and the centre is a cusp.
            off = (moved[name] - known).abs()
            assert float(off.flatten().quantile(0.98)) < 1e-3 * float(known.abs().max()), name


def test_stars_and_halo_have_their_mass_within_the_einstein_radius(smooth):
    """The flux of the deflection through a circle is twice the mass within."""
    observation = smooth.model.observation
    mass = stars_and_halo(observation, smooth)
    values = TRUTH.clone()
    values[[INDEX[name] for name in ("eta_1", "eta_2")]] = 0
    numbers = values[[INDEX[name] for name in mass.names]].tolist()
    bent_x, bent_y = mass.deflection(tuple(numbers))
    u, v = mass.x - 0.01, mass.y + 0.02
    radius = np.hypot(u, v)
    ring = abs(radius - 1.1) < 0.03
    along = (bent_x * u + bent_y * v) / radius
    assert np.mean(along[ring]) == pytest.approx(1.1, rel=0.01)
    without = list(numbers)
    without[mass.names.index("stellar_fraction")] = 0.0
    halo_x, halo_y = mass.deflection(tuple(without))
    along = (halo_x * u + halo_y * v) / radius
    # A halo alone is much shallower than a power law of slope 2.
    assert np.mean(along[abs(radius - 0.5) < 0.03]) < 0.7
    assert np.mean(along[ring]) == pytest.approx(1.1, rel=0.01)


def twisted():
    """Stars that follow the light, and a rounder halo that is turned against them; no subhalo.

    The stars have 0.6 of the mass within 1.1 arcsec, which is the Einstein radius.
    """
    from lenstronomy.LensModel.Profiles.gauss_decomposition import SersicEllipseGaussDec
    from lenstronomy.LensModel.Profiles.nfw import NFW
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    at, none, radius = np.array([1.1]), np.zeros(1), 1.1
    stars, halo = {"R_sersic": 0.6, "n_sersic": 3.0}, {"Rs": 10.0}
    (of_stars,) = SersicEllipseGaussDec().derivatives(at, none, **stars, k_eff=1, e1=1e-4, e2=0)[0]
    (of_halo,) = NFW().derivatives(at, none, **halo, alpha_Rs=1.0)[0]
    e1, e2 = phi_q2_ellipticity(0.4, 0.5)
    stars |= {"k_eff": 0.6 * radius / of_stars, "e1": e1, "e2": e2}
    e1, e2 = phi_q2_ellipticity(1.4, 0.85)
    halo |= {"alpha_Rs": 0.4 * radius / of_halo, "e1": e1, "e2": e2}
    return [("SERSIC_ELLIPSE_GAUSS_DEC", stars), ("NFW_ELLIPSE_POTENTIAL", halo)]


def smooth_fit(cutout, order=8):
    """A smooth power law with a simple source, from near the truth: to look for it takes longer."""
    observation = cut_disc(cutout, radius=1.8, roughness=0.005)
    light = fit_lens_light(observation)
    stated = beliefs(light, DEFAULT)
    with torch.no_grad():
        best = refine(RealLens(observation, order, 1e-2), TRUTH, ALL, for_search(stated), steps=30)
    return SmoothFit(best, stated, (), light)


def with_perturber(smooth, place):
    """The perturber near a place with its Einstein radius, arcsec, without a search."""
    start = smooth.best.lens.values.clone()
    start[[INDEX[name] for name in PERTURBER]] = torch.tensor([*place[:2], place[2] ** 2]).double()
    with torch.no_grad():
        fitted = refine(smooth.best.model, start, (*ALL, *PERTURBER), smooth.belief, steps=20)
    return FittedPerturber(fitted, smooth.best, (smooth.best.energy - fitted.energy) / 2)


def test_a_perturber_stays_with_another_mass():
    pytest.importorskip("lenstronomy")
    place = (0.95, -0.35, 0.08)
    cutout = made_cutout(side=41, scale=0.1, perturber=place, noise=0.01, photons=5e-4)
    smooth = smooth_fit(cutout, order=6)
    perturber = with_perturber(smooth, place)
    with torch.no_grad():
        fits = fit_competing(smooth, perturber)
    assert perturber.log_evidence > 200
    for fit in fits.values():
        assert fit.gain > 0.7 * perturber.log_evidence
    # The mock is a power law, which a broken one describes as well.
    assert abs(fits[BROKEN_POWER_LAW].log_evidence) < 10


@pytest.mark.slow
def test_a_mass_that_no_power_law_has_is_no_perturber():
    pytest.importorskip("lenstronomy")
    cutout = made_cutout(side=81, axis_ratio=0.5, noise=0.008, photons=5e-4, mass=twisted())
    smooth = smooth_fit(cutout)
    with torch.no_grad(), unsplit():
        grid = filter_lens(smooth.best, smooth.belief, 1.8)
        perturber = fit_perturber(smooth.best, smooth.belief, grid)
        fits = fit_competing(smooth, perturber)
    law = gumbel(grid.noise_maxima(200, torch.Generator().manual_seed(0)))
    stars = fits[STARS_AND_HALO]
    columns = measured_competing(fits)
    row = LensRow(
        id="a", perturber_log_evidence=perturber.log_evidence, residual_scatter=1.0,
        perturber_log_evidence_multipoles=perturber.log_evidence,
        noise_maximum=law[0], noise_maximum_scale=law[1], **columns,
    )  # fmt: skip
    (row,) = with_p_values([row])
    assert perturber.log_evidence > 50
    assert row.perturber_p_value < 0.01 < row.perturber_p_value_any_mass
    assert status_of(row) is Status.COMPLEX_MASS
    assert "stars and a dark halo" in verdict_of(row)
    assert stars.log_evidence > 100
    assert row.stellar_fraction == pytest.approx(0.6, abs=0.1)


def test_a_lens_without_light_has_no_stars(smooth):
    grid, lens = smooth.model.observation, smooth.lens
    dark = replace(lens, linear=replace(lens.linear, positive=0 * lens.linear.positive))
    assert stars_and_halo(grid, replace(smooth, lens=dark)) is None
    assert measured_competing({}) == {}


def test_stars_have_no_negative_mass(smooth):
    """A prior pulls their part of the mass below zero, where it does not go."""
    mass = stars_and_halo(smooth.model.observation, smooth)
    pulled = Belief({"stellar_fraction": (-2.0, 1e-3)})
    start = TRUTH.clone()
    with torch.no_grad():
        model = replace(smooth.model, mass=mass)
        fitted = refine(model, start, ("stellar_fraction",), pulled, steps=8)
    assert fitted.lens["stellar_fraction"] == 0
