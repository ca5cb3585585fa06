"""A detector that is small enough to reason about, for tests of everything around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector
from lumpylens.detectors.outcome import BatchScores
from lumpylens.training.run import Run


class MeanImage(Detector):
    """Distance from the mean normal image; `free_mass` forgives a common brightness factor."""

    name = "mean-image"
    components = ("free_mass",)

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        self.mean = images.stack().pixels.mean(axis=0)
        self.history = [
            {"epoch": float(k), "train_loss": 1 / k, "val_loss": 1 / k + 0.01 * k, "seconds": 0.1}
            for k in range(1, 21)
        ]

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        flat = batch.pixels.reshape(len(batch), -1).astype(np.float64)
        mean = self.mean.ravel().astype(np.float64)
        fitted = np.outer(flat @ mean / (mean @ mean), mean)
        return BatchScores(
            anomaly_score=np.square(flat - mean).mean(axis=1),
            components={"free_mass": np.square(flat - fitted).mean(axis=1)},
            reconstruction=np.broadcast_to(self.mean, batch.pixels.shape).copy(),
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"mean": self.mean}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.mean = arrays["mean"]


def blobs(count: int, seed: int, bump: float = 0.0, side: int = 24) -> NDArray[np.float32]:
    """Noisy round blobs, shape (count, side, side), with a second one of height `bump`."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side)) - (side - 1) / 2
    smooth = np.exp(-(x**2 + y**2) / (2 * (side / 6) ** 2))
    spot = np.exp(-((x - side / 4) ** 2 + y**2) / (2 * (side / 12) ** 2))
    noise = rng.normal(0, 0.05, (count, side, side))
    return (smooth + bump * spot + noise).astype(np.float32)
