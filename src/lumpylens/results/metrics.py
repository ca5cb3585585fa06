"""Measures of how well scores separate two classes, with intervals that hold for an AUC near 1.

Every function takes the scores of the normal and of the anomalous images, two arrays of
finite numbers, higher = more anomalous. Images without a score are left out by the caller, who
reports their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.errors import DataError

__all__ = [
    "CURVE_FPRS",
    "FPRS",
    "Estimate",
    "RocCurve",
    "auc",
    "auc_interval",
    "binomial_interval",
    "roc_curve",
    "separation",
    "standardised_wasserstein",
    "wasserstein",
]

FPRS = (0.01, 0.05, 0.1)
"""False-positive rates at which the true-positive rate is reported; ``metrics.json`` has them as
keys. A threshold for the smallest needs 99 calibration images."""

CURVE_FPRS = tuple(
    float(f"{fpr:.4g}")
    for fpr in np.union1d(np.linspace(0, 1, 21), np.geomspace(1e-4, 1, 81)).tolist()
)
"""False-positive rates at which a comparison keeps ROC curves: as many as a figure shows, both on
a linear axis and on a logarithmic one down to one false alarm in 10,000 images."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


def two_classes(normal: ArrayLike, anomalous: ArrayLike) -> tuple[Array, Array]:
    """Flatten both score arrays; `DataError` if one is empty or not finite."""
    pair = (np.ravel(np.asarray(x, dtype=np.float64)) for x in (normal, anomalous))
    low, high = pair
    for name, scores in (("normal", low), ("anomalous", high)):
        if len(scores) == 0:
            raise DataError(f"no {name} image has a score, so the classes cannot be compared")
        if not np.isfinite(scores).all():
            raise DataError(f"scores of {name} images hold NaN or infinite values")
    return low, high


def auc(normal: ArrayLike, anomalous: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Probability that an anomalous image scores above a normal one; ties count one half.

    Parameters
    ----------
    normal, anomalous : array_like, shapes (m,) and (n,)
    confidence : float
        Of the interval, see `auc_interval`.

    Raises
    ------
    DataError
        If a class is empty or holds a number that is not finite.

    Examples
    --------
    >>> auc([0.0, 1.0], [1.0, 2.0]).value
    0.875
    """
    from scipy.stats import rankdata

    low, high = two_classes(normal, anomalous)
    n = len(high)
    ranks = rankdata(np.concatenate([high, low]))[:n]
    value = float((ranks.sum() - n * (n + 1) / 2) / (n * len(low)))
    return Estimate(value, *auc_interval(value, len(low), n, confidence))


def auc_interval(
    value: float, n_normal: int, n_anomalous: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of an AUC that stays inside [0, 1] and is not empty at 1.

    Method 5 of Newcombe (2006, Statistics in Medicine 25, 559): the AUC's t with
    (value - t)^2 = z^2 V(t), where Hanley & McNeil's variance

        V(t) = t (1 - t) [1 + N (1 - t)/(2 - t) + N t/(1 + t)] / (m n),  N = (m + n)/2 - 1,

    is taken at t, not at the observed value, as in Wilson's interval of a proportion.
    """
    from scipy.stats import norm

    z2 = float(norm.ppf((1 + confidence) / 2)) ** 2
    low = _auc_lower(value, n_normal, n_anomalous, z2)
    return low, 1 - _auc_lower(1 - value, n_normal, n_anomalous, z2)


def _auc_lower(value: float, m: int, n: int, z2: float) -> float:
    from scipy.optimize import brentq

    mean_size = (m + n) / 2 - 1

    def inflation(t: float) -> float:
        return 1 + mean_size * ((1 - t) / (2 - t) + t / (1 + t))

    def excess(t: float) -> float:
        return m * n * (value - t) ** 2 - z2 * t * (1 - t) * inflation(t)

    def excess_at_one(t: float) -> float:
        # value = 1 makes t = 1 a root of `excess`; the bound is the other one
        return m * n * (1 - t) - z2 * t * inflation(t)

    if value <= 0:
        return 0.0
    root: float = brentq(
        excess_at_one if value >= 1 else excess, 0, min(value, 1), xtol=1e-12, rtol=1e-12
    )
    return root


def binomial_interval(successes: ArrayLike, trials: int, confidence: float) -> tuple[Array, Array]:
    """Exact (Clopper & Pearson 1934) interval of a proportion; covers at least `confidence`."""
    from scipy.special import betaincinv

    k = np.asarray(successes, dtype=np.float64)
    tail = (1 - confidence) / 2
    low = np.where(k == 0, 0.0, betaincinv(np.maximum(k, 1), trials - k + 1, tail))
    high = np.where(k == trials, 1.0, betaincinv(k + 1, np.maximum(trials - k, 1), 1 - tail))
    return low, high


@dataclass(frozen=True)
class RocCurve:
    """False- and true-positive rates at every threshold, and a confidence band.

    The band: at each threshold the exact intervals of the two rates, each at the square root
    of the confidence, span a rectangle that covers the true point with at least the stated
    confidence, since the classes are independent. The band is the envelope of these
    rectangles, so at any given false-positive rate it covers the true curve with at least that
    confidence, whatever the distributions, in the corner as elsewhere. It is pointwise, not
    simultaneous, and conservative.

    Attributes
    ----------
    fpr, tpr, threshold : ndarray of float64, shape (k,)
        Rates of scores at or above each threshold; highest threshold (infinite) first.
    fpr_low, fpr_high, tpr_low, tpr_high : ndarray of float64, shape (k,)
        Sides of the rectangles.
    n_normal, n_anomalous : int
    confidence : float
    """

    fpr: Array
    tpr: Array
    threshold: Array
    fpr_low: Array
    fpr_high: Array
    tpr_low: Array
    tpr_high: Array
    n_normal: int
    n_anomalous: int
    confidence: float

    def band(self, fpr: ArrayLike) -> tuple[Array, Array]:
        """Lowest and highest credible true-positive rate at the given false-positive rates."""
        at = np.asarray(fpr, dtype=np.float64)
        first = np.searchsorted(self.fpr_high, at, side="left")
        last = np.searchsorted(self.fpr_low, at, side="right") - 1
        return self.tpr_low[np.minimum(first, len(self.fpr) - 1)], self.tpr_high[last]

    def tpr_on(self, fpr: ArrayLike) -> Array:
        """True-positive rates at the lowest thresholds whose false-positive rate is <= `fpr`."""
        at = np.asarray(fpr, dtype=np.float64) * (1 + 1e-12)
        return self.tpr[np.searchsorted(self.fpr, at, side="right") - 1]

    def tpr_at(self, fpr: float) -> Estimate:
        """True-positive rate at the lowest threshold whose false-positive rate is <= `fpr`."""
        value = float(self.tpr_on(fpr))
        low, high = self.band(fpr)
        return Estimate(value, min(float(low), value), max(float(high), value))


def roc_curve(normal: ArrayLike, anomalous: ArrayLike, confidence: float = 0.95) -> RocCurve:
    """Compute the receiver operating characteristic with its confidence band.

    Raises
    ------
    DataError
        If a class is empty or holds a number that is not finite.
    """
    low, high = two_classes(normal, anomalous)
    scores = np.concatenate([low, high])
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(order >= len(low))[last_of_ties]
    alarms = np.flatnonzero(last_of_ties) + 1 - hits
    hits, alarms = np.append(0, hits), np.append(0, alarms)
    side = math.sqrt(confidence)
    return RocCurve(
        alarms / len(low),
        hits / len(high),
        np.append(math.inf, scores[order][last_of_ties]),
        *_intervals(alarms, len(low), side),
        *_intervals(hits, len(high), side),
        n_normal=len(low),
        n_anomalous=len(high),
        confidence=confidence,
    )


def _intervals(counts: NDArray[np.int_], trials: int, confidence: float) -> tuple[Array, Array]:
    """`binomial_interval` of many counts; above `LARGEST_EXACT` of them, bounds of nearby counts.

    Both bounds rise with the count. So the lower bound of the next lower count that is computed,
    and the upper bound of the next higher one, are wider but never too narrow.
    """
    nodes = np.unique(counts)
    if len(nodes) > LARGEST_EXACT:
        ends = np.geomspace(1, trials, 1000)
        even = np.linspace(0, trials, LARGEST_EXACT)
        nodes = np.unique(np.concatenate([even, ends, trials - ends]).astype(int))
    low, high = binomial_interval(nodes, trials, confidence)
    return (
        low[np.searchsorted(nodes, counts, side="right") - 1],
        high[np.searchsorted(nodes, counts, side="left")],
    )


LARGEST_EXACT = 5000
"""Number of counts up to which every interval of a ROC curve is computed; each takes 10
microseconds."""


def wasserstein(normal: ArrayLike, anomalous: ArrayLike) -> float:
    """First Wasserstein distance between the two distributions, in the unit of the scores."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(*two_classes(normal, anomalous)))


def standardised_wasserstein(normal: ArrayLike, anomalous: ArrayLike) -> float:
    """`wasserstein` of scores minus the normals' median, over their interquartile range.

    NaN where half of the normals share one score.
    """
    low, high = two_classes(normal, anomalous)
    first, median, third = np.percentile(low, [25, 50, 75])
    if third == first:
        return math.nan
    return wasserstein((low - median) / (third - first), (high - median) / (third - first))


def separation(
    normal: ArrayLike,
    anomalous: ArrayLike,
    distance: Callable[[ArrayLike, ArrayLike], float] = standardised_wasserstein,
) -> dict[str, Any]:
    """Compute the numbers that ``metrics.json`` holds for every score.

    Returns
    -------
    dict
        ``auc``, ``auc_low``, ``auc_high``; ``tpr_at_fpr``, ``tpr_at_fpr_low``,
        ``tpr_at_fpr_high``, each by false-positive rate; ``wasserstein``; ``n_normal`` and
        ``n_anomalous``.
    """
    low, high = two_classes(normal, anomalous)
    area = auc(low, high)
    curve = roc_curve(low, high)
    rates = {f"{fpr:g}": curve.tpr_at(fpr) for fpr in FPRS}
    return {
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "tpr_at_fpr": {key: rate.value for key, rate in rates.items()},
        "tpr_at_fpr_low": {key: rate.low for key, rate in rates.items()},
        "tpr_at_fpr_high": {key: rate.high for key, rate in rates.items()},
        "wasserstein": distance(low, high),
        "n_normal": len(low),
        "n_anomalous": len(high),
    }
