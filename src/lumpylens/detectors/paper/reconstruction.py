"""Networks that rebuild an image and are scored by what they fail to rebuild."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.base import Detector, to_unit_range
from lumpylens.detectors.loss import reconstruction_mse
from lumpylens.detectors.outcome import BatchScores
from lumpylens.detectors.scorers import ReconstructionError
from lumpylens.detectors.settings import DetectorConfig
from lumpylens.training.device import torch_device
from lumpylens.training.loop import seeded, train_network
from lumpylens.training.network import TrainableNetwork
from lumpylens.training.run import Run

__all__ = ["ReconstructionConfig", "ReconstructionDetector", "ReconstructionNetwork"]


class ReconstructionConfig(DetectorConfig):
    """How a network is trained; defaults of arXiv 2008.12731 and its authors' code."""

    learning_rate: float = Field(2e-3, gt=0, description="Adam; peak of the one-cycle schedule")
    weight_decay: float = Field(1e-5, ge=0, description="L2 penalty inside Adam")
    batch_size: int = Field(100, ge=2, description="Images per step")
    max_epochs: int = Field(50, ge=1, description="Length of the schedule")
    patience: int = Field(20, ge=1, description="Epochs without a better validation loss")


class ReconstructionNetwork(TrainableNetwork):
    """A network whose forward pass is the reconstruction that is scored."""

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images on the [0, 1] scale, shape (n, H, W), without randomness."""

    def start_from(self, images: Tensor) -> None:
        """Set what can be read off the training images before the first step."""

    def optimisers(self, total_steps: int) -> list[tuple[Optimizer, LRScheduler | None]]:
        """Adam with the one-cycle schedule of the authors' code."""
        rate = self.config.learning_rate
        decay = self.config.weight_decay
        adam = Adam(self.parameters(), lr=rate, weight_decay=decay, fused=True)
        return [(adam, OneCycleLR(adam, max_lr=rate, total_steps=total_steps))]

    def validation_loss(self, batch: Tensor) -> Tensor:
        """Mean squared error per pixel, as scored."""
        return nn.functional.mse_loss(self(batch), batch)


class ReconstructionDetector(Detector):
    """Scores an image by the mean squared error of its reconstruction on the [0, 1] scale."""

    network: ReconstructionNetwork | None = None

    @abstractmethod
    def _network(self, image_shape: tuple[int, int]) -> ReconstructionNetwork:
        """An untrained network."""

    def _fit(self, images: LensImages, validation: LensImages, run: Run) -> None:
        config = self.config
        assert isinstance(config, ReconstructionConfig)
        assert self.image_shape is not None
        with seeded(config.seed):
            network = self._network(self.image_shape)
        unit = torch.from_numpy(to_unit_range(images.stack().pixels))
        network.start_from(unit)
        self.history = train_network(
            network,
            unit,
            to_unit_range(validation.stack(shape=self.image_shape).pixels),
            run=run,
            max_epochs=config.max_epochs,
            batch_size=config.batch_size,
            patience=config.patience,
            seed=config.seed,
            settings={"detector": self.name, **config.model_dump()},
        )
        self.network, self.device = network.float(), run.device

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        assert self.network is not None
        device = torch_device(self.device)
        network = self.network.to(device).eval()
        with torch.no_grad():
            unit = torch.from_numpy(to_unit_range(batch.pixels)).to(device)
            rebuilt = network(unit).cpu().numpy()
        low = batch.pixels.min(axis=(1, 2), keepdims=True)
        spread = batch.pixels.max(axis=(1, 2), keepdims=True) - low
        reconstruction = (rebuilt * spread + low).astype(np.float32)
        return BatchScores(
            anomaly_score=reconstruction_mse(batch.pixels, reconstruction),
            reconstruction=reconstruction,
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        assert self.network is not None
        state = self.network.state_dict()
        return {name: value.cpu().contiguous().numpy() for name, value in state.items()}

    def _restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        assert self.image_shape is not None
        # Settings may ask for more memory than there is: shapes are compared before any is taken.
        with torch.device("meta"):
            planned = self._network(self.image_shape).state_dict()
        shapes = {name: tuple(tensor.shape) for name, tensor in planned.items()}
        if shapes != {name: array.shape for name, array in arrays.items()}:
            raise ValueError("the settings make a network of other layers")
        with seeded(self.config.seed):
            network = self._network(self.image_shape)
        # Copied, since arrays read from a file may be read-only, which torch does not take.
        network.load_state_dict(
            {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        )
        self.network = network.eval()

    def scorer(self) -> nn.Module:
        """See `Detector.scorer`."""
        assert self.network is not None
        return ReconstructionError(self.network)

    def card_notes(self) -> list[str]:
        """Say what is scored, and how long the network learned."""
        notes = [
            "The score is the mean squared error per pixel of the reconstruction, with the image "
            "scaled linearly to [0, 1]."
        ]
        if self.history:
            best = min(self.history, key=lambda row: row["val_loss"])
            notes.append(
                f"Trained for {len(self.history)} epochs; the weights are those of epoch "
                f"{best['epoch']:.0f} (validation loss {best['val_loss']:.3g})."
            )
        return notes
