"""Concentrations of haloes, beside those of another code."""

import numpy as np
import pytest

from lumpylens.errors import DataError
from lumpylens.physics.cosmology import concentration, scale_radius_kpc
from lumpylens.simulation.presets import population
from lumpylens.simulation.substructure import Substructure

# colossus 1.4.0, planck15, concentration(M, "200c", z, model="ludlow16"), for masses in Msun.
COLOSSUS = {
    0.0: {1e7: 18.11, 1e8: 16.25, 1e9: 14.35, 1e10: 12.43, 1e12: 8.61, 1e14: 5.19},
    0.75: {1e7: 13.68, 1e8: 12.30, 1e9: 10.90, 1e10: 9.50, 1e12: 6.74, 1e14: 4.32},
    1.5: {1e7: 10.26, 1e8: 9.26, 1e9: 8.24, 1e10: 7.23, 1e12: 5.26, 1e14: 3.58},
}


@pytest.mark.parametrize("redshift", COLOSSUS)
def test_the_fit_of_ludlow_is_near_their_model(redshift):
    masses, known = (np.array(list(part)) for part in zip(*COLOSSUS[redshift].items(), strict=True))
    # The fit is good to 3 %, and our round cosmology differs by another 2 %.
    np.testing.assert_allclose(concentration(masses, redshift, "ludlow2016"), known, rtol=0.05)


def test_small_haloes_are_denser_than_the_power_law_of_duffy():
    masses = np.array([1e8, 1e10])
    ratio = concentration(masses, 0.75, "ludlow2016") / concentration(masses, 0.75)
    assert ((ratio > 1.1) & (ratio < 1.5)).all()
    radii = scale_radius_kpc(masses, 0.75) / scale_radius_kpc(masses, 0.75, "ludlow2016")
    np.testing.assert_allclose(radii, ratio)


def test_unknown_relations_are_refused():
    with pytest.raises(ValueError, match="duffy2008 or ludlow2016"):
        concentration(np.array([1e9]), 0.5, "diemer2019")
    with pytest.raises(DataError, match="duffy2008 or ludlow2016, got 'diemer2019'"):
        Substructure(profile="halo", concentration="diemer2019")


def test_haloes_of_roman_are_those_of_ludlow():
    assert population("roman").substructures["cdm"].concentration == "ludlow2016"
