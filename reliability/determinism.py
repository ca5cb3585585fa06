"""Simulate, train and score twice in processes of their own: every file must have the same bytes.

Run with ``python reliability/determinism.py``; prints one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def lumpylens(*arguments: str | Path) -> None:
    """Run the command line on one thread."""
    subprocess.run(
        [sys.executable, "-m", "lumpylens.cli", *map(str, arguments), "--quiet"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )


def digests(folder: Path, detectors: Sequence[str], images: int) -> dict[str, str]:
    """Run everything once; digest of each result."""
    lenses = folder / "lenses.h5"
    lumpylens("simulate", "slc", "--n", str(images), "--seed", "3", "--out", lenses)
    files = {"simulate slc": lenses}
    for name in detectors:
        model, scores = folder / name, folder / f"{name}.csv"
        lumpylens("train", lenses, "--detector", name, "--seed", "4", "--out", model)
        lumpylens("score", model, lenses, "--out", scores)
        files[f"train {name}"] = model / "model.safetensors"
        files[f"score with {name}"] = scores
    return {what: hashlib.sha256(path.read_bytes()).hexdigest() for what, path in files.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare two runs and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--detectors", default="physics,pca,ocsvm", help="names, with commas")
    given = parser.parse_args(arguments)
    runs = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(digests(Path(folder), given.detectors.split(","), given.images))
    same = {what: runs[1][what] == digest for what, digest in runs[0].items()}
    print(json.dumps({"images": given.images, "same_bytes": same}, indent=1))
    assert all(same.values()), same


if __name__ == "__main__":
    main()
