"""A fitted lens as a COOLEST template (Galan et al. 2023, JOSS 8, 5567).

Its angles are counted from the y axis, and its shear is about the middle of the image.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install
from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.exchange.lenstronomy import source_light
from lumpylens.lenses.exchange.parametric import Ellipse, ParametricLens, PowerLaw
from lumpylens.lenses.exchange.place import data_path, template_path
from lumpylens.lenses.redshifts import Redshifts

if TYPE_CHECKING:
    from coolest.template.classes.grid import PixelatedRegularGrid
    from coolest.template.standard import COOLEST

__all__ = ["check_coolest", "write_template"]

GAUSSIAN_INDEX = 0.5
"""Sersic index of a Gaussian, which the standard has no profile for."""

GAUSSIAN_COEFFICIENT = 1.9992 * GAUSSIAN_INDEX - 0.3271
"""b of a Sersic profile, ``exp(-b ((r / r_eff)^(1 / n) - 1))``, by the approximation that the
coolest package and lenstronomy use. The exact one is ln 2, so that their effective radius of a
Gaussian holds 49 % of its light."""


def check_coolest() -> None:
    """Raise if the coolest package is not installed.

    Raises
    ------
    DataError
        In one line, with the command that installs it.
    """
    try:
        import coolest  # noqa: F401
    except ImportError:
        raise DataError(f"COOLEST files need {pip_install('coolest')}") from None


def write_template(analysis: LensAnalysis, redshifts: Redshifts | None, folder: Path) -> Path:
    """Write the template of one lens beside its FITS files, which are there already.

    Parameters
    ----------
    analysis : LensAnalysis
    redshifts : Redshifts or None
    folder : Path

    Returns
    -------
    Path
        The template.
    """
    standard = _standard(analysis, redshifts, folder)
    path = template_path(analysis.cutout.id, folder)
    with whole_file(path) as part_file:
        text = standard.to_JSON(indent=2, exclude_keys=standard.exclude_keys)
        part_file.write_text(text, encoding="utf-8")
    return path


def _standard(analysis: LensAnalysis, redshifts: Redshifts | None, folder: Path) -> COOLEST:
    from coolest.template.classes.coordinates import CoordinatesOrigin
    from coolest.template.classes.instrument import Instrument
    from coolest.template.classes.likelihood import ImagingDataLikelihood
    from coolest.template.classes.likelihood_list import DataLikelihoodList
    from coolest.template.classes.noise import NoiseMap
    from coolest.template.classes.observation import Observation
    from coolest.template.classes.psf import PixelatedPSF
    from coolest.template.standard import COOLEST

    cutout = analysis.cutout
    lens = ParametricLens.of(analysis)
    pixel = cutout.pixel_scale_arcsec

    image, noise, mask = (
        _grid(data_path(cutout.id, kind, folder), cutout.image.shape, pixel)
        for kind in ("image", "noise", "mask")
    )
    psf = _grid(data_path(cutout.id, "psf", folder), cutout.psf.shape, pixel)
    sky = cutout.sky
    return COOLEST(
        "MAP",
        CoordinatesOrigin(*(() if sky is None else (f"{sky.ra_deg}d", f"{sky.dec_deg}d"))),
        _entities(lens, redshifts),
        Observation(image, noise=NoiseMap(noise)),
        Instrument(pixel, psf=PixelatedPSF(psf)),
        likelihoods=DataLikelihoodList(ImagingDataLikelihood(mask)),
        metadata=_metadata(lens),
    )


def _grid(path: Path, shape: tuple[int, ...], pixel: float) -> PixelatedRegularGrid:
    """Grid of a FITS file, whose pixels begin where those of an array of this shape begin."""
    from coolest.template.classes.grid import PixelatedRegularGrid

    side = max(shape)
    left, bottom = (-length * pixel / 2 for length in reversed(shape))
    spans = [(first, first + side * pixel) for first in (left, bottom)]
    return PixelatedRegularGrid(path.name, *spans, side, side, check_fits_file=False)


def _metadata(lens: ParametricLens) -> dict[str, Any]:
    """What the standard has no place for: its uniform light cannot be negative, a sky can."""
    written: dict[str, Any] = {
        "lumpylens.__version__": version("lumpylens"),
        "sky_per_pixel": lens.sky,
    }
    if lens.mass.multipoles:
        written["multipoles"] = [vars(part) for part in lens.mass.multipoles]
    if lens.companion is not None:
        written["companion_left_out"] = vars(lens.companion)
    return written


def _entities(lens: ParametricLens, redshifts: Redshifts | None) -> Any:
    from coolest.template.classes.galaxy import Galaxy
    from coolest.template.classes.lensing_entity_list import LensingEntityList
    from coolest.template.classes.mass_field import MassField
    from coolest.template.classes.mass_light_model import LightModel, MassModel

    of_lens = None if redshifts is None else redshifts.lens
    of_source = None if redshifts is None else redshifts.source
    galaxy = Galaxy("lens", of_lens, LightModel(*["Sersic"] * len(lens.light)), MassModel("PEMD"))
    field = MassField("external shear", of_lens, MassModel("ExternalShear"))
    source = Galaxy("source", of_source, LightModel("Shapelets"))
    _set(galaxy.mass_model[0], _power_law(lens.mass))
    for profile, numbers in zip(galaxy.light_model, _sersics(lens), strict=True):
        _set(profile, numbers)
    _set(field.mass_model[0], _shear(lens.mass))
    _set(source.light_model[0], _shapelets(lens))
    return LensingEntityList(galaxy, field, source)


def _set(profile: Any, numbers: dict[str, Any]) -> None:
    for name, value in numbers.items():
        profile.parameters[name].set_point_estimate(value)


def _power_law(mass: PowerLaw) -> dict[str, float]:
    return {
        "theta_E": mass.einstein_radius,
        "gamma": mass.slope,
        **_ellipse(mass.ellipse),
        **_centre(mass.centre),
    }


def _shear(mass: PowerLaw) -> dict[str, float]:
    return {"gamma_ext": mass.shear_size, "phi_ext": from_north(mass.shear_angle_deg)}


def _sersics(lens: ParametricLens) -> list[dict[str, float]]:
    area = lens.pixel_scale_arcsec**2
    return [
        {
            "n": GAUSSIAN_INDEX,
            "theta_eff": part.sigma * math.sqrt(2 * GAUSSIAN_COEFFICIENT),
            "I_eff": part.peak * math.exp(-GAUSSIAN_COEFFICIENT) / area,
            **_ellipse(part.ellipse),
            **_centre(lens.light_centre),
        }
        for part in lens.light
    ]


def _shapelets(lens: ParametricLens) -> dict[str, Any]:
    # Its shapelets are those of lenstronomy.
    (keywords,) = source_light(lens)[1]
    place = np.add(lens.source.centre, lens.mass.shift)
    return {
        "amps": keywords["amp"],
        "n_max": keywords["n_max"],
        "beta": keywords["beta"],
        **_centre((float(place[0]), float(place[1]))),
    }


def _ellipse(ellipse: Ellipse) -> dict[str, float]:
    return {"q": ellipse.axis_ratio, "phi": from_north(ellipse.angle_deg)}


def _centre(place: tuple[float, float]) -> dict[str, float]:
    return {"center_x": place[0], "center_y": place[1]}


def from_north(angle_deg: float) -> float:
    """Angle from the y axis, between -90 and 90, of one between -90 and 90 from the x axis."""
    return angle_deg - 90 if angle_deg > 0 else angle_deg + 90
