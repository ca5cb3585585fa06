"""Training on two processes, and training that is killed and goes on."""

from __future__ import annotations

import pytest
from training import Runs

pytestmark = pytest.mark.slow


def test_killed_and_resumed_training_gives_the_unbroken_model(tmp_path):
    runs = Runs(tmp_path, "vae", images=300, epochs=12)
    runs.train("unbroken")
    assert 0 < runs.kill_after(3, "killed") < 12
    runs.train("killed", "--resume")
    assert runs.weights("killed") == runs.weights("unbroken")


def test_two_processes_learn_what_one_learns(tmp_path):
    runs = Runs(tmp_path, "dcae", images=600, epochs=6)
    runs.train("one")
    runs.train("two", "--devices", "2")
    found = runs.difference("one", "two")
    assert found["correlation_of_scores"] > 0.9
    assert found["relative_difference_of_validation_loss"] < 0.2
