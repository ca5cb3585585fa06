"""Camera: blur, noise, and the rounding and compression of the file format."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from lumpylens.data.image import LensImage
from lumpylens.data.readers.pictures import decode
from lumpylens.errors import DataError
from lumpylens.physics.compiled.blur import blurred
from lumpylens.physics.compiled.scene import lens_light, rays
from lumpylens.physics.compiled.sersic import sersic_light
from lumpylens.physics.light import sersic
from lumpylens.physics.masses import Masses
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.psf import gaussian_response
from lumpylens.physics.render import Scene
from lumpylens.simulation.lens import Lens
from lumpylens.simulation.perturbers import masses_of
from lumpylens.simulation.populations import PSF_SIGMAS, Population
from lumpylens.simulation.sources import Clump, SourceGalaxies, sersic_flux

__all__ = [
    "brightness",
    "brightness_of_many",
    "develop",
    "expose",
    "jpeg_content",
    "photograph",
    "point_spread",
]


@lru_cache(maxsize=8)
def _scene(size: int, samples: int, pitch: float | None) -> Scene:
    if samples == 1:
        return Scene(size, size, cusp_samples=2, cusp_pitch=pitch)
    return Scene(size * samples, size * samples, pixel=1 / samples, cusp_samples=1)


def _widths(sigma: float, scene: Scene, samples: int) -> tuple[float, float]:
    """Widths of the blur of lens light and source, in pixels.

    With one sample per pixel the source is evaluated at pixel centres only. A slightly wider blur
    then stands for the average over the pixel.
    """
    return sigma, sigma if samples > 1 else math.sqrt(sigma**2 + scene.sampling_variance)


def _kernel_radius(sigma: float) -> int:
    return max(math.ceil(PSF_SIGMAS * sigma), 1)


@lru_cache(maxsize=8)
def point_spread(sigma_px: float, radius: int | None = None) -> NDArray[np.float32]:
    """Compute a Gaussian kernel with an odd number of pixels per side and sum 1.

    Parameters
    ----------
    sigma_px : float
    radius : int, optional
        Half-width in pixels. Default: `PSF_SIGMAS` standard deviations.
    """
    at = np.arange(2 * (radius or _kernel_radius(sigma_px)) + 1)
    profile = np.exp(-0.5 * ((at - at.mean()) / sigma_px) ** 2)
    kernel = np.outer(profile, profile)
    normalised: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    normalised.flags.writeable = False
    return normalised


def brightness(
    lens: Lens,
    size_px: int,
    samples: int = 1,
    galaxies: SourceGalaxies | None = None,
    cusp_pitch: float | None = None,
) -> NDArray[np.float32]:
    """Compute the blurred, noiseless image of a lens, shape (size_px, size_px).

    Parameters
    ----------
    lens : Lens
    size_px : int
    samples : int
        Rays per pixel and axis.
    galaxies : SourceGalaxies, optional
        Galaxies that the lens's `source_image` is a position in.
    cusp_pitch : float, optional
        See `Population`.
    """
    scene, numbers = _scene(size_px, samples, cusp_pitch), lens.numbers()
    widths = _widths(lens.psf_sigma_px, scene, samples)
    u, v = rays(scene, numbers, masses_of(lens.perturbers))
    image = _blurred(_source(lens, numbers, u, v, galaxies), widths[1], samples)
    if lens.lens_light_brightness:
        light = np.float32(lens.lens_light_brightness) * lens_light(scene, numbers)
        image += _blurred(light, widths[0], samples)
    return image


def _source(
    lens: Lens,
    numbers: NDArray[np.float64],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    galaxies: SourceGalaxies | None,
) -> NDArray[np.float32]:
    """Light of the source at the positions where the rays end."""
    if lens.source_image >= 0:
        if galaxies is None:
            raise DataError("the lens's source is an image, and no galaxies are given")
        flux = lens.source_brightness * sersic_flux(lens.source_radius_px, lens.source_index)
        light = galaxies.light(
            lens.source_image, u, v, lens.source_radius_px, lens.source_image_angle_deg
        )
        light = np.float32(flux) * light
    else:
        shape = (numbers[INDEX[name]] for name in SOURCE_SHAPE)
        light = np.float32(lens.source_brightness) * sersic_light(u, v, *shape)
    for clump in lens.clumps:
        dx, dy = u - np.float32(clump.x_px), v - np.float32(clump.y_px)
        light += np.float32(clump.brightness) * sersic_light(
            dx, dy, 0.0, 0.0, math.log(clump.radius_px), 0.0
        )
    return light


SOURCE_SHAPE = ("source_eta_1", "source_eta_2", "log_source_radius_px", "log_source_index")


def _blurred(light: NDArray[np.float32], sigma: float, samples: int) -> NDArray[np.float32]:
    if samples > 1:
        size = light.shape[0] // samples
        light = light.reshape(size, samples, size, samples).mean(axis=(1, 3), dtype=np.float32)
    return blurred(light, sigma, _kernel_radius(sigma))


@torch.no_grad()
def brightness_of_many(
    lenses: Sequence[Lens],
    size_px: int,
    samples: int = 1,
    device: str = "cpu",
    cusp_pitch: float | None = None,
) -> NDArray[np.float32]:
    """Compute `brightness` of many lenses in one batch of torch operations, for graphics cards.

    Parameters
    ----------
    lenses : sequence of Lens
        With Sersic sources, with or without clumps.
    size_px, samples : int
    device : str
        A torch device.
    cusp_pitch : float, optional

    Returns
    -------
    ndarray of float32, shape (n, size_px, size_px)
    """
    if any(lens.source_image >= 0 for lens in lenses):
        raise DataError(
            "galaxies as sources are rendered on the processor, one lens after the other: leave "
            "out the device, or give sources sersic"
        )
    scene = _scene(size_px, samples, cusp_pitch)
    parameters = torch.cat([lens.parameters() for lens in lenses]).to(device)
    x, y = scene.grid(parameters)
    masses = Masses.stack([masses_of(lens.perturbers) for lens in lenses])
    extra = masses.deflection(
        x - _column([lens.centre_x_px for lens in lenses], parameters),
        y - _column([lens.centre_y_px for lens in lenses], parameters),
    )
    light = scene.light(parameters, extra)
    source = light.source * _column([lens.source_brightness for lens in lenses], parameters)
    most = max(len(lens.clumps) for lens in lenses)
    if most:
        u, v, _, _ = scene.rays(parameters, extra)
        zero = torch.zeros(1, 1, 1, device=device)
        for k in range(most):
            clumps = [lens.clumps[k] if k < len(lens.clumps) else NO_CLUMP for lens in lenses]
            at_x, at_y, size, bright = (
                _column([getattr(clump, name) for clump in clumps], parameters)
                for name in ("x_px", "y_px", "radius_px", "brightness")
            )
            source += bright * sersic(u - at_x, v - at_y, zero, zero, size.log(), zero)
    lens_light = light.lens * _column([lens.lens_light_brightness for lens in lenses], parameters)
    widths = [_widths(lens.psf_sigma_px, scene, samples) for lens in lenses]
    image = torch.zeros(len(lenses), size_px, size_px, device=device)
    eye = torch.eye(size_px, device=device)
    for part, which in ((lens_light, 0), (source, 1)):
        if samples > 1:
            part = torch.nn.functional.avg_pool2d(part[:, None], samples)[:, 0]
        sigma = torch.tensor([pair[which] for pair in widths], device=device)
        blur = gaussian_response(eye, sigma, _kernel_radius(float(sigma.max())))
        image += blur(part[:, None])[:, 0]
    return image.cpu().numpy()


NO_CLUMP = Clump(0.0, 0.0, 1.0, 0.0)


def _column(values: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


def expose(
    clean: NDArray[np.float32], lens: Lens, population: Population, random: np.random.Generator
) -> NDArray[np.float32]:
    """Add sky, photon noise and read-out noise to a noiseless image.

    Parameters
    ----------
    clean : ndarray, shape (h, w)
        The lens's `brightness`.
    lens : Lens
    population : Population
        Its camera is used.
    random : Generator
        Of the noise.
    """
    exposure = clean
    if not math.isnan(lens.photons):
        exposure = _counted(exposure, lens.photons, random)
    noise = random.standard_normal(exposure.shape, dtype=np.float32)
    exposure = exposure + np.float32(population.sky) + np.float32(lens.noise) * noise
    if population.counted_twice:
        exposure = _counted(np.maximum(exposure, 0), lens.photons, random)
    if population.rectified:
        exposure = np.abs(exposure)
    return exposure


def develop(
    exposure: NDArray[np.float32], lens: Lens, population: Population, name: str, label: int
) -> LensImage:
    """Turn an exposure into an image as the population's files hold it, with an id and a label."""
    if population.output == "jpeg":
        content = jpeg_content(exposure, population.jpeg_quality)
        picture = decode(content)
        return LensImage.checked(
            name,
            picture.pixels,
            label=label,
            stretched=picture.stretched,
            jpeg_table=picture.jpeg_table,
            file_bytes=len(content),
        )
    # The checks of `LensImage.checked` would take a sixth of the time, and cannot fail here.
    return LensImage(
        id=name,
        image=exposure,
        noise=_noise_map(exposure, lens, population) if lens.noise else None,
        psf=point_spread(lens.psf_sigma_px, population.psf_radius_px),
        pixel_scale_arcsec=population.pixel_scale_arcsec,
        label=label,
    )


def photograph(
    lens: Lens, population: Population, name: str, label: int, random: np.random.Generator
) -> LensImage:
    """Simulate the image of a lens with a Sersic source, with an id and a label."""
    clean = brightness(
        lens, population.size_px, population.samples, cusp_pitch=population.cusp_pitch
    )
    return develop(expose(clean, lens, population, random), lens, population, name, label)


def _counted(
    light: NDArray[np.float32], photons: float, random: np.random.Generator
) -> NDArray[np.float32]:
    return (random.poisson(light.astype(np.float64) * photons) / photons).astype(np.float32)


def _noise_map(
    exposure: NDArray[np.float32], lens: Lens, population: Population
) -> NDArray[np.float32]:
    """Estimate the standard deviation of each pixel from the image itself, as an observer does.

    The light is blurred once more: from single pixels, those that scattered down would get less
    noise, and so more weight, than those that scattered up.
    """
    variance = np.full_like(exposure, lens.noise**2)
    if not math.isnan(lens.photons):
        light = gaussian_filter(exposure, lens.psf_sigma_px) - np.float32(population.sky)
        times = 2 if population.counted_twice else 1
        variance += times * np.maximum(light, 0) / np.float32(lens.photons)
        if population.counted_twice:
            variance += np.float32(population.sky / lens.photons)
    return np.sqrt(variance)


def jpeg_content(exposure: NDArray[np.float32], quality: int) -> bytes:
    """Encode a JPEG file of 8 bits, stretched from the darkest to the brightest pixel."""
    low, high = exposure.min(), exposure.max()
    grey = np.rint(255 * (exposure - low) / (high - low)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
