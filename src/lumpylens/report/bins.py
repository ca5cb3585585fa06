"""Common bins for the histograms of two classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bins", "shared_bins"]

Array = NDArray[np.float64]

LEAST_APART = 0.08
"""Distance of round numbers along an axis, in its length."""


@dataclass(frozen=True)
class Bins:
    """Common bins, equally wide on the axis they are drawn on.

    Attributes
    ----------
    edges : ndarray
    scale : str
        ``linear``, ``log`` or ``asinh``.
    width : float
        Of the linear part of an inverse hyperbolic sine axis.
    below, above : int
        How many values lie outside the edges; they count in the first and in the last bin.
    """

    edges: Array
    scale: str
    width: float
    below: int
    above: int

    def place_of(self, value: float) -> float:
        """Position of a value along the drawn axis, on [0, 1]."""
        return float(np.interp(value, self.edges, np.linspace(0, 1, len(self.edges))))

    def round_numbers(self) -> list[float]:
        """Round numbers along the drawn axis, so far apart that their texts do not overlap."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        if self.scale == "linear":
            # matplotlib takes a second to load
            from matplotlib.ticker import MaxNLocator

            positions = [float(value) for value in MaxNLocator(5).tick_values(low, high)]
        else:
            powers = [float(10.0**k) for k in range(-12, 13)]
            positions = [-value for value in powers] + [0.0] + powers
            if self.scale == "asinh":
                least = self.width / 3
                positions = [value for value in positions if value == 0 or abs(value) >= least]
        spaced: list[float] = []
        for value in sorted(value for value in positions if low <= value <= high):
            if not spaced or self.place_of(value) - self.place_of(spaced[-1]) > LEAST_APART:
                spaced.append(value)
        return spaced


def shared_bins(normal: Array, anomalous: Array) -> Bins:
    """Choose bins and an axis on which both the bulk and the tails can be read.

    The axis is logarithmic for positive values over more than a decade, an inverse hyperbolic
    sine where values reach far beyond the spread of the normal images but are not all positive,
    and linear otherwise. The lowest and the highest 0.2 % may lie outside the bins, if they would
    otherwise need more room than all other values.
    """
    scores = np.concatenate([normal, anomalous])
    low, high = np.percentile(scores, [0.2, 99.8])
    spread = float(np.subtract(*np.percentile(normal, [75, 25])))
    width = max(spread, abs(float(np.median(normal))), 1e-6 * float(high - low))
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]
    if scores.min() > 0 and high > 10 * low:
        scale, forward, backward = "log", np.log, np.exp
    elif spread > 0 and high - low > 30 * spread:
        scale = "asinh"
        forward, backward = (lambda x: np.arcsinh(x / width)), (lambda x: width * np.sinh(x))
    else:
        scale, forward, backward = "linear", np.asarray, np.asarray
    low, high = (float(end) for end in forward(np.array([low, high])))
    least, most = (float(end) for end in forward(np.array([scores.min(), scores.max()])))
    room = high - low
    if room > 0 and low - least > room:
        least = low - 0.05 * room
    if room > 0 and most - high > room:
        most = high + 0.05 * room
    largest = max(abs(least), abs(most))
    if most - least <= 1e-9 * largest or largest < 1e-290:
        least, most = least - 0.5 * max(largest, 1), most + 0.5 * max(largest, 1)
    count = int(np.clip(np.sqrt(len(scores)), 15, 60))
    edges = np.asarray(backward(np.linspace(least, most, count + 1)), dtype=np.float64)
    # rounding leaves the extremes inside
    slack = 1e-9 * (edges[-1] - edges[0])
    below, above = scores < edges[0] - slack, scores > edges[-1] + slack
    return Bins(edges, scale, width, int(below.sum()), int(above.sum()))
