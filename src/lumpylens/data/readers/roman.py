"""HDF5 files of the Roman Data Challenge: a group for each lens, in it a dataset for each band.

The layout is that which mejiro 3.0 writes (its exporter for romanisim): ``images/strong_lens_UID``
holds ``exposure_UID_BAND``, and ``psfs/scaNN`` holds ``psf_BAND_DETECTOR_X_Y_OVERSAMPLE_PIXELS``.
An attribute is a pair of texts, its value and what it means; numbers are texts too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import size_defect
from lumpylens.data.image import ANOMALOUS, NORMAL, UNKNOWN, LensImage
from lumpylens.data.noise import background_scatter
from lumpylens.data.readers.band_files import matching
from lumpylens.data.readers.files import DataFiles
from lumpylens.data.readers.roman_file import (
    PSFS,
    LastOpened,
    exposures_of,
    is_system,
    number_of,
    text_of,
)
from lumpylens.data.readers.stacks import DAMAGE, plain
from lumpylens.data.source import FailedSource, ImageSource, joined
from lumpylens.errors import DataError

__all__ = ["RomanSource", "open_challenge"]

SYNTHETIC = "synthetic_image_"
"""The light before the camera, which no telescope gives."""

LABELS = {"True": ANOMALOUS, "False": NORMAL}
"""Values of the attribute ``substructure``, which only labelled files have."""

SYSTEMS_LOOKED_AT = 64
"""Systems in which bands are looked for when a file is opened. A band that a tenth of the systems
have is missing in all of them once in 900 files; then all systems are looked at."""

SMOOTHING_PX = 1.0
"""Blur of the light whose photon noise is computed: from single pixels, those that scattered down
would get less noise than those that scattered up. Roman's PSF is about as wide."""


def open_challenge(files: DataFiles) -> ImageSource:
    """Open files of the challenge; names of the lenses are read, and nothing of the lenses.

    Images are called like their groups, and in a folder also like their file where several files
    have groups of one name.

    Parameters
    ----------
    files : DataFiles

    Raises
    ------
    DataError
        If the one file that the user named, or all files, have several bands and none is asked
        for, or not the one that is asked for.
    """
    parts: list[ImageSource] = []
    opened = LastOpened()
    chosen: dict[Path, tuple[str, list[str]]] = {}
    reasons: dict[Path, str] = {}
    for path in files.paths:
        try:
            systems = opened(path).systems
            names = list(filter(is_system, systems))
            chosen[path] = (band_of(systems, names, files.band), names)
        except DAMAGE as problem:
            reasons[path] = f"the file cannot be read: {plain(problem)}"
        except DataError as problem:
            reasons[path] = str(problem)
    if reasons and (files.alone or (files.band is not None and not chosen)):
        raise DataError("{}: {}".format(*next(iter(reasons.items()))))
    times = Counter(name for _, names in chosen.values() for name in names)
    for path, (band, names) in chosen.items():
        shared = any(times[name] > 1 for name in names)
        ids = [f"{files.name(path)}[{name}]" for name in names] if shared else names
        label, scale = files.label(path), files.pixel_scale_arcsec
        parts.append(RomanSource(path, opened, band, names, ids, files.location, label, scale))
    parts.append(
        FailedSource(
            [files.name(path) for path in reasons],
            [files.label(path) for path in reasons],
            list(reasons.values()),
            files.location,
        )
    )
    return joined(parts, files.location)


def band_of(systems: Any, names: Sequence[str], band: str | None) -> str:
    """The band that is asked for, as the file spells it; or the only one.

    Raises
    ------
    DataError
        If there are several and none is asked for, or not this one.
    """
    step = max(len(names) // SYSTEMS_LOOKED_AT, 1)
    bands = bands_in(systems, names[::step])
    if band is not None and not matching(bands, band):
        bands = bands_in(systems, names)
    if not bands:
        raise DataError("no system of the file has an exposure")
    listed = ", ".join(bands)
    if band is None:
        if len(bands) > 1:
            raise DataError(
                f"holds several bands of each lens: {listed}; choose one with band, such as "
                f"--band {bands[0]}"
            )
        return bands[0]
    if not (wanted := matching(bands, band)):
        raise DataError(f"no bands to choose {band!r} from: it holds {listed}")
    return wanted


def bands_in(systems: Any, names: Sequence[str]) -> list[str]:
    """Bands that at least one of some systems has, sorted."""
    return sorted({band for name in names for band in exposures_of(systems[name])})


@dataclass(frozen=True)
class RomanSource:
    """Lenses of one file in one band, each read when it is asked for.

    Attributes
    ----------
    path : Path
    opened : LastOpened
    band : str
    names, ids : sequence of str
        Names of the groups, and of the images.
    location : str
    folder_label : int
        Label of lenses whose group has none.
    pixel_scale_arcsec : float or None
        Used where the file does not say.
    """

    path: Path
    opened: LastOpened
    band: str
    names: Sequence[str]
    ids: Sequence[str]
    location: str
    folder_label: int = UNKNOWN
    pixel_scale_arcsec: float | None = None
    remarks: Sequence[str] = ()

    @cached_property
    def labels(self) -> Sequence[int]:
        """Labels of all lenses, read when they are first wanted: each is in a group of its own."""
        return [self._label(name) for name in self.names]

    def _label(self, name: str) -> int:
        try:
            text = text_of(self.opened(self.path).systems[name], "substructure")
        except DAMAGE:
            return self.folder_label  # `load` says what is wrong
        return self.folder_label if text is None else LABELS.get(text, UNKNOWN)

    def load(self, position: int) -> LensImage:
        """Read one lens; one without an exposure in this band has an error with its bands."""
        name, label = self.ids[position], self._label(self.names[position])
        try:
            known = self._known(self.names[position])
            return LensImage.checked(name, label=label, **known)
        except DAMAGE as problem:
            reason = f"the file cannot be read: {plain(problem)}"
        except DataError as problem:
            reason = str(problem)
        return LensImage(name, None, label=label, error=reason)

    def _known(self, name: str) -> dict[str, Any]:
        """Arguments of `LensImage.checked` for one lens."""
        file = self.opened(self.path)
        system = file.systems[name]
        exposures = exposures_of(system)
        listed = ", ".join(sorted(exposures))
        if self.band not in exposures:
            raise DataError(
                f"no bands to choose {self.band!r} from: it holds {listed or 'no exposure'}"
            )
        dataset = system[exposures[self.band]]
        shape = getattr(dataset, "shape", None)
        if shape is None or len(shape) != 2:
            raise DataError(f"{exposures[self.band]} is no image: its shape is {shape}")
        if reason := size_defect(*shape):
            raise DataError(reason)
        pixels = dataset[()]
        stated = number_of(dataset, "pixel_scale") or None
        scale = stated or self.pixel_scale_arcsec
        noise, noise_origin = noise_of(pixels, dataset, (dataset, system, file.file))
        psf = file.psf(system, self.band, scale)
        origins = {
            "image": f"exposure_*_{self.band}",
            ("noise" if noise is None else "noise map"): noise_origin,
            "PSF": "" if psf is None else f"{PSFS}, the nearest of the same detector",
            "pixel scale": "pixel_scale" if stated else "as given" if scale else "",
            "band": self.band if len(exposures) == 1 else f"{self.band}, one of {listed}",
        }
        remarks = []
        if psf is None and file.psfs:
            remarks.append(
                f"the file has PSFs, but none of the detector of this lens in {self.band}"
            )
        if any(other.startswith(SYNTHETIC) for other in system):
            remarks.append(f"not used: {SYNTHETIC}* (the light before the camera)")
        return {
            "pixels": pixels,
            "noise": noise,
            "psf": psf,
            "pixel_scale_arcsec": scale,
            "origins": {part: origin for part, origin in origins.items() if origin},
            "remarks": tuple(remarks),
        }


def noise_of(
    pixels: NDArray[Any], exposure: Any, holders: Sequence[Any]
) -> tuple[NDArray[np.float64] | None, str]:
    """Noise map from the scatter of the background and the photons of the light.

    The variance is that of the background, which has the noise of sky and read-out in it, and
    light / (gain x exposure time), in the unit DN/s of the image.

    Parameters
    ----------
    pixels : ndarray, shape (H, W)
    exposure : h5py.Dataset
        With the attributes ``exposure_time``, in seconds, and ``units``.
    holders : sequence
        Where the attribute ``gain`` is looked for, in electrons per DN.

    Returns
    -------
    noise : ndarray, shape (H, W), or None
        None unless time, gain and unit are known.
    origin : str
        What it was computed from, or why detectors must learn it from the images.
    """
    from scipy.ndimage import gaussian_filter

    seconds = number_of(exposure, "exposure_time")
    gains = (number_of(holder, "gain") for holder in holders)
    gain = next((value for value in gains if value), None)
    if not seconds or gain is None or text_of(exposure, "units") != "DN/s":
        return None, "is learned from the images: no gain is known"
    light = gaussian_filter(np.asarray(pixels, float), SMOOTHING_PX) - np.median(pixels)
    variance = background_scatter(pixels) ** 2 + np.clip(light, 0, None) / (gain * seconds)
    noise: NDArray[np.float64] = np.sqrt(variance)
    return noise, "scatter of the background, gain and exposure_time"
