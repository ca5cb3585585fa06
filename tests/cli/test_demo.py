"""The demo goes from nothing to a report."""

from __future__ import annotations

import json
import sys

import pytest

import lumpylens
from lumpylens.verbs.demo import N_FRESH


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
