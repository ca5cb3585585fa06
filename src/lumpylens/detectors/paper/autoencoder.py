"""Encoder and decoder shared by the convolutional autoencoders of arXiv 2008.12731."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lumpylens.detectors.paper.reconstruction import ReconstructionConfig, ReconstructionDetector

__all__ = ["AutoencoderConfig", "AutoencoderDetector", "Decoder", "Encoder"]

CHANNELS = (16, 32, 64)
STRIDES = (3, 3, 1)
PADDINGS = (1, 1, 0)
KERNEL = 7
"""Layers of the encoder, of arXiv 2008.12731 and its authors' code."""


class AutoencoderConfig(ReconstructionConfig):
    """Settings of a convolutional autoencoder."""

    latents: int = Field(1000, ge=1, description="Numbers that an image is compressed to")


def layer_shapes(image_shape: tuple[int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Image size before and after each convolution, and the kernel of each.

    The kernel is 7 wherever the image has 7 pixels left (with padding), else what is left.

    Examples
    --------
    >>> layer_shapes((150, 150))
    ([(150, 150), (49, 49), (15, 15), (9, 9)], [7, 7, 7])
    """
    shapes, kernels = [image_shape], []
    for stride, padding in zip(STRIDES, PADDINGS, strict=True):
        height, width = shapes[-1]
        kernel = min(KERNEL, height + 2 * padding, width + 2 * padding)
        kernels.append(kernel)
        shapes.append(
            (
                (height + 2 * padding - kernel) // stride + 1,
                (width + 2 * padding - kernel) // stride + 1,
            )
        )
    return shapes, kernels


class Encoder(nn.Module):
    """Three convolutions of 16, 32 and 64 channels, flattened; shape (n, H, W) -> (n, features).

    Parameters
    ----------
    image_shape : (int, int)
    last_relu : bool
        Whether the third convolution is followed by a ReLU.
    """

    def __init__(self, image_shape: tuple[int, int], *, last_relu: bool) -> None:
        super().__init__()
        shapes, kernels = layer_shapes(image_shape)
        layers: list[nn.Module] = []
        channels_before = 1
        for channels, kernel, stride, padding in zip(
            CHANNELS, kernels, STRIDES, PADDINGS, strict=True
        ):
            layers += [nn.Conv2d(channels_before, channels, kernel, stride, padding), nn.ReLU()]
            channels_before = channels
        self.layers = nn.Sequential(*(layers if last_relu else layers[:-1]))
        _channels_last(self.layers)
        self.features = CHANNELS[-1] * shapes[-1][0] * shapes[-1][1]

    def forward(self, images: Tensor) -> Tensor:
        """Features of each image."""
        features: Tensor = self.layers(images.unsqueeze(1)).flatten(1)
        return features


class Decoder(nn.Module):
    """The encoder's mirror image with transposed convolutions and a tanh at the end."""

    def __init__(self, image_shape: tuple[int, int], latents: int) -> None:
        super().__init__()
        shapes, kernels = layer_shapes(image_shape)
        self.smallest = (CHANNELS[-1], *shapes[-1])
        self.expand = nn.Linear(latents, int(np.prod(self.smallest)))
        widths = (1, *CHANNELS)
        layers: list[nn.Module] = []
        for stage in (2, 1, 0):
            stride, padding = STRIDES[stage], PADDINGS[stage]
            # The rows and columns that the convolution left over are given back.
            over = 2 * padding - kernels[stage]
            extra = ((shapes[stage][0] + over) % stride, (shapes[stage][1] + over) % stride)
            layers += [
                nn.ConvTranspose2d(
                    widths[stage + 1], widths[stage], kernels[stage], stride, padding, extra
                ),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers[:-1], nn.Tanh())
        _channels_last(self.layers)

    def forward(self, latents: Tensor) -> Tensor:
        """Images, shape (n, H, W), of latents, shape (n, latents)."""
        images: Tensor = self.layers(self.expand(latents).unflatten(1, self.smallest)).squeeze(1)
        return images


def _channels_last(layers: nn.Module) -> None:
    # Convolutions with weights in this order are a third faster on a CPU.
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class AutoencoderDetector(ReconstructionDetector):
    """A detector of arXiv 2008.12731."""

    def card_notes(self) -> list[str]:
        """Say where the network comes from, and where all autoencoders here depart from it."""
        return [
            "Architecture of Alexander et al. 2021 (arXiv 2008.12731): three 7x7 convolutions of "
            "16, 32 and 64 channels with strides 3, 3 and 1, mirrored by the decoder, which ends "
            "in a tanh.",
            "Departures: the last transposed convolution is also 7x7 (6x6 in the authors' code); "
            "paddings are computed from the strides, so that an image of any size is rebuilt in "
            "its own size; each image is scaled separately; training stops early on held-out "
            "normal images and keeps the best weights; scores are deterministic.",
            *super().card_notes(),
        ]
