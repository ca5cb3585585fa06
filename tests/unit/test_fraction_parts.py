"""Parts of the posterior of a fraction, each against a known answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

pytest.importorskip("zuko")

from lumpylens.fraction.comparing import energy_p_value
from lumpylens.fraction.likelihood import DEGREE, Drift
from lumpylens.fraction.posterior import FractionPosterior
from lumpylens.fraction.result import SubstructureFraction
from lumpylens.fraction.stretch import FractionAxis
from lumpylens.physics.spectrum import LUMPS, SEEN_FRACTIONS, Spectrum

AXIS = FractionAxis(0.2)


def test_places_and_fractions_are_inverse_and_squares_near_zero():
    fraction = np.linspace(0, 0.2, 50)
    place = AXIS.place(fraction)
    assert (place[0], place[-1]) == (0, pytest.approx(1))
    np.testing.assert_allclose(AXIS.fraction(place), fraction, atol=1e-12)
    small = AXIS.place(np.array([1e-4, 2e-4]))
    assert small[1] / small[0] == pytest.approx(4, rel=1e-3)


def test_slopes_of_cubics_are_exact_at_a_place_of_each():
    coefficients = np.array([[1.0, -2, 0.5, 3], [0, 4, -1, 2]])
    curves = np.stack([np.polyval(row, AXIS.nodes) for row in coefficients])
    place = np.array([0.013, 1.0])
    expected = [np.polyval(np.polyder(row), x) for row, x in zip(coefficients, place, strict=True)]
    np.testing.assert_allclose(AXIS.slopes(curves, place), expected, rtol=1e-9)
    np.testing.assert_allclose(
        AXIS.between(curves[0], place), np.polyval(coefficients[0], place), rtol=1e-9
    )


def test_a_drift_is_found_within_the_error_that_it_states():
    random = np.random.default_rng(0)
    true = np.array([0.5, -1.0, 0.0, 0.3, 0.2])
    off = []
    for _ in range(60):
        place = random.random(800)
        drift = np.polynomial.legendre.legval(2 * place - 1, true)
        slope = drift + (1 + 3 * place) * random.normal(size=800)
        found = Drift.learn(place, slope)
        off.append((found.mean - true) / np.sqrt(np.diag(found.covariance)))
    assert np.std(off) == pytest.approx(1, abs=0.15)
    assert np.abs(np.mean(off, axis=0)).max() < 0.5


def test_the_total_of_a_drift_has_it_as_its_slope_and_begins_at_zero():
    coefficients = np.random.default_rng(1).normal(size=(2, DEGREE + 1))
    drift = Drift(coefficients[0], np.eye(DEGREE + 1))
    place = np.linspace(0, 1, 2001)
    total = drift.total(place, coefficients)
    assert total.shape == (2, 2001)
    np.testing.assert_allclose(total[:, 0], 0, atol=1e-12)
    slope = np.polynomial.legendre.legval(2 * place - 1, coefficients.T)
    np.testing.assert_allclose(
        np.gradient(total, place, axis=1)[:, 1:-1], slope[:, 1:-1], atol=1e-3
    )
    draws = drift.draws(4000, np.random.default_rng(2))
    np.testing.assert_allclose(draws.mean(axis=0), drift.mean, atol=0.08)
    np.testing.assert_allclose(np.cov(draws.T), drift.covariance, atol=0.08)


def test_a_normal_posterior_has_the_intervals_of_the_normal_law():
    grid = np.linspace(0, 0.1, 1001)
    found = FractionPosterior.of(grid, norm.logpdf(grid, 0.05, 0.01)[None] - 1e5)
    assert found.mean == pytest.approx(0.05, abs=1e-5)
    assert found.most_probable == pytest.approx(0.05)
    np.testing.assert_allclose(found.interval(0.95), [0.0304, 0.0696], atol=1e-4)
    assert found.quantile(0.95) == pytest.approx(0.06645, abs=1e-4)
    assert found.below(0.04) == pytest.approx(norm.cdf(-1), abs=1e-3)


def test_posteriors_are_averaged_each_with_the_same_weight():
    grid = np.linspace(0, 0.1, 1001)
    two = norm.logpdf(grid, [[0.03], [0.07]], 0.002) + np.array([[0.0], [500.0]])
    found = FractionPosterior.of(grid, two)
    assert found.below(0.05) == pytest.approx(0.5, abs=1e-3)


def test_the_shortest_interval_of_a_falling_posterior_begins_at_zero():
    grid = np.linspace(0, 0.1, 1001)
    found = FractionPosterior.of(grid, -grid[None] / 0.005)
    low, high = found.interval(0.95)
    assert low == 0
    assert high == pytest.approx(found.quantile(0.95), abs=2e-4)


def test_the_energy_distance_tells_samples_apart_and_only_these():
    random = np.random.default_rng(3)
    same = [
        energy_p_value(random.normal(size=(60, 3)), random.normal(size=(90, 3)), random)
        for _ in range(30)
    ]
    assert 0.3 < np.mean(same) < 0.7
    assert min(same) > 0.001
    shifted = random.normal(size=(60, 3)) + np.array([0.8, 0, 0])
    assert energy_p_value(shifted, random.normal(size=(90, 3)), random) == pytest.approx(1 / 2000)
    wider = 2 * random.normal(size=(100, 3))
    assert energy_p_value(wider, random.normal(size=(90, 3)), random) < 0.01


def test_fluctuations_are_the_weighted_sums_that_they_say():
    information = torch.tensor([[3.0, 0.5, 0.01]], dtype=torch.float64)
    along = torch.tensor([[2.0, -1.0, 0.3]], dtype=torch.float64)
    halo, error = torch.tensor([400.0], dtype=torch.float64), 0.4
    found = Spectrum(information, along, halo).fluctuations(error)
    for k, fraction in enumerate(SEEN_FRACTIONS):
        power = seen = squared = 0.0
        for level, part in zip(information[0].tolist(), along[0].tolist(), strict=True):
            variance = level * (1 + error**2 * level)
            added = (fraction * 400) ** 2 / LUMPS / 3 * level**2
            weight = added / (variance + added)
            power += weight * part**2 / variance
            seen += weight
            squared += weight**2
        np.testing.assert_allclose(
            [float(table[0, k]) for table in found], [power, seen, squared], rtol=1e-12
        )


@pytest.mark.parametrize(("centre", "words"), [(0.002, "no evidence"), (0.02, "")])
def test_an_interval_that_smooth_lenses_have_is_no_evidence(centre, words):
    grid = np.linspace(0, 0.1, 1001)
    posterior = FractionPosterior.of(grid, norm.logpdf(grid, centre, 0.0005)[None])
    found = SubstructureFraction(["a"], [""], posterior, None, "")
    assert found.interval()[0] > 0
    assert found.caveat.startswith(words)
    assert bool(found.caveat) == bool(words)
    assert (found.caveat in repr(found).splitlines()) == bool(words)
    assert found.to_dict()["caveat"] == found.caveat
