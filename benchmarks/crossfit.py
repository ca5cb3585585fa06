"""Five-fold cross-fit of `physics` over all normal images of the challenge.

Run with ``python benchmarks/crossfit.py DATA --out results``, with DATA the folder that holds
``no_sub`` and ``sub``; writes ``crossfit.md`` and ``crossfit.json``. A few hundred test images
cannot show an AUC of 0.9999; here every normal image is scored by a detector that was fitted
(shared numbers, noise, population, tails) on the other four fifths, and every anomalous image by
one of the five. Folds follow the content of the images. Finished folds are kept in
``OUT/runs/crossfit``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import LensImages
from lumpylens.data.splits import digests_of
from lumpylens.detectors import create
from lumpylens.files.writing import whole_file
from lumpylens.results.metrics import auc, separation
from lumpylens.verbs.benchmark.run import by_class

FOLDS = 5


def fold_of(images: LensImages) -> NDArray[np.int_]:
    """Fold of each image, from bytes of its digest that the usual split does not use."""
    digests, _ = digests_of(images)
    return np.array([int.from_bytes(row[8:].tobytes(), "big") % FOLDS for row in digests])


def one_fold(
    learned: LensImages, normal: LensImages, anomalous: LensImages, settings: Mapping[str, Any]
) -> dict[str, NDArray[np.float64]]:
    """Scores of one fold's images, by a detector fitted on the others' normal images."""
    detector = create("physics", **settings).fit(learned)
    scores = {"normal": detector.score(normal), "anomalous": detector.score(anomalous)}
    found = {}
    for label, one in scores.items():
        found[f"{label}/anomaly_score"] = one.anomaly_score
        for name, values in one.components.items():
            found[f"{label}/{name}"] = values
        # Deviance over what is usual at the image's noise and brightness.
        found[f"{label}/excess"] = np.exp(
            detector.learned.residual_law.scatter * one.components["residual"]
        )
    return found


def main() -> None:
    """Cross-fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--near-epochs", type=int, default=0, help="setting of the detector")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    settings = {"near_epochs": given.near_epochs}
    normal, anomalous = by_class(given.data)
    folds = [fold_of(normal), fold_of(anomalous)]
    parts = []
    for k in range(FOLDS):
        place = given.out / "runs" / "crossfit" / f"fold-{k}-{given.near_epochs}.npz"
        if not place.exists():
            made = one_fold(
                normal[folds[0] != k], normal[folds[0] == k], anomalous[folds[1] == k], settings
            )
            with whole_file(place) as beside, beside.open("wb") as stream:
                np.savez(stream, **made)
        with np.load(place) as stored:
            parts.append({name: stored[name] for name in stored.files})
    pooled = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    names = [name.partition("/")[2] for name in pooled if name.startswith("normal/")]
    rows = {
        name: {
            **separation(pooled[f"normal/{name}"], pooled[f"anomalous/{name}"]),
            "by_fold": [
                auc(part[f"normal/{name}"], part[f"anomalous/{name}"]).value for part in parts
            ],
        }
        for name in names if name != "excess"
    }  # fmt: skip
    poor = int((pooled["normal/excess"] > 2).sum())
    command = f"python benchmarks/crossfit.py DATA --near-epochs {given.near_epochs}"
    head = ["score", "AUC", "95 % interval", "TPR at FPR 0.01", "AUC by fold"]
    lines = [head, ["---"] * len(head)]
    lines += [
        [f"`{name}`", f"{row['auc']:.5f}", f"{row['auc_low']:.5f} to {row['auc_high']:.5f}",
         f"{row['tpr_at_fpr']['0.01']:.4f}", ", ".join(f"{one:.5f}" for one in row["by_fold"])]
        for name, row in rows.items()
    ]  # fmt: skip
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    with whole_file(given.out / "crossfit.md") as path:
        path.write_text(
            "# `physics`, cross-fitted over all normal images of the challenge\n\n"
            f"{rows['anomaly_score']['n_normal']} normal and "
            f"{rows['anomaly_score']['n_anomalous']} anomalous images, each scored by a detector "
            "that was fitted on the normal images of the other four fifths; scores of the five "
            "are pooled, seed 0.\n\n"
            f"{table}\n\n"
            f"{poor} of {len(pooled['normal/excess'])} normal images end with more than twice "
            "the deviance that is usual at their noise and brightness.\n\n"
            f"Made by `{command}`.\n",
            encoding="utf-8",
        )
    with whole_file(given.out / "crossfit.json") as path:
        result = {"command": command, "scores": rows, "poor_fits": poor}
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
