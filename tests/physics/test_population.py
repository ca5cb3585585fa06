"""Learning what normal images share: known populations are recovered."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_lenses import PRIOR, SIGMA, SIZE, TRUE, lenses

from lumpylens.physics import population
from lumpylens.physics.fit_data import Prior
from lumpylens.physics.inference import fit
from lumpylens.physics.learning import learn_instrument
from lumpylens.physics.model import NoiseLevel
from lumpylens.physics.parameters import INDEX, NAMES

MEAN = torch.tensor([3.0, -0.1, 0.4], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[0.04, 0.01, 0.0], [0.01, 0.09, -0.02], [0.0, -0.02, 0.01]], dtype=torch.float64
)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def normals(covariances, generator):
    draws = torch.randn(len(covariances), 3, 1, generator=generator, dtype=torch.float64)
    return (torch.linalg.cholesky(covariances) @ draws)[..., 0]


def estimates(count, covariance=COVARIANCE, scale=0.15, seed=0):
    """Numbers of many lenses, known with errors that differ and are correlated."""
    generator = torch.Generator().manual_seed(seed)
    true = MEAN + normals(covariance.expand(count, 3, 3), generator)
    mix = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    errors = scale**2 * (mix @ mix.mT + 0.2 * torch.eye(3)) / 3
    return true + normals(errors, generator), errors


def test_mean_and_intrinsic_covariance_are_recovered():
    values, errors = estimates(4000)
    found = population.learn_population(values, torch.linalg.inv(errors), torch.full((3,), 1e-3))
    torch.testing.assert_close(found.mean, MEAN, rtol=0, atol=0.02)
    # The errors alone would add up to 0.02 to each variance.
    torch.testing.assert_close(found.covariance, COVARIANCE, rtol=0.1, atol=0.003)


def test_the_prior_of_the_fits_is_taken_out_again():
    """And an image without information about a number tells nothing of it."""
    values, errors = estimates(4000)
    information = torch.linalg.inv(errors)
    information[::4, 2] = information[::4, :, 2] = 0
    prior = Prior(MEAN.float() + 0.2, 20 * torch.eye(3))
    precision = prior.precision.double()
    right = torch.einsum("nij,nj->ni", information, values) + precision @ prior.mean.double()
    pulled = torch.linalg.solve(information + precision, right)
    found = population.learn_population(pulled, information, torch.full((3,), 1e-3), prior)
    torch.testing.assert_close(found.mean, MEAN, rtol=0, atol=0.02)
    torch.testing.assert_close(found.covariance, COVARIANCE, rtol=0.15, atol=0.004)


def test_about_a_free_number_the_prior_says_almost_nothing():
    found, kept = population.GaussianPopulation(MEAN, COVARIANCE), COVARIANCE.clone()
    covariance = torch.linalg.inv(found.prior(free=1).precision.double())
    expected = COVARIANCE + torch.diag(torch.tensor([0.0, 1.0, 0.0]).double())
    torch.testing.assert_close(covariance, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(COVARIANCE, kept)


def test_a_number_that_all_share_gets_the_floor():
    values, errors = estimates(1000, 1e-8 * torch.eye(3, dtype=torch.float64))
    floor = torch.tensor([0.1, 0.01, 0.2])
    found = population.learn_population(values, torch.linalg.inv(errors), floor)
    spread = found.covariance.diagonal().sqrt()
    torch.testing.assert_close(spread, floor.double(), rtol=0.05, atol=0.03)
    assert (spread >= floor - 1e-9).all()


@pytest.mark.parametrize("failed", ["value", "information"])
def test_a_failed_fit_does_not_spoil_it(failed):
    values, errors = estimates(500)
    information, floor = torch.linalg.inv(errors), torch.full((3,), 1e-3)
    without = population.learn_population(values[1:], information[1:], floor)
    (values if failed == "value" else information)[0] = math.nan
    found = population.learn_population(values, information, floor)
    torch.testing.assert_close(found.mean, without.mean)
    torch.testing.assert_close(found.covariance, without.covariance)


def test_what_few_lenses_taught_holds_for_others():
    """For one of a Gaussian population the mean distance is the number of parameters."""
    distances = []
    for seed in range(200):
        values, errors = estimates(16, seed=seed)
        learned = population.learn_population(
            values[:15], torch.linalg.inv(1e-4 * errors[:15]), torch.full((3,), 1e-6)
        )
        departure = values[15] - learned.mean
        distances.append(float(departure @ torch.linalg.solve(learned.covariance, departure)))
    assert np.mean(distances) == pytest.approx(3, rel=0.2)


def test_outliers_do_not_widen_it():
    values, errors = estimates(1000)
    clean = population.learn_population(values, torch.linalg.inv(errors), torch.full((3,), 1e-3))
    values[:20] += 30.0
    dirty = population.learn_population(values, torch.linalg.inv(errors), torch.full((3,), 1e-3))
    torch.testing.assert_close(dirty.covariance, clean.covariance, rtol=0.1, atol=0.002)


@pytest.mark.parametrize(("floor", "limit"), [(0.0, 6 * 1.4826), (0.5, 6 * (1.4826 + 0.5))])
def test_what_lies_six_robust_standard_deviations_out_is_an_outlier(floor, limit):
    # Of half of them, the distance from the median is at least 1.
    values = torch.tensor([[-1.0, 0.0, 1.0] * 20 + [limit - 0.01, -limit + 0.01, limit + 0.01]]).T
    kept = population.central(torch.cat([values, torch.zeros_like(values)], dim=1), floor)
    assert kept.tolist() == [True] * 62 + [False]
    if floor == 0:
        mean, covariance = population.robust_gaussian(values)
        torch.testing.assert_close(mean, values[kept].mean(dim=0))
        torch.testing.assert_close(covariance, torch.cov(values[kept].T))


def test_as_a_prior_it_judges_by_its_own_spread():
    values, errors = estimates(1000)
    found = population.learn_population(values, torch.linalg.inv(errors), torch.full((3,), 1e-3))
    draws = MEAN + normals(COVARIANCE.expand(2000, 3, 3), torch.Generator().manual_seed(1))
    assert float(found.prior().energy(draws.float()).mean()) == pytest.approx(3, rel=0.1)


# -- shared numbers and noise -------------------------------------------------------------------

SHARED = ("log_source_radius_px", "log_lens_light_radius_px", "log_psf_sigma_px")


def test_absent_lens_light_is_told_from_present():
    for brightness, low, high in ((0.0, -0.1, 3.0), (1.0, 20.0, math.inf)):
        model, data, values = lenses(lens_light=brightness)
        fitted = fit(model, data, values, PRIOR, steps=4)
        found = population.lens_light_significance(model, data, fitted, PRIOR)
        assert found.shape == (40,)
        assert low < float(found.median()) < high


def test_shapes_of_lens_light_that_is_not_there_are_not_learned():
    model, data, values = lenses(12, seed=1, lens_light=0.0)
    said: list[str] = []
    found, rounds = learn_instrument(
        model, (SIZE, SIZE), lambda _: data, model.expand(values), said.append
    )
    assert said[0] == "first fits: the lens galaxy is not seen"
    assert [text.partition(":")[0] for text in said[1:]] == [
        f"round {k + 1} of at most 5" for k in range(len(rounds))
    ]
    assert said[-1].endswith(f"blur {math.exp(rounds[-1]['log_psf_sigma_px']):.2f} px")
    names = [name for name in NAMES if "lens_light" in name]
    assert not set(names) & set(found.free)
    for name in names[2:]:
        assert float(found.shared[INDEX[name]]) == float(TRUE[INDEX[name]])
    assert float(found.shared[INDEX["log_source_radius_px"]]) == pytest.approx(
        math.log(4.0), abs=0.02
    )


def test_there_may_be_no_shared_number_to_learn():
    model, data, values = lenses()
    fitted = fit(model, data, values, PRIOR, steps=1)
    assert population.shared_step(model, data, fitted, PRIOR, []) == (model, 0.0)


def test_shared_numbers_are_recovered():
    model, data, values = lenses()
    wrong = TRUE.clone()
    wrong[[INDEX[name] for name in SHARED]] += torch.tensor([0.06, -0.05, 0.08])
    model = model.with_shared(wrong)
    fitted = fit(model, data, values, PRIOR, steps=4)
    for _ in range(3):
        model, change = population.shared_step(model, data, fitted, PRIOR, SHARED)
        fitted = fit(model, data, fitted.values, PRIOR, steps=2, amplitudes=fitted.amplitudes)
    assert change < 1e-3
    for name in SHARED:
        assert float(model.shared[INDEX[name]]) == pytest.approx(
            float(TRUE[INDEX[name]]), abs=0.005
        ), name


def test_what_varies_is_told_from_what_is_shared():
    names = (*SHARED, "mass_eta_1", "mass_eta_2")
    model, data, values = lenses(varying="log_source_radius_px", spread=0.1)
    fitted = fit(model, data, values, PRIOR, steps=5)
    found = population.sharing_tests(model, data, fitted, PRIOR, names)
    assert found["log_source_radius_px"].significance > 5
    assert 0.05 < found["log_source_radius_px"].spread < 0.15

    model, data, values = lenses(seed=1)
    fitted = fit(model, data, values, PRIOR, steps=5)
    for name, one in population.sharing_tests(model, data, fitted, PRIOR, names).items():
        assert one.significance < 4, name
        assert one.spread < 0.05, name


def test_haloes_that_are_not_round_are_noticed():
    model, data, values = lenses(varying="mass_eta_1", spread=0.2)
    fitted = fit(model, data, values, PRIOR, steps=5)
    found = population.sharing_tests(model, data, fitted, PRIOR, ("mass_eta_1",))["mass_eta_1"]
    assert found.significance > 5
    assert found.spread > 0.05


@pytest.mark.parametrize("start", [0.01, 0.3])
def test_the_noise_is_recovered(start):
    model, data, values = lenses()
    model = replace(model, noise=NoiseLevel(start**2))
    fitted = fit(model, data, values, PRIOR, steps=4)
    found = population.learn_noise(model, data, fitted)
    peak = 8.0
    total = found.variance(torch.tensor([0.0, 0.3]), torch.tensor(0.1)).sqrt()
    assert float(total[0]) == pytest.approx(SIGMA, rel=0.03)
    assert float(total[1]) == pytest.approx(SIGMA, rel=0.1)
    assert found.roughness * peak < SIGMA
