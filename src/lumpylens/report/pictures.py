"""Pictures of a page: small PNG files, the stretches that the page offers, and scale bars.

A picture of light is grey, and its grey levels are an inverse hyperbolic sine of the brightness.
The page turns each level into a colour by a table, one table for each stretch (an SVG filter). So
one file serves every stretch, and a page opened from the disk needs no canvas, which browsers
forbid to read local files.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image

__all__ = [
    "DIFFERENCE_PALETTE",
    "LIGHT_PALETTE",
    "PALETTES",
    "display",
    "gradient",
    "scale_bar",
    "shrunk",
    "stretch_tables",
    "write_light",
    "write_picture",
]

Array = NDArray[np.float64]

LIGHT_PALETTE, DIFFERENCE_PALETTE, FILE_PALETTE = "magma", "RdBu_r", "gray"
PALETTES = (DIFFERENCE_PALETTE, "PuOr_r", "viridis_r")
"""Palettes with a bar of their own: those whose values have a meaning in numbers."""

COLOURS = 255
"""Colours of an image; of the 256 of a palette, one is kept for unknown pixels."""

OPAQUE_FROM = 0.3
"""Share of a diverging map's range from which colours hide the light below. By eye."""

FILE_SOFTENING = 0.03
"""Brightness on [0, 1] up to which the grey levels of a file are linear. With it one level is at
most 4.3 of 255 steps of any stretch below; so no stretch shows bands."""

ASINH_SOFTENING = 0.15
"""Brightness on [0, 1] up to which the stretch ``asinh`` is linear, so that arcs show beside the
brighter lens galaxy. By eye: a smaller value brightens arcs and noise alike."""

LOG_RANGE = 100.0
"""Brightest over faintest light that the stretch ``log`` tells apart. By eye, on images of 8 bits:
more would brighten their rounding errors."""

TABLE_SIZE = 64
"""Entries of a colour table, between which browsers interpolate; with 64 no colour is off by more
than 2.3 steps of 255."""

BAR_SHARE = 0.3
"""Largest length of a scale bar, in widths of the picture."""


def display_limits(image: NDArray[Any]) -> tuple[float, float]:
    """Brightness that is drawn black, and brightness that is drawn white."""
    low, high = np.nanpercentile(image, [0.5, 99.9])
    return float(low), max(float(high), float(low) + 1e-30)


def asinh_stretch(unit: Array, softening: float) -> Array:
    """Map [0, 1] to [0, 1]: linear below `softening`, logarithmic above."""
    return np.arcsinh(unit / softening) / math.asinh(1 / softening)


def unit_light(pixels: NDArray[np.float32], image: NDArray[np.float32]) -> Array:
    """Brightness on [0, 1] between the darkest and the brightest light of `image`."""
    low, high = display_limits(image)
    return np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1)


def display(pixels: NDArray[np.float32], image: NDArray[np.float32]) -> Array:
    """Map brightness to [0, 1] by an inverse hyperbolic sine, on the scale of `image`."""
    return asinh_stretch(unit_light(pixels, image), ASINH_SOFTENING)


def write_light(pixels: NDArray[np.float32], image: NDArray[np.float32], path: Path) -> None:
    """Write a grey PNG of `pixels` between the darkest and the brightest light of `image`.

    Parameters
    ----------
    pixels : ndarray of float32, shape (h, w)
    image : ndarray of float32
        Sets the limits, so that image and model can be compared by eye.
    path : Path
    """
    write_picture(asinh_stretch(unit_light(pixels, image), FILE_SOFTENING), FILE_PALETTE, path)


def write_picture(
    unit: NDArray[Any], palette: str, path: Path, *, see_through: bool = False
) -> None:
    """Write values on [0, 1] as a PNG with a palette, row 0 at the bottom; NaN is transparent.

    Parameters
    ----------
    unit : ndarray, shape (H, W)
    palette : str
    path : Path
    see_through : bool
        Colours near the middle of the palette are transparent, too, the middle itself wholly.
    """
    values = np.asarray(unit, dtype=np.float64)[::-1]
    steps = np.clip(np.nan_to_num(values) * (COLOURS - 1), 0, COLOURS - 1).round() + 1
    picture = Image.fromarray(np.where(np.isfinite(values), steps, 0).astype(np.uint8))
    places = np.linspace(0, 1, COLOURS)
    shades = matplotlib.colormaps[palette](places)[:, :3]
    picture.putpalette(b"\0\0\0" + (255 * shades).round().astype(np.uint8).tobytes())
    opacity = np.clip(np.abs(2 * places - 1) / OPAQUE_FROM, 0, 1) if see_through else places**0
    picture.save(path, transparency=b"\0" + (255 * opacity).round().astype(np.uint8).tobytes())


def shrunk(pixels: NDArray[np.float32], longest_px: int) -> NDArray[np.float32]:
    """Average square blocks of pixels, so that no side is longer than `longest_px`."""
    step = -(-max(pixels.shape) // longest_px)
    return pixels if step == 1 else np.asarray(Image.fromarray(pixels).reduce(step))


def gradient(palette: str) -> list[str]:
    """Nine colours of a palette, for the bar beside an image."""
    return [to_hex(matplotlib.colormaps[palette](part)) for part in np.linspace(0, 1, 9)]


def stretch_tables() -> dict[str, list[str]]:
    """Name of each stretch -> red, green and blue by grey level, as SVG filters take them."""
    levels = np.linspace(0, 1, TABLE_SIZE)
    light = FILE_SOFTENING * np.sinh(levels * math.asinh(1 / FILE_SOFTENING))
    stretches = {
        "asinh": asinh_stretch(light, ASINH_SOFTENING),
        "linear": light,
        "log": np.log1p(LOG_RANGE * light) / math.log1p(LOG_RANGE),
    }
    return {
        name: [
            " ".join(f"{value:.3g}" for value in channel)
            for channel in matplotlib.colormaps[LIGHT_PALETTE](grey_levels)[:, :3].T
        ]
        for name, grey_levels in stretches.items()
    }


def scale_bar(width_px: float, pixel_scale_arcsec: float | None) -> tuple[float, str]:
    """Length of a bar in pixels, and its text: a round number of arcsec, or of pixels.

    Parameters
    ----------
    width_px : float
        Width of the picture.
    pixel_scale_arcsec : float, optional

    Examples
    --------
    >>> scale_bar(100, 0.05), scale_bar(64, None)
    ((20.0, '1″'), (10.0, '10 px'))
    """
    unit = pixel_scale_arcsec or 1.0
    longest = BAR_SHARE * width_px * unit
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    return length / unit, f"{length:g}″" if pixel_scale_arcsec else f"{length:g} px"
