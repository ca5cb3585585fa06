"""p-values, thresholds and selections keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.stats import beta, binom, kstest

from lumpylens.errors import ModelError
from lumpylens.results.calibration import Calibration, benjamini_hochberg, calibration_images_for

finite = st.floats(-1e6, 1e6)
samples = st.lists(finite, min_size=1, max_size=60)


@given(samples, samples)
def test_p_value_is_the_rank_among_calibration_scores(
    calibration: list[float], scores: list[float]
) -> None:
    expected = [(1 + sum(c >= s for c in calibration)) / (len(calibration) + 1) for s in scores]
    assert_array_equal(Calibration(np.array(calibration)).p_values(scores), expected)


@given(samples, finite, finite)
def test_a_higher_score_never_has_a_higher_p_value(
    calibration: list[float], one: float, other: float
) -> None:
    model = Calibration(np.array(calibration))
    low, high = sorted([one, other])
    p_low, p_high = model.p_values([low, high])
    assert p_high <= p_low
    if any(low <= c < high for c in calibration):
        assert p_high < p_low


def test_p_values_keep_shape_and_nan() -> None:
    model = Calibration(np.arange(9.0))
    p = model.p_values([[np.nan, 100.0], [-1.0, 4.0]])
    assert_array_equal(p, [[np.nan, 0.1], [1.0, 0.6]])
    assert model.smallest_p_value == 0.1


def test_p_values_of_exchangeable_scores_are_uniform() -> None:
    rng = np.random.default_rng(0)
    # a fresh calibration each time: given one calibration set, p-values are not independent
    p = [Calibration(rng.gamma(2, size=199)).p_values(rng.gamma(2)) for _ in range(2000)]
    steps = np.array(p) - rng.random(2000) / 200  # fills the steps of 1/(n + 1)
    assert kstest(steps, "uniform").pvalue > 1e-3


def test_false_discovery_rate_is_controlled_on_average() -> None:
    rng = np.random.default_rng(1)
    wrong, found = [], []
    for _ in range(300):
        calibration = Calibration(rng.normal(size=1000))
        scores = np.concatenate([rng.normal(size=150), rng.normal(4, 1, size=50)])
        chosen = benjamini_hochberg(calibration.p_values(scores)) <= 0.1
        wrong.append(chosen[:150].sum() / max(chosen.sum(), 1))
        found.append(chosen[150:].mean())
    error = np.std(wrong) / np.sqrt(len(wrong))
    assert np.mean(wrong) < 0.1 + 3 * error
    assert np.mean(found) > 0.8


def test_realised_false_positive_rate_is_beta_binomial() -> None:
    rng = np.random.default_rng(2)
    rates = (0.01, 0.05, 0.1)
    alarms = np.empty((300, len(rates)))
    for row in alarms:
        calibration = Calibration(rng.normal(size=450))
        scores = rng.normal(size=500)
        row[:] = [(scores > calibration.threshold(fpr)).sum() for fpr in rates]
    for fpr, counts in zip(rates, alarms.T, strict=True):
        low, high = calibration.expected_false_alarms(fpr, 500)
        inside = ((low <= counts) & (counts <= high)).sum()
        assert inside >= binom.ppf(1e-4, len(counts), 0.95)
        error = counts.std() / np.sqrt(len(counts))
        assert counts.mean() == pytest.approx(500 * np.floor(fpr * 451) / 451, abs=4 * error)


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers()
)
def test_threshold_and_p_value_tell_the_same(sizes: tuple[int, int], seed: int) -> None:
    n, k = sizes
    rng = np.random.default_rng(abs(seed))
    model = Calibration(rng.integers(0, 50, n).astype(float))
    fpr = k / (n + 1)
    scores = np.arange(-1, 52) / 1.0
    assert_array_equal(scores > model.threshold(fpr), model.p_values(scores) <= fpr * (1 + 1e-12))


def test_false_alarms_are_expected_by_the_spread_of_the_true_rate() -> None:
    """Of very many images, the rate has the Beta(k, n + 1 - k) distribution itself."""
    low, high = Calibration(np.arange(99.0)).expected_false_alarms(0.05, 1_000_000)
    assert (low, high) == pytest.approx(np.multiply(1e6, beta.interval(0.95, 5, 95)), rel=2e-3)
    narrow = Calibration(np.arange(99.0)).expected_false_alarms(0.05, 1_000_000, 0.5)
    assert low < narrow[0] < 50_000 < narrow[1] < high


def test_a_finer_threshold_than_the_calibration_can_tell_is_refused() -> None:
    model = Calibration(np.arange(19.0))
    assert model.threshold(0.05) == 18
    with pytest.raises(ModelError, match=r"19 calibration images give no p-value below 1/20.*99"):
        model.threshold(0.01)
    for rate in (0, 1, -0.1, float("nan")):
        with pytest.raises(ModelError, match="between 0 and 1"):
            model.threshold(rate)


def test_calibration_refuses_what_is_no_score_and_survives_storage() -> None:
    for bad in ([], [1.0, np.nan], [np.inf]):
        with pytest.raises(ModelError, match="calibration"):
            Calibration(np.array(bad))
    model = Calibration(np.array([3.0, 1.0, 2.0]))
    assert_array_equal(Calibration.from_arrays(model.arrays()).scores, [1, 2, 3])


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=40))
def test_q_values_select_what_the_step_up_procedure_selects(p: list[float]) -> None:
    q = benjamini_hochberg([*p, np.nan])
    assert np.isnan(q[-1])
    for level in (0.05, 0.2):
        ordered = np.sort(p)
        passed = np.flatnonzero(ordered <= level * np.arange(1, len(p) + 1) / len(p) + 1e-15)
        cut = ordered[passed[-1]] if len(passed) else -1
        # a p-value within rounding of the line may fall on either side
        sure = np.abs(ordered - level * np.arange(1, len(p) + 1) / len(p)).min() > 1e-12
        if sure:
            assert_array_equal(q[:-1] <= level, np.array(p) <= cut)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5]))
def test_the_fewest_that_can_be_selected_are_selected_and_no_fewer(
    n_calibration: int, n_images: int, fdr: float
) -> None:
    calibration = Calibration(np.arange(float(n_calibration)))
    fewest = calibration.fewest_selected(fdr, n_images)
    for highest in {fewest - 1, fewest, n_images} - {0}:
        if highest <= n_images:
            scores = np.where(np.arange(n_images) < highest, n_calibration, -1)
            q_values = benjamini_hochberg(calibration.p_values(scores))
            assert (q_values <= fdr).any() == (highest >= fewest)
    limit = calibration.selection_limit(fdr, n_images)
    assert (limit == "") == (fewest == 1)
    assert limit.startswith("no image can be") == (fewest > n_images)


def test_the_limit_says_what_would_help() -> None:
    calibration = Calibration(np.arange(99.0))
    said = calibration.selection_limit(0.05, 100)
    assert "fewer than 20 of the 100 images" in said
    assert "with 1999 calibration images a single image can be flagged" in said
    assert Calibration(np.arange(1999.0)).selection_limit(0.05, 100) == ""
    assert "fewer than 1 in 5 images" in calibration.selection_limit(0.05)
    few = Calibration(np.arange(18.0)).selection_limit(0.05)
    assert "1/19 = 0.053" in few
    assert "at least 19 images, or allow a rate of 0.053" in few
    assert calibration_images_for(0.05) == 19
    assert "no image" not in Calibration(np.arange(19.0)).selection_limit(0.05)
    assert "no image" not in Calibration(np.arange(18.0)).selection_limit(0.053)


def test_q_values_are_scipys():
    from scipy.stats import false_discovery_control

    random = np.random.default_rng(3)
    for count in (1, 2, 500):
        p_values = random.random(count).round(2).clip(0.01, 1)
        np.testing.assert_array_equal(
            benjamini_hochberg(p_values), false_discovery_control(p_values)
        )
    assert benjamini_hochberg([]).shape == (0,)
