"""Can simple statistics tell the simulated `no_sub` images from the real ones?

Run with ``python benchmarks/realism.py SLC_FOLDER``; a few minutes. Cross-validated AUC of a
gradient-boosted classifier of image statistics, real images against simulated ones: 0.5 says that
it cannot. Only images without substructure are read. Then the statistics that it leans on.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from lumpylens import LensImages, simulate
from lumpylens.results.metrics import auc
from lumpylens.simulation import POPULATIONS, Population

RADII = (0, 1.5, 3, 5, 7, 9, 12, 15, 18, 21, 24, 27, 30, 35, 40, 45, 50, 60, 75)


def statistics(images: LensImages) -> tuple[NDArray[np.float64], list[str]]:
    """Some sixty simple statistics of pictures, one row each, and their names."""
    at = np.arange(150) - 74.5
    x, y = np.meshgrid(at, at)
    radius, azimuth = np.hypot(x, y), np.arctan2(y, x)
    rings = [(radius >= a) & (radius < b) for a, b in itertools.pairwise(RADII)]
    rows, names = [], []
    for one in images:
        image = np.asarray(one.image, float)
        corner = image[:24, :24]
        blocks = image[:144, :144].reshape(18, 8, 18, 8).swapaxes(1, 2)
        coefficients = np.abs(np.rint(dctn(blocks, axes=(2, 3), norm="ortho") / one.jpeg_table))
        gradient = np.hypot(*np.gradient(image))
        found: dict[str, Any] = {
            "mean": image.mean(), "sd": image.std(), "max": image.max(), "min": image.min(),
            "bytes": one.file_bytes, "corner mean": corner.mean(), "corner sd": corner.std(),
            "corner max": corner.max(), "median": np.median(image),
            "gradient mean": gradient.mean(), "gradient max": gradient.max(),
            "constant blocks": (coefficients[..., 1:, :].sum((2, 3)) == 0).mean(),
            "coefficients": (coefficients > 0).mean(),
            "high coefficients": (coefficients[..., 4:, 4:] > 0).mean(),
            "zeros": (image == 0).mean(), "ones": (image == 1).mean(),
            "above 5": (image > 5).mean(), "above 50": (image > 50).mean(),
        }  # fmt: skip
        for q in (0.1, 0.25, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995):
            found[f"quantile {q}"] = np.quantile(image, q)
        for k, ring in enumerate(rings):
            inside = image[ring]
            found[f"ring {RADII[k]:g}"] = inside.mean()
            found[f"ring sd {RADII[k]:g}"] = inside.std()
        ring = (radius > 14) & (radius < 40)
        for m in (1, 2, 3, 4):
            wave = (image[ring] * np.exp(1j * m * azimuth[ring])).sum() / image[ring].sum()
            found[f"wave {m}"], found[f"tilt {m}"] = abs(wave), wave.real
        for k in (0, 1, 2):
            found[f"middle {k}"] = image[74 - k : 76 + k, 74 - k : 76 + k].mean()
        rows.append(list(found.values()))
        names = list(found)
    return np.array(rows), names


def told_apart(real: NDArray[Any], ours: NDArray[Any], seed: int = 0) -> Any:
    """Cross-validated AUC of the classifier, with its interval."""
    values = np.concatenate([real, ours])
    labels = np.repeat([0, 1], [len(real), len(ours)])
    classifier = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    chance = cross_val_predict(classifier, values, labels, cv=folds, method="predict_proba")[:, 1]
    return auc(chance[labels == 0], chance[labels == 1])


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="the challenge's images: the folder that holds no_sub")
    parser.add_argument("--n", type=int, default=1000, help="images of each kind")
    parser.add_argument("--seed", type=int, default=21)
    given = parser.parse_args()
    folder = LensImages.open(Path(given.data) / "no_sub")
    random = np.random.default_rng(given.seed)
    real, names = statistics(folder[np.sort(random.permutation(len(folder))[: given.n])])
    preset: Population = POPULATIONS["slc"]
    ours, _ = statistics(simulate(preset, given.n, seed=given.seed))
    found = told_apart(real, ours)
    singly = {
        name: auc(real[:, k], ours[:, k]).value for k, name in enumerate(names)
    }  # fmt: skip
    worst = sorted(singly, key=lambda name: -abs(singly[name] - 0.5))[:12]
    print(json.dumps({
        "auc": found.value, "low": found.low, "high": found.high, "n": given.n,
        "statistics": len(names), "alone": {name: round(singly[name], 3) for name in worst},
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
