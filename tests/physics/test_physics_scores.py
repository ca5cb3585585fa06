"""From fits to scores, each against a known answer."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.special import ndtr
from scipy.stats import norm

from lumpylens.physics.fit_data import Prior
from lumpylens.physics.model import Linearisation, NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement, compare
from lumpylens.physics.parameters import GEOMETRY, pack
from lumpylens.physics.population import GaussianPopulation
from lumpylens.physics.render import Scene
from lumpylens.physics.scores import (
    ResidualLaw,
    Tail,
    lit_deviance,
    log_mean,
    parameter_distance,
    parameter_surprise,
)
from lumpylens.physics.spectrum import LUMPS, MASS_FRACTIONS, Spectrum, learn_error

MEAN = torch.tensor([3.0, -0.1, 0.4], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[0.04, 0.01, 0.0], [0.01, 0.09, -0.02], [0.0, -0.02, 0.01]], dtype=torch.float64
)
POPULATION = GaussianPopulation(MEAN, COVARIANCE)
ERRORS = torch.tensor(
    [[[0.02, 0.0, 0.01], [0.0, 0.05, 0.0], [0.01, 0.0, 0.03]],
     [[0.5, 0.1, 0.0], [0.1, 0.4, 0.0], [0.0, 0.0, 0.6]]], dtype=torch.float64,
)  # fmt: skip
VALUES = torch.tensor([[3.5, 0.2, 0.1], [2.0, -0.9, 1.4]], dtype=torch.float64)


# -- numbers of the lens ------------------------------------------------------------------------


FLAT = Prior(torch.zeros(3), torch.zeros(3, 3))


def test_the_distance_is_mahalanobis_under_spread_and_error():
    found = parameter_distance(POPULATION, VALUES, torch.linalg.inv(ERRORS), FLAT)
    expected = [
        mahalanobis(value, MEAN, np.linalg.inv(COVARIANCE + error)) ** 2
        for value, error in zip(VALUES, ERRORS, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_surprise_of_a_number_is_in_its_own_standard_deviations():
    found = parameter_surprise(POPULATION, VALUES, torch.linalg.inv(ERRORS), FLAT)
    variance = np.diagonal((COVARIANCE + ERRORS).numpy(), axis1=1, axis2=2)
    np.testing.assert_allclose(found, (VALUES - MEAN).numpy() / np.sqrt(variance), rtol=1e-5)
    assert found[0, 0] == pytest.approx(0.5 / math.sqrt(0.06), rel=1e-5)


def test_the_distance_does_not_depend_on_the_prior_of_the_estimates():
    information = torch.linalg.inv(ERRORS)
    prior = POPULATION.prior()
    precision = prior.precision.double()
    pulled = torch.linalg.solve(
        information + precision, torch.einsum("nij,nj->ni", information, VALUES) + precision @ MEAN
    )
    assert float((pulled - VALUES).abs().max()) > 0.5
    np.testing.assert_allclose(
        parameter_distance(POPULATION, pulled, information, prior),
        parameter_distance(POPULATION, VALUES, information, FLAT),
        rtol=1e-3,
    )


# -- residual -----------------------------------------------------------------------------------


def line_of(predicted, sigma, light):
    """Without derivatives, which no deviance needs."""
    none = torch.zeros(0)
    return Linearisation(predicted, sigma, light, none)


def test_the_deviance_is_that_of_the_lit_coefficients_above_the_background():
    model = SmoothModel(
        Scene(4, 4), Measurement(0, 0, 4), pack()[0], GEOMETRY, NoiseLevel(1.0)
    )  # fmt: skip
    sigma = torch.full((2, 16), 2.0)
    light = torch.zeros(2, 16)
    # Twice the noise is 4.0. Two coefficients of the first image are lit, and two nearly half, none
    # of the second.
    light[0, :4] = torch.tensor([50.0, 5.0, 4.1, 3.9])
    predicted = light + 100.0
    residual = torch.arange(32.0).reshape(2, 16) / 10
    line = line_of(predicted, sigma, light)
    observed, expected = lit_deviance(model, line, compare(predicted + residual, predicted, sigma))
    np.testing.assert_allclose(
        observed, [(0.1**2 + 0.55 * 0.2**2 + 0.45 * 0.3**2) / 4, 0], rtol=1e-3
    )
    np.testing.assert_allclose(expected, [3, 0], rtol=1e-6)


def test_the_deviance_of_compressed_images_is_compared_with_that_of_rounded_noise():
    step = 8.0
    model = SmoothModel(
        Scene(8, 8), Measurement(0, 0, 8, torch.full((5, 5), step)), pack()[0], GEOMETRY,
        NoiseLevel(1.0),
    )  # fmt: skip
    predicted, sigma = torch.zeros(1, 25), torch.full((1, 25), 4.0)
    light = torch.where(torch.arange(25) < 10, 11.0, 0.0)[None]
    seen = compare(torch.zeros(1, 25), predicted, sigma, model.measurement.active_steps)
    observed, expected = lit_deviance(model, line_of(predicted, sigma, light), seen)
    # Half a step is one sigma: the interval holds 68 %, and 16 % lie on either side.
    inside, outside = ndtr(1) - ndtr(-1), ndtr(-1)
    assert float(observed) == pytest.approx(10 * -2 * math.log(inside), rel=1e-5)
    mean = -2 * (inside * math.log(inside) + 2 * outside * math.log(outside))
    assert float(expected) == pytest.approx(10 * mean, rel=1e-5)


def test_the_law_of_residuals_is_recovered_beside_misfits():
    rng = np.random.default_rng(0)
    expected = np.exp(rng.uniform(3, 8, size=4000))
    ratio = 0.3 - 0.05 * np.log(expected) + 0.02 * rng.normal(size=4000)
    ratio[::50] += 3.0
    law = ResidualLaw.learn(expected * np.exp(ratio), expected)
    assert law.offset == pytest.approx(0.3, abs=0.003)
    assert law.slope == pytest.approx(-0.05, abs=0.0006)
    assert law.scatter == pytest.approx(0.02, rel=0.08)
    judged = law(expected * np.exp(ratio), expected)
    normal = np.delete(judged, np.s_[::50])
    assert np.median(normal) == pytest.approx(0, abs=0.05)
    assert normal.std() == pytest.approx(1, abs=0.08)
    assert (judged[::50] > 100).all()


def test_the_residual_is_in_standard_deviations_from_the_law():
    law = ResidualLaw(offset=0.3, slope=-0.05, scatter=0.02)
    expected = np.array([100.0, 100.0, 1000.0])
    ratio = np.array([0.0, 0.1, 0.1])
    np.testing.assert_allclose(
        law(expected * np.exp(ratio), expected),
        (ratio - 0.3 + 0.05 * np.log(expected)) / 0.02,
        rtol=1e-9,
    )
    assert np.isfinite(law(np.zeros(1), np.zeros(1))).all()


# -- tails --------------------------------------------------------------------------------------


def test_the_tail_of_exponential_scores_is_a_straight_line():
    """Minus the logarithm of the part above s is s / 3 where that part is exp(-s / 3)."""
    scores = -3 * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    tail = Tail.learn(np.random.default_rng(0).permutation(scores))
    at = np.array([0.01, 0.3, 1.0, 3.0, 6.0, 9.0, 30.0, 300.0])
    np.testing.assert_allclose(tail(at), at / 3, rtol=0.01)


def test_a_tail_orders_all_scores():
    tail = Tail.learn(np.random.default_rng(1).normal(size=500))
    at = np.linspace(-50, 50, 400)
    assert (np.diff(tail(at)) > 0).all()
    same = Tail.learn(np.ones(7))
    assert np.isfinite(same(at)).all()


def test_a_tail_is_kept_in_an_array():
    tail = Tail.learn(np.random.default_rng(1).normal(size=500))
    again = Tail.from_arrays(tail.arrays())
    at = np.linspace(-5, 5, 50)
    np.testing.assert_array_equal(again(at), tail(at))


# -- perturbation -------------------------------------------------------------------------------


def spectra(error, scale=0.02, count=400, seed=0):
    """Directions whose components have the variance of noise and of errors of the model."""
    generator = torch.Generator().manual_seed(seed)
    information = torch.logspace(-1, 5, 40, dtype=torch.float64).expand(count, -1)
    draws = torch.randn(count, 40, generator=generator, dtype=torch.float64)
    along = draws * (information * (1 + error**2 * information)).sqrt()
    return Spectrum(information, along, torch.full((count,), scale, dtype=torch.float64))


@pytest.mark.parametrize("error", [0.01, 0.05, 1.0])
def test_deflections_that_errors_of_the_model_mimic_are_measured(error):
    # The grid of the search is 21 % wide, and what lies highest does not count.
    assert learn_error(spectra(error, count=800, seed=1)) == pytest.approx(error, rel=0.25)


def test_fits_that_failed_do_not_teach_how_the_model_errs():
    normal = spectra(0.05, seed=1)
    failed = replace(normal, along=torch.cat([1e3 * normal.along[:20], normal.along[20:]]))
    assert learn_error(failed) <= 1.3 * learn_error(normal)


def test_deflections_are_judged_by_the_ratio_of_two_likelihoods():
    information = torch.tensor([[4.0, 100.0]], dtype=torch.float64)
    along = torch.tensor([[6.0, 15.0]], dtype=torch.float64)
    found = Spectrum(information, along, torch.tensor([500.0], dtype=torch.float64)).log_ratio(0.1)
    assert found.shape == (1, len(MASS_FRACTIONS))
    for ratio, fraction in zip(found[0], MASS_FRACTIONS, strict=True):
        # 1 + e^2 l is 1.04 and 2. Half of the lumps lies at each of two positions.
        smooth = np.array([4 * 1.04, 100 * 2.0])
        lump = 500 * fraction / LUMPS
        lumpy = smooth + LUMPS / 2 * lump**2 * np.array([4.0, 100.0]) ** 2
        expected = (
            norm.logpdf(along[0], scale=np.sqrt(lumpy)).sum()
            - norm.logpdf(along[0], scale=np.sqrt(smooth)).sum()
        )
        assert float(ratio) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("error", [0.0, 0.05])
def test_the_mean_likelihood_ratio_of_smooth_lenses_is_one(error):
    # Of a field that is not far above noise, or the mean is that of very few lenses.
    few = spectra(error, scale=5.0, count=20_000, seed=3)
    few = replace(few, information=few.information[:, :20], along=few.along[:, :20])
    assert float(few.log_ratio(error)[:, 0].exp().mean()) == pytest.approx(1, abs=0.02)


def test_a_lens_in_which_nothing_can_be_seen_is_no_evidence():
    nothing = replace(spectra(0.0), information=torch.full((400, 40), 1e-9, dtype=torch.float64))
    nothing = replace(nothing, along=1e-4 * torch.ones(400, 40, dtype=torch.float64))
    assert float(nothing.log_ratio(0.0).abs().max()) < 1e-6


def test_the_residual_is_judged_by_the_ratio_of_two_likelihoods():
    law = ResidualLaw(offset=0.3, slope=-0.05, scatter=0.02)
    observed, expected = np.array([130.0, 150.0]), np.array([100.0, 110.0])
    rise = np.array([[0.0, 5.0], [1.0, 20.0]])
    found = law.log_ratio(observed, expected, rise)
    departure = np.log(observed / expected) - 0.3 + 0.05 * np.log(expected)
    shift = np.log1p(rise / expected[:, None])
    lumpy = norm.logpdf(departure[:, None], shift, np.hypot(0.02, shift))
    np.testing.assert_allclose(
        found, lumpy - norm.logpdf(departure, scale=0.02)[:, None], rtol=1e-9, atol=1e-12
    )
    assert found[0, 0] == 0


def test_alternatives_are_equally_probable():
    np.testing.assert_allclose(log_mean(np.log([[1.0, 3.0], [8.0, 2.0]])), np.log([2.0, 5.0]))
    assert np.isfinite(log_mean(np.array([[1e5, -1e5]]))).all()


def test_what_the_positions_do_not_describe_is_a_twentieth_of_the_field():
    normal = spectra(0.0, scale=500.0, count=2)
    rise = normal.unseen_rise()
    share = normal.information[0].mean()
    expected = [0.05 * (500 * f) ** 2 / LUMPS * float(share) for f in MASS_FRACTIONS]
    np.testing.assert_allclose(rise, [expected] * 2, rtol=1e-9)
