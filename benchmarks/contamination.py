"""Learning from images that nobody has cleaned: lumpy lenses among those to learn from.

Run with ``python benchmarks/contamination.py DATA --out results``, with DATA the folder that holds
``no_sub`` and ``sub``; writes ``contamination.md`` and ``contamination.json``. Labels serve to mix
the images and to judge the scores of others, and no detector sees them. Finished rows are kept in
``OUT/runs/contamination``. With all detectors some hours of one core.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens import LensImages, ScoreTable, score, train
from lumpylens.files.writing import whole_file
from lumpylens.results.metrics import auc, binomial_interval, roc_curve

SETTINGS = {"physics": {"near_epochs": 0}}
NOMINAL = 0.05
KINDS = {False: "", True: "yes"}


def unlabelled(files: Sequence[Path], folder: str) -> LensImages:
    """Files under names that tell nothing."""
    for number, file in enumerate(files):
        (Path(folder) / f"{number:05d}{file.suffix}").symlink_to(file.resolve())
    return LensImages.open(folder)


def scored(tables: Sequence[ScoreTable]) -> list[NDArray[np.float64]]:
    """Scores of the images that have one, of each table."""
    return [table.anomaly_score[np.isfinite(table.anomaly_score)] for table in tables]


def alarm_rate(p_values: NDArray[np.float64], nominal: float) -> list[float]:
    """Share of p-values up to a nominal one, and its interval; NaN if there is no p-value."""
    known = p_values[np.isfinite(p_values)]
    if not len(known):
        return [math.nan] * 3
    alarms = int((known <= nominal).sum())
    low, high = binomial_interval(alarms, len(known), 0.95)
    return [alarms / len(known), float(low), float(high)]


def kept(place: Path, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row that was measured before, or now."""
    if not place.exists():
        with whole_file(place) as path:
            path.write_text(json.dumps(measured()), encoding="utf-8")
    row: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return row


def measure(
    data: Path, detector: str, share: float, contaminated: bool, learned: int, tried: int, seed: int
) -> dict[str, Any]:
    """Learn from a mixture, and score other images of both classes."""
    rng = np.random.default_rng(seed)
    smooth, lumpy = (rng.permutation(sorted((data / kind).iterdir())) for kind in ("no_sub", "sub"))
    hidden = round(share * learned)
    mixed = rng.permutation(np.concatenate([smooth[: learned - hidden], lumpy[:hidden]]))
    with tempfile.TemporaryDirectory() as folder:
        model = train(
            unlabelled(mixed, folder), detector, seed=seed, settings=SETTINGS.get(detector),
            contaminated=contaminated,
        )  # fmt: skip
    tables = []
    for files in (smooth[learned : learned + tried], lumpy[learned : learned + tried]):
        with tempfile.TemporaryDirectory() as folder:
            tables.append(score(model, unlabelled(files, folder), progress=False))
    scores = scored(tables)
    area, alarms = auc(*scores), alarm_rate(tables[0].p_value, NOMINAL)
    return {
        "detector": detector,
        "share": share,
        "contaminated": contaminated,
        "auc": area.value,
        "auc_low": area.low,
        "auc_high": area.high,
        "tpr_at_0.01": roc_curve(*scores).tpr_at(0.01).value,
        "left_out": model.info["contaminated"]["share"] if contaminated else 0.0,
        "calibration_images": len(model.calibration),
        "false_alarms": alarms[0],
        "false_alarms_low": alarms[1],
        "false_alarms_high": alarms[2],
        "n_normal": len(scores[0]),
        "n_anomalous": len(scores[1]),
    }


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a Markdown table."""
    head = ["detector", "lumpy", "`--contaminated`", "AUC", "95 % interval", "TPR at FPR 0.01",
            "left out", f"false alarms at {NOMINAL:g}", "95 % interval"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    lines += [
        [f"`{row['detector']}`", f"{row['share']:.0%}", KINDS[row["contaminated"]],
         f"{row['auc']:.4f}", f"{row['auc_low']:.4f} to {row['auc_high']:.4f}",
         f"{row['tpr_at_0.01']:.3f}", f"{row['left_out']:.1%}", f"{row['false_alarms']:.3f}",
         f"{row['false_alarms_low']:.3f} to {row['false_alarms_high']:.3f}"]
        for row in rows
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Measure every mixture, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detectors", default="physics,pixel,pca,vae", help="names, with commas")
    parser.add_argument("--shares", default="0,0.05,0.1,0.25,0.4", help="of lumpy lenses")
    parser.add_argument("--learned", type=int, default=1200, help="images to learn from")
    parser.add_argument("--tried", type=int, default=1500, help="other images of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    rows = []
    for detector in given.detectors.split(","):
        for share in map(float, given.shares.split(",")):
            for contaminated in (False, True):
                name = f"{detector}-{share:g}-{'yes' if contaminated else 'no'}-{given.seed}.json"
                place = given.out / "runs" / "contamination" / name
                mixture = (detector, share, contaminated, given.learned, given.tried, given.seed)
                rows.append(kept(place, partial(measure, given.data, *mixture)))
    command = (
        f"python benchmarks/contamination.py DATA --detectors {given.detectors} "
        f"--shares {given.shares} --learned {given.learned} --tried {given.tried} "
        f"--seed {given.seed}"
    )
    with whole_file(given.out / "contamination.md") as path:
        path.write_text(
            "# Lumpy lenses among the images to learn from\n\n"
            f"{given.learned} images of the challenge without labels, of which a share is lumpy; "
            f"{rows[0]['n_normal']} other smooth and {rows[0]['n_anomalous']} other lumpy ones "
            "are scored. With `--contaminated`, images whose scores stand apart are left out.\n\n"
            f"{table_of(rows)}\n\nMade by `{command}`.\n",
            encoding="utf-8",
        )
    with whole_file(given.out / "contamination.json") as path:
        text = json.dumps({"command": command, "rows": rows}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
