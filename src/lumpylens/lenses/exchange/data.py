"""The pixels of a fit as FITS files, which COOLEST templates and scripts name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.exchange.place import KINDS, data_path

__all__ = ["write_data"]


def write_data(analysis: LensAnalysis, folder: str | Path) -> None:
    """Write image, noise map and PSF as they were given, and a mask of the pixels that were fitted.

    The mask is 1 where a pixel was compared with the model. The first row has the smallest y. An
    image that is not square gets masked rows at its top or columns at its right, since the coolest
    package takes the sides of others for each other.

    Parameters
    ----------
    analysis : LensAnalysis
    folder : str or Path
    """
    from astropy.io import fits

    cutout = analysis.cutout
    arrays = (
        _square(cutout.image, np.nan),
        _square(cutout.noise, np.nan),
        _centred(cutout.psf),
        _square(fitted_pixels(analysis).astype(np.uint8), 0),
    )
    header = fits.Header([("PIXSCALE", cutout.pixel_scale_arcsec, "arcsec")])
    if cutout.sky is not None:
        rows, columns = cutout.image.shape
        middle = ((columns - 1) / 2, (rows - 1) / 2)
        header.update(cutout.sky.header(*middle, cutout.sky.pixel_arcsec))
    for kind, array in zip(KINDS, arrays, strict=True):
        with whole_file(data_path(cutout.id, kind, folder)) as part_file:
            fits.writeto(part_file, array, None if kind == "psf" else header)


def _square(array: NDArray[Any], fill: float) -> NDArray[Any]:
    rows, columns = (max(array.shape) - length for length in array.shape)
    return np.pad(array, ((0, rows), (0, columns)), constant_values=fill)


def _centred(psf: NDArray[np.float32]) -> NDArray[np.float32]:
    """A PSF, whose sides are odd, in the middle of a square."""
    side = max(psf.shape)
    return np.pad(psf, [((side - length) // 2,) * 2 for length in psf.shape])


def fitted_pixels(analysis: LensAnalysis) -> NDArray[np.bool_]:
    """Pixels of the whole image (H, W) that were compared with the model."""
    observation = analysis.observation
    whole = np.zeros(observation.shape, dtype=bool)
    rows, columns = np.nonzero(observation.usable.numpy())
    whole[rows + observation.first_row, columns + observation.first_column] = True
    return whole
