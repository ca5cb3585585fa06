"""`TrainedModel`: a detector, its calibration, and what it was made with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import LensImages
from lumpylens.detectors.base import Detector
from lumpylens.errors import DataWarning, ModelError
from lumpylens.results.calibration import Calibration, benjamini_hochberg
from lumpylens.results.explanation import Explanation
from lumpylens.results.score_table import ScoreTable

__all__ = ["TrainedModel"]


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """A detector and what is needed to use it.

    Attributes
    ----------
    detector : Detector
    calibration : Calibration
        Scores of normal images that took no part in training.
    seen : dict of str to ndarray of uint8, shape (n, 16)
        Content digests of the images of each part (``train``, ``validation``,
        ``calibration``) that the model was made with.
    card : str
        Markdown: what it is, what it was trained on, how good it is on normal images.
    info : dict
        Data, split, seed, command, versions and training time, as stored in ``config.toml``.
    fast_calibration : Calibration or None
        The same for the detector's faster score, where it has one.
    """

    detector: Detector
    calibration: Calibration
    seen: Mapping[str, NDArray[np.uint8]]
    card: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    fast_calibration: Calibration | None = None

    def fast(self) -> TrainedModel:
        """The quicker, coarser detector that came out of the same training.

        Raises
        ------
        ModelError
            If this kind of detector has none.
        """
        quick = self.detector.fast()
        if quick is None or self.fast_calibration is None:
            raise ModelError(f"{self.detector.name} has no fast score; score without --fast")
        return replace(self, detector=quick, calibration=self.fast_calibration)

    def score(
        self,
        images: LensImages,
        *,
        fdr: float = 0.05,
        device: str = "auto",
        on_image: Callable[[], None] | None = None,
    ) -> ScoreTable:
        """Scores with p-values, q-values and flags, one row per image in the order of `images`.

        Images that failed and images with a warning get no p-value and are not among the tests.
        A `DataWarning` says if the others, taken together, lie or measure otherwise than the
        training images.

        Parameters
        ----------
        images : LensImages
        fdr : float
            False-discovery rate at which images are flagged.
        device : {"auto", "cpu", "cuda"}
        on_image : callable, optional
            Called once per image read.
        """
        with self.detector.on(device):
            scores = self.detector.score(images, on_image=on_image)
        if scores.remark:
            warnings.warn(scores.remark, DataWarning, stacklevel=2)
        p_value = self.calibration.p_values(np.where(scores.trusted, scores.anomaly_score, np.nan))
        q_value = benjamini_hochberg(p_value)
        return ScoreTable(
            id=images.ids,
            anomaly_score=scores.anomaly_score,
            error=scores.error,
            warning=scores.warning,
            p_value=p_value,
            q_value=q_value,
            flag=q_value <= fdr,
            components={"reconstruction_mse": scores.reconstruction_mse, **scores.components},
        )

    def explain(
        self,
        images: LensImages,
        *,
        device: str = "auto",
        on_image: Callable[[], None] | None = None,
    ) -> list[Explanation]:
        """Explanations with calibrated p-values, in the order of `images`.

        Parameters
        ----------
        images : LensImages
        device : {"auto", "cpu", "cuda"}
        on_image : callable, optional
            Called once per image explained.
        """
        with self.detector.on(device):
            explanations = self.detector.explain(images, on_image=on_image)
        return [explanation.calibrated(self.calibration) for explanation in explanations]

    def __repr__(self) -> str:
        shape = self.detector.image_shape
        size = f"{shape[0]}x{shape[1]} pixels" if shape else "nothing yet"
        learned = self.info.get("images", {}).get("train")
        source = f", learned from {learned} images" if learned is not None else ""
        return (
            f"<TrainedModel {self.detector.name} for images of {size}{source}, "
            f"calibrated on {len(self.calibration)}>"
        )
