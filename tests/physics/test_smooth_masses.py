"""Deflections of stars, dark halo and broken power law, against lenstronomy and known limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lumpylens.physics.broken_power_law import BrokenPowerLaw
from lumpylens.physics.gaussian_mass import enclosed, gaussian_deflection
from lumpylens.physics.nfw import elliptical_nfw, nfw_mass

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.uniform(-3, 3, (2, 20, 25))
SHAPES = [(0.95, 0.0), (0.8, 0.4), (0.55, -1.1), (0.3, 2.0)]


def eta_of(q: float, angle: float) -> tuple[float, float]:
    return -math.log(q) * math.cos(2 * angle), -math.log(q) * math.sin(2 * angle)


@pytest.mark.parametrize(("q", "angle"), SHAPES)
def test_gaussians_deflect_as_in_lenstronomy(q, angle):
    pytest.importorskip("lenstronomy")
    from lenstronomy.LensModel.Profiles.gaussian_ellipse_kappa import GaussianEllipseKappa
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    e1, e2 = phi_q2_ellipticity(angle, q)
    widths, masses = np.array([0.05, 0.4, 2.0]), np.array([0.3, 1.0, 0.0])
    bx, by = gaussian_deflection(X, Y, eta_of(q, angle), widths, masses)
    theirs = np.zeros((2, *X.shape))
    for width, mass in zip(widths[:2], masses[:2], strict=True):
        # Their amplitude is the integral of the convergence: pi for an Einstein radius of 1.
        known = {"amp": mass * np.pi, "sigma": width, "e1": e1, "e2": e2}
        theirs += GaussianEllipseKappa().derivatives(X, Y, **known)
    np.testing.assert_allclose([bx, by], theirs, atol=1e-6)


def test_round_gaussians_have_the_mass_within():
    widths, masses = np.array([0.05, 0.4, 2.0]), np.array([0.3, 1.0, 0.5])
    r = np.array([[0.02, 0.3, 1.0, 3.0]])
    bent, across = gaussian_deflection(r, 0 * r, (0.0, 0.0), widths, masses)
    known = [enclosed(float(radius), widths, masses) / radius for radius in r[0]]
    np.testing.assert_allclose(bent[0], known, rtol=1e-5)
    np.testing.assert_allclose(across, 0, atol=1e-12)


@pytest.mark.parametrize(("q", "angle"), SHAPES[:3])
def test_a_halo_deflects_as_in_lenstronomy(q, angle):
    pytest.importorskip("lenstronomy")
    from lenstronomy.LensModel.Profiles.nfw_ellipse_potential import NFWEllipsePotential
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    e1, e2 = phi_q2_ellipticity(angle, q)
    size = (1 - q**2) / (1 + q**2)
    epsilon = size * math.cos(2 * angle), size * math.sin(2 * angle)
    for scale in (0.7, 20.0):
        theirs = NFWEllipsePotential().derivatives(X, Y, Rs=scale, alpha_Rs=1.0, e1=e1, e2=e2)
        # Their strength is the deflection of a round halo at its scale radius.
        unit = float(nfw_mass(np.array(1.0))) / scale
        ours = elliptical_nfw(X, Y, epsilon, scale)
        np.testing.assert_allclose(ours, np.array(theirs) * unit, rtol=1e-4)


@pytest.mark.parametrize(("q", "angle"), SHAPES)
@pytest.mark.parametrize("slope", [1.6, 2.0, 2.3])
def test_with_equal_slopes_it_is_the_power_law_of_lenstronomy(q, angle, slope):
    pytest.importorskip("lenstronomy")
    from lenstronomy.LensModel.Profiles.epl import EPL
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    e1, e2 = phi_q2_ellipticity(angle, q)
    theirs = EPL().derivatives(X, Y, theta_E=1.2, gamma=slope, e1=e1, e2=e2)
    ours = BrokenPowerLaw(1.2, eta_of(q, angle), slope, slope, 0.9).deflection(X, Y)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("q", "angle"), SHAPES[:3])
@pytest.mark.parametrize("at", [0.6, 1.5])
def test_a_broken_power_law_has_its_convergence(q, angle, at):
    mass = BrokenPowerLaw(1.2, eta_of(q, angle), 1.6, 2.3, at)
    step = 1e-5
    right, left = mass.deflection(X + step, Y), mass.deflection(X - step, Y)
    above, below = mass.deflection(X, Y + step), mass.deflection(X, Y - step)
    found = (right[0] - left[0] + above[1] - below[1]) / (4 * step)
    curl = (right[1] - left[1] - above[0] + below[0]) / (4 * step)
    u = X * math.cos(angle) + Y * math.sin(angle)
    v = Y * math.cos(angle) - X * math.sin(angle)
    radius = np.sqrt(q * u**2 + v**2 / q) / at
    known = np.where(radius < 1, radius ** (1 - 1.6), radius ** (1 - 2.3))
    smooth = abs(radius - 1) > 1e-3
    ratio = (found / known)[smooth]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    np.testing.assert_allclose(curl[smooth], 0, atol=1e-4)
    # The mean convergence within the ellipse of the Einstein radius is 1.
    line = np.linspace(0, 1.2, 200_001)[1:] / at
    mean = 2 * ratio[0] * np.mean(np.where(line < 1, line ** (1 - 1.6), line ** (1 - 2.3)) * line)
    assert mean / (1.2 / at) == pytest.approx(1, abs=1e-3)
