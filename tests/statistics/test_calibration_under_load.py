"""A small version of the campaign that counts false alarms and false discoveries."""

from __future__ import annotations

import numpy as np
import pytest
from calibration import false_alarms, false_discovery_proportion, measure

from lumpylens.results.calibration import Calibration


@pytest.mark.slow
def test_a_detector_keeps_its_word():
    found = measure(calibrating=3000, fresh=6000, repetitions=40)
    assert [row["inside"] for row in found["false_alarms"]] == [True] * 3
    for row in found["false_discoveries"]:
        assert row["at_most_q_plus_2_errors"]
    assert found["false_discoveries"][-1]["power"] > 0.2


def test_known_scores_keep_it_and_shifted_ones_do_not():
    random = np.random.default_rng(1)
    calibration = Calibration(random.normal(size=2000))
    fresh = random.normal(size=5000)
    assert all(row["inside"] for row in false_alarms(calibration, fresh))
    assert not any(row["inside"] for row in false_alarms(calibration, fresh + 1))
    options = {"q": 0.1, "repetitions": 60, "sizes": (500, 500, 50), "seed": 2}
    found = false_discovery_proportion(fresh, random.normal(4, 1, 500), **options)
    assert found["at_most_q_plus_2_errors"]
    assert found["power"] > 0.5
    assert 0.03 < found["mean_fdp"] < 0.15
