"""The list of a report: a table that can be sorted, thumbnails, thresholds and explanations.

Two pages have such a list: that of scored images, made here, and that of fitted lenses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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

__all__ = ["THUMBNAILS", "ListWords", "Listing", "json_column", "write_listing"]

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
class ListWords:
    """What the list's page calls things.

    Attributes
    ----------
    nouns : (str, str)
        One row, and several.
    note_title : str
        Head of the column with a text for each row.
    gallery_title, gallery_text : str
        Above the thumbnails.
    condition : str
        Example of a filter.
    choices : tuple of (str, str)
        Kinds of rows that can be shown: the kind, and what the page calls it.
    """

    nouns: tuple[str, str]
    note_title: str
    gallery_title: str
    gallery_text: str
    condition: str
    choices: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Listing:
    """Data and drawings for the list of the page.

    Attributes
    ----------
    data : dict
        For the browser, in types that JSON has.
    words : ListWords
    curves : dict of str to str
        Outline of each histogram, as an SVG path; empty if there is no threshold to choose.
    ticks : list of (float, str)
        Position on [0, 1] and text.
    start : int
        Initial position of the slider.
    blink : bool
        Whether some image has a model to compare with.
    """

    data: dict[str, Any]
    words: ListWords
    curves: dict[str, str] = field(default_factory=dict)
    ticks: list[tuple[float, str]] = field(default_factory=list)
    start: int = 0
    blink: bool = False


def write_listing(ranking: Ranking, folder: Path) -> Listing:
    """Write thumbnails and pictures of explanations into `folder`, which exists."""
    order = ranking.table.order()
    table = ranking.table[order]
    explained, thumbs, views = {}, [], []
    for place, row in enumerate(order.tolist()):
        explanation = ranking.explanations.get(row)
        if place >= THUMBNAILS and explanation is None:
            continue
        item = ranking.images[row]
        if place < THUMBNAILS:
            file = folder / f"thumb-{place + 1:04d}.png"
            thumbs.append(write_thumbnail(item, file))
            views.append(view_of(item))
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
    normal, *anomalous = histograms.values()
    bins = shared_bins(normal, anomalous[0] if anomalous else normal)
    columns = {"rank": np.arange(1, len(table) + 1), **table.columns()}
    tested = int(np.isfinite(table.p_value).sum())
    points = operating_points(ranking.calibration, tested, bins)
    words = score_words(len(explained), ranking.labelled)
    data = {
        "nouns": words.nouns,
        "note_title": words.note_title,
        "gists": None,
        "kinds": table.components[CLASS].tolist() if ranking.labelled else None,
        "notes": [
            error or warning for error, warning in zip(table.error, table.warning, strict=True)
        ],
        "sentences": [
            score_sentence(explained.get(place), error) for place, error in enumerate(table.error)
        ],
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
        "views": views,
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
        words,
        {name: outline(values, bins) for name, values in histograms.items()},
        [(bins.place_of(value), f"{value:g}") for value in bins.round_numbers()],
        int(np.argmin(away)),
        any(panel["name"] == "model" for parts in explained.values() for panel in parts["panels"]),
    )


def score_words(explained: int, labelled: bool) -> ListWords:
    """Words of the list of scored images."""
    count = "1 image is" if explained == 1 else f"{explained:,} images are"
    classes = (("normal", "normal"), ("anomalous", "anomalous")) if labelled else ()
    return ListWords(
        nouns=("image", "images"),
        note_title="note",
        gallery_title="Highest ranks",
        gallery_text=f"{count} explained: open one, then go on with the arrow keys.",
        condition="p_value<0.01",
        choices=(
            ("selected", "the selection"),
            ("explained", "explained"),
            *classes,
            ("noted", "failed or with a warning"),
        ),
    )


def score_sentence(explained: Mapping[str, Any] | None, error: str) -> str:
    """Sentence with which the page begins on an image."""
    if explained is not None:
        return f"{explained['sentence']}."
    return (
        "This image could not be scored." if error else "This rank is not explained in this report."
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


def write_thumbnail(item: LensImage, path: Path) -> str:
    """Write a small version of one image; its place for the page, empty if it cannot be drawn."""
    if item.image is None or item.error:
        return ""
    write_light(shrunk(item.image, THUMBNAIL_PX), item.image, path)
    return f"{path.parent.name}/{path.name}"


def view_of(item: LensImage) -> dict[str, Any] | None:
    """Left, top, width and height of an image in its pixels, and its `scale_bar`."""
    if item.image is None:
        return None
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
        x = bins.place_of(threshold)
        points.append({"fpr": fpr, "threshold": threshold, **alarms, "x": x})
    return points


def outline(values: NDArray[np.float64], bins: Bins) -> str:
    """Write a histogram as an SVG path; heights are square roots, so that small bins show."""
    width, height = CURVE
    clipped = np.clip(values, bins.edges[0], bins.edges[-1])
    heights = np.sqrt(np.histogram(clipped, bins.edges)[0] / len(values))
    step = width / len(heights)
    top = height * (1 - heights / max(float(heights.max()), 1e-12))
    line = " ".join(f"V{y:.1f}H{(k + 1) * step:.1f}" for k, y in enumerate(top))
    return f"M0 {height:g} {line} V{height:g}Z"
