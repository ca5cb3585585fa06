"""Subhaloes of given mass: their deflection, and how it changes the light of a source."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from lumpylens.physics.compiled.perturbers import light_moved_by_haloes, radii
from lumpylens.physics.cosmology import (
    ARCSEC,
    angular_diameter_distance_mpc,
    msun_per_square_arcsec,
    scale_radius_kpc,
)
from lumpylens.physics.deflection import truncated_haloes
from lumpylens.physics.subhaloes import PROFILES, TRUNCATION, bending

PLACE = {"lens_redshift": 0.3, "source_redshift": 1.2, "einstein_radius_arcsec": 1.4}


@pytest.mark.parametrize("profile", PROFILES)
def test_far_away_a_subhalo_bends_light_as_a_point_of_its_mass(profile):
    mass = np.array([1e8, 1e10])
    far = np.array([3e3, 3e4])
    strength = bending(profile, mass, far, **PLACE) * far**2
    assert strength[:, 1] == pytest.approx(mass / msun_per_square_arcsec(0.3, 1.2), rel=1e-2)
    assert (strength[:, 0] < strength[:, 1]).all()


@pytest.mark.parametrize("concentration", [1.0, 2.0])
def test_an_nfw_subhalo_bends_as_a_truncated_halo_of_the_relation(concentration):
    mass, r = 3e9, torch.tensor([[[0.05, 0.3, 1.0, 4.0]]])
    kpc_per_arcsec = 1e3 * ARCSEC * angular_diameter_distance_mpc(0, 0.3)
    scale = float(scale_radius_kpc(np.array([mass]), 0.3)[0]) / kpc_per_arcsec / concentration
    numbers = (0.0, 0.0, math.sqrt(mass / msun_per_square_arcsec(0.3, 1.2)), scale, TRUNCATION)
    columns = (torch.tensor([[number]]) for number in numbers)
    expected, _ = truncated_haloes(r, torch.zeros_like(r), *columns)
    got = bending("nfw", np.array([mass]), r[0, 0].double().numpy(), **PLACE,
                  concentration=concentration)  # fmt: skip
    assert got[0] * r[0, 0].numpy() == pytest.approx(expected[0, 0].numpy(), rel=1e-3)


def test_a_pseudo_jaffe_subhalo_has_the_stated_convergence_and_tidal_radius():
    mass, r = 1e9, 0.07
    strength = mass / msun_per_square_arcsec(0.3, 1.2)
    b = (strength**2 / 1.4) ** (1 / 3)
    tidal = math.sqrt(b * 1.4)
    assert b * tidal == pytest.approx(strength)
    inside, _ = quad(lambda at: b * (1 - at / math.sqrt(at**2 + tidal**2)), 0, r)
    got = bending("pseudo-jaffe", np.array([mass]), np.array([r]), **PLACE)
    assert got[0, 0] * r**2 == pytest.approx(inside, rel=1e-6)


def test_light_moves_by_the_gradient_along_the_deflection():
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 7))
    gradient = random.normal(size=(2, *x.shape))
    at = np.array([0.03, 5.0]), np.array([-0.4, 0.1])
    mass = np.array([1e8, 1e10])
    moved = light_moved_by_haloes(
        (x, y), at, tuple(gradient), bending("nfw", mass, radii(), **PLACE)
    )
    assert moved.shape == (2, 2, 7, 9)
    for k in range(2):
        u, v = x - at[0][k], y - at[1][k]
        exact = bending("nfw", mass, np.hypot(u, v).ravel(), **PLACE).reshape(2, *x.shape)
        expected = -(gradient[0] * u + gradient[1] * v) * exact
        assert moved[k] == pytest.approx(expected, rel=3e-3, abs=1e-9)
