"""A network that learned to see how far lenses are bent: what it sees in others is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector, to_unit_range
from lumpylens.detectors.outcome import BatchScores, score_parts
from lumpylens.detectors.pixel.explain import explain_shift, radial_slope
from lumpylens.detectors.pixel.network import FEATURES, PixelConfig, PixelNetwork
from lumpylens.results.explanation import Explanation
from lumpylens.training.device import torch_device
from lumpylens.training.loop import seeded, train_network
from lumpylens.training.run import Run

__all__ = ["PixelDetector"]

EXAMPLES_CHECKED = 250
"""Bent views of validation images, at least, that decide which epoch was the best."""


class PixelDetector(Detector):
    """Distance of an image's features from those of normal images.

    The features are those of a network that learned, from normal images alone, to say how far
    a view of one has been bent and blotted. It must rely on what normal lenses have in common,
    such as how far their images lie apart, so its features vary little between them and much
    where that is broken. The score is the squared Mahalanobis distance in the features'
    covariance (Lee et al. 2018, arXiv 1807.03888, eq. 2, with one class).
    """

    name: ClassVar[str] = "pixel"
    Config = PixelConfig
    components: ClassVar[tuple[str, ...]] = ("outward_px", "free_outward")
    config: PixelConfig

    network: PixelNetwork | None = None
    centre: NDArray[np.float64]
    """Mean features of normal images, shape (FEATURES,)."""
    precision: NDArray[np.float64]
    """Inverse of their covariance, shape (FEATURES, FEATURES)."""
    bending: NDArray[np.float64]
    """How the features answer to a bend of the typical displacement, shape (FEATURES,)."""
    offset_px: float
    """Mean displacement seen in normal images."""

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        config = self.config
        assert self.image_shape is not None
        with seeded(config.seed):
            network = PixelNetwork(config, self.image_shape)
        unit = torch.from_numpy(to_unit_range(images.stack().pixels))
        check = torch.from_numpy(to_unit_range(validation.stack(shape=self.image_shape).pixels))
        with seeded(config.seed), torch.no_grad():
            copies = -(-EXAMPLES_CHECKED // len(check))
            many = check.repeat(copies, 1, 1).split(self.batch_size)
            views = zip(*(network.bent(part) for part in many), strict=True)
            fixed = tuple(torch.cat(part) for part in views)
        self.history = train_network(
            network,
            unit,
            fixed,
            run=run,
            max_epochs=config.max_epochs,
            batch_size=config.batch_size,
            patience=config.patience,
            seed=config.seed,
            augment=network.bent,
            settings={"detector": self.name, **config.model_dump()},
        )
        self.network, self.device = network.float(), run.device
        features, offsets_px = self._look(unit)
        self.centre, self.offset_px = features.mean(axis=0), float(offsets_px.mean())
        covariance = np.cov(features, rowvar=False)
        variances = np.diag(covariance)
        # A feature that never fires has no variance of its own.
        extra = config.shrinkage * variances + 1e-6 * variances.mean()
        self.precision = np.linalg.inv(covariance + np.diag(extra)).astype(np.float64)
        outward, inward = (self._look(check, bend)[0].mean(axis=0) for bend in (1.0, -1.0))
        self.bending = (outward - inward) / 2

    def _look(
        self, unit: Tensor, outward: float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (n, FEATURES) and displacements (n,) in pixels of images on the [0, 1] scale."""
        assert self.network is not None
        device = torch_device(self.device)
        network = self.network.to(device).eval()
        features, offsets = [], []
        with torch.no_grad():
            for part in unit.split(self.batch_size):
                chunk_features, mean, _ = network.look(part.to(device), outward)
                features.append(chunk_features.double().cpu().numpy())
                offsets.append(mean[:, 0].double().cpu().numpy())
        return np.concatenate(features), np.concatenate(offsets) * network.unit_px

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        features, outward = self._look(torch.from_numpy(to_unit_range(batch.pixels)))
        departure = features - self.centre
        weighted = departure @ self.precision
        distance = (weighted * departure).sum(axis=1)
        along = self.precision @ self.bending
        freed = distance - np.square(departure @ along) / (self.bending @ along)
        return BatchScores(
            anomaly_score=distance,
            components={"outward_px": outward - self.offset_px, "free_outward": freed},
        )

    def _explain_one(self, alone: ImageBatch) -> Explanation:
        assert self.network is not None
        network = self.network.to(torch_device(self.device)).eval()
        slope = radial_slope(network, self.centre, self.precision, to_unit_range(alone.pixels)[0])
        return explain_shift(alone, score_parts(self._score_batch(alone)), slope)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self.network is not None
        state = self.network.state_dict()
        return {
            **{
                f"network.{name}": value.cpu().contiguous().numpy() for name, value in state.items()
            },
            "centre": self.centre,
            "precision": self.precision,
            "bending": self.bending,
            "offset_px": np.array([self.offset_px]),
        }

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        assert self.image_shape is not None
        with seeded(self.config.seed):
            network = PixelNetwork(self.config, self.image_shape)
        # Copied, since arrays read from a file may be read-only, which torch does not take.
        network.load_state_dict(
            {
                name.removeprefix("network."): torch.from_numpy(np.array(array))
                for name, array in arrays.items()
                if name.startswith("network.")
            }
        )
        self.network = network.eval()
        self.centre, self.precision = arrays["centre"], arrays["precision"]
        self.bending, self.offset_px = arrays["bending"], float(arrays["offset_px"][0])

    def scorer(self) -> nn.Module:
        """See `Detector.scorer`."""
        from lumpylens.detectors.scorers import FeatureDistance

        assert self.network is not None
        return FeatureDistance(self.network, self.centre, self.precision)

    def card_notes(self) -> list[str]:
        """Say what is scored, how long the network learned, and what its design knew."""
        notes = [
            "Normal images were changed at random: light was moved outward or inward, and a "
            "small blot was added. A network learned to measure how far the light was moved and "
            "how bright the blot is. The score is the squared Mahalanobis distance of its "
            f"{FEATURES} features from those of the training images, over four views of an image.",
            "No lens equation and no anomalous image is used. When the uniform outward move was "
            "chosen, it was known that substructure adds mass; "
            "settings were chosen on simulated lenses with and without substructure.",
            "`outward_px` is by how many pixels the arcs seem to lie farther out than in normal "
            "images; `free_outward` is the distance without that direction.",
        ]
        if self.history:
            best = min(self.history, key=lambda row: row["val_loss"])
            notes.append(
                f"Trained for {len(self.history)} epochs; the weights are those of epoch "
                f"{best['epoch']:.0f} (validation loss {best['val_loss']:.3g})."
            )
        return notes
