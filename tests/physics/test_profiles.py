"""Profiles of perturbers: the mass of a planted subhalo comes back with its own profile."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.lens_row import LensRow
from lumpylens.lenses.model import ALL, INDEX, MULTIPOLES, PERTURBER, RealLens, vector
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.posterior import Posterior
from lumpylens.lenses.priors import DEFAULT
from lumpylens.lenses.profiles import NFW, PSEUDO_JAFFE, fit_profiles, measured_profiles
from lumpylens.lenses.redshifts import Redshifts, with_masses
from lumpylens.lenses.refine import refine
from lumpylens.lenses.smooth import beliefs
from lumpylens.lenses.starts import fit_lens_light
from lumpylens.physics.cosmology import concentration
from lumpylens.physics.subhaloes import TRUNCATION

AT = {"center_x": 0.95, "center_y": -0.35}
REDSHIFTS = Redshifts(0.2, 0.6)
TRUTH = vector(
    log_einstein_radius=math.log(1.1), eta_1=0.15, eta_2=0.15, shear_1=0.03, shear_2=-0.02,
    source_x=0.08, source_y=0.12, log_source_scale=math.log(0.1),
    perturber_x=AT["center_x"], perturber_y=AT["center_y"], perturber_strength=0.02,
)  # fmt: skip


def nfw(mass):
    from astropy.cosmology import FlatLambdaCDM
    from lenstronomy.Cosmo.lens_cosmo import LensCosmo

    c = float(concentration(np.array(mass), REDSHIFTS.lens))
    universe = LensCosmo(REDSHIFTS.lens, REDSHIFTS.source, FlatLambdaCDM(H0=70, Om0=0.3))
    scale, alpha = universe.nfw_physical2angle(M=mass, c=c)
    return "TNFW", {"Rs": scale, "alpha_Rs": alpha, "r_trunc": TRUNCATION * scale, **AT}


def pseudo_jaffe(mass):
    strength, core = mass / REDSHIFTS.mass(1.0), 1e-4
    b = math.cbrt(strength**2 / 1.1)
    tidal = math.sqrt(b * 1.1)
    sigma0 = b / 2 * (tidal - core) / (tidal * core)
    return "PJAFFE", {"sigma0": sigma0, "Ra": core, "Rs": tidal, **AT}


def fitted_profiles(subhalo, redshifts=REDSHIFTS, seed=0):
    """Fits from near the truth: to look for the mass takes longer."""
    cutout = made_cutout(
        side=81, noise=0.004, photons=2e-4, source_index=0.5, lens_light=0.3, subhalo=subhalo,
        seed=seed,
    )  # fmt: skip
    observation = cut_disc(cutout, radius=1.8, roughness=0.005)
    stated = beliefs(fit_lens_light(observation), DEFAULT)
    names = (*ALL, *MULTIPOLES, *PERTURBER)
    with torch.no_grad():
        model = RealLens(observation, 8, 1e-3)
        joint = refine(model, TRUTH, names, stated, steps=40, learn_curvature=True)
        return fit_profiles(Posterior(joint, stated, 1.0), 100.0, redshifts)


def row_of_profiles(fits, redshifts=REDSHIFTS):
    radius = math.sqrt(fits["point"].fit.fitted.lens["perturber_strength"])
    columns = measured_profiles(fits, redshifts)
    row = LensRow(id="a", perturber_einstein_radius_arcsec=radius, **columns)
    return with_masses([row], {"a": REDSHIFTS})[0]


@pytest.mark.parametrize("seed", [1, 3])
def test_the_mass_of_a_halo_comes_back(seed):
    pytest.importorskip("lenstronomy")
    fits = fitted_profiles(nfw(2e10), seed=seed)
    row = row_of_profiles(fits)
    assert abs(row.nfw_m200_msun - 2e10) < 2 * row.nfw_m200_error_msun
    assert row.nfw_m200_error_msun < 6e9
    assert row.perturber_profile == NFW
    assert fits[NFW].log_evidence > fits["point"].log_evidence + 20
    # A point in its place is a part of its core.
    assert row.perturber_mass_msun < 0.1 * 2e10


def test_the_mass_of_a_pseudo_jaffe_subhalo_comes_back():
    pytest.importorskip("lenstronomy")
    fits = fitted_profiles(pseudo_jaffe(3e9))
    row = row_of_profiles(fits)
    assert abs(row.pseudo_jaffe_mass_msun - 3e9) < 3 * row.pseudo_jaffe_mass_error_msun
    assert row.pseudo_jaffe_mass_error_msun < 0.1 * 3e9
    assert row.perturber_profile == PSEUDO_JAFFE
    assert fits[PSEUDO_JAFFE].log_evidence > fits["point"].log_evidence + 20
    assert row.perturber_mass_msun < 0.7 * 3e9


def test_without_redshifts_there_is_no_halo():
    pytest.importorskip("lenstronomy")
    fits = fitted_profiles(pseudo_jaffe(3e9), None)
    assert list(fits) == ["point", PSEUDO_JAFFE]
    row = LensRow(id="a", **measured_profiles(fits, None))
    assert row.perturber_profile == PSEUDO_JAFFE
    assert math.isnan(row.nfw_m200_msun)
    assert row.nfw_redshifts == ""
    assert row.pseudo_jaffe_einstein_radius_arcsec > 0
    massless = fits["point"].fit
    values = massless.fitted.lens.values.clone()
    values[INDEX["perturber_strength"]] = 0
    lens = replace(massless.fitted.lens, values=values)
    gone = replace(massless, fitted=replace(massless.fitted, lens=lens))
    assert fit_profiles(gone, 0.0, REDSHIFTS) == {}
    assert measured_profiles({}, REDSHIFTS) == {}
