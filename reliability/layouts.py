"""Score the same images cut into shards in several ways, and compare the scores.

Run with ``python reliability/layouts.py``; prints one JSON object. With the same shards, scores
have the same bits. In others, batches are cut at other places, and sums come out in another order:
at least 99.9 % of the scores must agree to 1e-4 relative, and the rest is listed. That is asked of
shards of 100 or more; tiny ones, whose batches take other routines, are listed beside them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rings import rings, write_model

from lumpylens.scale import score_shard
from lumpylens.scores import ScoreTable
from lumpylens.simulate import simulate

TOLERANCE = 1e-4
SIZES = (1000, 333, 100, 7)
TINY = 100
"""Below that, nothing is asked."""


def score_in_shards(
    pixels: NDArray[np.generic], size: int, model: str | Path, folder: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores and p-values of the images, in their order."""
    tables = []
    for start in range(0, len(pixels), size):
        shard = folder / f"{size}-{start}.npy"
        np.save(shard, pixels[start : start + size])
        receipt = score_shard(shard, model, folder / "scores")
        tables.append(ScoreTable.read(folder / "scores" / receipt.result))
    return (
        np.concatenate([table.anomaly_score for table in tables]),
        np.concatenate([table.p_value for table in tables]),
    )


def compare(pixels: NDArray[np.generic], model: str | Path) -> dict[str, object]:
    """Scores of the images in shards of each size beside those of the first size."""
    with tempfile.TemporaryDirectory() as place:
        results = {size: score_in_shards(pixels, size, model, Path(place)) for size in SIZES}
    expected, p_value = results[SIZES[0]]
    found: dict[str, object] = {"images": len(pixels)}
    for size in SIZES[1:]:
        scores, other_p_value = results[size]
        difference = np.abs(scores / expected - 1)
        within = float(np.mean(difference <= TOLERANCE))
        apart = np.flatnonzero(~(difference <= TOLERANCE))
        found[f"shards of {size} beside {SIZES[0]}"] = {
            "within_tolerance": within,
            "largest_relative_difference": float(f"{difference.max():.2g}"),
            "other_p_values": int(np.sum(other_p_value != p_value)),
            "apart": {int(k): [float(expected[k]), float(scores[k])] for k in apart},
        }
        assert size < TINY or within >= 0.999, f"shards of {size}: {found}"
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare both kinds of model and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--physics", type=int, default=250, help="for slc-physics, per class")
    parser.add_argument("--pca", type=int, default=10_000, help="images for pca")
    given = parser.parse_args(arguments)
    lenses = [
        simulate("slc", given.physics, seed=1, substructure=kind).stack().pixels
        for kind in (None, "points")
    ]
    with tempfile.TemporaryDirectory() as place:
        found = {
            "slc-physics": compare(np.concatenate(lenses).astype(np.uint8), "slc-physics"),
            "pca": compare(rings(given.pca, 2), write_model(Path(place) / "model")),
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
