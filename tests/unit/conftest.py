"""Fixtures of the unit tests."""

from __future__ import annotations

import pytest

from lumpylens.detectors import DETECTORS


@pytest.fixture
def mean_detector(monkeypatch):
    """Register `MeanDetector` under the name ``mean``."""
    monkeypatch.setitem(DETECTORS, "mean", "mean_detector:MeanDetector")


@pytest.fixture(scope="module")
def address():
    """Of a scheduler with one worker, in threads of this process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address
