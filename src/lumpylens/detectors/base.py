"""The contract that every detector keeps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.classes import normal_parts
from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.domain import Domain, to_unit_range
from lumpylens.detectors.loss import LossSum, explain_loss
from lumpylens.detectors.outcome import BatchScores, Gathered, Scores, score_parts
from lumpylens.detectors.scikit import OutlierDetector
from lumpylens.detectors.settings import DetectorConfig, validated
from lumpylens.detectors.shapes import MEASURES, measured
from lumpylens.errors import DataError, ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.results.explanation import Explanation
from lumpylens.training.device import check_device
from lumpylens.training.run import Run

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Detector", "to_unit_range"]


class Detector(OutlierDetector):
    """Learns what normal images look like and says how far others depart from it.

    A subclass sets `name`, `Config` and `components`, and implements `_fit`, `_score_batch`,
    `_arrays` and `_restore`. It is given normal images alone.

    Parameters
    ----------
    config : DetectorConfig, optional
    **settings
        Fields of `Config`, instead of or on top of `config`.
    """

    name: ClassVar[str]
    Config: ClassVar[type[DetectorConfig]] = DetectorConfig
    components: ClassVar[tuple[str, ...]] = ()
    batch_size: ClassVar[int] = 64
    """Images scored at once; scores do not depend on it."""
    device: str = "auto"
    """Where scores are computed, for detectors that use torch; no part of what was learned."""
    usual_loss: NDArray[np.float32] | None = None
    """Mean squared error at each pixel, shape (H, W), in normal images that were not learned from,
    image on [0, 1]. None without a reconstruction, and in models made before it was kept."""

    def __init__(self, config: DetectorConfig | None = None, **settings: Any) -> None:
        given = {} if config is None else config.model_dump(exclude_unset=True)
        self.config = validated(self.Config, {**given, **settings})
        self.image_shape: tuple[int, int] | None = None
        self.domain: Domain | None = None
        self.history: list[dict[str, float]] = []

    # -- learning ---------------------------------------------------------------------------

    def fit(
        self,
        images: LensImages | ArrayLike,
        y: None = None,
        *,
        validation: LensImages | ArrayLike | None = None,
        run: Run | None = None,
    ) -> Self:
        """Learn from normal images, and forget what was learned before.

        Parameters
        ----------
        images : LensImages or array_like, shape (n, H, W)
        y : None
            No label is taken; scikit-learn's pipelines hand None over.
        validation : LensImages or array_like, optional
            Normal images for early stopping, for choosing settings and for the threshold of
            `predict`: scores of images that were learned from would put it too low. Default:
            every tenth of `images`.
        run : Run, optional

        Raises
        ------
        DataError
            If an image is labelled anomalous, is unreadable or has another shape, if they come
            from several class folders, or if labels are given.
        """
        if y is not None:
            raise DataError("a detector learns from normal images alone: fit takes no label y")
        normal, check = normal_parts(images, validation)
        stack = normal.stack()
        self._forget()
        self.image_shape = (stack.pixels.shape[1], stack.pixels.shape[2])
        self.domain = Domain.learn(stack)
        del stack  # what the detector stacks itself should not lie beside a second stack
        self._learn(self._fit, normal, check, run)
        return self

    def adapt(
        self,
        images: LensImages | ArrayLike,
        *,
        validation: LensImages | ArrayLike | None = None,
        run: Run | None = None,
    ) -> Self:
        """Learn anew what other images of the same size look like, and keep trained networks.

        Every detector learns again which images are unlike those it knows, and where normal scores
        end. `physics` learns all of the instrument and of the population anew.

        Parameters
        ----------
        images, validation, run
            As in `fit`.

        Raises
        ------
        DataError
            As in `fit`, and for images of another size.
        ModelError
            If it was never trained.
        """
        if self.image_shape is None:
            raise ModelError(f"{self.name} has not been trained: there is nothing to adapt")
        normal, check = normal_parts(images, validation)
        self.domain = Domain.learn(normal.stack(shape=self.image_shape))
        self._learn(self._adapt, normal, check, run)
        return self

    def _learn(
        self,
        learn: Callable[[LensImages, LensImages, Run], None],
        normal: LensImages,
        check: LensImages,
        run: Run | None,
    ) -> None:
        """Learn from normal images, and from others what losses and scores are usual."""
        try:
            learn(normal, check, run or Run())
        except BaseException:
            # What is half learned scores nothing.
            self._forget()
            raise
        for detector in (self, self.fast()):
            if detector is not None:
                losses = LossSum()
                scores = detector._score(check, losses=losses)
                detector.usual_loss = losses.mean
                if scores.trusted.any():
                    detector.calibrate(Calibration(scores.anomaly_score[scores.trusted]))

    def _forget(self) -> None:
        """Go back to what the constructor made, so that nothing of an earlier fit is left.

        What is learned has public names: private ones were put here by others, such as
        scikit-learn's pipelines, who will take them away.
        """
        untrained = vars(type(self)(self.config))
        kept = {name: value for name, value in vars(self).items() if name.startswith("_")}
        kept["device"] = self.device
        vars(self).clear()
        vars(self).update(untrained | kept)

    def _configure(self, settings: Mapping[str, Any]) -> None:
        config = validated(self.Config, settings)
        if config != self.config:
            self.config = config
            self._forget()

    @abstractmethod
    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        """Learn; every image is readable, normal and of `image_shape`."""

    def _adapt(self, images: LensImages, validation: LensImages, run: Run) -> None:
        """Learn from such images what does not take a training; by default nothing."""

    # -- scoring ----------------------------------------------------------------------------

    @abstractmethod
    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        """Score one batch of images of `image_shape`."""

    def score(
        self,
        images: LensImages | ArrayLike,
        *,
        on_image: Callable[[], None] | None = None,
    ) -> Scores:
        """Score every image; those that cannot be scored get an `error`.

        Parameters
        ----------
        images : LensImages or array_like, shape (n, H, W)
        on_image : callable, optional
            Called once per image read.
        """
        return self._score(images, on_image)

    def _score(
        self,
        images: LensImages | ArrayLike,
        on_image: Callable[[], None] | None = None,
        losses: LossSum | None = None,
    ) -> Scores:
        """`score`, with the squared errors of all reconstructions added to `losses`."""
        if self.image_shape is None or self.domain is None:
            raise ModelError(f"{self.name} has not been trained: call fit or load a model first")
        collection = LensImages.open(images)
        gathered = Gathered(len(collection), self.components)
        shapes = np.full((len(collection), len(MEASURES)), np.nan)
        framed = 0
        for batch in collection.batches(
            self.batch_size,
            shape=self.image_shape,
            least=self._least_shape(),
            failed=gathered.failed,
            on_image=on_image,
        ):
            framed += batch.framed
            result = self._score_batch(batch)
            if reason := result.defect(len(batch), self.components):
                raise ModelError(f"{type(self).__qualname__}._score_batch: {reason}")
            gathered.add(batch, result, self.domain.warnings(batch))
            if losses is not None and result.reconstruction is not None:
                losses.add(batch.pixels, result.reconstruction)
            if self.domain.shapes is not None:
                shapes[batch.positions] = measured(batch.pixels)
        scores = gathered.scores()
        remarks = [_framed_remark(framed, len(collection), self.image_shape)] if framed else []
        if self.domain.shapes is not None:
            remarks.append(self.domain.shapes.remark(shapes[scores.trusted]))
        if strange := self._strangeness(gathered.details_of(scores.trusted)):
            scores = scores.doubted(strange)
            remarks.append(strange)
        return replace(scores, remark="; ".join(filter(None, remarks)))

    def _strangeness(self, details: Mapping[str, NDArray[np.float64]]) -> str:
        """Say why none of these images, taken together, can have a p-value; empty if they can.

        Parameters
        ----------
        details : dict of str to ndarray of float64, shape (n,)
            What `_score_batch` gave of those that get p-values.
        """
        return ""

    def _least_shape(self) -> tuple[int, int] | None:
        """Smallest (H, W) of images that are brought to `image_shape`; None for no others.

        The middle of a larger cutout is as good as a smaller one, unless its pixels are those of
        JPEG files, whose blocks of 8 x 8 would be cut elsewhere.
        """
        assert self.domain is not None
        return None if self.domain.jpeg_table is not None else self.image_shape

    @contextmanager
    def on(self, device: str) -> Iterator[None]:
        """Compute scores on a device for a while.

        Raises
        ------
        ModelError
            If `device` is no name of one.
        """
        check_device(device)
        before, self.device = self.device, device
        try:
            yield
        finally:
            self.device = before

    def fast(self) -> Detector | None:
        """A quicker and coarser detector from the same training, where there is one."""
        return None

    def anomaly_score(self, images: LensImages | ArrayLike) -> NDArray[np.float64]:
        """Anomaly score of each image, shape (n,): higher is more anomalous, NaN if it failed."""
        return self.score(images).anomaly_score

    def reconstruct(self, images: LensImages | ArrayLike) -> NDArray[np.float32]:
        """The normal image nearest to each image, shape (n, H, W), on its pixel scale.

        Raises
        ------
        DataError
            If an image cannot be read.
        ModelError
            If this detector makes no reconstructions.
        """
        if self.image_shape is None:
            raise ModelError(f"{self.name} has not been trained: call fit or load a model first")
        collection = LensImages.open(images)
        collection.stack(shape=self.image_shape)
        result = np.empty((len(collection), *self.image_shape), dtype=np.float32)
        for batch in collection.batches(self.batch_size, shape=self.image_shape):
            found = self._score_batch(batch)
            for position, reason in zip(batch.positions, found.error or [], strict=False):
                if reason:
                    raise DataError(f"{collection.ids[position]}: {reason}")
            if found.reconstruction is None:
                raise ModelError(f"{self.name} makes no reconstructions")
            result[batch.positions] = found.reconstruction
        return result

    def explain(
        self,
        images: LensImages | ArrayLike,
        *,
        on_image: Callable[[], None] | None = None,
    ) -> list[Explanation]:
        """What is behind the score of each image, in the order of `images`.

        One that cannot be scored has an `error`, as in `score`. p-values of the whole score are
        no business of a detector: see `lumpylens.explain`.

        Parameters
        ----------
        images : LensImages or array_like, shape (n, H, W)
        on_image : callable, optional
            Called once per image explained.
        """
        if self.image_shape is None or self.domain is None:
            raise ModelError(f"{self.name} has not been trained: call fit or load a model first")
        collection = LensImages.open(images)
        ids, failed = collection.ids, dict[int, str]()
        explained: dict[int, Explanation] = {}
        for batch in collection.batches(
            1, shape=self.image_shape, least=self._least_shape(), failed=failed
        ):
            own = self._explain_one(batch)
            position, foreign = int(batch.positions[0]), self.domain.warnings(batch)[0]
            explained[position] = replace(
                own,
                id=ids[position],
                warning="; ".join(part for part in (foreign, own.warning) if part),
                pixel_scale_arcsec=batch.pixel_scale_arcsec,
            )
            if on_image is not None:
                on_image()
        return [
            explained.get(k) or Explanation(id=name, error=failed.get(k, ""))
            for k, name in enumerate(ids)
        ]

    def _explain_one(self, alone: ImageBatch) -> Explanation:
        """Explain the image of a batch of one: by its reconstruction, unless more is known.

        A detector that knows more returns an `Explanation` with a `sentence`, and with `maps` or
        the reason for `no_map`.
        """
        result = self._score_batch(alone)
        scores = score_parts(result)
        if result.reconstruction is None:
            return Explanation(
                image=alone.pixels[0],
                scores=scores,
                sentence=f"{self.name} gives the image a score of {scores[0].value:.4g}",
                no_map=f"{self.name} does not say which part of an image its score comes from",
            )
        return explain_loss(alone, result.reconstruction[0], self.usual_loss, scores)

    # -- storing ----------------------------------------------------------------------------

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, as named arrays."""

    @abstractmethod
    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take back what `_arrays` gave; `config` and `image_shape` are already set."""

    def scorer(self) -> nn.Module:
        """A torch module from pixels, shape (n, H, W), to scores, shape (n,), for export.

        Raises
        ------
        ModelError
            If what it does is no such module.
        """
        raise ModelError(f"{self.name} cannot be exported: it has no form as one torch module")

    def card_notes(self) -> list[str]:
        """Sentences for the model card: source, departures from it, what was learned."""
        return []


def _framed_remark(framed: int, count: int, shape: tuple[int, int]) -> str:
    height, width = shape
    return (
        f"{framed} of {count} images have other sizes than {height}x{width} pixels: their middle "
        "is taken, or a border of sky added"
    )
