"""Score the same images in many layouts, and compare the scores.

Run with ``python reliability/layouts.py``, or with ``--data FOLDER`` for the images of the
challenge; prints one JSON object. A score is a property of its image: alone, among others, in any
order, on one thread or more and in shards of any size it must be the same to 1e-4 relative, for
every image.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rings import rings, write_model

from lumpylens.data.images import LensImages
from lumpylens.results.score_table import ScoreTable
from lumpylens.scale import score_shard
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model

TOLERANCE = 1e-4
SIZES = (1000, 333, 100, 7, 1)
LISTED = 5
"""Images that differ most, named in the output."""


def score_in_shards(
    pixels: NDArray[np.generic], size: int, model: str | Path, folder: Path
) -> NDArray[np.float64]:
    """Scores of the images, in their order."""
    tables = []
    for start in range(0, len(pixels), size):
        shard = folder / f"{size}-{start}.npy"
        np.save(shard, pixels[start : start + size])
        receipt = score_shard(shard, model, folder / "scores")
        tables.append(ScoreTable.read(folder / "scores" / receipt.result))
    return np.concatenate([table.anomaly_score for table in tables])


def score_shuffled(pixels: NDArray[np.generic], model: str | Path) -> NDArray[np.float64]:
    """Scores of the images in their order, computed in another one on two threads."""
    order = np.random.default_rng(0).permutation(len(pixels))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        shuffled = load_model(model).detector.anomaly_score(pixels[order])
    finally:
        torch.set_num_threads(before)
    scores = np.empty_like(shuffled)
    scores[order] = shuffled
    return scores


def compare(
    pixels: NDArray[np.generic], model: str | Path, sizes: Sequence[int], ids: Sequence[str]
) -> dict[str, object]:
    """Scores of the images in each layout beside those in shards of the first size."""
    with tempfile.TemporaryDirectory() as place:
        results = {
            f"shards of {size}": score_in_shards(pixels, size, model, Path(place)) for size in sizes
        }
    results["shuffled, two threads"] = score_shuffled(pixels, model)
    first, *others = results
    found: dict[str, object] = {"images": len(pixels)}
    for layout in others:
        difference = np.abs(results[layout] / results[first] - 1)
        most = np.argsort(-difference)[:LISTED]
        found[f"{layout} beside {first}"] = {
            "same_bits": int(np.count_nonzero(results[layout] == results[first])),
            "largest_relative_difference": float(f"{difference.max():.2g}"),
            "most_apart": {
                ids[k]: [float(results[first][k]), float(results[layout][k])]
                for k in most if difference[k] > 0
            },
        }  # fmt: skip
        assert difference.max() <= TOLERANCE, f"{layout}: {found}"
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--physics", type=int, default=250, help="for slc-physics, per class")
    parser.add_argument("--pca", type=int, default=10_000, help="images for pca")
    parser.add_argument("--data", help="images for slc-physics, instead of both")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="of shards")
    given = parser.parse_args(arguments)
    sizes = [int(size) for size in given.sizes.split(",")]
    if given.data:
        images = LensImages.open(given.data)
        pixels = images.stack().pixels.astype(np.uint8)
        found = {"slc-physics": compare(pixels, "slc-physics", sizes, images.ids)}
    else:
        both = [simulate("slc", given.physics, seed=1, substructure=s) for s in (None, "points")]
        lenses = np.concatenate([made.stack().pixels for made in both]).astype(np.uint8)
        names = [*both[0].ids, *both[1].ids]
        plain = rings(given.pca, 2)
        with tempfile.TemporaryDirectory() as place:
            found = {
                "slc-physics": compare(lenses, "slc-physics", sizes, names),
                "pca": compare(
                    plain, write_model(Path(place) / "model"), sizes[:-1],
                    [str(k) for k in range(len(plain))],
                ),
            }  # fmt: skip
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
