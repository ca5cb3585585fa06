"""Companions that shine: light and mass of them are part of the smooth lens, and no lumps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.analysis import FINE, analyse
from lumpylens.lenses.catalogue import row_of
from lumpylens.lenses.companion_search import _Image, with_companion
from lumpylens.lenses.inflation import with_p_values
from lumpylens.lenses.luminous_companion import LuminousCompanion
from lumpylens.lenses.model import ALL, COMPANION, INDEX, RealLens, vector
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.occam import occam_gradient
from lumpylens.lenses.priors import DEFAULT
from lumpylens.lenses.quality import remarks
from lumpylens.lenses.refine import Belief, refine
from lumpylens.lenses.smooth import SmoothFit, beliefs, for_search
from lumpylens.lenses.starts import fit_lens_light
from lumpylens.lenses.verdict import Status, status_of, verdict_of

AT = (0.95, -0.35)
MASS, LIGHT = {"perturber": (*AT, 0.1)}, {"satellite": (*AT, 1.0)}
MOCKS = {"nothing": {}, "mass": MASS, "light": LIGHT, "both": MASS | LIGHT}
TRUTH = vector(
    log_einstein_radius=math.log(1.1), eta_1=0.15, eta_2=0.15, shear_1=0.03, shear_2=-0.02,
    source_x=0.08, source_y=0.12, log_source_scale=math.log(0.1),
)  # fmt: skip
NUMBERS = TRUTH.clone()
NUMBERS[[INDEX[name] for name in COMPANION]] = torch.tensor([0.9, -0.4, 0.02]).double()


def smooth_fit(cutout):
    """A smooth lens with a simple source, from near the truth: to look for it takes longer."""
    observation = cut_disc(cutout, radius=1.8, roughness=FINE)
    light = fit_lens_light(observation)
    stated = beliefs(light, DEFAULT)
    with torch.no_grad():
        best = refine(RealLens(observation, 8, 1e-2), TRUTH, ALL, for_search(stated))
    return observation, SmoothFit(best, stated, (), light)


def searched(cutout):
    observation, smooth = smooth_fit(cutout)
    with torch.no_grad():
        return with_companion(cutout, observation, smooth).best


@pytest.fixture(scope="module")
def observation():
    pytest.importorskip("lenstronomy")
    return cut_disc(made_cutout(side=61, **MOCKS["both"]), radius=1.4)


@pytest.fixture(scope="module")
def model(observation):
    return RealLens(observation, 4, 1e-3, LuminousCompanion(0.9, -0.4, (0.2, 0.1)))


def test_tangents_of_a_companion_are_the_derivatives_of_the_picture(observation, model):
    lens = model.lens(NUMBERS)
    galaxy, beside = lens.linear.positive.split([28, 6])
    assert beside.sum() > 0

    def picture(values):
        other = model.lens(values)
        light = torch.einsum("k,khw->hw", galaxy, other.gaussians.columns().double())
        light += torch.einsum("k,khw->hw", beside, other.companion_gaussians.columns().double())
        return observation.see((light + replace(other, linear=lens.linear).source_light)[None])[0]

    for name, tangent in zip(COMPANION, model.tangents(lens, COMPANION), strict=True):
        up, down = NUMBERS.clone(), NUMBERS.clone()
        up[INDEX[name]] += 5e-4
        down[INDEX[name]] -= 5e-4
        expected = (picture(up) - picture(down)) / 1e-3
        assert float((tangent - expected).abs().max()) < 2e-2 * float(expected.abs().max()), name


def test_its_mass_bends_light_and_changes_the_occam_factor(model):
    derivatives = occam_gradient(model, model.lens(NUMBERS), COMPANION)
    for name, derivative in zip(COMPANION, derivatives.tolist(), strict=True):
        ends = []
        for sign in (1, -1):
            values = NUMBERS.clone()
            values[INDEX[name]] += sign * 2e-3
            ends.append(model.lens(values).linear.log_determinant)
        assert derivative == pytest.approx((ends[0] - ends[1]) / 4e-3, rel=0.02, abs=0.05), name
    assert abs(derivatives[2]) > 1


def test_a_fit_always_varies_what_the_model_says(model):
    free = replace(model, always_free=COMPANION)
    fitted = refine(free, NUMBERS, ("slope", "companion_x"), Belief({}), steps=1)
    assert fitted.names == ("slope", "companion_x", "companion_y", "companion_strength")


@pytest.fixture(scope="module", params=["mass", "light", "both"])
def mock(request):
    pytest.importorskip("lenstronomy")
    cutout = made_cutout(side=81, **MOCKS[request.param])
    return request.param, cutout, searched(cutout)


def test_what_shines_is_found_and_weighed(mock):
    kind, _, best = mock
    companion = best.model.companion
    if kind == "mass":
        # It leaves residuals, but no light explains them as well as a mass does.
        assert companion is None
        return
    assert companion.compared
    assert companion.snr > 30
    assert (best.lens["companion_x"], best.lens["companion_y"]) == pytest.approx(AT, abs=0.02)
    strength = best.lens["companion_strength"]
    if kind == "light":
        assert companion.log_evidence < 5
        assert strength < 0.05**2
        # A mass at the limit of none would keep later fits from an end.
        assert ("companion_strength" in best.names) == (strength > 0)
    else:
        assert companion.log_evidence > 50
        assert math.sqrt(strength) == pytest.approx(0.1, abs=0.01)


def masked_about(cutout, radius=0.3):
    rows, columns = np.indices(cutout.image.shape)
    middle, scale = (len(cutout.image) - 1) / 2, cutout.pixel_scale_arcsec
    hole = np.hypot((columns - middle) * scale - AT[0], (rows - middle) * scale - AT[1]) < radius
    return replace(cutout, noise=np.where(hole, 1e8, cutout.noise).astype(np.float32)), hole


def test_light_in_masked_pixels_is_recognised_but_never_compared():
    pytest.importorskip("lenstronomy")
    cutout, _ = masked_about(made_cutout(side=81, **MOCKS["both"]))
    best = searched(cutout)
    companion = best.model.companion
    assert not companion.compared
    # Its mass bends the arcs behind it, which the lens without it does not know.
    assert (companion.x, companion.y) == pytest.approx(AT, abs=0.06)
    assert companion.log_evidence > 10


def test_a_defect_in_masked_pixels_is_no_galaxy():
    """A bright pixel without a PSF, or one without a value."""
    pytest.importorskip("lenstronomy")
    cutout, hole = masked_about(made_cutout(side=81))
    rows, columns = np.nonzero(hole)
    image = cutout.image.copy()
    image[rows[len(rows) // 2], columns[len(rows) // 2]] += 5 * image[hole].max()
    observation, smooth = smooth_fit(cutout)
    near = torch.hypot(observation.x - AT[0], observation.y - AT[1]) < 0.4

    def measured(image):
        seen = _Image.of(replace(cutout, image=image), observation)
        with torch.no_grad():
            return seen.measured(smooth.best, near, AT, compared=False)

    assert measured(image) is None
    shining, _ = masked_about(made_cutout(side=81, **MOCKS["light"]))
    assert measured(shining.image).snr > 30
    image[hole] = np.nan
    assert searched(replace(cutout, image=image)).model.companion is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("mass", Status.CANDIDATE), ("light", Status.NO_PERTURBER), ("both", Status.LUMINOUS),
    ],
)  # fmt: skip
def test_verdicts(kind, status):
    pytest.importorskip("lenstronomy")
    analysis = analyse(made_cutout(**MOCKS[kind]))
    (row,) = with_p_values([row_of(analysis, remarks(analysis), "digest")])
    assert status_of(row) is status, verdict_of(row)
    if kind == "mass":
        assert row.perturber_log_evidence_stars_halo > 0.7 * row.perturber_log_evidence
        assert row.perturber_log_evidence_broken_power_law > 0.7 * row.perturber_log_evidence
        assert row.seconds_masses > 0
    if kind == "both":
        assert "(+0.9" in verdict_of(row)
        error = row.companion_einstein_radius_error_arcsec
        assert abs(row.companion_einstein_radius_arcsec - 0.1) < 3 * error
        assert row.companion_p_value < 1e-6
