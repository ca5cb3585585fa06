"""What a detector says of images, before calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch
from lumpylens.detectors.loss import reconstruction_mse
from lumpylens.results.explanation import ScorePart

__all__ = ["BatchScores", "Gathered", "Scores", "score_parts"]


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
    details : dict of str to ndarray of float64
        Further numbers of each image, which `Detector._strangeness` looks at together.
    """

    anomaly_score: NDArray[np.float64]
    components: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    reconstruction: NDArray[np.float32] | None = None
    warning: list[str] | None = None
    error: list[str] | None = None
    details: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def defect(self, count: int, components: tuple[str, ...]) -> str:
        """Say what does not fit a batch of `count` images; empty if all does.

        One number for a whole batch would otherwise become the score of each of its images.
        """
        if missing := [name for name in components if name not in self.components]:
            return f"the components lack {missing[0]!r}"
        scores = {"anomaly_score": self.anomaly_score, **self.components, **self.details}
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
    details : dict of str to ndarray of float64, shape (n,)
        Further numbers that some detectors give of each image; NaN where `error` is set.
    """

    anomaly_score: NDArray[np.float64]
    components: dict[str, NDArray[np.float64]]
    reconstruction_mse: NDArray[np.float64]
    error: list[str]
    warning: list[str]
    remark: str = ""
    details: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def trusted(self) -> NDArray[np.bool_]:
        """Which images get p-values: scored, and like the training images; shape (n,)."""
        strange = np.array([bool(text) for text in self.warning], dtype=bool)
        trusted: NDArray[np.bool_] = np.isfinite(self.anomaly_score) & ~strange
        return trusted

    def doubted(self, reason: str) -> Scores:
        """The same with a warning on every image."""
        warning = ["; ".join(filter(None, (own, reason))) for own in self.warning]
        return replace(self, warning=warning)


class Gathered:
    """Scores of a collection, filled batch by batch.

    Attributes
    ----------
    failed : dict of int to str
        Position and reason of each image that has no score.
    """

    def __init__(self, count: int, components: tuple[str, ...]) -> None:
        self.failed: dict[int, str] = {}
        self._score, self._mse = np.full(count, np.nan), np.full(count, np.nan)
        self._components = {name: np.full(count, np.nan) for name in components}
        self._details: dict[str, NDArray[np.float64]] = {}
        self._warning = [""] * count

    def add(self, batch: ImageBatch, result: BatchScores, foreign: list[str]) -> None:
        """Add the scores of a batch, with warnings of those unlike the training images."""
        at = batch.positions
        self._score[at] = result.anomaly_score
        for name, values in self._components.items():
            values[at] = result.components[name]
        for name, values in result.details.items():
            self._details.setdefault(name, np.full(len(self._score), np.nan))[at] = values
        if result.reconstruction is not None:
            self._mse[at] = reconstruction_mse(batch.pixels, result.reconstruction)
        reasons = zip(at, result.error or (), strict=False)
        self.failed |= {int(position): reason for position, reason in reasons if reason}
        own = result.warning or [""] * len(batch)
        for position, first, second in zip(at, foreign, own, strict=True):
            self._warning[position] = "; ".join(part for part in (first, second) if part)

    def scores(self) -> Scores:
        """All that was added; what has no finite score has failed."""
        for position in np.flatnonzero(~np.isfinite(self._score)):
            self.failed.setdefault(int(position), "the score is not a finite number")
            self._score[position] = np.nan
        error = [self.failed.get(position, "") for position in range(len(self._score))]
        return Scores(
            self._score, self._components, self._mse, error, self._warning, details=self._details
        )

    def details_of(self, chosen: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Further numbers of some of the images."""
        return {name: values[chosen] for name, values in self._details.items()}


def score_parts(result: BatchScores) -> tuple[ScorePart, ...]:
    """The score and the components of the first image of a batch, without p-values."""
    values = {"anomaly_score": result.anomaly_score, **result.components}
    return tuple(ScorePart(name, float(column[0])) for name, column in values.items())
