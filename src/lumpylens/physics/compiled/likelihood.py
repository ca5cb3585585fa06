"""Likelihood of rounded data; see `lumpylens.physics.noise` for the same in torch.

Both need the normal distribution far from its middle, where it underflows. Here it is expressed by
the hazard density(t) / (1 - Phi(t)), which is nearly t there and whose excess over t loses no
digits: with it a probability has one quotient, and the curvature no difference of large numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lumpylens.physics.compiled.elementary import (
    LOG2E,
    F,
    compiled,
    exp2_row,
    log2_row,
    polynomial,
)

__all__ = ["interval_deviance", "interval_evidence", "interval_expectation"]

Row = NDArray[np.float32]

BLOCK = 512
"""Numbers computed at once. Their rows fit the first cache. A multiple of what a processor takes
at a time, so that no number is computed singly, with another last digit than among others."""

PIVOT = 3.0
"""The excess times t + PIVOT is a polynomial of t / (t + PIVOT), after the rational argument of
Shepherd and Laframboise (1981, Math. Comp. 36, 249). Chosen, with the degree, among 1 to 4: the
hazard is right to 3e-7 of it from 0 to 1e7, and so is the excess."""

DEGREE = 11

ROOT, INVERSE_ROOT = F(math.sqrt(2 * math.pi)), F(1 / math.sqrt(2 * math.pi))
TWO_LN2 = F(2 * math.log(2))
LEAST_MASS = F(6e-8)
"""The last digit of the difference that is the probability of a very narrow interval."""

LEAST_FALL = F(-60)
"""Power of two that stands for nothing: its square is still a normal number. With smaller ones a
processor takes tens of times as long."""

MOST_DEVIANCE = F(-2 * math.log(1e-30))
"""Of a case in `interval_expectation`, as in `lumpylens.physics.noise.expected_deviance`."""

NOT_FINITE = np.int32(0x7F800000)
"""Exponent of the bit pattern of infinity and of what is not a number."""

(
    DISTANCE, STEP, INVERSE, NEAR, FAR, NEAR_FALL, FAR_FALL, NEAR_HAZARD, NEAR_EXCESS, FAR_HAZARD,
    FAR_EXCESS, MASS, PREDICTED, OTHER, RESULT, SECOND_RESULT, ROWS,
) = range(17)  # fmt: skip


def _excess(share: Any) -> Any:
    """Excess of the hazard over t, times t + PIVOT, for share = t / (t + PIVOT)."""
    t = PIVOT * share / (1 - share)
    tail = torch.special.erfcx(torch.as_tensor(t / math.sqrt(2))).numpy()
    return (math.sqrt(2 / math.pi) / tail - t) * (t + PIVOT)


EXCESS = polynomial(_excess, 0.0, DEGREE)


def interval_evidence(observed: Row, predicted: Row, sigma: Row, steps: Row) -> Row:
    """Score, information, curvature and deviance of `lumpylens.physics.noise.Evidence`.

    Parameters
    ----------
    observed, predicted, sigma, steps : ndarray of float32, shape (k,)
        As in `lumpylens.physics.noise.compare`.

    Returns
    -------
    ndarray of float32, shape (4, k)
        What is infinite or not a number makes all of its column not a number.
    """
    out = np.empty((4, len(observed)), np.float32)
    _evidence(out, observed, predicted, sigma, steps)
    return out


def interval_deviance(observed: Row, predicted: Row, sigma: Row, steps: Row) -> Row:
    """Only the deviance of `interval_evidence`, shape (k,)."""
    out = np.empty_like(observed)
    _deviance(out, observed, predicted, sigma, steps)
    return out


def interval_expectation(predicted: Row, sigma: Row, steps: Row) -> Row:
    """Mean and variance of the deviance, shape (2, k); see `noise.expected_deviance`."""
    out = np.empty((2, len(predicted)), np.float32)
    _expectation(out, predicted, sigma, steps)
    return out


# Ends of an interval are distances from the prediction in units of sigma; the nearer one is
# negative if the prediction lies inside. The density falls to exp(-end^2 / 2) there. If the
# prediction lies outside, both falls are divided by that at the near end, which may underflow.


@compiled
def _load(row, values, start):  # type: ignore[no-untyped-def]
    for j in range(min(BLOCK, values.shape[0] - start)):
        row[j] = values[start + j]


@compiled
def _store(values, start, row, far):  # type: ignore[no-untyped-def]
    """Write a row of results: NaN where an interval ends at infinity or nowhere.

    `exp2_row`, `log2_row` and minima make numbers even of what is none.
    """
    bits, wrong = row.view(np.int32), far.view(np.int32)
    for j in range(BLOCK):
        if wrong[j] & NOT_FINITE == NOT_FINITE:
            bits[j] = np.int32(0x7FC00000)
    for j in range(min(BLOCK, values.shape[0] - start)):
        values[start + j] = row[j]


@compiled
def _hazard_row(hazard, excess, end):  # type: ignore[no-untyped-def]
    """Hazard of the normal distribution, and its excess over t, at t = abs(end)."""
    for j in range(end.shape[0]):
        t = abs(end[j])
        inverse = F(1) / (t + F(PIVOT))
        middle = t * inverse - F(0.5)
        total = EXCESS[DEGREE]
        for k in range(DEGREE):
            total = total * middle + EXCESS[DEGREE - 1 - k]
        excess[j] = total * inverse
        hazard[j] = t + excess[j]


@compiled
def _interval(rows, exponent):  # type: ignore[no-untyped-def]
    """Ends of intervals, their falls and hazards, from distance, step and inverse sigma.

    The row called `MASS` becomes 1 / (sqrt(2 pi) hazard hazard probability).
    """
    distance, step, inverse = rows[DISTANCE], rows[STEP], rows[INVERSE]
    near, far, other = rows[NEAR], rows[FAR], rows[OTHER]
    near_fall, far_fall, mass = rows[NEAR_FALL], rows[FAR_FALL], rows[MASS]
    near_hazard, far_hazard = rows[NEAR_HAZARD], rows[FAR_HAZARD]
    half = F(0.5)
    for j in range(BLOCK):
        near[j] = (distance[j] - half * step[j]) * inverse[j]
        far[j] = (distance[j] + half * step[j]) * inverse[j]
    for j in range(BLOCK):
        inside = min(near[j], F(0))
        near_fall[j] = max(-half * LOG2E * inside * inside, LEAST_FALL)
    for j in range(BLOCK):
        # Far from the prediction half the difference of two squares, but without taking it.
        outside = distance[j] * inverse[j] * step[j] * inverse[j]
        far_fall[j] = -LOG2E * (outside if near[j] >= F(0) else half * far[j] * far[j])
        far_fall[j] = max(far_fall[j], LEAST_FALL)
    exp2_row(near_fall, exponent, other)
    exp2_row(far_fall, exponent, other)
    _hazard_row(near_hazard, rows[NEAR_EXCESS], near)
    _hazard_row(far_hazard, rows[FAR_EXCESS], far)
    for j in range(BLOCK):
        a, b = near_hazard[j], far_hazard[j]
        inside = b * (ROOT * a - near_fall[j])
        whole = (b if near[j] >= F(0) else inside) - far_fall[j] * a
        mass[j] = F(1) / max(whole, LEAST_MASS * b)


@compiled
def _deviance_row(deviance, rows, exponent):  # type: ignore[no-untyped-def]
    near, mass = rows[NEAR], rows[MASS]
    near_hazard, far_hazard = rows[NEAR_HAZARD], rows[FAR_HAZARD]
    for j in range(BLOCK):
        deviance[j] = ROOT * near_hazard[j] * far_hazard[j] * mass[j]
    log2_row(deviance, exponent, rows[OTHER])
    for j in range(BLOCK):
        outside = max(near[j], F(0))
        deviance[j] = max(outside * outside + TWO_LN2 * deviance[j], F(0))


@compiled
def _observe(rows, exponent, observed, predicted, sigma, steps, start):  # type: ignore[no-untyped-def]
    """Intervals of the observations; the signed distance stays in the row `RESULT`."""
    residual, inverse, distance = rows[RESULT], rows[INVERSE], rows[DISTANCE]
    _load(residual, observed, start)
    _load(rows[PREDICTED], predicted, start)
    _load(inverse, sigma, start)
    _load(rows[STEP], steps, start)
    for j in range(BLOCK):
        residual[j] -= rows[PREDICTED, j]
        distance[j] = abs(residual[j])
    for j in range(BLOCK):
        inverse[j] = F(1) / inverse[j]
    _interval(rows, exponent)


@compiled
def _surround(rows, exponent):  # type: ignore[no-untyped-def]
    """Intervals in which the predictions lie."""
    predicted, step, distance = rows[PREDICTED], rows[STEP], rows[DISTANCE]
    for j in range(BLOCK):
        # Rounded, `whole` may be that of the neighbour; its end lies as far behind the prediction.
        whole = np.floor(predicted[j] / step[j] + F(0.5))
        from_middle = abs(predicted[j] - whole * step[j])
        distance[j] = min(from_middle, step[j] - from_middle)
    _interval(rows, exponent)


@compiled
def _deviance(out, observed, predicted, sigma, steps):  # type: ignore[no-untyped-def]
    rows, exponent = np.ones((ROWS, BLOCK), np.float32), np.empty(BLOCK, np.int32)
    for start in range(0, observed.shape[0], BLOCK):
        _observe(rows, exponent, observed, predicted, sigma, steps, start)
        _deviance_row(rows[RESULT], rows, exponent)
        _store(out, start, rows[RESULT], rows[FAR])


@compiled
def _evidence(out, observed, predicted, sigma, steps):  # type: ignore[no-untyped-def]
    rows, exponent = np.ones((ROWS, BLOCK), np.float32), np.empty(BLOCK, np.int32)
    for start in range(0, observed.shape[0], BLOCK):
        _observe(rows, exponent, observed, predicted, sigma, steps, start)
        _slope_rows(rows[RESULT], rows[SECOND_RESULT], rows)
        _store(out[0], start, rows[RESULT], rows[FAR])
        _store(out[2], start, rows[SECOND_RESULT], rows[FAR])
        _deviance_row(rows[RESULT], rows, exponent)
        _store(out[3], start, rows[RESULT], rows[FAR])
        _surround(rows, exponent)
        _information_row(rows[RESULT], rows)
        _store(out[1], start, rows[RESULT], rows[FAR])


@compiled
def _slope_rows(score, curvature, rows):  # type: ignore[no-untyped-def]
    """Replace signed distances by the score, and compute the curvature."""
    near, far, inverse, mass = rows[NEAR], rows[FAR], rows[INVERSE], rows[MASS]
    near_fall, far_fall, slope = rows[NEAR_FALL], rows[FAR_FALL], rows[OTHER]
    near_hazard, far_hazard = rows[NEAR_HAZARD], rows[FAR_HAZARD]
    near_excess, far_excess = rows[NEAR_EXCESS], rows[FAR_EXCESS]
    for j in range(BLOCK):
        slope[j] = (near_fall[j] - far_fall[j]) * near_hazard[j] * far_hazard[j] * mass[j]
    for j in range(BLOCK):
        size = slope[j] * inverse[j]
        score[j] = size if score[j] >= F(0) else -size
    for j in range(BLOCK):
        # slope - near, if the prediction lies outside, where both may be large
        beyond = near_hazard[j] * (far_excess[j] + far[j] - near[j])
        curvature[j] = (far_hazard[j] * near_excess[j] - far_fall[j] * beyond) * mass[j]
    for j in range(BLOCK):
        beyond = curvature[j] if near[j] >= F(0) else slope[j] - near[j]
        curvature[j] = slope[j] * beyond
    for j in range(BLOCK):
        density = far_fall[j] * near_hazard[j] * far_hazard[j] * mass[j]
        total = curvature[j] + (far[j] - near[j]) * density
        curvature[j] = max(total, F(0)) * inverse[j] * inverse[j]


@compiled
def _information_row(information, rows):  # type: ignore[no-untyped-def]
    inverse, step, mass, narrow = rows[INVERSE], rows[STEP], rows[MASS], rows[OTHER]
    near_fall, far_fall = rows[NEAR_FALL], rows[FAR_FALL]
    near_hazard, far_hazard = rows[NEAR_HAZARD], rows[FAR_HAZARD]
    for j in range(BLOCK):
        change = near_fall[j] - far_fall[j]
        inner = change * change * near_hazard[j] * far_hazard[j] * mass[j]
        outer = near_fall[j] * near_hazard[j] + far_fall[j] * far_hazard[j]
        narrow[j] = INVERSE_ROOT * (inner + outer)
    for j in range(BLOCK):
        width = step[j] * inverse[j]
        wide = F(1) / (F(1) + width * width / F(12))
        unit = narrow[j] if width >= F(2) else wide
        information[j] = unit * inverse[j] * inverse[j]


@compiled
def _expectation(out, predicted, sigma, steps):  # type: ignore[no-untyped-def]
    rows, exponent = np.ones((ROWS, BLOCK), np.float32), np.empty(BLOCK, np.int32)
    inverse = rows[INVERSE]
    for start in range(0, predicted.shape[0], BLOCK):
        _load(rows[PREDICTED], predicted, start)
        _load(inverse, sigma, start)
        _load(rows[STEP], steps, start)
        for j in range(BLOCK):
            inverse[j] = F(1) / inverse[j]
        _surround(rows, exponent)
        _expectation_rows(rows[RESULT], rows[SECOND_RESULT], rows, exponent)
        _store(out[0], start, rows[RESULT], rows[FAR])
        _store(out[1], start, rows[SECOND_RESULT], rows[FAR])


@compiled
def _expectation_rows(mean, variance, rows, exponent):  # type: ignore[no-untyped-def]
    """Moments of three deviances: of values behind either end of an interval, and inside."""
    near, far, mass, other = rows[NEAR], rows[FAR], rows[MASS], rows[OTHER]
    below, inside, above = rows[NEAR_HAZARD], rows[DISTANCE], rows[FAR_HAZARD]
    low, high = rows[NEAR_FALL], rows[FAR_FALL]  # become probabilities
    for j in range(BLOCK):
        inside[j] = ROOT * below[j] * above[j] * mass[j]
    for j in range(BLOCK):
        below[j] *= ROOT
        above[j] *= ROOT
    for j in range(BLOCK):
        low[j] /= below[j]
        high[j] /= above[j]
    log2_row(below, exponent, other)
    log2_row(inside, exponent, other)
    log2_row(above, exponent, other)
    for j in range(BLOCK):
        below[j] = min(near[j] * near[j] + TWO_LN2 * below[j], MOST_DEVIANCE)
        inside[j] = max(TWO_LN2 * inside[j], F(0))
        above[j] = min(far[j] * far[j] + TWO_LN2 * above[j], MOST_DEVIANCE)
    for j in range(BLOCK):
        middle = F(1) - low[j] - high[j]
        mean[j] = low[j] * below[j] + middle * inside[j] + high[j] * above[j]
    for j in range(BLOCK):
        a, b, c = below[j] - mean[j], inside[j] - mean[j], above[j] - mean[j]
        middle = F(1) - low[j] - high[j]
        variance[j] = low[j] * a * a + middle * b * b + high[j] * c * c
