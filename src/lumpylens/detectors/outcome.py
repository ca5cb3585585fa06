"""What a detector says of images, before calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lumpylens.results.explanation import ScorePart

__all__ = ["BatchScores", "Scores", "score_parts"]


@dataclass(frozen=True)
class BatchScores:
    """What a detector says of one batch; arrays of shape (n,) in the batch's order.

    Attributes
    ----------
    anomaly_score : ndarray of float64
    components : dict of str to ndarray
    reconstruction : ndarray of float32, shape (n, H, W), or None
        On the scale of the input pixels.
    warning : list of str or None
        Per image: why its score should not be trusted; empty if it can.
    error : list of str or None
        Per image: why it has no score; empty if it has one.
    """

    anomaly_score: NDArray[np.float64]
    components: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    reconstruction: NDArray[np.float32] | None = None
    warning: list[str] | None = None
    error: list[str] | None = None

    def defect(self, count: int, components: tuple[str, ...]) -> str:
        """Say what does not fit a batch of `count` images; empty if all does.

        One number for a whole batch would otherwise become the score of each of its images.
        """
        if missing := [name for name in components if name not in self.components]:
            return f"the components lack {missing[0]!r}"
        scores = {"anomaly_score": self.anomaly_score, **self.components}
        for name, values in scores.items():
            if np.shape(values) != (count,):
                return f"{name} has shape {np.shape(values)} for {count} images"
        for name, texts in (("warning", self.warning), ("error", self.error)):
            if texts is not None and len(texts) != count:
                return f"{name} has {len(texts)} texts for {count} images"
        return ""


@dataclass(frozen=True)
class Scores:
    """What a detector says of a collection, before calibration.

    Attributes
    ----------
    anomaly_score : ndarray of float64, shape (n,)
        NaN where `error` is set.
    components : dict of str to ndarray of float64, shape (n,)
    reconstruction_mse : ndarray of float64, shape (n,)
        Mean squared error per pixel with image and reconstruction on the image's [0, 1] scale.
    error, warning : list of str, length n
    remark : str
        How the images without an error or warning, taken together, differ from the training images;
        empty if they do not.
    """

    anomaly_score: NDArray[np.float64]
    components: dict[str, NDArray[np.float64]]
    reconstruction_mse: NDArray[np.float64]
    error: list[str]
    warning: list[str]
    remark: str = ""

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Which images get p-values: scored, and like the training images; shape (n,)."""
        strange = np.array([bool(text) for text in self.warning], dtype=bool)
        trusted: NDArray[np.bool_] = np.isfinite(self.anomaly_score) & ~strange
        return trusted


def score_parts(result: BatchScores) -> tuple[ScorePart, ...]:
    """The score and the components of the first image of a batch, without p-values."""
    values = {"anomaly_score": result.anomaly_score, **result.components}
    return tuple(ScorePart(name, float(column[0])) for name, column in values.items())
