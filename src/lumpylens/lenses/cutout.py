"""One lens as it is given, and which of its pixels can be used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.sky import SkyFrame
from lumpylens.lenses.remarks import Note

__all__ = ["LEAST_REACH", "Cutout", "with_numbers"]

MASKED = 1e3
"""Noise, over that of the best pixels, from which a pixel counts as masked. Noise maps of real
cutouts span a factor of 20, masks in them a factor of 1e6 and more; and a pixel with this noise
knows a millionth of what a good one does."""

BEST = 0.05
"""Quantile of the noise that stands for the best pixels, since the smallest value may be a defect.
Not tuned."""

LEAST_REACH = 2.5
"""Arcsec from the middle to the nearest edge that a fit needs: the arcs of the largest single
galaxies, and enough sky around to tell the lens galaxy from it."""


@dataclass(frozen=True)
class Cutout:
    """One lens as it is given.

    Attributes
    ----------
    id : str
    image, noise : ndarray of float32, shape (H, W)
        In any one unit.
    psf : ndarray of float32, shape (p, p)
    pixel_scale_arcsec : float
    notes : tuple of Note
        What a user should know of these pixels.
    sky : SkyFrame or None
        Around the middle of the image, if its header says where that is.
    """

    id: str
    image: NDArray[np.float32]
    noise: NDArray[np.float32]
    psf: NDArray[np.float32]
    pixel_scale_arcsec: float
    notes: tuple[Note, ...] = ()
    sky: SkyFrame | None = None

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Pixels that may be compared, shape (H, W). This is the one place that decides it.

        A pixel is masked by whatever files mark it with: an image or a noise that is NaN or
        infinite, a noise of 0 or below, or a noise `MASKED` times that of the best pixels, whatever
        number stands for it. None of this depends on the unit.
        """
        sound = with_numbers(self.image, self.noise)
        if not sound.any():
            return sound
        best = float(np.quantile(self.noise[sound], BEST))
        with np.errstate(invalid="ignore"):
            usable: NDArray[np.bool_] = sound & (self.noise < MASKED * best)
        return usable

    @cached_property
    def unit(self) -> float:
        """The typical noise: the unit that the fit is made in.

        Priors and rounding are then the same for every unit that a file may have.
        """
        return float(np.median(self.noise[self.usable].astype(float)))

    @cached_property
    def reach_arcsec(self) -> float:
        """Distance of the nearest edge from the middle."""
        return float(min(self.image.shape)) / 2 * self.pixel_scale_arcsec


def with_numbers(image: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels (H, W) that have a value, and a noise above zero."""
    with np.errstate(invalid="ignore"):
        sound: NDArray[np.bool_] = np.isfinite(image) & np.isfinite(noise) & (noise > 0)
    return sound
