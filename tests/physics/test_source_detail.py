"""Shapelets on the Sersic profile of a source: derivatives, learning, filter, storing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_lenses import MIDDLE, SIGMA, SIZE, TRUE, WIDTHS

from lumpylens.physics.fit_data import Prior, observe
from lumpylens.physics.inference import descend
from lumpylens.physics.learning import broad_prior, learn_spread, stages_of, without_detail
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import COUNT, GEOMETRY, INDEX, NAMES
from lumpylens.physics.perturbation import Filter, Perturbers
from lumpylens.physics.population import learn_detail
from lumpylens.physics.render import Scene
from lumpylens.physics.source_detail import SourceDetail, is_shapelet, largest_order
from lumpylens.physics.staged_fit import staged_fit

SPREAD = (0.4, 0.3, 0.2)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def model_with(detail, free=GEOMETRY):
    scene = Scene(SIZE, SIZE, cusp_samples=2)
    return SmoothModel(
        scene, Measurement(0, 0, SIZE), TRUE, free, NoiseLevel(SIGMA**2), detail=detail
    )


def made(count, detail=None, seed=0, sigma=SIGMA):
    """Data of lenses whose sources have this detail, and their true numbers."""
    detail = detail or SourceDetail(SPREAD)
    generator = torch.Generator().manual_seed(seed)
    model = replace(model_with(detail), noise=NoiseLevel(sigma**2))
    lens = MIDDLE + 0.3 * WIDTHS * torch.randn(count, 9, generator=generator)
    shapelets = torch.randn(count, detail.count, generator=generator) * detail.variance.sqrt()
    values = torch.cat([lens, shapelets.float()], dim=1)
    clean = model.predict(values, torch.tensor([[1.0, 1.0, 0.1]]).repeat(count, 1))
    pixels = clean + sigma * torch.randn(clean.shape, generator=generator)
    return model, observe(model, pixels), values


def lens_prior(model):
    """Of the lenses that `made` makes."""
    precision = torch.cat([(0.3 * WIDTHS) ** -2, model.detail.variance.float().reciprocal()])
    mean = torch.cat([MIDDLE, torch.zeros(model.detail.count)])
    return Prior(mean, torch.diag(precision))


@pytest.mark.parametrize("double", [True, False])
def test_derivatives_are_those_of_the_image(double):
    """In double precision by differences; the compiled ones agree with them."""
    model = model_with(SourceDetail(SPREAD), tuple(n for n in NAMES if n != "log_psf_sigma_px"))
    full = torch.cat([TRUE, 0.3 * torch.randn(15, generator=torch.Generator().manual_seed(1))])
    bent = {"shear_1": 0.05, "source_x": 0.1, "source_y": -0.2, "mass_eta_1": 0.2}
    for name, value in (bent | {"mass_eta_2": -0.1, "centre_x_px": 0.4}).items():
        full[INDEX[name]] = value
    values = model.reduce(full[None]).double()
    amplitudes = torch.tensor([[2.0, 1.5, 0.3]], dtype=torch.float64)
    step = 1e-6
    exact = model.linearise(values, amplitudes)
    used = exact if double else model.linearise(values.float(), amplitudes.float())
    assert used.tangents.shape[1] == 17 + 15 + 3
    for k, name in enumerate(model.names):
        ahead, behind = values.clone(), values.clone()
        ahead[:, k] += step
        behind[:, k] -= step
        change = model.linearise(ahead, amplitudes).predicted
        slope = (change - model.linearise(behind, amplitudes).predicted) / (2 * step)
        scale = float(slope.abs().max())
        error = float((used.tangents[:, k] - slope).abs().max())
        assert error < (2e-6 if double else 5e-5) * scale, name
    picture = model.predict(values.float(), amplitudes.float()).flatten(1)
    torch.testing.assert_close(picture, exact.predicted.float(), rtol=1e-4, atol=1e-4)


def test_brightness_is_that_of_shapelets_and_does_not_depend_on_size():
    """The function of orders 2 and 2 is 1 / (2 sqrt(pi)) in the middle of sources of any radius."""
    detail = SourceDetail((1.0, 1.0))
    scene, brightness = Scene(1, 1, cusp_samples=1), []
    for radius in (3.0, 9.0):
        coefficients = torch.tensor([float(pair == (2, 2)) for pair in detail.orders])
        full = torch.cat([TRUE, coefficients])[None]
        full[:, INDEX["log_source_radius_px"]] = math.log(radius)
        # The ray through a pixel on the Einstein ring of a round halo ends in the middle.
        at = replace(scene, offset_x=9.0)
        with_detail = at.tangents(full, ()).source
        without = at.tangents(full[:, :COUNT], ()).source
        brightness.append(float(with_detail - without))
    assert detail.count == 4 + 5
    assert brightness == pytest.approx([0.5 * math.pi**-0.5] * 2, rel=1e-4)


def test_names_and_orders():
    detail = SourceDetail((1.0, 0.5))
    assert detail.names[:2] == ("source_shapelet_0_3", "source_shapelet_1_2")
    assert detail.names[-1] == "source_shapelet_4_0"
    assert all(map(is_shapelet, detail.names))
    assert not any(map(is_shapelet, NAMES))
    assert detail.variance.tolist() == [1.0] * 4 + [0.25] * 5
    for largest in range(3, 13):
        assert largest_order(SourceDetail((1.0,) * (largest - 2)).count) == largest


def test_numbers_are_taken_over_by_models_with_other_detail():
    plain, detailed = model_with(None), model_with(SourceDetail((1.0,)))
    values = torch.arange(9.0)[None]
    grown = detailed.adopt(values)
    assert grown.tolist() == [[*range(9), 0, 0, 0, 0]]
    torch.testing.assert_close(plain.adopt(grown), values)
    assert plain.adopt(values) is values
    torch.testing.assert_close(detailed.reduce(plain.expand(values)), grown)
    torch.testing.assert_close(detailed.reduce(detailed.expand(grown)), grown)


def test_a_staged_fit_ends_at_the_truth_within_its_errors():
    model, data, truth = made(30, seed=1)
    prior = lens_prior(model)
    solved = staged_fit(stages_of(model, (SIZE, SIZE)), data, truth[:, :9], prior, again=True)
    assert solved.fitted.converged.float().mean() > 0.9
    hessian = Filter(model, data, solved).information + prior.precision
    away = (solved.fitted.values - truth).double()
    squares = torch.einsum("ni,nij,nj->n", away, hessian.double(), away)
    # Of chi-squared with 24 degrees of freedom; amplitudes are marginalised.
    assert float(squares.median()) == pytest.approx(23.3, rel=0.25)
    # One Sersic profile leaves the detail as a residual.
    smooth = model_with(None)
    alone = descend(smooth, data, truth[:, :9], prior.first(9))
    ratio = alone.evidence.deviance.sum(dim=1) / solved.evidence.deviance.sum(dim=1)
    assert float(ratio.median()) > 1.25


def test_how_much_detail_sources_have_is_learned():
    model, data, truth = made(60, seed=2)
    wrong = replace(model, detail=SourceDetail((0.1,) * 3))
    for _ in range(6):
        solved = descend(wrong, data, truth, broad_prior(wrong))
        wrong = learn_detail(wrong, data, solved.fitted, broad_prior(wrong))
    np.testing.assert_allclose(wrong.detail.spread, SPREAD, rtol=0.2)
    # Sources without detail: their coefficients fall as fast as they may.
    none, smooth_data, own = made(20, SourceDetail((1e-3,) * 3), seed=3)
    before = replace(none, detail=SourceDetail((0.2,) * 3))
    solved = descend(before, smooth_data, before.adopt(own[:, :9]), broad_prior(before))
    after = learn_detail(before, smooth_data, solved.fitted, broad_prior(before))
    assert max(after.detail.spread) < 0.15
    # Without detail there is nothing to learn.
    assert learn_detail(model_with(None), data, solved.fitted, broad_prior(model_with(None)))


def test_a_spread_changes_by_a_factor_of_three_at_most():
    detail = SourceDetail((0.1, 0.1))
    large, none = torch.full((5, 9), 10.0), torch.zeros(5, 9)
    assert detail.learned(large, none).spread == pytest.approx((0.3, 0.3))
    assert detail.learned(none, none).spread == pytest.approx((0.1 / 3, 0.1 / 3))
    assert detail.learned(0.1 * torch.ones(5, 9), none).spread == pytest.approx((0.1, 0.1))
    # Coefficients of which nothing is seen count for nothing.
    half = torch.full((5, 9), 0.005)
    assert detail.learned(0.1 * torch.ones(5, 9), half).spread == pytest.approx((0.1 * 2**0.5,) * 2)
    assert SourceDetail((0.4, 0.4)).learned(large, none).spread == (0.5, 0.5)
    assert detail.learned(large, none).change(detail) == pytest.approx(math.log(3))


def test_deflections_that_detail_can_imitate_are_not_seen():
    """Unit variance under noise and detail; less is known than where the source is a profile."""
    model, data, truth = made(40, seed=4)
    prior = lens_prior(model)
    solved = descend(model, data, truth, prior)
    filtered = Filter(model, data, solved, binning=1)
    places = Perturbers.disc(13.0, 4.0)
    signals = filtered.signals(places)
    field = filtered.field(signals, prior)
    seen = field.snr()[field.visible]
    assert float(seen.square().mean()) == pytest.approx(1, abs=0.15)
    # As if the detail were known, and as if there were no prior of it.
    tight, loose = prior.precision.clone(), prior.precision.clone()
    tight[9:, 9:] *= 1e8
    loose[9:, 9:] *= 1e-8
    known, unknown = (
        filtered.field(signals, Prior(prior.mean, precision)).variance
        for precision in (tight, loose)
    )
    middle = field.variance
    assert (middle <= known * 1.001 + 1e-3).all()
    assert (middle >= unknown * 0.999 - 1e-3).all()
    assert float((middle / known).median()) < 0.95
    # Where no prior is given, that of the detail stays.
    assert (filtered.variance(signals) >= unknown * 0.98 - 1e-2).all()
    # The gradient is that of the whole source.
    plain = replace(model, detail=None)
    without = Filter(plain, data, descend(plain, data, truth[:, :9], prior.first(9)), binning=1)
    assert (filtered.light.gradient - without.light.gradient).abs().max() > 0.01


def test_a_planted_mass_is_found_behind_a_detailed_source():
    detail = SourceDetail(SPREAD)
    model, _, truth = made(12, detail, seed=5, sigma=0.01)
    mass = 0.6
    x, y = model.scene.grid(truth)
    places = Perturbers(torch.tensor([[6.0]]), torch.tensor([[5.0]]))
    bend = [mass * part[:, 0] for part in places.deflections(x, y)]
    extra = tuple(part.expand(12, -1, -1) for part in bend)
    amplitudes = torch.tensor([[1.0, 1.0, 0.1]]).repeat(12, 1)
    # In double precision, so that the reference code traces the rays.
    bent = model.predict(
        truth.double(), amplitudes.double(), extra=tuple(part.double() for part in extra)
    ).float()
    noise = 0.01 * torch.randn(bent.shape, generator=torch.Generator().manual_seed(6))
    data = observe(model, bent + noise)
    prior = lens_prior(model)
    filtered = Filter(model, data, descend(model, data, truth, prior), binning=1)
    field = filtered.field(filtered.signals(places), prior)
    estimate = (field.projected / field.variance)[:, 0]
    error = field.variance[:, 0].rsqrt()
    assert float(estimate.median()) == pytest.approx(mass, rel=0.3)
    assert float((estimate / error).median()) > 5


def test_the_lens_is_known_as_well_as_with_the_detail_marginalised():
    detail = SourceDetail((0.5,))
    model = model_with(detail)
    random = torch.randn(4, 13, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    information = random @ random.mT
    prior = torch.zeros(13, dtype=torch.float64)
    prior[9:] = detail.variance.reciprocal()
    inverse = torch.linalg.inv(information + torch.diag(prior))
    expected = torch.linalg.inv(inverse[:, :9, :9])
    torch.testing.assert_close(without_detail(model, information), expected)
    assert without_detail(model_with(None), information) is information
    values = torch.randn(60, 13, generator=torch.Generator().manual_seed(1))
    tables = information[:1].expand(60, -1, -1) * 1e3
    learned = learn_spread(model, values, tables, broad_prior(model))
    assert learned.mean[9:].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(learned.covariance[9:, 9:].diagonal(), detail.variance)
    assert not learned.covariance[:9, 9:].any()
    lens = learn_spread(
        model_with(None), values[:, :9], without_detail(model, tables), broad_prior(model).first(9)
    )
    torch.testing.assert_close(learned.covariance[:9, :9], lens.covariance)
