"""Named populations: one annotated TOML file of numbers each.

Keys are the attributes of `Population`. A length may be given in arcsec, under the attribute's
name with ``_arcsec`` for ``_px``. The table ``[instrument]`` gives pixel scale, point-spread
function, zero point, noise and photons; each table ``[substructure.NAME]`` holds numbers of a
`Substructure`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lumpylens.errors import DataError
from lumpylens.simulation.distributions import Number, look_up, number_from
from lumpylens.simulation.populations import Population
from lumpylens.simulation.substructure import substructure_from

__all__ = ["POPULATIONS", "Instrument", "population", "read_population"]

FWHM = math.sqrt(8 * math.log(2))
"""Full width at half maximum of a Gaussian in standard deviations."""

NUMBER_FIELDS = {item.name for item in fields(Population) if "Number" in str(item.type)}


@dataclass(frozen=True)
class Instrument:
    """A camera and its exposure; brightness is in electrons per second.

    Attributes
    ----------
    pixel_scale_arcsec : float
    fwhm_arcsec : Number
        Of the Gaussian point-spread function.
    zero_point : float
        Magnitude of one electron per second.
    exposure_s : float
        Of one exposure.
    exposures : int
    sky_magnitude : float
        Per square arcsec.
    read_noise_e : float
        Of one pixel in one exposure, electrons.
    """

    pixel_scale_arcsec: float
    fwhm_arcsec: Number
    zero_point: float
    exposure_s: float
    exposures: int
    sky_magnitude: float
    read_noise_e: float

    def settings(self) -> dict[str, Any]:
        """Attributes of a `Population` that follow from the camera."""
        seconds = self.exposure_s * self.exposures
        sky = 10 ** (0.4 * (self.zero_point - self.sky_magnitude)) * self.pixel_scale_arcsec**2
        variance = sky * seconds + self.exposures * self.read_noise_e**2
        return {
            "pixel_scale_arcsec": self.pixel_scale_arcsec,
            "psf_sigma_px": _scaled(self.fwhm_arcsec, 1 / (FWHM * self.pixel_scale_arcsec)),
            "zero_point": self.zero_point,
            "noise": math.sqrt(variance) / seconds,
            "photons": seconds,
        }


def read_population(path: Path) -> Population:
    """Read a population from a TOML file.

    Raises
    ------
    DataError
        If it cannot be read, or a key or value makes no sense, in one line.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise DataError(f"{path} is not valid TOML: {problem}") from None
    try:
        return _population(values, path.stem)
    except DataError as problem:
        raise DataError(f"{path}: {problem}") from None


def _population(values: Mapping[str, Any], name: str) -> Population:
    settings: dict[str, Any] = {"name": name}
    lumps: dict[str, Any] = {}
    known = {item.name: item for item in fields(Population)}
    scale = values.get("pixel_scale_arcsec")
    if "instrument" in values:
        table = dict(values["instrument"])
        wanted = {item.name for item in fields(Instrument)}
        if set(table) != wanted:
            raise DataError(f"[instrument] holds {', '.join(sorted(wanted))}; got {sorted(table)}")
        table["fwhm_arcsec"] = number_from(table["fwhm_arcsec"], "fwhm_arcsec")
        instrument = Instrument(**table)
        settings |= instrument.settings()
        scale = instrument.pixel_scale_arcsec
    for key, value in values.items():
        if key == "instrument":
            continue
        if key == "substructure":
            lumps = value
            continue
        field, unit = key, 1.0
        if key.endswith("_arcsec") and key != "pixel_scale_arcsec":
            if scale is None:
                raise DataError(f"{key} needs a pixel_scale_arcsec")
            field, unit = key.removesuffix("_arcsec") + "_px", 1 / float(scale)
        look_up("number of a population", field, known)
        if field in NUMBER_FIELDS:
            settings[field] = number_from(value, key, unit)
        elif isinstance(value, list):
            settings[field] = tuple(float(part) * unit for part in value)
        else:
            settings[field] = value
    substructures = {kind: substructure_from(table, scale) for kind, table in lumps.items()}
    try:
        return Population(**settings, substructures=substructures)
    except TypeError as problem:
        raise DataError(f"a value is of the wrong kind: {problem}") from None


def _scaled(number: Number, unit: float) -> Number:
    if isinstance(number, tuple):
        return number[0] * unit, number[1] * unit
    if isinstance(number, float):
        return number * unit
    values = {item.name: getattr(number, item.name) for item in fields(number)}
    return number_from(values, "fwhm_arcsec", unit)


POPULATIONS: Mapping[str, Population] = {
    path.stem: read_population(path) for path in sorted(Path(__file__).parent.glob("*.toml"))
}
"""Every named population."""


def population(preset: str | Population) -> Population:
    """Find a population by its name, read it from a TOML file, or return it as it is.

    Raises
    ------
    DataError
        If there is none of that name, with the nearest name, or the file makes no sense.
    """
    if isinstance(preset, Population):
        return preset
    if preset.endswith(".toml"):
        return read_population(Path(preset))
    return look_up("population", preset, POPULATIONS)
