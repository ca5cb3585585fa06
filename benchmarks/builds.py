"""Time to score images with this build and with another one, in turn on one machine.

    git worktree add /tmp/before COMMIT
    python benchmarks/builds.py /tmp/before --preset slc --model slc-physics

Prints one JSON object: processor time and wall time per image in each build, their ratios, and by
how much scores differ. Images are simulated once, by this build, half of them with substructure.
Both builds run in the environment of this one; a model of a folder must be of the older build.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens import simulate
from lumpylens.data.npz import write_npz

HERE = Path(__file__).parents[1]

WARM_UP = 64
"""Images that are scored before time is taken: with fewer than 50 not all that a large set needs is
imported, which would count as the time of the images."""

SCORE = """
import json, sys, time
import torch
torch.set_num_threads(int(sys.argv[4]))
from lumpylens import load_model
from lumpylens.data.images import LensImages
model = load_model(sys.argv[1])
images = LensImages.open(sys.argv[2])
few = images[: int(sys.argv[3])]
model.detector.score(few)
wall, cpu = time.perf_counter(), time.process_time()
scores = model.detector.score(images)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
numbers = [float(number) for number in scores.anomaly_score]
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "scores": numbers}))
"""


def score_with(build: Path, model: str, images: Path, warm_up: int, threads: int) -> dict[str, Any]:
    """Score with one build in a fresh process."""
    surroundings = os.environ | {
        "PYTHONPATH": str(build / "src"),
        "OMP_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCORE, model, images, str(warm_up), str(threads)],
        env=surroundings, cwd=build, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Time both builds, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="checkout of the other build")
    parser.add_argument("--preset", default="slc")
    parser.add_argument("--substructure", default="points", help="of half of the images")
    parser.add_argument("--model", default="slc-physics", help="name, or a folder")
    parser.add_argument("--n", type=int, default=128, help="images to score")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="of both builds; the fastest counts")
    given = parser.parse_args()
    model = str(Path(given.model).resolve()) if Path(given.model).is_dir() else given.model
    builds = {"this": HERE, "other": given.other.resolve()}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "lenses.npz"
        smooth = given.n // 2
        lenses = simulate(given.preset, smooth, seed=1, progress=False) + simulate(
            given.preset, given.n - smooth, seed=2, substructure=given.substructure, progress=False
        )
        write_npz(lenses, images)
        for _ in range(given.rounds):
            for name, build in builds.items():
                runs[name].append(score_with(build, model, images, WARM_UP, given.threads))
    best = {
        name: {key: min(run[key] for run in of_build) for key in ("cpu_s", "wall_s")}
        for name, of_build in runs.items()
    }
    scores = {name: np.array(of_build[0]["scores"]) for name, of_build in runs.items()}
    apart = np.abs(scores["this"] / scores["other"] - 1)
    print(json.dumps({
        "preset": given.preset, "images": given.n, "threads": given.threads,
        "rounds": given.rounds,
        **{f"{key[:-2]} ms per image, {name}": round(1e3 * best[name][key] / given.n, 2)
           for key in ("cpu_s", "wall_s") for name in builds},
        "cpu ratio": round(best["other"]["cpu_s"] / best["this"]["cpu_s"], 3),
        "wall ratio": round(best["other"]["wall_s"] / best["this"]["wall_s"], 3),
        "scores apart, quantiles 0.5 0.9 1": [
            float(f"{number:.2g}") for number in np.nanquantile(apart, [0.5, 0.9, 1])
        ],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
