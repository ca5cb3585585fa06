"""Learning from normal images: where it begins, what it frees, and what it compares."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_lenses import PRIOR, TRUE, lenses

from lumpylens.physics import learning
from lumpylens.physics.fit_data import Fit, Prior, observe
from lumpylens.physics.inference import evidence, fit
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement, jpeg_steps
from lumpylens.physics.parameters import COUNT, GEOMETRY, NAMES, pack
from lumpylens.physics.population import sharing_tests
from lumpylens.physics.render import Scene
from lumpylens.simulation import population
from lumpylens.simulation.images import simulate_with_truth

RADIUS = "log_source_radius_px"


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def small_model(**changes):
    model = SmoothModel(
        Scene(8, 8), Measurement(0, 0, 8), TRUE, GEOMETRY, NoiseLevel(1.0)
    )  # fmt: skip
    return replace(model, **changes)


# -- where it begins ----------------------------------------------------------------------------


def test_the_prior_of_single_fits_is_weak_and_about_an_average_lens():
    model = small_model(shared=TRUE + 0.1, free=(*GEOMETRY, "log_source_index"))
    prior = learning.broad_prior(model)
    expected = torch.zeros(10)
    expected[0], expected[9] = math.log(9.0) + 0.1, math.log(1.4) + 0.1
    torch.testing.assert_close(prior.mean, expected)
    # One standard deviation away in each number in turn.
    widths = torch.tensor([0.35, 0.15, 0.15, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4])
    torch.testing.assert_close(prior.energy(expected + torch.diag(widths)).float(), torch.ones(10))


def test_it_begins_with_the_median_of_what_the_encoder_reads():
    estimates = torch.arange(5.0)[:, None] * torch.ones(COUNT)
    estimates[4] = 1e3
    found = learning.start_model(small_model(), estimates[[4, 0, 2, 1, 3]])
    assert found.shared.tolist() == [2.0] * COUNT


def test_the_worst_twentieth_of_the_fits_teaches_nothing():
    _, data, values = lenses(40)
    deviance = torch.arange(40, dtype=torch.float64).roll(7)
    fitted = Fit(values, torch.ones(40, 3), deviance, deviance, torch.ones(40, dtype=torch.bool))
    part, kept = learning.well_fitted(data, fitted)
    stay = [k for k in range(40) if deviance[k] < 38]
    torch.testing.assert_close(kept.values, values[stay])
    torch.testing.assert_close(part.observed, data.observed[stay])


# -- what it frees ------------------------------------------------------------------------------


def fitted_lenses(**varying):
    """Model, data, starts and fits of lenses in which a number varies."""
    model, data, values = lenses(24, **varying)
    return model, data, model.expand(values), fit(model, data, values, PRIOR, steps=4)


def test_a_number_that_varies_is_freed_and_fitted():
    model, data, start, fitted = fitted_lenses(varying=RADIUS, spread=0.1)
    wider, again = learning._free_what_varies(model, data, fitted, start, [RADIUS])
    assert wider.free == tuple(name for name in NAMES if name in (*GEOMETRY, RADIUS))
    own = again.values[:, wider.free.index(RADIUS)]
    assert float(own.std()) == pytest.approx(0.1, rel=0.4)
    assert float(own.mean()) == pytest.approx(math.log(4.0), abs=0.06)


def test_a_number_that_varies_by_less_than_the_tolerance_stays_shared():
    model, data, start, fitted = fitted_lenses(varying=RADIUS, spread=0.025, sigma=0.01)
    test = sharing_tests(model, data, fitted, learning.broad_prior(model), [RADIUS])[RADIUS]
    assert test.significance > 5
    assert 0.01 < test.spread < learning.VARIES == 0.05
    assert learning._free_what_varies(model, data, fitted, start, [RADIUS]) == (model, fitted)


def test_both_ellipticities_of_the_halo_are_freed_together():
    model, data, start, fitted = fitted_lenses(varying="mass_eta_1", spread=0.2)
    wider, _ = learning._free_what_varies(model, data, fitted, start, [])
    assert wider.free == (*GEOMETRY, "mass_eta_1", "mass_eta_2")


# -- over which rays a pixel is the mean ---------------------------------------------------------


@pytest.mark.parametrize(("samples", "pitch"), learning.SAMPLINGS)
def test_the_rays_of_a_pixel_are_found(samples, pitch):
    model, _, values = lenses(12)
    maker = replace(model, scene=replace(model.scene, cusp_samples=samples, cusp_pitch=pitch))
    clean = maker.predict(values, torch.tensor([[5.0, 1.0, 0.1]]).repeat(12, 1))
    noise = 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(4))
    data = observe(model, clean + noise)
    begun = fit(model, data, values, PRIOR, steps=4)
    found, _ = learning._sample_pixels(model, data, begun, [])
    assert (found.scene.cusp_samples, found.scene.cusp_pitch) == (samples, pitch)


# -- what it compares, and the spread -----------------------------------------------------------


def test_the_fewest_coefficients_that_hold_the_information_are_compared():
    preset = population("slc")
    made = simulate_with_truth(preset, 4, seed=2)
    steps = jpeg_steps(torch.tensor(made.images[0].jpeg_table), 15)
    model = SmoothModel(
        Scene(120, 120, offset_x=1.0, offset_y=1.0, cusp_samples=2),
        Measurement(16, 16, 120, steps), pack()[0], GEOMETRY, NoiseLevel(floor=1.2, roughness=1e-3),
    )  # fmt: skip
    data = observe(model, torch.tensor(made.images.stack().pixels))
    values = model.reduce(torch.cat([lens.parameters() for lens in made.lenses]))
    fitted = fit(model, data, values, learning.broad_prior(model), steps=1)
    line = model.linearise(fitted.values, fitted.amplitudes)
    moved = line.tangents[:, [GEOMETRY.index("source_x"), GEOMETRY.index("source_y")]]
    known = evidence(model, data, line).information[:, None] * moved.square()
    share = (known.sum(dim=(0, 1)) / known.sum()).double().numpy()

    active = learning.informative(model, data, fitted).measurement.active.numpy()
    assert (np.diff(active) > 0).all()
    assert share[active].sum() == pytest.approx(0.9995, abs=1e-4)
    assert share[active].min() >= np.delete(share, active).max()
    assert len(active) < 0.5 * len(share)
    linear = small_model()
    assert learning.informative(linear, data, fitted) is linear


def test_the_spread_is_that_of_the_lenses_and_not_of_their_errors():
    generator = torch.Generator().manual_seed(0)
    width, error = torch.tensor([0.3, 0.0, 0.08]), torch.tensor([0.2, 0.03, 0.2])
    draws = torch.randn(2, 3000, 3, generator=generator)
    values = 1.0 + width * draws[0] + error * draws[1]
    information = torch.diag(error.square().reciprocal()).expand(3000, -1, -1)
    nothing = Prior(torch.zeros(3), torch.zeros(3, 3))
    found = learning.learn_spread(small_model(), values, information, nothing)
    # No less than a small typical error: models err by about as much as noise.
    torch.testing.assert_close(
        found.covariance.diagonal().sqrt(), torch.tensor([0.3, 0.03, 0.08]).double(),
        rtol=0.1, atol=0,
    )  # fmt: skip


def test_compressed_images_are_fitted_binned_first_and_then_exactly():
    steps = jpeg_steps(torch.ones(8, 8), 2)
    compressed = small_model(scene=Scene(32, 32), measurement=Measurement(8, 8, 16, steps))
    rough, exact = learning.stages_of(compressed, (32, 32))
    assert exact.model is compressed
    assert (rough.model.scene.pixel, rough.model.scene.width) == (2, 16)
    assert rough.model.basis.shape == (exact.model.basis.shape[0], 16)
    assert rough.model.noise.floor > compressed.noise.floor
    first, second = learning.stages_of(small_model(), (8, 8))
    assert second.model.noise == small_model().noise
    assert first.model.scene == small_model().scene
