"""Measures of separation against brute force, known values and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from lumpylens.data.images import LensImage
from lumpylens.errors import DataError
from lumpylens.metrics import (
    FPRS,
    TRIVIAL_STATISTICS,
    auc,
    auc_interval,
    binomial_interval,
    roc_curve,
    separation,
    standardised_wasserstein,
    trivial_statistics,
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
    monkeypatch.setattr("lumpylens.metrics.LARGEST_EXACT", 100)
    thinned = roc_curve(*pair)
    for name in ("fpr", "tpr"):
        sides = [(getattr(c, f"{name}_low"), getattr(c, f"{name}_high")) for c in (exact, thinned)]
        assert (sides[1][0] <= sides[0][0]).all()
        assert (sides[1][1] >= sides[0][1]).all()
        assert np.abs(np.subtract(*sides)).max() < 0.015


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
