"""From a lens to its image: blur, noise, and what the file format makes of them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from lumpylens.data.cutout import LensImage
from lumpylens.data.readers.pictures import decode
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
def _optics(size: int, sigma: float, samples: int) -> _Optics:
    if samples == 1:
        scene = Scene(size, size, cusp_samples=2)
        # The source is sampled at pixel centres; averaging over a pixel is a little more blur.
        sigmas = (sigma, math.sqrt(sigma**2 + scene.sampling_variance))
    else:
        scene = Scene(size * samples, size * samples, pixel=1 / samples, cusp_samples=1)
        sigmas = (sigma, sigma)
    binning = torch.eye(size).repeat_interleave(samples, dim=1) / samples
    blurs = []
    for width in sigmas:
        blur = gaussian_response(torch.eye(size), torch.tensor([width]), _kernel_radius(width))
        blurs.append(Response(blur.rows @ binning, blur.columns @ binning))
    return _Optics(scene, *blurs)


def _kernel_radius(sigma: float) -> int:
    return max(math.ceil(PSF_SIGMAS * sigma), 1)


def point_spread(sigma_px: float) -> NDArray[np.float32]:
    """Gaussian kernel of odd side and sum 1."""
    radius = _kernel_radius(sigma_px)
    at = np.arange(-radius, radius + 1)
    one = np.exp(-0.5 * (at / sigma_px) ** 2)
    kernel = np.outer(one, one)
    normalised: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    return normalised


@torch.no_grad()
def brightness(lens: Lens, size_px: int, samples: int = 1) -> NDArray[np.float32]:
    """Blurred, noiseless image of a lens, shape (size_px, size_px).

    One lens at a time: its arrays fit the processor's cache, which is faster than a batch, and
    no number depends on what else is made.
    """
    optics = _optics(size_px, lens.psf_sigma_px, samples)
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
    """Take an image of a lens, called `name` and labelled `label`."""
    seen = brightness(lens, population.size_px, population.samples)
    if population.photons is not None:
        counts = random.poisson(seen.astype(np.float64) * population.photons)
        seen = (counts / population.photons).astype(np.float32)
    noise = random.standard_normal(seen.shape, dtype=np.float32)
    seen = seen + np.float32(population.sky) + np.float32(lens.noise) * noise
    if population.rectified:
        seen = np.abs(seen)
    if population.output == "jpeg":
        return _picture(seen, population.jpeg_quality, name, label)
    variance = np.full_like(seen, lens.noise**2)
    if population.photons is not None:
        # As an observer has it, from the image; blurred once more, since a map made of single
        # pixels would trust those that scattered down more than those that scattered up.
        light = gaussian_filter(seen, lens.psf_sigma_px) - np.float32(population.sky)
        variance += np.maximum(light, 0) / np.float32(population.photons)
    return LensImage.checked(
        name,
        seen,
        noise=np.sqrt(variance),
        psf=point_spread(lens.psf_sigma_px),
        pixel_scale_arcsec=population.pixel_scale_arcsec,
        label=label,
    )


def _picture(seen: NDArray[np.float32], quality: int, name: str, label: int) -> LensImage:
    low, high = seen.min(), seen.max()
    grey = np.rint(255 * (seen - low) / (high - low)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=quality)
    content = stream.getvalue()
    picture = decode(content)
    return LensImage.checked(
        name,
        picture.pixels,
        label=label,
        stretched=picture.stretched,
        jpeg_table=picture.jpeg_table,
        file_bytes=len(content),
    )
