"""Can turned, mirrored or resized images be told from normal ones, one by one or together?

    python benchmarks/orientation.py SLC_FOLDER

Some minutes. Reads normal images alone. Half of them teach, the other half is changed. For each
change: how far it moves the mean angle and the mean size, in standard deviations of single images;
how many images must be changed alike before `score` says so; and the AUC of a linear classifier of
25 x 25 bins that tells single changed images from unchanged ones. For turns and mirrors that AUC is
given for simulated images that were not compressed, too: JPEG's blocks of 8 pixels are not where
they were when an image of 150 pixels is turned. Last, the moments that change sign when an image is
turned by 180 degrees, which tell that turn if their mean is not zero.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from lumpylens import LensImages, simulate
from lumpylens.detectors.base import to_unit_range
from lumpylens.detectors.changes import binned, moved
from lumpylens.detectors.shapes import Shapes, measured
from lumpylens.results.calibration import LEAST_TOGETHER
from lumpylens.results.metrics import auc
from lumpylens.simulation import POPULATIONS

Pixels = NDArray[np.float32]


def resized(zoom: float) -> Callable[[Pixels], Pixels]:
    """A change that enlarges images."""
    return lambda pixels: moved(torch.from_numpy(pixels), zoom=zoom).numpy()


RIGID: dict[str, Callable[[Pixels], Pixels]] = {
    "turned by 90 degrees": lambda pixels: np.rot90(pixels, 1, (1, 2)).copy(),
    "turned by 180 degrees": lambda pixels: np.rot90(pixels, 2, (1, 2)).copy(),
    "mirrored": lambda pixels: pixels[:, :, ::-1].copy(),
}
CHANGES = {
    "none": np.copy,
    **RIGID,
    **{f"resized by {zoom - 1:+.0%}": resized(zoom) for zoom in (0.9, 0.97, 1.03, 1.1, 1.2)},
}


def fewest(shapes: Shapes, distances: NDArray[np.float64]) -> int | None:
    """Number of images that are enough for a remark; None if any number is too few."""
    if (distances <= shapes.limits(10**12)).all():
        return None
    low, high = LEAST_TOGETHER, 10**12
    while low < high:
        middle = (low + high) // 2
        if (distances > shapes.limits(middle)).any():
            high = middle
        else:
            low = middle + 1
    return low


def told_apart(pixels: Pixels, change: Callable[[Pixels], Pixels]) -> float:
    """AUC of a linear classifier of bins between images and changed ones, of other images."""
    unit = to_unit_range(pixels)
    plain, changed = (binned(torch.from_numpy(images)) for images in (unit, change(unit)))
    taught = np.concatenate([plain[::2], changed[::2]])
    classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.02)
    classifier.fit(taught, np.repeat([0, 1], len(taught) // 2))
    scores = [classifier.decision_function(bins[1::2]) for bins in (plain, changed)]
    return round(auc(*scores).value, 2)


def odd_moments(pixels: Pixels) -> dict[str, float]:
    """Mean of each moment of first and third order, over the standard error of that mean."""
    light = (pixels - np.median(pixels, axis=(1, 2), keepdims=True)).clip(min=0)
    side = np.arange(pixels.shape[1]) - (pixels.shape[1] - 1) / 2
    x, y = np.meshgrid(side, side)
    total = light.sum(axis=(1, 2))
    moments = {}
    for name, power in {"x": x, "y": y, "xxx": x**3, "xxy": x**2 * y, "xyy": x * y**2,
                        "yyy": y**3}.items():  # fmt: skip
        values = np.einsum("nyx,yx->n", light, power.astype(np.float32)) / total
        error = values.std() / math.sqrt(len(values))
        moments[name] = round(float(values.mean() / error), 2)
    return moments


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="the challenge's images: the folder that holds no_sub")
    parser.add_argument("--n", type=int, default=3000, help="simulated images")
    given = parser.parse_args()
    pixels = LensImages.open(Path(given.data) / "no_sub").stack().pixels
    shapes, others = Shapes.learn(pixels[::2]), pixels[1::2]
    changes = {}
    for name, change in CHANGES.items():
        distances = shapes.distances(measured(change(others)).mean(axis=0))
        angle, size = (round(float(distance), 3) for distance in distances)
        changes[name] = {
            "angle": angle,
            "size": size,
            "images needed": fewest(shapes, distances),
            "auc of single images": told_apart(pixels, change),
        }
    uncompressed = simulate(replace(POPULATIONS["slc"], output="linear"), given.n, seed=9)
    simulated = uncompressed.stack().pixels
    slack = dict(zip(("angle", "size"), np.round(shapes.slack, 3).tolist(), strict=True))
    print(json.dumps({
        "images": len(pixels), "moved by substructure": slack, "changes": changes,
        "auc of simulated images, not compressed": {
            name: told_apart(simulated, change) for name, change in RIGID.items()
        },
        "odd moments over their errors": odd_moments(pixels),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
