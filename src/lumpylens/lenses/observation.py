"""One cutout prepared for a fit: whitened, cut, masked, with its PSF."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lumpylens.lenses.cutout import Cutout
from lumpylens.physics.compiled.pairs import paired, unpaired

__all__ = ["Observation", "cut_disc", "overlap"]


@dataclass(frozen=True)
class Observation:
    """Pixels of a square around the lens, and which of them are compared.

    Attributes
    ----------
    pixels, sigma : Tensor of float64, shape (h, w)
        In units of the cutout's `unit`; 0 and 1 where the cutout has no usable pixel.
    usable : Tensor of bool, shape (h, w)
        Pixels that are compared: the usable ones of the disc.
    kernel : Tensor of complex64, shape (h, w)
        Fourier transform of the point-spread function, centred on pixel (0, 0).
    pixel_scale : float
        Arcsec.
    first_row, first_column : int
        Of the square in the whole image.
    shape : (int, int)
        Of the whole image.
    radius : float
        Of the disc that is compared, arcsec.
    """

    pixels: Tensor
    sigma: Tensor
    usable: Tensor
    kernel: Tensor
    pixel_scale: float
    first_row: int
    first_column: int
    shape: tuple[int, int]
    radius: float

    @cached_property
    def grid(self) -> tuple[Tensor, Tensor]:
        """Positions x and y of the pixels, shape (h, w), arcsec from the image's centre."""
        rows, columns = (
            (torch.arange(length, dtype=torch.float64) + first - (total - 1) / 2) * self.pixel_scale
            for length, first, total in zip(
                self.pixels.shape, (self.first_row, self.first_column), self.shape, strict=True
            )
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return x, y

    @property
    def x(self) -> Tensor:
        """Position of each pixel along columns."""
        return self.grid[0]

    @property
    def y(self) -> Tensor:
        """Position of each pixel along rows."""
        return self.grid[1]

    @cached_property
    def compared(self) -> Tensor:
        """Flat positions (n,) of the compared pixels."""
        return torch.nonzero(self.usable.flatten())[:, 0]

    @cached_property
    def weight(self) -> Tensor:
        """1 / sigma of each pixel, 0 where it is not compared, shape (h, w)."""
        return self.usable / self.sigma

    @cached_property
    def weights(self) -> Tensor:
        """1 / sigma of the compared pixels, shape (n,); the whitened column of a sky of 1."""
        return self.weight.flatten()[self.compared]

    @cached_property
    def data(self) -> Tensor:
        """Whitened compared pixels, shape (n,)."""
        return self.pixels.flatten()[self.compared] * self.weights

    def __len__(self) -> int:
        return len(self.compared)

    def blur(self, light: Tensor) -> Tensor:
        """Blur images (k, h, w) with the PSF; the margins are wide enough for its periodic wrap."""
        blurred = torch.view_as_real(self._blurred_pairs(light)).double().permute(0, 3, 1, 2)
        return blurred.flatten(0, 1)[: len(light)]

    def see(self, light: Tensor) -> Tensor:
        """Blur light (k, h, w), and select and whiten the compared pixels (k, n)."""
        seen = torch.empty(len(light), len(self), dtype=torch.float64)
        self.see_into(seen, light)
        return seen

    def see_into(self, seen: Tensor, light: Tensor) -> None:
        """Fill `seen` (k, n) with blurred and whitened light (k, h, w)."""
        pairs = self._blurred_pairs(light).numpy()
        unpaired(pairs, seen.numpy(), self.compared.numpy(), self.weights.numpy())

    def unsee(self, seen: Tensor) -> Tensor:
        """Transpose of `see`: images (k, h, w), float32, of compared pixels (k, n).

        Products with light are the same on both sides: ``seen * see(light)`` sums to
        ``unsee(seen) * light``.
        """
        images = seen.new_zeros(len(seen), self.pixels.numel(), dtype=torch.float32)
        images[:, self.compared] = (seen * self.weights).float()
        pairs = torch.from_numpy(paired(images.reshape(-1, *self.pixels.shape).numpy()))
        spread = torch.fft.ifft2(torch.fft.fft2(pairs).mul_(self.kernel.conj()))
        parts = torch.view_as_real(spread).permute(0, 3, 1, 2)
        return parts.flatten(0, 1)[: len(seen)].contiguous()

    def _blurred_pairs(self, light: Tensor) -> Tensor:
        # Single precision is 1e-7 of the brightest pixel and costs a third.
        pairs = torch.from_numpy(paired(light.float().contiguous().numpy()))
        blurred: Tensor = torch.fft.ifft2(torch.fft.fft2(pairs).mul_(self.kernel))
        return blurred

    def picture(self, whitened: Tensor) -> Tensor:
        """Lay out compared pixels (n,) as an image (h, w), NaN elsewhere."""
        image = torch.full((self.pixels.numel(),), math.nan, dtype=torch.float64)
        image[self.compared] = whitened
        return image.reshape(self.pixels.shape)

    def masked(self, use: Tensor) -> Observation:
        """Restrict the compared pixels to those (h, w) for which `use` is true."""
        return replace(self, usable=self.usable & use)


def cut_disc(
    cutout: Cutout,
    *,
    radius: float,
    centre: tuple[float, float] = (0.0, 0.0),
    roughness: float = 0.0,
) -> Observation:
    """Cut a disc out of an image.

    Parameters
    ----------
    cutout : Cutout
    radius : float
        Arcsec.
    centre : (float, float)
        x and y of the disc, arcsec from the centre of the image.
    roughness : float
        Error of the model itself as a fraction of the brightness, added to the noise.
    """
    from scipy.ndimage import uniform_filter

    psf, pixel_scale = cutout.psf, cutout.pixel_scale_arcsec
    height, width = cutout.image.shape
    margin = max(psf.shape) // 2
    middle = ((height - 1) / 2 + centre[1] / pixel_scale, (width - 1) / 2 + centre[0] / pixel_scale)
    reach = radius / pixel_scale
    spans = []
    for at, size in zip(middle, (height, width), strict=True):
        first, last = max(math.floor(at - reach), 0), min(math.ceil(at + reach) + 1, size)
        # The margin: light from outside the disc is blurred into it.
        length = _fast_length(last - first + 2 * margin)
        spans.append((first - (length - (last - first)) // 2, length))
    (row, rows), (column, columns) = spans
    in_rows, to_rows = overlap(row, rows, height)
    in_columns, to_columns = overlap(column, columns, width)
    inside, to = (in_rows, in_columns), (to_rows, to_columns)
    image = np.where(cutout.usable, cutout.image.astype(float) / cutout.unit, 0.0)
    noise = np.where(cutout.usable, cutout.noise.astype(float) / cutout.unit, 1.0)
    brightness = uniform_filter(image.clip(min=0), 3)
    pixels, sigma = np.zeros((rows, columns)), np.ones((rows, columns))
    usable = np.zeros((rows, columns), dtype=bool)
    pixels[to] = image[inside]
    sigma[to] = np.hypot(noise, roughness * brightness)[inside]
    at_y, at_x = np.indices((rows, columns))
    distance = np.hypot(at_y + row - middle[0], at_x + column - middle[1])
    usable[to] = cutout.usable[inside]
    usable &= distance <= reach
    kernel = np.zeros((rows, columns))
    kernel[: psf.shape[0], : psf.shape[1]] = psf
    kernel = np.roll(kernel, (-(psf.shape[0] // 2), -(psf.shape[1] // 2)), axis=(0, 1))
    return Observation(
        pixels=torch.from_numpy(pixels),
        sigma=torch.from_numpy(sigma),
        usable=torch.from_numpy(usable),
        kernel=torch.fft.fft2(torch.from_numpy(kernel)).to(torch.complex64),
        pixel_scale=pixel_scale,
        first_row=row,
        first_column=column,
        shape=(height, width),
        radius=radius,
    )


def overlap(first: int, length: int, total: int) -> tuple[slice, slice]:
    """Part of the whole that a window from `first` covers: slices of whole and window."""
    begin, end = max(first, 0), min(first + length, total)
    return slice(begin, end), slice(begin - first, end - first)


def _fast_length(length: int) -> int:
    """Smallest length from `length` on for which Fourier transforms are fast."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(length, real=True))
