"""Measures of separation against brute force, known values and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from lumpylens.data.images import LensImage
from lumpylens.data.shortcuts import TRIVIAL_STATISTICS, trivial_statistics
from lumpylens.errors import DataError
from lumpylens.results.metrics import (
    FPRS,
    auc,
    auc_interval,
    binomial_interval,
    roc_curve,
    separation,
    standardised_wasserstein,
    wasserstein,
)

# halves, so that ties occur and monotone maps stay exact
scores = st.lists(st.integers(-20, 20).map(lambda k: k / 2), min_size=1, max_size=30)


@given(scores, scores)
def test_auc_counts_pairs_and_ties_one_half(normal: list[float], anomalous: list[float]) -> None:
    pairs = np.sign(np.subtract.outer(anomalous, normal))
    value = auc(normal, anomalous).value
    assert value == pytest.approx((pairs.mean() + 1) / 2)
    labels = [0] * len(normal) + [1] * len(anomalous)
    assert value == pytest.approx(roc_auc_score(labels, normal + anomalous))
    assert auc(anomalous, normal).value == pytest.approx(1 - value)
    assert auc(np.exp(normal), np.exp(anomalous)).value == pytest.approx(value)


@given(st.floats(0, 1), st.integers(1, 3000), st.integers(1, 3000))
def test_auc_interval_solves_its_equation(value: float, m: int, n: int) -> None:
    low, high = auc_interval(value, m, n)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1
    size = (m + n) / 2 - 1
    for bound in (low, high):
        if 1e-6 < bound < 1 - 1e-6:
            inflation = 1 + size * ((1 - bound) / (2 - bound) + bound / (1 + bound))
            variance = bound * (1 - bound) * inflation / (m * n)
            assert (value - bound) ** 2 == pytest.approx(
                norm.ppf(0.975) ** 2 * variance, rel=1e-4, abs=1e-10
            )


def test_auc_interval_at_one_is_below_one_and_narrows_with_more_images() -> None:
    bounds = [auc_interval(1.0, n, n) for n in (10, 100, 450, 4500)]
    assert all(high == 1 for _, high in bounds)
    lows = [low for low, _ in bounds]
    assert lows == sorted(lows)
    # near 1 the equation reads 1 - t = z^2 (1 + N/2) / (m n), N = n - 1
    assert 1 - lows[-1] == pytest.approx(norm.ppf(0.975) ** 2 * (1 + 4499 / 2) / 4500**2, rel=0.01)
    assert auc_interval(0.0, 50, 70) == pytest.approx(
        tuple(1 - bound for bound in reversed(auc_interval(1.0, 50, 70)))
    )


@given(scores, scores)
@settings(max_examples=50)
def test_roc_runs_from_corner_to_corner_inside_its_band(
    normal: list[float], anomalous: list[float]
) -> None:
    curve = roc_curve(normal, anomalous)
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.fpr) >= 0).all()
    assert (np.diff(curve.tpr) >= 0).all()
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(normal, anomalous).value)
    low, high = curve.band(curve.fpr)
    assert (low <= curve.tpr).all()
    assert (curve.tpr <= high).all()
    for k in range(1, len(curve.fpr)):
        assert curve.fpr[k] == np.mean(np.array(normal) >= curve.threshold[k])
        assert curve.tpr[k] == np.mean(np.array(anomalous) >= curve.threshold[k])


@given(scores, scores, st.sampled_from(FPRS))
def test_rate_at_a_false_positive_rate_never_spends_more(
    normal: list[float], anomalous: list[float], fpr: float
) -> None:
    found = roc_curve(normal, anomalous).tpr_at(fpr)
    allowed = [
        np.mean(np.array(anomalous) >= threshold)
        for threshold in [*normal, *anomalous, math.inf]
        if np.mean(np.array(normal) >= threshold) <= fpr
    ]
    assert found.value == max(allowed)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_rate_that_was_computed_is_the_rate_that_was_meant() -> None:
    curve = roc_curve(np.arange(10.0), np.arange(5.0, 15.0))
    assert 1 - 0.9 < 0.1
    assert curve.tpr_at(1 - 0.9) == curve.tpr_at(0.1)


def exact_sides(count: int, trials: int) -> tuple[float, float]:
    """Interval of one rate, of which two together cover with 95 %."""
    found = binomtest(count, trials).proportion_ci(math.sqrt(0.95), method="exact")
    return found.low, found.high


def test_the_band_is_the_envelope_of_exact_rectangles() -> None:
    """At each false-positive rate: the lowest and highest of all rectangles that reach it."""
    normal = np.array([0.0, 1, 2, 2, 3, 4, 5, 6, 7, 9])
    anomalous = np.array([1.0, 2, 4, 6, 6, 7, 8, 9, 9, 10, 11, 12])
    curve = roc_curve(normal, anomalous)
    rectangles = []
    for threshold in [*sorted({*normal, *anomalous}, reverse=True), math.inf]:
        alarms, hits = (normal >= threshold).sum(), (anomalous >= threshold).sum()
        rectangles.append((*exact_sides(alarms, 10), *exact_sides(hits, 12)))
    left, right, bottom, top = np.array(rectangles).T
    for fpr in (0.0, 0.01, 0.07, 0.3, 0.5, 0.8, 1.0):
        reach = (left <= fpr) & (fpr <= right)
        low, high = curve.band(fpr)
        assert low == pytest.approx(bottom[reach].min(), abs=1e-9)
        assert high == pytest.approx(top[reach].max(), abs=1e-9)


def test_a_rate_on_the_side_of_a_rectangle_is_in_reach_of_it() -> None:
    curve = roc_curve(np.arange(10.0), np.arange(5.0, 15.0))
    for fpr in curve.fpr_low:
        assert curve.band(fpr)[1] == curve.tpr_high[curve.fpr_low == fpr][-1]
    for fpr in curve.fpr_high:
        assert curve.band(fpr)[0] == curve.tpr_low[curve.fpr_high == fpr][0]


def test_perfect_separation_keeps_an_honest_lower_bound() -> None:
    found = roc_curve(np.arange(450), np.arange(1000, 1450)).tpr_at(0.01)
    assert found.value == 1
    assert 0.98 < found.low < 1


def test_binomial_interval_is_clopper_pearson() -> None:
    low, high = binomial_interval([0, 5, 10], 10, 0.95)
    assert low == pytest.approx([0, 0.18709, 1 - 0.30850], abs=1e-5)
    assert high == pytest.approx([0.30850, 0.81291, 1], abs=1e-5)


def test_band_of_very_many_scores_is_never_too_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    pair = rng.normal(size=900), rng.normal(2, 1, size=1100)
    exact = roc_curve(*pair)
    monkeypatch.setattr("lumpylens.results.metrics.LARGEST_EXACT", 100)
    thinned = roc_curve(*pair)
    for name in ("fpr", "tpr"):
        sides = [(getattr(c, f"{name}_low"), getattr(c, f"{name}_high")) for c in (exact, thinned)]
        assert (sides[1][0] <= sides[0][0]).all()
        assert (sides[1][1] >= sides[0][1]).all()
        assert np.abs(np.subtract(*sides)).max() < 0.015
        # In both corners, where rates are few, none is left out.
        for few in (slice(3), slice(-3, None)):
            np.testing.assert_array_equal(*(np.array(side)[:, few] for side in sides))


def test_wasserstein_is_the_shift_and_is_standardised_by_the_normals() -> None:
    normal = np.random.default_rng(0).normal(size=500)
    spread = np.subtract(*np.percentile(normal, [75, 25]))
    assert wasserstein(normal, normal + 0.3) == pytest.approx(0.3)
    assert standardised_wasserstein(normal, normal + 0.3) == pytest.approx(0.3 / spread)
    assert standardised_wasserstein(7 * normal - 2, 7 * normal + 1) == pytest.approx(
        standardised_wasserstein(normal, normal + 3 / 7)
    )
    assert math.isnan(standardised_wasserstein([1, 1, 1], [1, 2, 3]))


def test_shuffled_labels_and_equal_classes_give_one_half() -> None:
    rng = np.random.default_rng(1)
    everything = np.concatenate([rng.normal(size=400), rng.normal(3, 1, size=400)])
    assert auc(everything[:400], everything[400:]).value > 0.95
    rng.shuffle(everything)
    for normal, anomalous in (
        (everything[:400], everything[400:]),
        (rng.normal(size=500), rng.normal(size=300)),
    ):
        area = auc(normal, anomalous)
        assert area.low < 0.5 < area.high
        assert area.high - area.low < 0.1


def test_separation_has_the_keys_of_metrics_json() -> None:
    found = separation([0.0, 1, 2, 3], [2.0, 3, 4, 5], wasserstein)
    assert found["auc"] == 0.875
    assert found["wasserstein"] == pytest.approx(2)
    for name in ("tpr_at_fpr", "tpr_at_fpr_low", "tpr_at_fpr_high"):
        assert list(found[name]) == ["0.01", "0.05", "0.1"]
    assert (found["n_normal"], found["n_anomalous"]) == (4, 4)


def test_separation_gives_each_number_its_own_name() -> None:
    rng = np.random.default_rng(3)
    normal, anomalous = rng.normal(size=150), rng.normal(1.5, 1, size=90)
    found = separation(normal, anomalous)
    area, curve = auc(normal, anomalous), roc_curve(normal, anomalous)
    assert (found["auc"], found["auc_low"], found["auc_high"]) == (area.value, area.low, area.high)
    assert found["auc_low"] < found["auc"] < found["auc_high"]
    for fpr in FPRS:
        rate = curve.tpr_at(fpr)
        names = ("tpr_at_fpr_low", "tpr_at_fpr", "tpr_at_fpr_high")
        assert [found[name][f"{fpr:g}"] for name in names] == [rate.low, rate.value, rate.high]
        assert rate.low < rate.value < rate.high
    assert found["wasserstein"] == standardised_wasserstein(normal, anomalous)
    assert (found["n_normal"], found["n_anomalous"]) == (150, 90)


def test_scores_are_standardised_by_the_normals_alone() -> None:
    # Median 2 and quartiles 1 and 3, moved by 10 in units of 2; others as wide as they may be.
    assert standardised_wasserstein([0.0, 1, 2, 3, 4], [10.0, 11, 12, 13, 14]) == 5
    assert standardised_wasserstein([0.0, 1, 2, 3, 4], [102.0, 102, 102]) == 50


@pytest.mark.parametrize("bad", [[], [1.0, math.nan], [math.inf]])
def test_scores_that_cannot_be_compared_are_refused(bad: list[float]) -> None:
    for pair in ((bad, [1.0]), ([1.0], bad)):
        for measure in (auc, roc_curve, wasserstein, separation):
            with pytest.raises(DataError, match="normal|anomalous"):
                measure(*pair)


def test_trivial_statistics_see_what_they_are_named_after() -> None:
    rng = np.random.default_rng(2)
    image = rng.random((30, 20)).astype(np.float32)
    plain = trivial_statistics(LensImage("a", image, file_bytes=123))
    assert list(plain) == list(TRIVIAL_STATISTICS)
    assert plain["mean"] == pytest.approx(image.mean(), rel=1e-6)
    assert plain["file_bytes"] == 123
    framed = image.copy()
    framed[:2], framed[-2:], framed[:, :2], framed[:, -2:] = 5, 5, 5, 5
    assert trivial_statistics(LensImage("b", framed))["background"] == 5
    assert trivial_statistics(LensImage("b", framed))["border_noise"] == 0
    symmetric = image + image[::-1, ::-1]
    assert trivial_statistics(LensImage("c", symmetric))["asymmetry"] == pytest.approx(0, abs=1e-6)
    assert plain["asymmetry"] > 0.1
    smooth = np.add.outer(np.arange(30), np.arange(20)).astype(np.float32)
    assert trivial_statistics(LensImage("d", smooth))["sharpness"] < plain["sharpness"] / 3
    failed = trivial_statistics(LensImage("e", None, error="truncated"))
    assert all(math.isnan(value) for value in failed.values())


def test_trivial_statistics_of_a_known_image() -> None:
    image = np.array(
        [[1, 2, 1, 2, 1],
         [2, 3, 4, 3, 5],
         [1, 4, 9, 4, 1],
         [2, 3, 8, 3, 2],
         [1, 2, 1, 2, 1]], np.float32,
    )  # fmt: skip
    found = trivial_statistics(LensImage("a", image, file_bytes=7))
    # The border: eight times 1, seven times 2, once 5.
    border_deviation = 1.4826 * 0.5
    steps_down = [1 + 1 + 1 + 1, 1 + 1 + 1 + 1, 3 + 5 + 1 + 7, 1 + 1 + 1 + 1, 4 + 4 + 1 + 1]
    steps_along = [1 + 1 + 1 + 1, 1 + 1 + 1 + 2, 3 + 5 + 5 + 3, 1 + 5 + 5 + 1, 1 + 1 + 1 + 1]
    mean = 68 / 25
    expected = {
        "mean": mean,
        "std": math.sqrt(290 / 25 - mean**2),
        "median": 2.0,
        "maximum": 9.0,
        "background": 1.5,
        "border_noise": border_deviation,
        # Above 5, half way from 1 to 9.
        "bright_area": 2 / 25,
        "sharpness": (sum(steps_down) + sum(steps_along)) / 20 / 2 / math.sqrt(290 / 25 - mean**2),
        # Pairs that differ: 5 and 2 across the middle, 8 and 4.
        "asymmetry": 2 * (3 + 4) / 25 / (mean - 1),
        "file_bytes": 7.0,
    }
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_border_is_a_fifteenth_of_the_side() -> None:
    image = np.zeros((30, 40), np.float32)
    image[:2], image[-2:], image[:, :2], image[:, -2:] = 8, 8, 8, 8
    # Of the outermost ring most pixels are dark, of both rings most are bright.
    image[0], image[-1], image[10:20, 0], image[10:20, -1] = 0, 0, 0, 0
    assert trivial_statistics(LensImage("a", image))["background"] == 8
