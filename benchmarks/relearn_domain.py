"""Learn anew which images are foreign to a model, and nothing else of it.

    python benchmarks/relearn_domain.py MODEL IMAGES

MODEL is a model folder, which is written anew; IMAGES are those that it was trained on, found by
the digests in it. Detector, calibration and threshold stay as they are, so scores do not change.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.data.splits import contained, split
from lumpylens.detectors.domain import Domain
from lumpylens.store.folder import load_model, save_model


def relearn(folder: Path, data: Path) -> None:
    """See above."""
    model = load_model(folder)
    parts = split(LensImages.open(data))
    known = contained(parts.digests["train"], model.seen["train"])
    if not np.array_equal(np.flatnonzero(known), np.arange(len(model.seen["train"]))):
        sys.exit(f"{data} does not hold the images that {folder} was trained on, alone")
    model.detector.domain = Domain.learn(parts.train.stack())
    save_model(model, folder)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    relearn(Path(sys.argv[1]), Path(sys.argv[2]))
