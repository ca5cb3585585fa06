"""A detector of one's own: distance from the mean normal image."""

import numpy as np

from lumpylens.detectors import BatchScores, Detector
from lumpylens.detectors.base import to_unit_range


class PixelScatter(Detector):
    """Distance from the mean normal image, in units of the scatter of each pixel."""

    name = "scatter"

    def _fit(self, images, validation, run):
        pixels = to_unit_range(images.stack().pixels)
        self.mean, self.scatter = pixels.mean(axis=0), pixels.std(axis=0) + 1e-6

    def _score_batch(self, batch):
        distance = (to_unit_range(batch.pixels) - self.mean) / self.scatter
        return BatchScores(np.square(distance).mean(axis=(1, 2), dtype=np.float64))

    def _arrays(self):
        return {"mean": self.mean, "scatter": self.scatter}

    def _restore(self, arrays):
        self.mean, self.scatter = arrays["mean"], arrays["scatter"]
