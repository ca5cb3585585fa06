"""Whether the calibration keeps its word: false alarms and false discoveries under load.

Run with ``python reliability/calibration.py``; prints one JSON object. A detector learns from
simulated normal images, 10,000 others calibrate it, and 20,000 fresh ones are counted above
thresholds. Then lists of normal and lumpy images are selected again and again, each time with a
calibration set of its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rings import rings

from lumpylens.detectors import create
from lumpylens.results.calibration import Calibration, benjamini_hochberg

TRAINING = 3000
RATES = (0.1, 0.01, 0.001)
CONFIDENCE = 0.99
LUMP = 1.2
"""Brightness of a lump beside its ring: lists are then neither empty nor whole."""
SEEDS = {"training": 1, "calibration": 2, "fresh": 3, "lumpy": 4, "repetitions": 5}


def false_alarms(calibration: Calibration, fresh: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Count fresh normal images above each threshold, beside the beta-binomial interval."""
    found = []
    for rate in RATES:
        low, high = calibration.expected_false_alarms(rate, len(fresh), CONFIDENCE)
        alarms = int((fresh > calibration.threshold(rate)).sum())
        found.append({"rate": rate, "alarms": alarms, "interval": [low, high],
                      "inside": low <= alarms <= high})  # fmt: skip
    return found


def false_discovery_proportion(
    normal: NDArray[np.float64],
    lumpy: NDArray[np.float64],
    *,
    q: float,
    repetitions: int,
    sizes: tuple[int, int, int],
    seed: int,
) -> dict[str, Any]:
    """Mean share of normal images in selected lists.

    Parameters
    ----------
    normal, lumpy : ndarray, shape (n,)
        Scores that each repetition draws from, without replacement.
    q : float
        Nominal false-discovery rate.
    repetitions : int
    sizes : (int, int, int)
        Calibration images, normal and lumpy images of a list.
    seed : int
    """
    random = np.random.default_rng(seed)
    calibrating, plain, odd = sizes
    proportions, power = [], []
    for _ in range(repetitions):
        drawn = random.choice(len(normal), calibrating + plain, replace=False)
        calibration = Calibration(normal[drawn[:calibrating]])
        tests = np.concatenate([normal[drawn[calibrating:]], random.choice(lumpy, odd, False)])
        selected = benjamini_hochberg(calibration.p_values(tests)) <= q
        proportions.append(selected[:plain].sum() / max(selected.sum(), 1))
        power.append(selected[plain:].mean())
    error = float(np.std(proportions, ddof=1) / np.sqrt(repetitions))
    mean = float(np.mean(proportions))
    return {"q": q, "repetitions": repetitions, "mean_fdp": round(mean, 4),
            "standard_error": round(error, 4), "power": round(float(np.mean(power)), 3),
            "at_most_q_plus_2_errors": mean <= q + 2 * error}  # fmt: skip


def measure(calibrating: int, fresh: int, repetitions: int) -> dict[str, Any]:
    """Train, calibrate, count."""
    detector = create("pca", max_components=30).fit(rings(TRAINING, SEEDS["training"]))
    scores = {
        "calibration": detector.anomaly_score(rings(calibrating, SEEDS["calibration"])),
        "fresh": detector.anomaly_score(rings(fresh, SEEDS["fresh"])),
        "lumpy": detector.anomaly_score(rings(fresh // 10, SEEDS["lumpy"], lump=LUMP)),
    }
    size = fresh // 20
    return {
        "detector": "pca",
        "calibration_images": calibrating,
        "fresh_images": fresh,
        "false_alarms": false_alarms(Calibration(scores["calibration"]), scores["fresh"]),
        "false_discoveries": [
            false_discovery_proportion(
                scores["fresh"], scores["lumpy"], q=q, repetitions=repetitions,
                sizes=(2 * size, size, size // 10), seed=SEEDS["repetitions"],
            )
            for q in (0.05, 0.1, 0.2)
        ],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", type=int, default=10_000)
    parser.add_argument("--fresh", type=int, default=20_000)
    parser.add_argument("--repetitions", type=int, default=200)
    given = parser.parse_args(arguments)
    found = measure(given.calibration, given.fresh, given.repetitions)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
