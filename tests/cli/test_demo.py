"""The demo goes from nothing to a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import lumpylens
from lumpylens.verbs.demo import N_FRESH, Demonstration


def test_a_demonstration_is_json_and_the_table_of_its_scores(tmp_path):
    table = lumpylens.ScoreTable(id=["a", "b"], anomaly_score=[1.0, 2.0], error=["", ""],
                                 warning=["", ""], p_value=[0.5, 0.1], q_value=[0.5, 0.2],
                                 flag=[False, False], components={})  # fmt: skip
    scores = table.write(tmp_path / "scores.csv")
    model, page = Path("<b>"), tmp_path / "report.html"
    demonstration = Demonstration(tmp_path, model, scores, page, 0.9, 2, 1)
    assert "model: &lt;b&gt;" in demonstration._repr_html_()
    assert demonstration.to_pandas()["anomaly_score"].tolist() == [1.0, 2.0]
    written = json.loads(demonstration.write(tmp_path / "demo.json").read_text(encoding="utf-8"))
    assert (written["report"], written["auc"]) == (str(page), 0.9)
    assert "flagged at a false-discovery rate of 0.05: 1 of 2" in demonstration._repr_html_()


@pytest.mark.slow
def test_demo_finds_the_lumpy_lenses_and_says_where_the_report_is(tmp_path, monkeypatch):
    made = lumpylens.demo(out=tmp_path / "demo", progress=False)
    assert made.auc > 0.95
    assert made.report.name == "report.html"
    metrics = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text())
    assert metrics["auc"] == made.auc
    assert metrics["n_failed_normal"] == metrics["n_failed_anomalous"] == 0
    assert set(metrics["splits"]) >= {"train", "test"}
    scored = lumpylens.score(made.model, tmp_path / "demo" / "lumpy.npz", progress=False)
    assert len(scored) == made.lumpy == N_FRESH
    assert made.flagged == scored.flag.sum() > 0.8 * N_FRESH
    calibration = lumpylens.load_model(made.model).calibration
    # with a margin for other seeds
    assert calibration.fewest_selected(0.05, N_FRESH) < 0.6 * N_FRESH

    # Another demo takes the place of this one.
    for name, fewer in (("N_LEARNED", 120), ("N_FRESH", 10), ("EXPLAINED", 1)):
        monkeypatch.setattr(sys.modules["lumpylens.verbs.demo"], name, fewer)
    assert lumpylens.demo(out=tmp_path / "demo", progress=False).lumpy == 10
