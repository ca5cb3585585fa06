"""Maps of the smallest mass that would be seen, as FITS images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import SmoothLens
from lumpylens.lenses.perturber import MAP_SPACING
from lumpylens.lenses.pictures import file_stem
from lumpylens.lenses.products import coordinates
from lumpylens.lenses.sensitivity import SensitivityMap
from lumpylens.lenses.sensitivity_row import SensitivitySettings

__all__ = ["map_path", "write_map"]


def map_path(id: str, folder: str | Path) -> Path:
    """Path of the map of a lens."""
    return Path(folder) / f"{file_stem(id)}-sensitivity.fits"


def write_map(
    fitted: SmoothLens,
    sensitivity: SensitivityMap,
    settings: SensitivitySettings,
    folder: str | Path,
) -> None:
    """Write ``ID-sensitivity.fits``: the logarithm (base 10) of the smallest mass, solar masses.

    It is NaN outside two Einstein radii, and infinite where no mass is seen. Coordinates are those
    of the sky where the image has them, else arcsec from the lens's centre. The second image is 1
    at positions near the arcs.
    """
    from astropy.io import fits

    factor = settings.factor(sensitivity)
    half = sensitivity.side * MAP_SPACING / 2
    images = []
    for name, values in (
        ("LOGMASS", sensitivity.log_least_mass(settings.significance * factor)),
        ("NEARARCS", sensitivity.near_arcs.double()),
    ):
        image = sensitivity.picture(values)
        header = fits.Header([*coordinates(fitted, image, (-half, half, -half, half)).items()])
        images.append(fits.ImageHDU(image.astype(np.float32), header, name=name))
    first = fits.PrimaryHDU()
    # A header takes printable ASCII alone.
    first.header["OBJECT"] = ascii(fitted.cutout.id)[1:-1]
    first.header["SIGNIF"] = (settings.significance, "signal-to-noise ratio that is seen")
    first.header["INFLAT"] = (factor, "factor that ratios were divided by")
    first.header["PROFILE"] = settings.subhaloes.profile
    first.header["CONCENTR"] = (settings.subhaloes.concentration, "times that of the relation")
    first.header["COMMENT"] = "Sensitivity of a strong lens by lumpylens. Row 0 has the smallest y."
    with whole_file(map_path(fitted.cutout.id, folder)) as part_file:
        fits.HDUList([first, *images]).writeto(part_file)
