"""Profiles of small masses: lenstronomy as oracle, and derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lumpylens.lenses.compact_mass import (
    Place,
    PointMass,
    PseudoJaffe,
    TruncatedNfw,
    deflection,
    light_changes,
)
from lumpylens.physics.cosmology import concentration
from lumpylens.physics.subhaloes import TRUNCATION

NFW = TruncatedNfw(0.2, 0.6)
PROFILES = [PointMass(), PseudoJaffe(1.2), NFW]
PLACE = Place(0.3, -0.2, 0.02)
X, Y = np.meshgrid(np.linspace(-1.5, 1.5, 31), np.linspace(-1.51, 1.49, 31))


def close(found, expected, rtol):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())


def test_a_pseudo_jaffe_is_that_of_lenstronomy():
    from lenstronomy.LensModel.Profiles.pseudo_jaffe import PseudoJaffe as Theirs

    b = PseudoJaffe(1.2).sphere_radius(PLACE.strength)
    tidal, core = math.sqrt(1.2 * b), 1e-6
    assert b * tidal == pytest.approx(PLACE.strength)
    sigma0 = b / 2 * (tidal - core) / (tidal * core)
    expected = Theirs().derivatives(
        X, Y, sigma0=sigma0, Ra=core, Rs=tidal, center_x=PLACE.x, center_y=PLACE.y
    )
    close(deflection(PseudoJaffe(1.2), (X, Y), PLACE), expected, 1e-4)


def test_a_truncated_nfw_is_that_of_lenstronomy():
    from astropy.cosmology import FlatLambdaCDM
    from lenstronomy.Cosmo.lens_cosmo import LensCosmo
    from lenstronomy.LensModel.Profiles.tnfw import TNFW

    mass = PLACE.strength * NFW.msun
    c = float(concentration(np.array(mass), 0.2))
    theirs = LensCosmo(0.2, 0.6, FlatLambdaCDM(H0=70, Om0=0.3))
    scale, alpha = theirs.nfw_physical2angle(M=mass, c=c)
    assert NFW.scale_radius(PLACE.strength) == pytest.approx(scale, rel=1e-3)
    expected = TNFW().derivatives(
        X, Y, Rs=scale, alpha_Rs=alpha, r_trunc=TRUNCATION * scale, center_x=PLACE.x,
        center_y=PLACE.y,
    )  # fmt: skip
    close(deflection(NFW, (X, Y), PLACE), expected, 2e-3)


def test_far_away_all_are_points_of_their_mass():
    far = (np.array([[3e3]]), np.array([[0.0]]))
    point = deflection(PointMass(), far, PLACE)[0]
    assert deflection(PseudoJaffe(1.2), far, PLACE)[0] == pytest.approx(point, rel=1e-3)
    left = NFW.left_over(PLACE.strength)
    assert 0.6 < left < 0.75
    assert deflection(NFW, far, PLACE)[0] == pytest.approx(left * point, rel=1e-2)


@pytest.mark.parametrize("mass", PROFILES)
def test_changes_of_the_light_are_the_derivatives_of_the_deflection(mass):
    gradient = np.cos(3 * X), np.sin(2 * Y)
    rows = light_changes(mass, (X, Y), gradient, PLACE)
    for k, row in enumerate(rows):
        step = (1e-5, 1e-5, 1e-6)[k]
        ends = []
        for sign in (1, -1):
            moved = list(PLACE)
            moved[k] += sign * step
            a, b = deflection(mass, (X, Y), Place(*moved))
            ends.append(-(gradient[0] * a + gradient[1] * b))
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(row, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("mass", PROFILES)
def test_nothing_is_divided_by_zero(mass):
    there = (np.array([[PLACE.x]]), np.array([[PLACE.y]]))
    for strength in (0.0, PLACE.strength):
        place = PLACE._replace(strength=strength)
        rows = light_changes(mass, there, (np.ones((1, 1)), np.ones((1, 1))), place)
        assert all(np.isfinite(row).all() for row in rows)
        assert np.isfinite(deflection(mass, there, place)).all()
