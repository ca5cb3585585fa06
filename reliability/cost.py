"""What 10^8 images cost: processor time per image of one thread, and what follows from it.

Run with ``python reliability/cost.py``; prints one JSON object. Times are those of the processor,
so that a busy machine does not change them much.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rings import rings, write_model

from lumpylens.data.images import LensImages
from lumpylens.scale import score_shard
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model

SURVEY = 10**8
WORKERS = (1, 100, 1000)


def processor_seconds(
    images: LensImages, model: str | Path, folder: Path, *, fast: bool = False
) -> float:
    """Of one shard, from reading to receipt, for each image; the model is loaded already."""
    shard = folder / "shard.npy"
    np.save(shard, images.stack().pixels.astype(np.uint8 if images[0].stretched else np.float32))
    score_shard(folder / "first.npy", model, folder / "warm-up", fast=fast)
    before = time.process_time()
    score_shard(shard, model, folder / "scores", fast=fast)
    seconds = time.process_time() - before
    shard.unlink()
    return seconds / len(images)


def cost(seconds: float) -> dict[str, Any]:
    """Of 10^8 images, at so many processor seconds each."""
    core_hours = seconds * SURVEY / 3600
    return {
        "images_per_core_second": round(1 / seconds, 1),
        "core_hours": round(core_hours),
        "hours_on": {str(workers): round(core_hours / workers, 2) for workers in WORKERS},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--physics", type=int, default=256, help="images for slc-physics")
    parser.add_argument("--fast", type=int, default=2000, help="images for its quick score")
    parser.add_argument("--pca", type=int, default=10_000, help="images for pca")
    given = parser.parse_args(arguments)
    found = {}
    for name, model, images, fast in (
        ("slc-physics, 150x150", "slc-physics", simulate("slc", given.physics, seed=1), False),
        ("slc-physics --fast, 150x150", "slc-physics", simulate("slc", given.fast, seed=1), True),
        ("pca, 32x32", None, LensImages.from_arrays(rings(given.pca, 2)), False),
    ):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            chosen = model or write_model(folder / "model")
            pixels = images[:8].stack().pixels
            np.save(folder / "first.npy", pixels.astype(np.uint8 if model else np.float32))
            found[name] = cost(processor_seconds(images, chosen, folder, fast=fast))
    found["calibration images of slc-physics"] = len(load_model("slc-physics").calibration)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
