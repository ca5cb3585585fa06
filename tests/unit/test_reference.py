"""The supervised classifier of the benchmark's last line."""

from __future__ import annotations

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.detectors import DETECTORS
from lumpylens.errors import DataError
from lumpylens.results.metrics import auc
from lumpylens.training.run import Run
from lumpylens.verbs.benchmark.supervised import supervised_reference


def discs(count: int, radius: float, seed: int) -> LensImages:
    draw = np.random.default_rng(seed)
    y, x = np.indices((24, 26))
    centres = draw.uniform(10, 14, (count, 2, 1, 1))
    away = np.hypot(y - centres[:, 0], x - centres[:, 1])
    return LensImages.from_arrays(1 / (1 + np.exp(away - radius)))


def test_it_learns_from_labels_and_is_no_detector():
    found = supervised_reference(
        discs(100, 5, 0), discs(80, 6, 1), discs(40, 5, 2), discs(30, 6, 3),
        epochs=5, run=Run(device="cpu"),
    )  # fmt: skip
    assert auc(found.normal, found.anomalous).value > 0.95
    assert (found.normal.shape, found.anomalous.shape) == ((40,), (30,))
    assert (found.training_normal, found.training_anomalous) == (100, 80)
    assert 1 <= found.epoch <= 5
    assert not any("reference" in place for place in DETECTORS.values())


def test_images_of_another_shape_are_refused():
    other = LensImages.from_arrays(np.random.default_rng(0).random((12, 8, 8)))
    train = discs(20, 5, 0), discs(20, 6, 1)
    with pytest.raises(DataError, match="8x8"):
        supervised_reference(*train, other, other, epochs=1, run=Run(device="cpu"))
