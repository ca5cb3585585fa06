"""The cutout that a fit needs, from an image as it was read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lumpylens.data.checks import image_defect, noise_defect
from lumpylens.data.image import LensImage
from lumpylens.errors import DataError
from lumpylens.lenses.cutout import LEAST_REACH, Cutout, with_numbers
from lumpylens.lenses.noise_level import noise_notes
from lumpylens.lenses.remarks import Note, Remark

__all__ = ["cutout_of"]

ASSUMED_SCALE_ARCSEC = 0.05
"""Of a pixel where neither file nor caller says: the Hubble camera's."""

LEAST_USABLE = 0.5
"""Part of the pixels within `LEAST_REACH` of the middle that must be usable. Not tuned."""

SAME_SCALE = 0.01
"""Relative difference of the pixel scale and that of the sky coordinates, beyond which these are
not believed: a position 3 arcsec from the middle would be wrong by half a pixel."""


def cutout_of(item: LensImage) -> Cutout:
    """Cutout of an image: all that a fit needs of it.

    Raises
    ------
    DataError
        In one line, if it lacks something.
    """
    image, noise, psf = item.image, item.noise, item.psf
    if image is None:
        raise DataError(item.error or "no pixels")
    if item.stretched:
        raise DataError("an 8-bit picture is not linear in flux; give the FITS file")
    if noise is None:
        raise DataError("no noise map; put noise.fits beside image.fits, or NAME_noise.fits")
    of_pixels = image_defect(image) or noise_defect(noise, image.shape)
    if psf is None:
        # Pixels that are not numbers are masked; they are not what stands in the way.
        of_psf = item.error if item.error != of_pixels else ""
        raise DataError(of_psf or "no PSF; put psf.fits beside image.fits, or NAME_psf.fits")
    if noise.shape != image.shape:
        raise DataError(noise_defect(noise, image.shape))
    notes = []
    if broken := int(np.count_nonzero(~with_numbers(image, noise))):
        notes.append(Note(Remark.NOT_NUMBERS, (broken,)))
    scale = item.pixel_scale_arcsec
    if scale is None:
        scale = ASSUMED_SCALE_ARCSEC
        notes.append(Note(Remark.ASSUMED_SCALE, (scale,)))
    middle = [(length - 1) / 2 for length in image.shape]
    sky = None if item.sky is None else item.sky.frame(middle[1], middle[0])
    if sky is not None and abs(sky.pixel_arcsec / scale - 1) > SAME_SCALE:
        sky = None
    cutout = Cutout(item.id, image, noise, psf, scale, tuple(notes), sky)
    usable = cutout.usable
    rows, columns = np.indices(image.shape)
    inner = np.hypot(rows - middle[0], columns - middle[1]) * scale <= LEAST_REACH
    if usable[inner].sum() < LEAST_USABLE * inner.sum():
        raise DataError(
            f"more than half of the pixels within {LEAST_REACH:g} arcsec of the middle cannot be "
            "used: NaN or infinite, masked, or not positive in the noise map"
        )
    if defect := image_defect(image[usable][None] / cutout.unit):
        raise DataError(defect)
    return replace(cutout, notes=(*notes, *noise_notes(cutout)))
