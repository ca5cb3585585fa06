"""Training on two processes, and training that is killed and goes on.

Run with ``python reliability/training.py``; prints one JSON object. Two CPU processes (gloo) must
learn what one learns, within a tolerance; a run that is killed with signal 9 and resumed must give
the unbroken run's model bit for bit, and so must a second run with the same seed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rings import rings

from lumpylens.data.images import LensImages
from lumpylens.store.folder import load_model

PATIENCE_S = 240
BATCH = 64


class Runs:
    """Trainings on the same images, in one folder."""

    def __init__(self, folder: Path, detector: str, images: int, epochs: int) -> None:
        self.folder, self.detector, self.epochs = folder, detector, epochs
        self.data = folder / "rings.npy"
        np.save(self.data, rings(images, 1))

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        """Start a training; it leads a group of processes of its own."""
        settings = [f"max_epochs={self.epochs}", "latents=16", f"batch_size={BATCH}"]
        command = [
            sys.executable, "-m", "lumpylens.cli", "train", str(self.data), "--quiet",
            "--detector", self.detector, "--device", "cpu", "--out", str(self.folder / name),
            *(word for setting in settings for word in ("--set", setting)), *options,
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            start_new_session=True,
        )  # fmt: skip

    def train(self, name: str, *options: str) -> float:
        """Train to the end; seconds."""
        started = time.perf_counter()
        process = self.start(name, *options)
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        return round(time.perf_counter() - started, 1)

    def kill_after(self, epochs: int, name: str, *options: str) -> int:
        """Kill a training, with all its processes, when some epochs are done; how many."""
        metrics = self.folder / f"{name}.run" / "metrics.jsonl"
        process = self.start(name, *options)
        deadline = time.monotonic() + PATIENCE_S
        while not metrics.exists() or len(metrics.read_text().splitlines()) < epochs:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "no epoch ends"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (self.folder / name).exists(), "a half-made model"
        return len(metrics.read_text().splitlines())

    def weights(self, name: str) -> bytes:
        """What a training has learned, as stored."""
        return (self.folder / name / "model.safetensors").read_bytes()

    def difference(self, one: str, other: str) -> dict[str, float]:
        """How far two models are apart, on fresh images."""
        fresh = LensImages.from_arrays(rings(400, 77))
        models = [load_model(self.folder / name) for name in (one, other)]
        first, second = (model.detector.anomaly_score(fresh) for model in models)
        histories = [[row["val_loss"] for row in model.detector.history] for model in models]
        last = [min(history) for history in histories]
        return {
            "correlation_of_scores": round(float(np.corrcoef(first, second)[0, 1]), 5),
            "median_relative_difference_of_scores": round(
                float(np.median(np.abs(second / first - 1))), 5
            ),
            "relative_difference_of_validation_loss": round(abs(last[1] / last[0] - 1), 5),
        }


def measure(detector: str, images: int, epochs: int) -> dict[str, Any]:
    """Train in every way, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder), detector, images, epochs)
        seconds = {"one process": runs.train("one"), "again": runs.train("again")}
        assert runs.weights("one") == runs.weights("again"), "the same seed gives other bits"
        done = runs.kill_after(max(1, epochs // 2), "killed")
        seconds["resumed"] = runs.train("killed", "--resume")
        assert runs.weights("killed") == runs.weights("one"), "resumed, yet another model"
        seconds["two processes"] = runs.train("two", "--devices", "2")
        done_by_two = runs.kill_after(max(1, epochs // 2), "two-killed", "--devices", "2")
        runs.train("two-killed", "--devices", "2", "--resume")
        return {
            "detector": detector,
            "images": images,
            "epochs": epochs,
            "seconds": seconds,
            "killed after epochs": done,
            "resumed equals unbroken": True,
            "two processes against one": runs.difference("one", "two"),
            "killed after epochs, two processes": done_by_two,
            "two processes, resumed against unbroken": runs.difference("two", "two-killed"),
            "two processes, resumed equals unbroken": runs.weights("two")
            == runs.weights("two-killed"),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="dcae")
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(given.detector, given.images, given.epochs), indent=1))


if __name__ == "__main__":
    main()
