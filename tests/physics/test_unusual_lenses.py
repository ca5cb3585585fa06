"""Lenses whose mass lies otherwise than their light, or that have none, are found all the same."""

from __future__ import annotations

import math

import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.analysis import FIRST_RADIUS, ROUGH, analyse
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.quality import remarks
from lumpylens.lenses.remarks import Remark
from lumpylens.lenses.smooth import fit_smooth

pytestmark = pytest.mark.slow


def fitted(**lens):
    pytest.importorskip("lenstronomy")
    cutout = made_cutout(side=141, einstein_radius=1.4, axis_ratio=0.6, **lens)
    with torch.no_grad():
        return fit_smooth(cut_disc(cutout, radius=FIRST_RADIUS, roughness=ROUGH))


def test_a_mass_at_another_angle_than_the_light():
    """From halos along the light alone this fit ended at 0.8 arcsec."""
    fit = fitted(mass_angle=1.9, source=(0.2, -0.1))
    assert math.exp(fit.best.lens["log_einstein_radius"]) == pytest.approx(1.4, rel=0.01)
    assert fit.shines


def test_a_lens_without_light():
    """The lens light was put on an image of the source."""
    fit = fitted(lens_light=0.0, mass_angle=1.3, source=(0.15, -0.2), centre=(0.15, 0.0))
    lens = fit.best.lens
    assert math.exp(lens["log_einstein_radius"]) == pytest.approx(1.4, rel=0.01)
    assert lens["centre_x"] == pytest.approx(0.15, abs=0.02)
    assert lens["centre_y"] == pytest.approx(0.0, abs=0.02)
    assert (lens["light_x"], lens["light_y"]) == (lens["centre_x"], lens["centre_y"])
    assert not fit.shines


def test_what_is_said_of_a_lens_without_light():
    pytest.importorskip("lenstronomy")
    cutout = made_cutout(side=141, lens_light=0.0, source=(0.2, 0.1), centre=(0.15, 0.0))
    analysis = analyse(cutout)
    said = {note.remark for note in remarks(analysis)}
    assert Remark.NO_LENS_LIGHT in said
    assert Remark.MASS_APART not in said
    lens = analysis.smooth.best.lens
    assert lens["light_x"] == pytest.approx(lens["centre_x"], abs=0.05)
