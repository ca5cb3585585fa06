"""Processes that score together, and what is left when one of them is killed."""

from __future__ import annotations

import pytest
from cluster import Bench, kill_a_worker, kill_the_scheduler, one_process

pytestmark = pytest.mark.slow


def test_killed_workers_and_schedulers_lose_nothing(tmp_path):
    bench = Bench(tmp_path / "bench", images=3000, size=30)
    one_process(bench)
    kill_a_worker(bench)
    killed = kill_the_scheduler(bench)
    (said,) = killed["said"]
    assert said.startswith("lumpylens: the scheduler of ")
    assert "goes on from there" in said
