"""Principal components: the distance of an image from the plane that normal images span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector, to_unit_range
from lumpylens.detectors.loss import reconstruction_mse
from lumpylens.detectors.outcome import BatchScores
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.errors import DataError
from lumpylens.training.run import Run

if TYPE_CHECKING:
    from torch import nn

__all__ = ["PCAConfig", "PCADetector", "principal_components"]


class PCAConfig(DetectorConfig):
    """Settings of `pca`."""

    max_components: int = Field(
        800, ge=1, description="Largest number of components that is tried on validation images"
    )


class PCADetector(Detector):
    """Mean squared error per pixel of the projection on the first k principal components.

    k is the number under which held-out normal images are most likely, in the Gaussian model
    that belongs to k components: their variances, and one common variance for all directions
    left over (probabilistic PCA, Tipping & Bishop 1999, eqs. 4 and 8). The reconstruction error
    itself cannot choose: it falls with every component, on any image.
    """

    name: ClassVar[str] = "pca"
    Config = PCAConfig
    config: PCAConfig

    mean: NDArray[np.float32]
    components_: NDArray[np.float32]

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        unit = _flat(images.stack().pixels)
        held_out = _flat(validation.stack(shape=self.image_shape).pixels)
        mean, components, variances, total = principal_components(
            unit, self.config.max_components, self.config.seed
        )
        likelihood = held_out_log_likelihood(held_out - mean, components, variances, total)
        best = 1 + int(np.argmax(likelihood))
        self.mean, self.components_ = mean, components[:best]

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        unit = _flat(batch.pixels)
        rebuilt = self.mean + (unit - self.mean) @ self.components_.T @ self.components_
        low = batch.pixels.min(axis=(1, 2), keepdims=True)
        spread = batch.pixels.max(axis=(1, 2), keepdims=True) - low
        reconstruction = (rebuilt.reshape(batch.pixels.shape) * spread + low).astype(np.float32)
        return BatchScores(
            anomaly_score=reconstruction_mse(batch.pixels, reconstruction),
            reconstruction=reconstruction,
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"mean": self.mean, "components": self.components_}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.mean, self.components_ = arrays["mean"], arrays["components"]
        assert self.image_shape is not None
        pixels = self.image_shape[0] * self.image_shape[1]
        if self.mean.shape != (pixels,) or self.components_.shape[1:] != (pixels,):
            raise ValueError(f"components are not of {pixels} pixels")

    def scorer(self) -> nn.Module:
        """See `Detector.scorer`."""
        from lumpylens.detectors.scorers import Projection, ReconstructionError

        return ReconstructionError(Projection(self.mean, self.components_))

    def card_notes(self) -> list[str]:
        """Say how the number of components was chosen."""
        used = len(self.components_)
        notes = [
            f"{used} components of at most {self.config.max_components}: the number under which "
            "held-out normal images are most likely in probabilistic PCA (Tipping & Bishop 1999). "
            "The score is the mean squared error per pixel of the reconstruction, with the image "
            "scaled linearly to [0, 1]."
        ]
        if used == self.config.max_components:
            notes.append("That is the largest number tried; raise `max_components`.")
        return notes


def principal_components(
    unit: NDArray[np.float32], largest: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], float]:
    """Mean, components (k, D), their variances (k,), and the variance of all pixels together.

    Directions in which the images do not differ are left out.

    Parameters
    ----------
    unit : ndarray, shape (n, D)
    largest : int
        Number of components wanted; at most n - 1 and D are there.
    seed : int
        Of the randomised decomposition (Halko et al. 2011).

    Raises
    ------
    DataError
        If the images do not differ at all.
    """
    from sklearn.decomposition import PCA

    count = min(largest, len(unit) - 1, unit.shape[1])
    # The randomised solver needs room beside what it is asked for.
    solver = "randomized" if 2 * count < min(unit.shape) else "full"
    analysis = PCA(count, svd_solver=solver, random_state=seed).fit(unit)
    variances = analysis.explained_variance_.astype(np.float64)
    total = float(unit.var(axis=0, ddof=1, dtype=np.float64).sum())
    # Rounding of float32 pixels leaves some 1e-14 of variance in each.
    nonzero = variances > 1e-12 * unit.shape[1]
    if not nonzero.any():
        raise DataError("the training images are all alike: there is nothing to learn from them")
    mean, components = analysis.mean_.astype(np.float32), analysis.components_.astype(np.float32)
    return mean, components[nonzero], variances[nonzero], total


def held_out_log_likelihood(
    centred: NDArray[np.float32],
    components: NDArray[np.float32],
    variances: NDArray[np.float64],
    total: float,
) -> NDArray[np.float64]:
    """Mean log-likelihood of held-out images under 1, 2, ... components.

    Tipping & Bishop 1999, eqs. 4 and 8, without the constant: the density is Gaussian, of the
    given variance along each component and of the mean remaining variance along all others.

    Parameters
    ----------
    centred : ndarray, shape (m, D)
    components : ndarray, shape (k, D)
    variances : ndarray, shape (k,)
    total : float
        Sum of the variances of all D directions.

    Returns
    -------
    ndarray, shape (k,)
    """
    pixels = centred.shape[1]
    squares = np.square((centred @ components.T).astype(np.float64))
    all_squares = np.square(centred.astype(np.float64)).sum(axis=1)
    used = np.arange(1, len(components) + 1)
    noise = (total - np.cumsum(variances)) / np.maximum(pixels - used, 1)
    noise = np.maximum(noise, 1e-12)
    inside = np.cumsum(squares.mean(axis=0) / variances + np.log(variances))
    outside = (all_squares.mean() - np.cumsum(squares.mean(axis=0))) / noise
    return np.asarray(-0.5 * (inside + outside + (pixels - used) * np.log(noise)))


def _flat(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    return to_unit_range(pixels).reshape(len(pixels), -1)
