"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from lumpylens.detectors import DETECTORS


@pytest.fixture
def mean_detector(monkeypatch):
    """Register `MeanDetector` under the name ``mean``."""
    monkeypatch.setitem(DETECTORS, "mean", "mean_detector:MeanDetector")
