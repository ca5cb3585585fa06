"""The model of a real lens: derivatives, the perturbation filter, and the whole analysis."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.analysis import analyse
from lumpylens.lenses.masks import mask_intruders
from lumpylens.lenses.model import ALL, INDEX, MULTIPOLES, PERTURBER, RealLens, vector
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.perturber import filter_lens
from lumpylens.lenses.plausible import implausibility, oddities, source_distance
from lumpylens.lenses.refine import Belief, refine
from lumpylens.lenses.smooth import SmoothFit
from lumpylens.lenses.starts import fit_lens_light

NUMBERS = vector(
    log_einstein_radius=math.log(1.1), eta_1=0.1, eta_2=0.15, slope=2.05, centre_x=0.01,
    centre_y=-0.01, shear_1=0.03, shear_2=-0.02, m3_cosine=0.01, m4_sine=-0.02, source_x=0.08,
    source_y=0.12, log_source_scale=math.log(0.1), light_eta_1=0.1, light_eta_2=0.15,
    light_eta_3=-0.1, light_eta_4=0.05, perturber_x=0.9, perturber_y=0.5, perturber_strength=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def cutout():
    return made_cutout(side=61, einstein_radius=0.9)


@pytest.fixture(scope="module")
def observation(cutout):
    return cut_disc(cutout, radius=1.4)


def test_tangents_are_the_derivatives_of_the_picture(observation):
    names = (*ALL, *MULTIPOLES, *PERTURBER)
    model = RealLens(observation, 4, 1e-3)
    lens = model.lens(NUMBERS)
    tangents = model.tangents(lens, names)

    def picture(values):
        other = model.lens(values)
        gaussians = other.gaussians.columns().double()
        light = torch.einsum("k,khw->hw", lens.linear.positive, gaussians)
        source = replace(other, linear=lens.linear).source_light
        return observation.see((light + source)[None])[0]

    for name, tangent in zip(names, tangents, strict=True):
        step = 5e-4  # the blur is single precision
        up, down = NUMBERS.clone(), NUMBERS.clone()
        up[INDEX[name]] += step
        down[INDEX[name]] -= step
        expected = (picture(up) - picture(down)) / (2 * step)
        scale = float(expected.abs().max())
        assert scale > 0, name
        assert float((tangent - expected).abs().max()) < 2e-2 * scale, name


@pytest.mark.slow
def test_filter_has_unit_variance_under_noise(observation):
    """Data drawn from the model give signal-to-noise ratios of mean 0 and variance 1."""
    values = NUMBERS.clone()
    values[[INDEX[name] for name in (*MULTIPOLES, "perturber_strength")]] = 0
    lens = RealLens(observation, 4, 1e-3).lens(values)
    truth = observation.data - lens.linear.residual
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(12):
        noisy = truth + torch.randn(len(truth), generator=generator, dtype=torch.float64)
        image = (noisy / observation.weights).to(torch.float64)
        pixels = observation.pixels.flatten().clone()
        pixels[observation.compared] = image
        seen = replace(observation, pixels=pixels.reshape(observation.pixels.shape))
        belief = Belief({})
        fitted = refine(RealLens(seen, 4, 1e-3), values, ALL, belief, steps=3)
        found = filter_lens(fitted, belief, 1.2)
        made.append(found.snr[found.visible].numpy())
    snr = np.concatenate(made)
    assert abs(snr.mean()) < 0.3
    assert 0.75 < snr.std() < 1.15


def test_the_filter_for_heavy_masses_goes_over_into_the_linear_one(observation):
    values = NUMBERS.clone()
    values[[INDEX[name] for name in (*MULTIPOLES, "perturber_strength")]] = 0
    belief = Belief({"slope": (2.0, 0.05)})
    fitted = refine(RealLens(observation, 4, 1e-3), values, ALL, belief, steps=2)
    small, light, heavy = (
        filter_lens(fitted, belief, 1.0, spacing=0.25, strength=radius**2)
        for radius in (0.0, 0.02, 0.3)
    )
    seen = small.visible & light.visible
    assert int(seen.sum()) > 20
    for got, other in ((small.information, light.information), (small.snr, light.snr)):
        assert float((got - other)[seen].abs().max()) < 0.1 * float(got[seen].abs().max())
    both = small.visible & heavy.visible
    assert float((small.information / heavy.information)[both].log().abs().max()) > 0.3


def test_what_no_galaxy_is_like_is_named(observation):
    model = RealLens(observation, 2, 1e-3)
    assert oddities(model.lens(NUMBERS)) == []
    assert implausibility(model.lens(NUMBERS)) == 0
    odd = NUMBERS.clone()
    odd[INDEX["slope"]] = 2.47
    assert implausibility(model.lens(odd)) == pytest.approx(0.4)
    odd[INDEX["slope"]] = 1.53
    assert implausibility(model.lens(odd)) == pytest.approx(0.4)
    far = NUMBERS.clone()
    # It has one image alone, and its lens may have any radius.
    far[INDEX["source_x"]], far[INDEX["source_y"]] = 0.01 + 1.02 * 1.1, -0.01
    assert source_distance(model.lens(far)) == pytest.approx(1.02)
    assert implausibility(model.lens(far)) == pytest.approx(0.4)
    wild = NUMBERS.clone()
    wild[[INDEX[name] for name in ("shear_1", "eta_1", "slope")]] = torch.tensor(
        [0.3, 1.2, 1.4], dtype=torch.float64
    )
    assert [str(note) for note in oddities(model.lens(wild))] == [
        "shear of 0.30 is implausible", "ellipticity of 0.70 is implausible",
        "slope of 1.40 is implausible",
    ]  # fmt: skip
    assert implausibility(model.lens(wild)) == 1


@pytest.mark.slow
def test_a_planted_perturber_is_found_and_a_smooth_lens_stays_quiet():
    planted = (0.95, 0.55, 0.13)
    quiet = analyse(made_cutout(side=81))
    lumpy = analyse(made_cutout(side=81, perturber=planted))
    for found in (quiet, lumpy):
        radius = math.exp(found.smooth.best.lens["log_einstein_radius"])
        assert radius == pytest.approx(1.1, rel=0.03)
    assert quiet.perturber.log_evidence < 15
    assert lumpy.perturber.log_evidence > quiet.perturber.log_evidence + 30
    assert math.hypot(lumpy.perturber.x - planted[0], lumpy.perturber.y - planted[1]) < 0.15
    assert lumpy.perturber.einstein_radius == pytest.approx(planted[2], rel=0.5)


def test_masks_take_neighbours_and_defects_and_spare_the_arcs(cutout):
    image = cutout.image.copy()
    column = 30 + round(1.75 / 0.05) - 8
    y, x = np.indices(image.shape)
    image += 3 * np.exp(-((y - 4) ** 2 + (x - column) ** 2) / 4).astype(np.float32)
    image[30, 48] += 1.5
    seen = cut_disc(replace(cutout, image=image), radius=2.2)
    values = NUMBERS.clone()
    values[[INDEX[name] for name in (*MULTIPOLES, "perturber_strength")]] = 0
    values[INDEX["log_einstein_radius"]] = math.log(0.9)
    belief = Belief({"slope": (2.0, 0.05)})
    fitted = refine(RealLens(seen, 6, 1e-3), values, ALL, belief, steps=15)
    rough = SmoothFit(fitted, belief, (), fit_lens_light(seen))
    masked = mask_intruders(seen, rough)
    gone = seen.usable & ~masked.usable
    first = (seen.first_row, seen.first_column)
    assert gone[4 - first[0], column - first[1]], "the neighbour"
    assert gone[30 - first[0], 48 - first[1]], "the defect"
    arcs = seen.blur(fitted.lens.source_light[None])[0] * seen.weight > 2
    assert int((gone & arcs).sum()) <= 1
