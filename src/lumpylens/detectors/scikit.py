"""What scikit-learn asks of a detector of outliers, without importing scikit-learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.images import LensImages
from lumpylens.detectors.outcome import Scores
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.errors import DataError, ModelError
from lumpylens.results.calibration import Calibration

__all__ = ["FALSE_ALARM_RATE", "OutlierDetector", "nominal_rate"]

FALSE_ALARM_RATE = 0.05
"""Share of normal images that `OutlierDetector.predict` calls anomalous."""


def nominal_rate(calibration: Calibration) -> float:
    """`FALSE_ALARM_RATE`, or the smallest rate that so few calibration images can tell."""
    return max(FALSE_ALARM_RATE, calibration.smallest_p_value)


class OutlierDetector(ABC):
    """scikit-learn's names and signs: lower is more anomalous, and so is -1.

    `sklearn.base.clone` makes an untrained detector of the same settings.
    """

    name: ClassVar[str]
    config: DetectorConfig
    offset_: float | None = None
    """`decision_function` is 0 at an anomaly score of ``-offset_``; None without a threshold."""

    @abstractmethod
    def fit(self, images: LensImages | ArrayLike, y: None = None) -> Self:
        """Learn from normal images."""

    @abstractmethod
    def score(self, images: LensImages | ArrayLike) -> Scores:
        """Score every image."""

    @abstractmethod
    def _configure(self, settings: dict[str, Any]) -> None:
        """Take other settings, and forget what was learned with the former ones."""

    # -- settings ---------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All settings with their values; `deep` changes nothing."""
        return dict(self.config)

    def set_params(self, **settings: Any) -> Self:
        """Change settings; a detector whose settings differ from before is untrained.

        Raises
        ------
        ModelError
            If there is no such setting, or it cannot have that value.
        """
        self._configure({**self.get_params(), **settings})
        return self

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params())

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags

        images = InputTags(two_d_array=False, three_d_array=True)
        return Tags("outlier_detector", TargetTags(required=False), input_tags=images)

    # -- signs ------------------------------------------------------------------------------

    def calibrate(self, calibration: Calibration) -> None:
        """Set the threshold of `predict`, from normal images that were not learned from.

        `FALSE_ALARM_RATE` of normal images lie beyond it, or the smallest share that so few
        images can tell.
        """
        self.offset_ = -calibration.threshold(nominal_rate(calibration))

    def score_samples(self, images: LensImages | ArrayLike) -> NDArray[np.float64]:
        """scikit-learn's sign, shape (n,): lower is more anomalous; NaN if it failed."""
        return -self.score(images).anomaly_score

    def decision_function(self, images: LensImages | ArrayLike) -> NDArray[np.float64]:
        """scikit-learn's sign, shape (n,): negative is anomalous; NaN if it failed.

        Raises
        ------
        ModelError
            If the detector is untrained or has no threshold.
        """
        return self._decide(self.score_samples(images))

    def predict(self, images: LensImages | ArrayLike) -> NDArray[np.int_]:
        """+1 normal, -1 anomalous, shape (n,).

        The threshold comes from `lumpylens.train`, where calibration images set it; from `fit`
        alone, validation images do.

        Raises
        ------
        DataError
            If an image cannot be scored: neither answer would be true.
        ModelError
            If the detector is untrained or has no threshold.
        """
        collection = LensImages.open(images)
        scores = self.score(collection)
        failed = [position for position, text in enumerate(scores.error) if text]
        if failed:
            raise DataError(
                f"{len(failed)} of {len(collection)} images cannot be scored, so they are neither "
                f"normal nor anomalous (the first is {collection.ids[failed[0]]}: "
                f"{scores.error[failed[0]]}); leave them out, or call score, which gives the "
                "reason for each"
            )
        return np.where(self._decide(-scores.anomaly_score) < 0, -1, 1)

    def fit_predict(self, images: LensImages | ArrayLike, y: None = None) -> NDArray[np.int_]:
        """Learn from normal images, then `predict` them."""
        return self.fit(images, y).predict(images)

    def _decide(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.offset_ is None:
            raise ModelError(
                f"{self.name} has no threshold between normal and anomalous: none of its "
                "validation images could be trusted; train it with lumpylens.train, or set offset_"
            )
        return samples - self.offset_
