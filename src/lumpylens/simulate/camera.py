"""From a lens to its image: blur, photons, and what the file format makes of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lumpylens.data.cutout import LensImage
from lumpylens.physics.deflection import point_masses
from lumpylens.physics.psf import Response, gaussian_response
from lumpylens.physics.render import Scene
from lumpylens.simulate.lens import Lens
from lumpylens.simulate.populations import Population

__all__ = ["brightness", "photograph", "point_spread"]

PSF_SIGMAS = 6
"""Half-width of the kernel in standard deviations."""


@dataclass(frozen=True)
class _Optics:
    scene: Scene
    lens_blur: Response
    source_blur: Response


@lru_cache(maxsize=8)
def _optics(size: int, sigma: float) -> _Optics:
    scene = Scene(size, size)
    pixels, radius = torch.eye(size), _kernel_radius(sigma)
    # The source is sampled at pixel centres; averaging over a pixel is a little more blur.
    wider = (sigma**2 + scene.sampling_variance) ** 0.5
    return _Optics(
        scene,
        gaussian_response(pixels, torch.tensor([sigma]), radius),
        gaussian_response(pixels, torch.tensor([wider]), radius),
    )


def _kernel_radius(sigma: float) -> int:
    return max(int(np.ceil(PSF_SIGMAS * sigma)), 1)


def point_spread(sigma_px: float) -> NDArray[np.float32]:
    """Gaussian kernel of odd side and sum 1."""
    radius = _kernel_radius(sigma_px)
    at = np.arange(-radius, radius + 1)
    one = np.exp(-0.5 * (at / sigma_px) ** 2)
    kernel = np.outer(one, one)
    normalised: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    return normalised


@torch.no_grad()
def brightness(lens: Lens, size_px: int) -> NDArray[np.float32]:
    """Blurred, noiseless image without background, shape (size_px, size_px)."""
    optics = _optics(size_px, lens.psf_sigma_px)
    parameters = lens.parameters()
    extra = None
    if lens.perturbers:
        x, y = optics.scene.grid(parameters)
        each = torch.tensor([[(p.x_px, p.y_px, p.einstein_radius_px) for p in lens.perturbers]])
        extra = point_masses(x, y, each[..., 0], each[..., 1], each[..., 2])
    light = optics.scene.light(parameters, extra)
    image = lens.lens_light_brightness * optics.lens_blur(light.lens[:, None])
    image = image + lens.source_brightness * optics.source_blur(light.source[:, None])
    found: NDArray[np.float32] = image[0, 0].numpy()
    return found


def photograph(
    lens: Lens, population: Population, name: str, label: int, random: np.random.Generator
) -> LensImage:
    """Take an image of a lens."""
    clean = brightness(lens, population.size_px).astype(np.float64)
    expected = (clean + population.sky) * lens.exposure
    counts = random.poisson(expected).astype(np.float64)
    if population.read_noise:
        counts += population.read_noise * random.standard_normal(counts.shape)
    seen = counts / lens.exposure - population.sky
    if population.output == "jpeg":
        return _picture(seen, population.jpeg_quality, name, label)
    # As an observer does, from the counts; nowhere below what the sky alone gives.
    variance = np.maximum(counts, population.sky * lens.exposure) + population.read_noise**2
    return LensImage.checked(
        name,
        seen,
        noise=np.sqrt(variance) / lens.exposure,
        psf=point_spread(lens.psf_sigma_px),
        pixel_scale_arcsec=population.pixel_scale_arcsec,
        label=label,
    )


def _picture(seen: NDArray[np.float64], quality: int, name: str, label: int) -> LensImage:
    low, high = seen.min(), seen.max()
    # As matplotlib maps a range to 256 colours: equal bins, the top edge in the last.
    grey = np.minimum(np.floor(256 * (seen - low) / (high - low)), 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as picture:
        table = np.array(picture.quantization[0]).reshape(8, 8)  # type: ignore[attr-defined]
        pixels = np.asarray(picture)
    return LensImage.checked(
        name,
        pixels,
        label=label,
        stretched=True,
        jpeg_table=table,
        file_bytes=stream.tell(),
    )
