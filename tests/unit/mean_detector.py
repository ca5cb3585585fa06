"""The least a detector can be, for tests of what surrounds detectors."""

from __future__ import annotations

import numpy as np

from lumpylens.data.images import ImageBatch
from lumpylens.detectors.base import Detector
from lumpylens.detectors.outcome import BatchScores
from lumpylens.detectors.settings import DetectorConfig


class MeanConfig(DetectorConfig):
    weight: float = 1.0
    label: str | None = None


class MeanDetector(Detector):
    """Scores by the distance to the mean image; the least a detector can be."""

    name = "mean"
    Config = MeanConfig
    config: MeanConfig

    def _fit(self, images, validation, run):
        self.mean = images.stack().pixels.mean(axis=0)
        self.history = [{"epoch": 0.0, "loss": 0.1}, {"epoch": 1.0, "loss": 1 / 3}]

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        away = np.square(batch.pixels - self.mean).mean(axis=(1, 2)).astype(np.float64)
        return BatchScores(self.config.weight * away)

    def _arrays(self):
        # Transposed: a view whose bytes do not lie in the order of its elements.
        return {"mean": np.asfortranarray(self.mean), "count": np.array(3)}

    def _restore(self, arrays):
        if arrays["mean"].shape != self.image_shape:
            raise ValueError("mean image and image shape differ")
        self.mean = arrays["mean"]

    def card_notes(self):
        return ["Distance to the mean image."]
