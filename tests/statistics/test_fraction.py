"""The fraction of many lenses where its posterior can be computed, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("zuko")

from toy_field import exact_log_likelihood, lenses

from lumpylens.fraction import density
from lumpylens.fraction.comparing import like_simulated
from lumpylens.fraction.likelihood import SetLikelihood
from lumpylens.fraction.posterior import FractionPosterior
from lumpylens.fraction.summaries import summaries_from
from lumpylens.scale.summarising import drawn_fractions

LARGEST, PER_SET = 0.1, 40


pytestmark = pytest.mark.slow  # flows are trained


@pytest.fixture(scope="module")
def learned():
    fraction = drawn_fractions(4000, LARGEST, 1)
    numbers, *_ = lenses(fraction, 1)
    return SetLikelihood.learn(summaries_from(numbers), fraction, LARGEST, seed=0)


@pytest.fixture(scope="module")
def sets(learned):
    """True fraction, posterior found, and exact posterior of many sets."""
    truths = LARGEST * np.random.default_rng(2).random(150)
    numbers, information, along = lenses(np.repeat(truths, PER_SET), 3)
    curves = learned.curves(summaries_from(numbers))
    grid, found = learned.axis.grid[::4], []
    for number, truth in enumerate(truths):
        mine = slice(number * PER_SET, (number + 1) * PER_SET)
        exact = exact_log_likelihood(information[mine], along[mine], grid)
        found.append(
            (truth, learned.posterior(curves[mine]), FractionPosterior.of(grid, exact[None]))
        )
    return found


def width(posterior):
    low, high = posterior.interval(0.68)
    return (high - low) / 2


def test_the_posterior_is_nearly_that_of_the_exact_likelihood(sets):
    off = [(found.mean - exact.mean) / width(exact) for _, found, exact in sets]
    wider = [width(found) / width(exact) for _, found, exact in sets]
    # Three powers of each field hold less than all its directions, and simulations are finite.
    assert abs(np.mean(off)) < 0.25
    assert np.std(off) < 0.8
    assert 0.95 < np.median(wider) < 1.4


def test_intervals_hold_the_truth_as_often_as_they_say(sets):
    for level, (least, most) in {0.68: (0.56, 0.80), 0.95: (0.89, 1.0)}.items():
        intervals = [(truth, *found.interval(level)) for truth, found, _ in sets]
        inside = np.mean([low <= truth <= high for truth, low, high in intervals])
        # Three binomial standard errors.
        assert least <= inside <= most, level


def test_without_substructure_there_is_a_limit_nearly_as_low_as_the_exact_one(learned):
    numbers, information, along = lenses(np.zeros(300), 5)
    found = learned.posterior(learned.curves(summaries_from(numbers)))
    grid = learned.axis.grid[::4]
    exact = FractionPosterior.of(grid, exact_log_likelihood(information, along, grid)[None])
    assert found.interval(0.95)[0] < 0.001
    assert found.quantile(0.95) < 1.6 * exact.quantile(0.95)


def test_errors_of_finite_simulations_widen_the_posterior_of_a_large_set(learned):
    numbers, information, along = lenses(np.full(2000, 0.02), 6)
    curves = learned.curves(summaries_from(numbers))
    grid = np.linspace(0.015, 0.025, 201)
    exact = FractionPosterior.of(grid, exact_log_likelihood(information, along, grid)[None])
    found = learned.posterior(curves)
    assert width(found) > 1.15 * width(exact)
    assert abs(found.mean - 0.02) < 3 * width(found)


def test_a_set_like_the_simulated_ones_is_taken_for_one(learned):
    p_values = []
    for seed in range(12):
        numbers, *_ = lenses(np.full(100, 0.03), 100 + seed)
        summaries = summaries_from(numbers)
        best = learned.posterior(learned.curves(summaries)).most_probable
        likeness = like_simulated(learned, summaries, best, seed=seed)
        p_values.append(likeness.p_value)
        assert likeness.outside < 0.05
    # Of 12 uniform numbers, 2 or more lie below 0.01 once in 150 times.
    assert np.sum(np.array(p_values) < 0.01) < 2
    assert 0.25 < np.mean(p_values) < 0.75


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda n, _: n | {"residual": n["residual"] + 0.6}, "residual of the smooth fits"),
        (lambda n, r: n | {"residual": 2 * n["residual"]}, "residual of the smooth fits"),
        (lambda n, r: {k: np.where(r, n[k], v) for k, v in SMOOTH.items()}, "power of the"),
    ],
    ids=["larger residuals", "scattered residuals", "half of them smooth"],
)
def test_a_set_unlike_the_simulated_ones_is_told(learned, change, difference):
    numbers, *_ = lenses(np.full(300, 0.06), 7)
    half = np.arange(300) % 2 == 0
    summaries = summaries_from(change(numbers, half))
    best = learned.posterior(learned.curves(summaries)).most_probable
    likeness = like_simulated(learned, summaries, best, seed=0)
    assert likeness.p_value < 0.01
    assert likeness.difference.startswith(difference)
    assert "not like simulated lenses" in likeness.refusal


SMOOTH, *_ = lenses(np.zeros(300), 8)


def test_a_deeper_set_than_all_simulated_ones_is_told(learned):
    numbers, *_ = lenses(np.full(100, 0.02), 9)
    deeper = summaries_from(numbers)
    likeness = like_simulated(
        learned, type(deeper)(deeper.power, deeper.depth + 5, deeper.residual), 0.02, seed=0
    )
    assert "deeper or shallower" in likeness.refusal


def test_the_same_seed_gives_the_same_posterior(monkeypatch):
    monkeypatch.setattr(density, "EPOCHS", 2)
    fraction = drawn_fractions(1000, LARGEST, 1)
    numbers, *_ = lenses(fraction, 1)
    summaries = summaries_from(numbers)
    first, second = (
        SetLikelihood.learn(summaries, fraction, LARGEST, seed=4).curves(summaries[:5])
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_an_error_that_all_lenses_share_is_taken_off(monkeypatch):
    monkeypatch.setattr(density, "EPOCHS", 5)
    fraction = drawn_fractions(1500, LARGEST, 1)
    simulated = summaries_from(lenses(fraction, 1)[0])
    mine = summaries_from(lenses(np.full(300, 0.02), 2)[0])
    right = density.PowerDensity.log_likelihood
    found = []
    for tilt in (0.0, 5.0):
        monkeypatch.setattr(
            density.PowerDensity,
            "log_likelihood",
            lambda self, some, tilt=tilt: right(self, some) + tilt * self.axis.nodes,
        )
        learned = SetLikelihood.learn(simulated, fraction, LARGEST, seed=0)
        found.append(learned.posterior(learned.curves(mine)))
    assert abs(found[1].mean - found[0].mean) < 0.5 * width(found[0])
