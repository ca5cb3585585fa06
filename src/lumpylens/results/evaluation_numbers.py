"""The numbers of an evaluation, from its score tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.shortcuts import TRIVIAL_STATISTICS
from lumpylens.data.splits import PARTS
from lumpylens.errors import ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.results.metrics import FPRS, auc, binomial_interval, separation, wasserstein
from lumpylens.results.score_table import FIRST_COMPONENT, ScoreTable

__all__ = [
    "BOTH",
    "DUPLICATE",
    "FAILED",
    "HEADLINE",
    "SEEN",
    "audit",
    "counted_rows",
    "measure",
]

HEADLINE, SEEN, DUPLICATE, BOTH, FAILED = "headline", "seen", "duplicate", "both classes", "failed"
"""How an image is used: values of the column ``use`` of an evaluation's score tables."""

ByClass = dict[str, ScoreTable]
Array = NDArray[np.float64]


def counted_rows(tables: Mapping[str, ScoreTable], part: str | None = None) -> ByClass:
    """Rows of the headline, or those of one part of the split, by class.

    The normal images of a part are those that the model was trained, chosen or calibrated with
    (for ``test``: those it never saw); its anomalous images are those whose content falls into the
    same part.
    """
    rows = {}
    for name, table in tables.items():
        use, home = table.components["use"], table.components["part"]
        if part is None:
            rows_used = use == HEADLINE
        else:
            rows_used = (home == part) & ((use == HEADLINE) | ((use == SEEN) & (name == "normal")))
        rows[name] = table[rows_used]
    return rows


def measure(tables: Mapping[str, ScoreTable], calibration: Calibration) -> dict[str, Any]:
    """Compute all numbers that follow from the scores.

    Parameters
    ----------
    tables : dict of str to ScoreTable
        ``normal`` and ``anomalous``, with the columns ``use`` and ``part``.
    calibration : Calibration
    """
    rows = counted_rows(tables)
    counts: dict[str, Any] = {}
    for name, table in tables.items():
        uses = Counter(table.components["use"].tolist())
        counts |= {
            f"n_given_{name}": len(table),
            f"n_failed_{name}": uses[FAILED],
            f"n_warned_{name}": rows[name].n_warned,
            f"n_seen_{name}": uses[SEEN],
            f"n_duplicate_{name}": uses[DUPLICATE],
            f"n_in_both_classes_{name}": uses[BOTH],
        }
    parts = {part: counted_rows(tables, part) for part in PARTS}
    return {
        **overall(rows),
        **counts,
        "components": {name: separation(*pair) for name, pair in component_pairs(rows).items()},
        "splits": {
            part: overall(part_rows) for part, part_rows in parts.items() if all(part_rows.values())
        },
        "thresholds": {f"{fpr:g}": operating_point(calibration, fpr, rows) for fpr in FPRS},
        "calibration_check": calibration_check(calibration, rows["normal"]),
    }


def overall(rows: ByClass) -> dict[str, Any]:
    """`separation` of the scores, with the W1 distance of the reconstruction losses."""
    numbers = separation(rows["normal"].anomaly_score, rows["anomalous"].anomaly_score)
    losses = component_pairs(rows).get(FIRST_COMPONENT)
    return numbers | {
        "wasserstein": wasserstein(*losses) if losses else None,
        "wasserstein_score": numbers["wasserstein"],
    }


def component_pairs(rows: ByClass) -> dict[str, tuple[Array, Array]]:
    """Finite values, normal and anomalous, of each component that has some in both classes."""
    pairs = {}
    for name, values in rows["normal"].components.items():
        if values.dtype.kind == "f":
            low, high = (v[np.isfinite(v)] for v in (values, rows["anomalous"].components[name]))
            if len(low) and len(high):
                pairs[name] = (low, high)
    return pairs


def operating_point(calibration: Calibration, fpr: float, rows: ByClass) -> dict[str, Any]:
    """Rates realised at the calibrated threshold, by the images that have a p-value.

    Returns
    -------
    dict
        ``threshold``; ``fpr`` and ``tpr`` with exact 95 % intervals; ``fpr_expected``, the 95 %
        range of the false-positive rate if normal images score like the calibration images; or
        only ``refused`` with the reason why there is no threshold.
    """
    try:
        threshold = calibration.threshold(fpr)
    except ModelError as refusal:
        return {"refused": str(refusal)}
    point: dict[str, Any] = {"threshold": threshold}
    for key, name in (("fpr", "normal"), ("tpr", "anomalous")):
        scores = trusted_scores(rows[name])
        hits = int(np.count_nonzero(scores > threshold))
        low, high = binomial_interval(hits, len(scores), 0.95)
        point |= {
            key: hits / len(scores) if len(scores) else math.nan,
            f"{key}_low": float(low),
            f"{key}_high": float(high),
            f"n_{name}": len(scores),
        }
    if count := point["n_normal"]:
        alarms = calibration.expected_false_alarms(fpr, count)
        point["fpr_expected"] = [number / count for number in alarms]
    return point


def calibration_check(calibration: Calibration, normal: ScoreTable) -> dict[str, Any]:
    """Test whether unseen normal images score like the calibration images (Kolmogorov-Smirnov)."""
    from scipy.stats import ks_2samp

    scores = trusted_scores(normal)
    sizes = {"n_calibration": len(calibration), "n_normal": len(scores)}
    if not len(scores):
        return {"statistic": math.nan, "p_value": math.nan, **sizes}
    test = ks_2samp(scores, calibration.scores)
    return {"statistic": float(test.statistic), "p_value": float(test.pvalue), **sizes}


def trusted_scores(table: ScoreTable) -> Array:
    """Scores of the images that have a p-value: those without a warning."""
    return table.anomaly_score[np.isfinite(table.p_value)]


def audit(
    tables: Mapping[str, ScoreTable], trivial: Mapping[str, Mapping[str, Array]]
) -> dict[str, Any]:
    """AUC of each part of the score, and of simple statistics without lensing.

    An AUC below 0.5 means that anomalous images have the lower values.

    Parameters
    ----------
    tables : dict of str to ScoreTable
        ``normal`` and ``anomalous``, with the columns ``use`` and ``part``.
    trivial : dict of str to dict of str to ndarray, shape (n,)
        By class: `trivial_statistics` of all rows.
    """
    components = {name: area(*pair) for name, pair in component_pairs(counted_rows(tables)).items()}
    statistics = {}
    for name in TRIVIAL_STATISTICS:
        low, high = (
            values[(tables[c].components["use"] == HEADLINE) & np.isfinite(values)]
            for c, values in ((c, trivial[c][name]) for c in ("normal", "anomalous"))
        )
        if len(low) and len(high):
            statistics[name] = area(low, high)
    return {
        "components": components,
        "free_mass": components.get("free_mass"),
        "trivial": statistics,
    }


def area(normal: Array, anomalous: Array) -> dict[str, float]:
    """AUC with its interval, under the keys of the audit."""
    estimate = auc(normal, anomalous)
    return {"auc": estimate.value, "auc_low": estimate.low, "auc_high": estimate.high}
