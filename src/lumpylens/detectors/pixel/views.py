"""Views of an image: turned, mirrored, bent around its middle, spotted, binned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

__all__ = ["Window", "blots", "spots", "stretched"]

SIDE = 60
"""A network sees pictures of about this many pixels per side, binned where there are more."""
SEEN = 0.8
"""Central share of each side that is looked at in pictures larger than that."""
FAINT = 0.05
"""Brightness, in units of the image's range, up to which the scale is linear; then logarithmic."""


@dataclass(frozen=True)
class Window:
    """What is seen of images of one shape.

    Parameters
    ----------
    image_shape : (int, int)
    core_px : float
        Radius of the middle that a bend leaves where it is.
    """

    image_shape: tuple[int, int]
    core_px: float

    @property
    def binning(self) -> int:
        """Pixels per side that are averaged into one."""
        return max(1, round(SEEN * min(self.image_shape) / SIDE))

    @property
    def seen_shape(self) -> tuple[int, int]:
        """Height and width of what is seen, in binned pixels."""
        share = SEEN if min(self.image_shape) > SIDE else 1
        height, width = (round(share * side / self.binning) for side in self.image_shape)
        return height, width

    def offsets(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Distance of each seen pixel from the middle along rows and columns, in image pixels."""
        rows, columns = (
            torch.arange(side * self.binning, dtype=like.dtype, device=like.device)
            - (side * self.binning - 1) / 2
            for side in self.seen_shape
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return y, x

    def look(
        self, images: Tensor, angle: Tensor, mirror: Tensor, outward_px: Tensor | None = None
    ) -> Tensor:
        """Images as the network sees them.

        Parameters
        ----------
        images : Tensor, shape (n, H, W)
            On the [0, 1] scale.
        angle : Tensor, shape (n,)
            By which each is turned about its middle, in radians.
        mirror : Tensor, shape (n,)
            -1 turns rows upside down, 1 does not.
        outward_px : Tensor, shape (n,), optional
            By how many pixels everything outside the core is moved away from the middle. The
            displacement falls to zero within the core as 1 - exp(-r^2 / (2 core_px^2)).

        Returns
        -------
        Tensor, shape (n, h, w), with (h, w) = `seen_shape`
            On the [0, 1] scale still.
        """
        y, x = self.offsets(images)
        if outward_px is not None:
            radius = torch.sqrt(x**2 + y**2).clamp_min(1e-6)
            share = (1 - torch.exp(-0.5 * (radius / self.core_px) ** 2)) / radius
            scale = 1 - outward_px[:, None, None] * share
            y, x = y * scale, x * scale
        cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
        across = (cos * x - sin * y) * (2 / self.image_shape[1])
        down = (sin * x + cos * y) * mirror[:, None, None] * (2 / self.image_shape[0])
        views = grid_sample(
            images[:, None],
            torch.stack((across, down), dim=-1),
            mode="bicubic",
            padding_mode="border",
            align_corners=False,
        )
        return avg_pool2d(views, self.binning)[:, 0]


def stretched(views: Tensor) -> Tensor:
    """Brightness on a scale that shows faint arcs beside a bright lens: 0 to 0, 1 to 1."""
    return torch.asinh(views / FAINT) / math.asinh(1 / FAINT)


def spots(like: Tensor, brightness: float) -> Tensor:
    """A random smooth elliptical spot in the middle of each image, bright or dark.

    Its profile is exp(-(r / s)^p) with p from 0.5 to 2 and s from 1/40 to 1/5 of the side, its
    axis ratio 0.6 to 1.

    Parameters
    ----------
    like : Tensor, shape (n, h, w)
    brightness : float
        Largest brightness or darkness in the middle.

    Returns
    -------
    Tensor, shape (n, h, w)
        Drawn from torch's global generator.
    """
    count, height, width = like.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, device=like.device)

    y = torch.arange(height, device=like.device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=like.device) - (width - 1) / 2
    angle, ratio, power = uniform(0, math.pi), uniform(0.6, 1), uniform(0.5, 2)
    size = torch.exp(uniform(math.log(1 / 40), math.log(1 / 5))) * min(height, width)
    along, across = (
        torch.cos(angle) * x + torch.sin(angle) * y,
        torch.cos(angle) * y - torch.sin(angle) * x,
    )
    # Half a pixel keeps the cusp from falling between pixels.
    radius = torch.sqrt(along**2 * ratio + across**2 / ratio + 0.25)
    return brightness * uniform(-1, 1) * torch.exp(-((radius / size) ** power))


def blots(like: Tensor, brightness: Tensor) -> Tensor:
    """A small round blot somewhere in each image, with a sigma of 1/60 to 1/15 of the side.

    Parameters
    ----------
    like : Tensor, shape (n, h, w)
    brightness : Tensor, shape (n,)
        In its middle.

    Returns
    -------
    Tensor, shape (n, h, w)
        Drawn from torch's global generator.
    """
    count, height, width = like.shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, device=like.device)

    y = torch.arange(height, device=like.device)[:, None] - uniform(0, height - 1)
    x = torch.arange(width, device=like.device) - uniform(0, width - 1)
    size = torch.exp(uniform(math.log(1 / 60), math.log(1 / 15))) * min(height, width)
    return brightness[:, None, None] * torch.exp(-(y**2 + x**2) / (2 * size**2))
