"""The benchmark of the fraction, on a small scale: real simulated lenses through a real model."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("zuko")

from scripts import script

benchmark = script("population")


@pytest.mark.slow
def test_lenses_of_the_simulator_have_their_fraction(tmp_path, monkeypatch):
    survey = benchmark.Survey("slc-physics", (11, 1000), {0.02: (22, 110)}, (31, 20))
    monkeypatch.setattr(benchmark, "SURVEYS", {"slc": survey})
    monkeypatch.setattr(benchmark, "SIZES", (100,))
    monkeypatch.setattr("sys.argv", ["population.py", "--out", str(tmp_path)])
    benchmark.main()
    found = json.loads((tmp_path / "population.json").read_text())["surveys"]["slc"]
    (row,) = found["widths"]
    assert row["mean"] == pytest.approx(0.02, abs=4 * row["half_width_68"])
    assert row["half_width_68"] < 0.003
    (first, *_) = found["calibration"]
    # Of 20 sets, four binomial standard errors.
    assert first["sets"] == 20
    assert first["coverage_68"] > 0.26
    assert first["coverage_95"] > 0.75
    page = (tmp_path / "population.md").read_text()
    assert "| 2.0% | 100 | 1 |" in page
    assert (tmp_path / "population.png").stat().st_size > 10_000
