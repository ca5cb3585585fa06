"""Processes that score or fit together, and what is left when one of them is killed."""

from __future__ import annotations

import pytest
from cluster import Bench, kill_a_worker, kill_the_scheduler, one_process
from fits import FitBench, killed_twice

pytestmark = pytest.mark.slow


def test_killed_workers_and_schedulers_lose_nothing(tmp_path):
    bench = Bench(tmp_path / "bench", images=3000, size=30)
    one_process(bench)
    kill_a_worker(bench)
    killed = kill_the_scheduler(bench)
    (said,) = killed["said"]
    assert said.startswith("lumpylens: the scheduler of ")
    assert "goes on from there" in said


def test_lenses_are_fitted_once_although_a_worker_is_killed_twice(tmp_path):
    numbers = killed_twice(FitBench(tmp_path / "bench", 200, made_up=True))
    assert numbers["rows"] == 200
    for kind in ("lost", "rows that are there twice", "fits that were finished twice"):
        assert numbers[kind] == 0
