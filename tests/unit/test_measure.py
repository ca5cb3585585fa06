"""The numbers of an evaluation, from score tables small enough to count by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import betabinom, binomtest, ks_2samp

from lumpylens.data.shortcuts import TRIVIAL_STATISTICS
from lumpylens.files.json_files import plain
from lumpylens.results.calibration import Calibration
from lumpylens.results.evaluation_numbers import (
    audit,
    counted_rows,
    measure,
    operating_point,
)
from lumpylens.results.metrics import auc, separation, wasserstein
from lumpylens.results.score_table import ScoreTable

CALIBRATION = Calibration(np.arange(1.0, 100.0))
"""The score 95 is the threshold of a false-positive rate of 5 %."""


def table(rows: list[tuple[float, str, str]], warned: tuple[int, ...] = ()) -> ScoreTable:
    """Score, use and part of each image."""
    score = np.array([row[0] for row in rows])
    strange = np.isin(np.arange(len(rows)), warned)
    return ScoreTable(
        id=[str(k) for k in range(len(rows))],
        anomaly_score=score,
        error=["no pixels" if math.isnan(value) else "" for value in score],
        warning=["in another unit" if flag else "" for flag in strange],
        p_value=CALIBRATION.p_values(np.where(strange, np.nan, score)),
        q_value=np.full(len(rows), np.nan),
        flag=np.zeros(len(rows), dtype=bool),
        components={
            "reconstruction_mse": score / 10,
            "free_mass": -score,
            "use": np.array([row[1] for row in rows]),
            "part": np.array([row[2] for row in rows]),
        },
    )


TABLES = {
    "normal": table(
        [
            (5.0, "headline", "test"),
            (95.0, "headline", "test"),
            (96.0, "headline", "train"),
            (12.0, "headline", "test"),
            (99.5, "headline", "test"),
            (3.0, "seen", "train"),
            (4.0, "seen", "train"),
            (6.0, "seen", "validation"),
            (7.0, "seen", "calibration"),
            (5.0, "duplicate", "test"),
            (150.0, "both classes", "test"),
            (151.0, "both classes", "test"),
            (math.nan, "failed", "test"),
        ],
        warned=(4, 6),
    ),
    "anomalous": table(
        [
            (100.0, "headline", "train"),
            (95.0, "headline", "test"),
            (200.0, "headline", "test"),
            (1.0, "seen", "train"),
            (150.0, "both classes", "test"),
        ]
    ),
}
HEADLINE = ([5.0, 95.0, 96.0, 12.0, 99.5], [100.0, 95.0, 200.0])


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return measure(TABLES, CALIBRATION)


def test_images_are_counted_by_their_use(found: dict[str, Any]) -> None:
    counts = {key: value for key, value in found.items() if key.startswith("n_")}
    assert counts == {
        "n_normal": 5, "n_given_normal": 13, "n_failed_normal": 1, "n_warned_normal": 1,
        "n_seen_normal": 4, "n_duplicate_normal": 1, "n_in_both_classes_normal": 2,
        "n_anomalous": 3, "n_given_anomalous": 5, "n_failed_anomalous": 0,
        "n_warned_anomalous": 0, "n_seen_anomalous": 1, "n_duplicate_anomalous": 0,
        "n_in_both_classes_anomalous": 1,
    }  # fmt: skip


def test_the_headline_and_its_components_are_of_the_headline_images(found: dict[str, Any]) -> None:
    expected = separation(*HEADLINE)
    assert found["auc"] == expected["auc"] == pytest.approx(12.5 / 15)
    assert found["wasserstein_score"] == expected["wasserstein"]
    losses = [np.array(scores) / 10 for scores in HEADLINE]
    assert found["wasserstein"] == pytest.approx(wasserstein(*losses))
    assert set(found["components"]) == {"reconstruction_mse", "free_mass"}
    assert found["components"]["free_mass"]["auc"] == pytest.approx(1 - 12.5 / 15)


def test_a_part_holds_the_normal_images_that_the_model_was_made_with() -> None:
    """Anomalous ones that it has seen are no evidence, in no part."""
    scores = {
        part: {
            name: rows.anomaly_score.tolist() for name, rows in counted_rows(TABLES, part).items()
        }
        for part in ("train", "validation", "test")
    }
    assert scores == {
        "train": {"normal": [96.0, 3.0, 4.0], "anomalous": [100.0]},
        "validation": {"normal": [6.0], "anomalous": []},
        "test": {"normal": [5.0, 95.0, 12.0, 99.5], "anomalous": [95.0, 200.0]},
    }


def test_parts_without_one_of_the_classes_are_left_out(found: dict[str, Any]) -> None:
    assert list(found["splits"]) == ["train", "test"]
    assert found["splits"]["train"]["auc"] == 1
    assert found["splits"]["test"]["auc"] == pytest.approx(6.5 / 8)


def test_rates_at_a_threshold_are_those_above_it(found: dict[str, Any]) -> None:
    at = found["thresholds"]["0.05"]
    assert at["threshold"] == 95
    # 96 of 5, 95, 96 and 12: the image with a warning has no p-value. 100 and 200 of three.
    assert (at["fpr"], at["tpr"]) == (1 / 4, 2 / 3)
    assert (at["n_normal"], at["n_anomalous"]) == (4, 3)
    for key, hits, count in (("fpr", 1, 4), ("tpr", 2, 3)):
        interval = binomtest(hits, count).proportion_ci(0.95, method="exact")
        assert (at[f"{key}_low"], at[f"{key}_high"]) == pytest.approx(
            (interval.low, interval.high), abs=1e-6
        )
    assert at["fpr_expected"] == [k / 4 for k in betabinom.interval(0.95, 4, 5, 95)]
    assert "refused" not in found["thresholds"]["0.01"]
    few = operating_point(Calibration(np.arange(9.0)), 0.05, counted_rows(TABLES))
    assert list(few) == ["refused"]
    assert "at least 19 images" in few["refused"]


def test_calibration_is_checked_on_unseen_images_without_a_warning(found: dict[str, Any]) -> None:
    expected = ks_2samp([5.0, 95.0, 96.0, 12.0], CALIBRATION.scores)
    assert found["calibration_check"] == {
        "statistic": pytest.approx(expected.statistic),
        "p_value": pytest.approx(expected.pvalue),
        "n_calibration": 99,
        "n_normal": 4,
    }


def test_the_audit_is_of_the_headline_images() -> None:
    trivial = {
        name: {
            statistic: np.full(len(rows), np.nan)
            if statistic == "file_bytes"
            else np.arange(len(rows), dtype=float) ** 2
            for statistic in TRIVIAL_STATISTICS
        }
        for name, rows in TABLES.items()
    }
    trivial["normal"]["mean"][1] = np.nan
    found = audit(TABLES, trivial)
    assert found["free_mass"] == found["components"]["free_mass"]
    assert found["free_mass"]["auc"] == pytest.approx(1 - 12.5 / 15)
    assert set(found["trivial"]) == set(TRIVIAL_STATISTICS) - {"file_bytes"}
    median, mean = auc([0, 1, 4, 9, 16], [0, 1, 4]), auc([0, 4, 9, 16], [0, 1, 4])
    for name, expected in (("median", median), ("mean", mean)):
        assert found["trivial"][name] == {
            "auc": expected.value, "auc_low": expected.low, "auc_high": expected.high
        }  # fmt: skip


def test_what_json_cannot_hold_is_none() -> None:
    given = {"a": math.nan, 1: [np.float64(2.5), np.int64(3), (math.inf, "x")], "b": None}
    assert plain(given) == {"a": None, "1": [2.5, 3, [None, "x"]], "b": None}
    assert type(plain(np.int64(3))) is int
    assert_array_equal(plain([np.float32(0.5)]), [0.5])
