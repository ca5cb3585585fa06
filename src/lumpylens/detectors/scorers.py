"""Detectors as torch modules, from pixels to scores, for other programs to run.

Each does in torch what its detector does, so that a file in an exchange format needs nothing of
this package. Pixels are of any linear scale; every image is brought to the range [0, 1] first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lumpylens.physics.encoder import Encoder, Eyepiece

if TYPE_CHECKING:
    from lumpylens.detectors.pixel.network import PixelNetwork

__all__ = [
    "EncoderDistance",
    "FeatureDistance",
    "OneClassDistance",
    "Projection",
    "ReconstructionError",
]


def to_unit(pixels: Tensor) -> Tensor:
    """Bring each image (n, H, W) to the range [0, 1]; a constant one becomes NaN."""
    low, high = pixels.amin(dim=(1, 2), keepdim=True), pixels.amax(dim=(1, 2), keepdim=True)
    return (pixels - low) / (high - low)


class ReconstructionError(nn.Module):
    """Mean squared error per pixel of a reconstruction on the [0, 1] scale.

    Parameters
    ----------
    rebuild : Module
        Images on the [0, 1] scale to reconstructions, shape (n, H, W).
    """

    def __init__(self, rebuild: nn.Module) -> None:
        super().__init__()
        self.rebuild = rebuild

    def forward(self, pixels: Tensor) -> Tensor:
        """Anomaly scores (n,) of images (n, H, W)."""
        unit = to_unit(pixels)
        error: Tensor = (self.rebuild(unit) - unit).square().mean(dim=(1, 2))
        return error


class FeatureDistance(nn.Module):
    """Squared Mahalanobis distance of the features that `pixel` sees.

    Parameters
    ----------
    network : PixelNetwork
    centre : ndarray of float64, shape (k,)
    precision : ndarray of float64, shape (k, k)
        Inverse covariance.
    """

    centre: Tensor
    precision: Tensor

    def __init__(
        self, network: PixelNetwork, centre: NDArray[Any], precision: NDArray[Any]
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("centre", torch.tensor(centre))
        self.register_buffer("precision", torch.tensor(precision))

    def forward(self, pixels: Tensor) -> Tensor:
        """Anomaly scores (n,) of images (n, H, W)."""
        departure = self.network.look(to_unit(pixels))[0].double() - self.centre
        return (departure @ self.precision * departure).sum(dim=1)


class Projection(nn.Module):
    """Nearest point of a plane.

    Parameters
    ----------
    mean : ndarray of float32, shape (D,)
    components : ndarray of float32, shape (k, D)
        Orthonormal.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, mean: NDArray[Any], components: NDArray[Any]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("components", torch.tensor(components))

    def forward(self, images: Tensor) -> Tensor:
        """Reconstructions (n, H, W) of images (n, H, W)."""
        departure = images.flatten(1) - self.mean
        reconstruction: Tensor = self.mean + departure @ self.components.T @ self.components
        return reconstruction.view_as(images)


class OneClassDistance(nn.Module):
    """Minus the decision function of a one-class support vector machine on components.

    Parameters
    ----------
    learned : mapping of str to ndarray
        As the detector `ocsvm` stores it.
    """

    mean: Tensor
    projection: Tensor
    support: Tensor
    weights: Tensor
    offset: Tensor

    def __init__(self, learned: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        for name in ("mean", "projection", "support", "weights", "offset"):
            self.register_buffer(name, torch.tensor(learned[name]))

    def forward(self, pixels: Tensor) -> Tensor:
        """Anomaly scores (n,) of images (n, H, W)."""
        unit = to_unit(pixels).flatten(1)
        # Differences of squares near each other: in float32 the small distances are lost.
        features = ((unit - self.mean) @ self.projection.T).double()
        squares = (
            features.square().sum(dim=1, keepdim=True)
            + self.support.square().sum(dim=1)
            - 2 * features @ self.support.T
        )
        kernel = torch.exp(-squares / self.support.shape[1])
        return self.offset - kernel @ self.weights


class EncoderDistance(nn.Module):
    """Squared Mahalanobis distance of an encoder's estimates from those of normal images.

    Parameters
    ----------
    encoder : Encoder
    eyepiece : Eyepiece
    mean : Tensor of float64, shape (k,)
    covariance : Tensor of float64, shape (k, k)
    """

    mean: Tensor
    precision: Tensor

    def __init__(
        self, encoder: Encoder, eyepiece: Eyepiece, mean: Tensor, covariance: Tensor
    ) -> None:
        super().__init__()
        self.encoder, self.eyepiece = encoder, eyepiece
        self.register_buffer("mean", mean)
        self.register_buffer("precision", torch.linalg.inv(covariance))

    def forward(self, pixels: Tensor) -> Tensor:
        """Anomaly scores (n,) of images (n, H, W)."""
        estimates, _ = self.encoder(self.eyepiece(pixels))
        departure = estimates.double() - self.mean
        distance: Tensor = ((departure @ self.precision) * departure).sum(dim=1)
        return distance
