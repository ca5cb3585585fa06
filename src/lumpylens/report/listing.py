"""The list of a report: a table that can be sorted, thumbnails, thresholds and explanations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.image import LensImage
from lumpylens.report.bins import Bins, shared_bins
from lumpylens.report.panels import explanation_parts
from lumpylens.report.pictures import PALETTES, gradient, scale_bar, shrunk, write_light
from lumpylens.results.calibration import Calibration
from lumpylens.results.ranking import CLASS, Ranking
from lumpylens.results.score_table import DESCRIPTIONS

__all__ = ["Listing", "write_listing"]

THUMBNAILS = 200
"""Ranks with a thumbnail; every image is a row of the table. More make the folder larger."""

THUMBNAIL_PX = 250
"""Longest side of a thumbnail."""

POINTS = 120
"""Largest number of positions of the threshold slider; each adds six numbers to the page."""

USUAL_FPR = 0.05
"""False-positive rate of the slider's initial position."""

CURVE = (1000.0, 200.0)
"""Width and height of the histograms, in units of the SVG drawing."""


@dataclass(frozen=True)
class Listing:
    """Data and drawings for the list of the page.

    Attributes
    ----------
    data : dict
        For the browser, in types that JSON has.
    curves : dict of str to str
        Outline of each histogram, as an SVG path.
    ticks : list of (float, str)
        Position on [0, 1] and text.
    start : int
        Initial position of the slider.
    blink : bool
        Whether some image has a model to compare with.
    """

    data: dict[str, Any]
    curves: dict[str, str]
    ticks: list[tuple[float, str]]
    start: int
    blink: bool


def write_listing(ranking: Ranking, folder: Path) -> Listing:
    """Write thumbnails and pictures of explanations into `folder`, which exists."""
    order = ranking.table.order()
    table = ranking.table[order]
    explained, thumbs = {}, []
    for place, row in enumerate(order.tolist()):
        explanation = ranking.explanations.get(row)
        if place >= THUMBNAILS and explanation is None:
            continue
        item = ranking.images[row]
        if place < THUMBNAILS:
            thumbs.append(write_thumbnail(item, folder / f"thumb-{place + 1:04d}.png"))
        if explanation is not None and explanation.image is not None:
            stem, scale = f"rank-{place + 1:04d}", item.pixel_scale_arcsec
            explained[place] = explanation_parts(explanation, folder, stem, scale)
    histograms = {"calibration": ranking.calibration.scores}
    if ranking.labelled:
        histograms = {
            name: table.anomaly_score[table.scored & (table.components[CLASS] == name)]
            for name in ("normal", "anomalous")
        }
    else:
        histograms["list"] = table.anomaly_score[table.scored]
    histograms = {name: values for name, values in histograms.items() if len(values)}
    normal, *others = histograms.values()
    bins = shared_bins(normal, others[0] if others else normal)
    columns = {"rank": np.arange(1, len(table) + 1), **table.columns()}
    tested = int(np.isfinite(table.p_value).sum())
    points = operating_points(ranking.calibration, tested, bins)
    data = {
        "columns": [
            {
                "key": key,
                "label": key.replace("_", " "),
                "text": is_text(values),
                "meaning": DESCRIPTIONS.get(key, ""),
            }
            for key, values in columns.items()
            if key not in ("error", "warning", "flag")
            and not (key in table.components and is_missing(values))
        ],
        "rows": {key: json_column(values) for key, values in columns.items()},
        "thumbs": thumbs,
        "explained": explained,
        "points": points,
        "fdr": ranking.fdr,
        "calibration": len(ranking.calibration),
        "palettes": {name: gradient(name) for name in PALETTES},
        "labelled": ranking.labelled,
    }
    away = [abs(point["fpr"] - USUAL_FPR) for point in points]
    return Listing(
        data,
        {name: outline(values, bins) for name, values in histograms.items()},
        ticks(bins),
        int(np.argmin(away)),
        any(panel["name"] == "model" for parts in explained.values() for panel in parts["panels"]),
    )


def is_text(values: Any) -> bool:
    """Tell whether a column holds text."""
    return np.asarray(values).dtype.kind in "US"


def is_missing(values: Any) -> bool:
    """Tell whether a column holds numbers, none of which is known."""
    column = np.asarray(values)
    return column.dtype.kind == "f" and bool(np.isnan(column).all())


def json_column(values: Any) -> list[Any]:
    """Convert a column to types that JSON has; a missing number becomes None."""
    column = np.asarray(values)
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [value if math.isfinite(value) else None for value in column.tolist()]


def write_thumbnail(item: LensImage, path: Path) -> dict[str, Any] | None:
    """Write a small version of one image; None if it cannot be drawn.

    Returns
    -------
    dict
        ``box``: left, top, width and height of the image in its pixels; ``scale``: `scale_bar`.
    """
    if item.image is None or item.error:
        return None
    write_light(shrunk(item.image, THUMBNAIL_PX), item.image, path)
    height, width = item.image.shape
    bar = scale_bar(width, item.pixel_scale_arcsec)
    return {"box": [-0.5, -0.5, width, height], "scale": bar}


def operating_points(calibration: Calibration, tested: int, bins: Bins) -> list[dict[str, float]]:
    """Thresholds of the slider, strictest first, with their expected numbers of false alarms.

    If k of n calibration scores lie at or above a threshold, k / (n + 1) of normal images exceed
    it on average; their number has a beta-binomial distribution.
    """
    count = len(calibration)
    ranks = np.unique(np.geomspace(1, max(count // 2, 1), POINTS).round().astype(int))
    points = []
    for rank in ranks.tolist():
        fpr = rank / (count + 1)
        threshold = calibration.threshold(fpr)
        low, high = calibration.expected_false_alarms(fpr, tested) if tested else (0, 0)
        alarms = {"expected": fpr * tested, "low": low, "high": high}
        x = place_of(threshold, bins)
        points.append({"fpr": fpr, "threshold": threshold, **alarms, "x": x})
    return points


def place_of(value: float, bins: Bins) -> float:
    """Position of a value along the drawn axis, on [0, 1]."""
    return float(np.interp(value, bins.edges, np.linspace(0, 1, len(bins.edges))))


def outline(values: NDArray[np.float64], bins: Bins) -> str:
    """Write a histogram as an SVG path; heights are square roots, so that small bins show."""
    width, height = CURVE
    clipped = np.clip(values, bins.edges[0], bins.edges[-1])
    heights = np.sqrt(np.histogram(clipped, bins.edges)[0] / len(values))
    step = width / len(heights)
    top = height * (1 - heights / max(float(heights.max()), 1e-12))
    line = " ".join(f"V{y:.1f}H{(k + 1) * step:.1f}" for k, y in enumerate(top))
    return f"M0 {height:g} {line} V{height:g}Z"


def ticks(bins: Bins) -> list[tuple[float, str]]:
    """Position and text of round numbers along the drawn axis."""
    low, high = float(bins.edges[0]), float(bins.edges[-1])
    if bins.scale == "linear":
        from matplotlib.ticker import MaxNLocator

        chosen = [float(value) for value in MaxNLocator(5).tick_values(low, high)]
    else:
        powers = [float(10.0**k) for k in range(-12, 13)]
        chosen = [-value for value in powers] + [0.0] + powers
        if bins.scale == "asinh":
            chosen = [value for value in chosen if value == 0 or abs(value) >= bins.width / 3]
    inside = sorted(value for value in chosen if low <= value <= high)
    return [(place_of(value, bins), f"{value:g}") for value in thinned(inside, bins)]


def thinned(values: list[float], bins: Bins) -> list[float]:
    """Leave out values whose texts would overlap."""
    kept: list[float] = []
    for value in values:
        if not kept or place_of(value, bins) - place_of(kept[-1], bins) > 0.08:
            kept.append(value)
    return kept
