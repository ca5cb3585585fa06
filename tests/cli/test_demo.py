"""The demo goes from nothing to a report."""

from __future__ import annotations

import json

import pytest

import lumpylens
from lumpylens.demo import N_FRESH


@pytest.mark.slow
def test_demo_finds_the_lumpy_lenses_and_says_where_the_report_is(tmp_path):
    made = lumpylens.demo(out=tmp_path / "demo", progress=False)
    assert made["auc"] > 0.95
    assert "report.html" in made["report"]
    metrics = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text())
    assert metrics["auc"] == made["auc"]
    assert metrics["n_failed_normal"] == metrics["n_failed_anomalous"] == 0
    assert set(metrics["splits"]) >= {"train", "test"}
    assert len(lumpylens.score(made["model"], tmp_path / "demo" / "lumpy.npz")) == N_FRESH
    lumpylens.demo(out=tmp_path / "demo", progress=False)
