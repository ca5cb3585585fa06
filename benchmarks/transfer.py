"""A detector that saw only simulated lenses scores the challenge's images.

Run with ``python benchmarks/transfer.py SLC_FOLDER > results/transfer.json``; some minutes. Trains
`physics` on ``simulate slc`` alone, evaluates on the challenge's test part, and prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from lumpylens import LensImages, evaluate, simulate, train
from lumpylens.data.splits import split


def main() -> None:
    """Simulate, train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="the challenge's images: no_sub and sub")
    parser.add_argument("--n", type=int, default=1200, help="simulated lenses to learn from")
    parser.add_argument("--out", default=None, help="folder for the evaluation's report")
    parser.add_argument("--seed", type=int, default=11)
    given = parser.parse_args()
    start = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        simulate("slc", given.n, seed=given.seed, out=Path(scratch) / "slc.h5")
        model = train(Path(scratch) / "slc.h5", out=Path(scratch) / "model", progress=False)
        trained = time.process_time() - start
        parts = {
            name: split(LensImages.open(Path(given.data) / name)).test for name in ("no_sub", "sub")
        }
        found = evaluate(
            model, normal=parts["no_sub"], anomalous=parts["sub"], out=given.out, progress=False
        )
    metrics = found.metrics
    components = metrics["audit"]["components"]
    print(json.dumps({
        "command": "python benchmarks/transfer.py SLC_FOLDER > results/transfer.json",
        "trained_on": f"simulate slc, {given.n} images, seed {given.seed}",
        "tested_on": f"{metrics['n_normal']} no_sub and {metrics['n_anomalous']} sub",
        "auc": metrics["auc"], "auc_low": metrics["auc_low"], "auc_high": metrics["auc_high"],
        "tpr_at_fpr": metrics["tpr_at_fpr"],
        "components": {name: each["auc"] for name, each in components.items()},
        "training_core_seconds": round(trained),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
