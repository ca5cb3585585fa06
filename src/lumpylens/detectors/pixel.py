"""A network that learned to see how far lenses are bent: what it sees in others is compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import BatchScores, Detector, DetectorConfig, Run, to_unit_range
from lumpylens.detectors.bending import Window, blots, spots, stretched
from lumpylens.training import TrainableNetwork, seeded, torch_device, train_network

__all__ = ["PixelConfig", "PixelDetector", "PixelNetwork"]

CONVOLUTIONS = ((1, 5, 2), (2, 3, 1), (2, 3, 2), (3, 3, 1), (4, 3, 2), (4, 3, 1))
"""Channels in units of the first layer's, side of the kernel, stride."""
FEATURES = 256
EXAMPLES_CHECKED = 250
"""Bent views of validation images, at least, that decide which epoch was the best."""
LOG_VARIANCE = (-8.0, 3.0)


class PixelConfig(DetectorConfig):
    """Settings of `pixel`; the defaults were chosen as its card tells."""

    learning_rate: float = Field(2e-3, gt=0, description="AdamW; peak of the one-cycle schedule")
    weight_decay: float = Field(0.02, ge=0, description="Of AdamW")
    batch_size: int = Field(32, ge=2, description="Images per step")
    max_epochs: int = Field(30, ge=1, description="Length of the schedule")
    patience: int = Field(20, ge=1, description="Epochs without a better validation loss")
    width: int = Field(16, ge=1, description="Channels of the first convolution")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of features hidden in training")
    bend: float = Field(
        0.008, gt=0, description="Typical displacement, in units of the image's shorter side"
    )
    core: float = Field(
        1 / 15, gt=0, description="Radius that stays in place, in units of the shorter side"
    )
    spot: float = Field(
        0.4, ge=0, description="Brightness of random spots in the middle, in units of the peak"
    )
    blot: float = Field(
        0.05, ge=0, description="Typical brightness of a blot put anywhere, in units of the peak"
    )
    turn_deg: float = Field(
        10.0, ge=0, le=90, description="Largest turn of a training view, beside half turns"
    )
    shrinkage: float = Field(
        0.05, gt=0, description="Added to the variance of each feature, in units of it"
    )


class PixelNetwork(TrainableNetwork):
    """Answers two questions: how far is a view bent outward, and how bright is the blot in it.

    Seven convolutions give the features, a linear layer the answers: each a Gaussian's mean and
    log-variance, in units of the typical displacement and brightness.
    """

    def __init__(self, config: PixelConfig, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.config = config
        side = min(image_shape)
        self.window = Window(image_shape, config.core * side)
        self.unit_px = config.bend * side
        layers: list[nn.Module] = []
        before, (height, width) = 1, self.window.seen_shape
        for factor, kernel, stride in CONVOLUTIONS:
            channels = factor * config.width
            layers += convolution(before, channels, kernel, stride)
            before, height, width = channels, -(-height // stride), -(-width // stride)
        layers += convolution(before, 32, 1, 1)
        self.body = nn.Sequential(*layers)
        self.body.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.features = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(32 * height * width, FEATURES),
            nn.ReLU(),
        )
        self.answer = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(FEATURES, 4))

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (n, FEATURES), means (n, 2) and log-variances (n, 2) of views (n, h, w)."""
        features = self.features(self.body(stretched(seen).unsqueeze(1)))
        mean, log_variance = self.answer(features).chunk(2, dim=1)
        return features, mean, log_variance.clamp(*LOG_VARIANCE)

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """AdamW on one cycle of the learning rate."""
        config = self.config
        adam = AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        return [(adam, OneCycleLR(adam, config.learning_rate, total_steps, pct_start=0.15))]

    def losses(self, batch: tuple[Tensor, Tensor]) -> Iterator[Tensor]:
        """Negative log-likelihood of the true answers, without its constant."""
        yield self.validation_loss(batch)

    def validation_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The same of fixed views."""
        seen, truth = batch
        _, mean, log_variance = self(seen)
        squares = (mean - truth).square() * torch.exp(-log_variance)
        loss: Tensor = 0.5 * (squares + log_variance).mean()
        return loss

    def bent(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Random views (n, h, w) of images (n, H, W), and the true answers (n, 2) for them.

        Bends and blots are normal, with a width that is itself uniform from none to twice the
        typical one, so that there are small ones among them.
        """
        count, device = len(images), images.device
        angle = math.radians(self.config.turn_deg) * (2 * torch.rand(count, device=device) - 1)
        angle = angle + math.pi * torch.randint(2, (count,), device=device)
        mirror = 1.0 - 2.0 * torch.randint(2, (count,), device=device)
        truth = torch.randn(count, 2, device=device) * 2 * torch.rand(count, 2, device=device)
        seen = self.window.look(images, angle, mirror, truth[:, 0] * self.unit_px)
        for _ in range(2):
            seen = seen + spots(seen, self.config.spot)
        return seen + blots(seen, truth[:, 1] * self.config.blot), truth

    def look(self, images: Tensor, outward: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Features, mean and log-variance of images (n, H, W), averaged over four fixed views.

        Parameters
        ----------
        images : Tensor, shape (n, H, W)
        outward : float
            Bend of all views, in units of the typical displacement.
        """
        turn, count = math.radians(self.config.turn_deg), images.shape[0]
        looks = []
        # Turned like training views, so that what resampling does to an image is nothing odd.
        for half, share, mirror in ((0, -0.75, 1), (1, -0.25, 1), (0, 0.25, -1), (1, 0.75, -1)):
            seen = self.window.look(
                images,
                images.new_full((count,), half * math.pi + share * turn),
                images.new_full((count,), mirror),
                images.new_full((count,), outward * self.unit_px),
            )
            looks.append(self(seen))
        features, mean, log_variance = (
            torch.stack(parts).mean(dim=0) for parts in zip(*looks, strict=True)
        )
        return features, mean, log_variance


def convolution(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    """A convolution with what belongs to it."""
    return [
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]


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
        features, seen = self._look(unit)
        self.centre, self.offset_px = features.mean(axis=0), float(seen.mean())
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
        features, means = [], []
        with torch.no_grad():
            for part in unit.split(self.batch_size):
                found, mean, _ = network.look(part.to(device), outward)
                features.append(found.double().cpu().numpy())
                means.append(mean[:, 0].double().cpu().numpy())
        return np.concatenate(features), np.concatenate(means) * network.unit_px

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        features, outward = self._look(torch.from_numpy(to_unit_range(batch.pixels)))
        off = features - self.centre
        weighted = off @ self.precision
        distance = (weighted * off).sum(axis=1)
        along = self.precision @ self.bending
        freed = distance - np.square(off @ along) / (self.bending @ along)
        return BatchScores(
            anomaly_score=distance,
            components={"outward_px": outward - self.offset_px, "free_outward": freed},
        )

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
        """What is scored, how long it learned, and what its design knew."""
        notes = [
            "A network learned on bent, blotted views of normal images to say how far each is bent "
            "and how bright the blot is. The score is the squared Mahalanobis distance of its "
            f"{FEATURES} features from those of the training images, over four views of an image.",
            "No lens equation and no anomalous image is used. That everything is bent outward, "
            "evenly around the middle, was chosen in the knowledge that substructure adds mass; "
            "settings were chosen on simulated lenses with and without substructure.",
            "`outward_px` is by how many pixels the arcs seem to lie farther out than in normal "
            "images; `free_outward` is the distance with that direction left out.",
        ]
        if self.history:
            best = min(self.history, key=lambda row: row["val_loss"])
            notes.append(
                f"Trained for {len(self.history)} epochs; the weights are those of epoch "
                f"{best['epoch']:.0f} (validation loss {best['val_loss']:.3g})."
            )
        return notes
