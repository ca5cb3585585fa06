"""Confidence intervals cover the truth as often as they say, near perfection too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from lumpylens.results.metrics import auc, roc_curve

TRIALS = 250


def covered_enough(covered: int) -> bool:
    """Whether `covered` of `TRIALS` is no surprise (1 in 10,000) for a 95 % interval."""
    return bool(covered >= binom.ppf(1e-4, TRIALS, 0.95))


@pytest.mark.parametrize(
    ("truth", "sizes"),
    [(0.5, (450, 450)), (0.98, (450, 450)), (0.999, (450, 450)), (0.95, (60, 240))],
)
@pytest.mark.parametrize("family", ["exponential", "normal"])
def test_auc_interval_covers(truth: float, sizes: tuple[int, int], family: str) -> None:
    rng = np.random.default_rng(round(1000 * truth) + sizes[0])
    covered = 0
    for _ in range(TRIALS):
        if family == "exponential":
            normal = rng.exponential(size=sizes[0])
            anomalous = rng.exponential(truth / (1 - truth), size=sizes[1])
        else:
            normal = rng.normal(size=sizes[0])
            anomalous = rng.normal(norm.ppf(truth) * np.sqrt(2), size=sizes[1])
        area = auc(normal, anomalous)
        covered += area.low <= truth <= area.high
    assert covered_enough(covered)


@pytest.mark.parametrize("shift", [0.0, 1.5, 5.0])
def test_roc_band_covers_the_true_curve_at_each_rate(shift: float) -> None:
    rng = np.random.default_rng(7)
    rates = np.array([0.01, 0.05, 0.1, 0.5])
    truth = norm.sf(norm.isf(rates) - shift)
    covered = np.zeros(len(rates), dtype=int)
    for _ in range(TRIALS):
        curve = roc_curve(rng.normal(size=200), rng.normal(shift, size=150))
        low, high = curve.band(rates)
        covered += (low <= truth) & (truth <= high)
    assert all(covered_enough(count) for count in covered)
