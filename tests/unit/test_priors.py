"""Priors that a user gives: what is understood, and what is refused in one line."""

from __future__ import annotations

import pytest

from lumpylens.errors import DataError
from lumpylens.lenses.priors import DEFAULT, Priors, priors_of


def test_without_any_they_are_the_usual_ones():
    assert priors_of(None) == priors_of([]) == priors_of({}) == DEFAULT == Priors()
    assert str(DEFAULT) == (
        "slope=2,0.15 einstein_radius=1.2,0.54 shear=0.08 ellipticity=0.25 centre=0.04 "
        "multipoles=0.01"
    )


def test_some_can_be_given_as_text_or_as_numbers():
    wanted = Priors(slope=(2.1, 0.3), shear=0.05)
    assert priors_of(["slope=2.1,0.3", "shear=0.05"]) == wanted
    assert priors_of({"slope": (2.1, 0.3), "shear": 0.05}) == wanted
    assert priors_of(["einstein-radius=2,0.5"]).einstein_radius == (2.0, 0.5)
    assert priors_of(str(wanted).split()) == wanted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["slop=2,0.1"], "no prior 'slop'; choose one of slope, einstein_radius, shear"),
        (["slope=2"], "slope needs its mean and its standard deviation, got 1 numbers"),
        (["shear=0,0.1"], "shear needs its standard deviation, got 2 numbers"),
        (["slope=2,0"], "standard deviation of the prior slope is not a positive number"),
        (["shear=-1"], "standard deviation of the prior shear is not a positive number"),
        (["shear=inf"], "standard deviation of the prior shear is not a positive number"),
        (["einstein_radius=0,1"], "mean of the prior einstein_radius is not a positive number"),
        (["shear"], "a prior is NAME=NUMBER or NAME=MEAN,SPREAD, got 'shear'"),
        (["shear=much"], "got 'shear=much'"),
        (["shear=0.1", "shear=0.2"], "the prior shear was given twice"),
    ],
)
def test_mistakes_are_said(given, said):
    with pytest.raises(DataError, match=said) as told:
        priors_of(given)
    assert "\n" not in str(told.value)
