"""One-class support vector machine on principal components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector, to_unit_range
from lumpylens.detectors.outcome import BatchScores, score_parts
from lumpylens.detectors.pca import principal_components
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.results.explanation import Explanation
from lumpylens.training.run import Run

if TYPE_CHECKING:
    from torch import nn

__all__ = ["OCSVMConfig", "OCSVMDetector"]


class OCSVMConfig(DetectorConfig):
    """Settings of `ocsvm`."""

    n_components: int = Field(64, ge=1, description="Principal components kept as features")
    nu: float = Field(
        0.1, gt=0, le=1, description="Largest fraction of training images left outside"
    )


class OCSVMDetector(Detector):
    """Distance outside the region that holds the normal images in feature space.

    Features are the first principal components of the images on the [0, 1] scale, each divided
    by its standard deviation. The kernel is Gaussian with gamma = 1/(number of features), and
    the score is minus the decision function (Schoelkopf et al. 2001, Neural Computation 13, 1443).
    """

    name: ClassVar[str] = "ocsvm"
    Config = OCSVMConfig
    config: OCSVMConfig

    learned: Mapping[str, NDArray[Any]]
    """`mean` (D,), `projection` (k, D), `support` (s, k), `weights` (s,), `offset` ()."""

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        from sklearn.svm import OneClassSVM

        unit = to_unit_range(images.stack().pixels)
        unit = unit.reshape(len(unit), -1)
        mean, components, variances, _ = principal_components(
            unit, self.config.n_components, self.config.seed
        )
        projection = (components / np.sqrt(variances)[:, None]).astype(np.float32)
        features = ((unit - mean) @ projection.T).astype(np.float64)
        machine = OneClassSVM(kernel="rbf", gamma=1 / len(projection), nu=self.config.nu)
        # Without it libsvm, which draws nothing here, takes a number of the global generator.
        machine.random_state = self.config.seed
        machine.fit(features)
        self.learned = {
            "mean": mean,
            "projection": projection,
            "support": machine.support_vectors_,
            "weights": machine.dual_coef_[0],
            "offset": np.array(machine.offset_[0]),
        }

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        unit = to_unit_range(batch.pixels).reshape(len(batch), -1)
        learned = self.learned
        features = ((unit - learned["mean"]) @ learned["projection"].T).astype(np.float64)
        squares = (
            np.square(features).sum(axis=1)[:, None]
            + np.square(learned["support"]).sum(axis=1)
            - 2 * features @ learned["support"].T
        )
        kernel = np.exp(-squares / features.shape[1])
        return BatchScores(anomaly_score=learned["offset"] - kernel @ learned["weights"])

    def _explain_one(self, alone: ImageBatch) -> Explanation:
        scores = score_parts(self._score_batch(alone))
        outside = scores[0].value > 0
        return Explanation(
            image=alone.pixels[0],
            scores=scores,
            sentence=(
                f"Lies {'outside' if outside else 'inside'} the boundary that was drawn around "
                f"the normal images, by {abs(scores[0].value):.3g}"
            ),
            no_map="ocsvm compares the image as a whole with the normal ones",
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self.learned)

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.learned = dict(arrays)

    def scorer(self) -> nn.Module:
        """See `Detector.scorer`."""
        from lumpylens.detectors.scorers import OneClassDistance

        return OneClassDistance(self.learned)

    def card_notes(self) -> list[str]:
        """Say what the score rests on, and what was learned."""
        features, support = len(self.learned["projection"]), len(self.learned["support"])
        return [
            f"One-class support vector machine (Schoelkopf et al. 2001) on the first {features} "
            "principal components of the images on the [0, 1] scale, each of unit variance; "
            f"Gaussian kernel with gamma = 1/{features}, nu = {self.config.nu:g}; {support} "
            "support vectors. The score is minus the decision function; there is no "
            "reconstruction.",
            "Alexander et al. 2021 (arXiv 2008.12731) report a one-class support vector machine, "
            "but their public code has none: features, kernel width and nu were chosen here.",
        ]
