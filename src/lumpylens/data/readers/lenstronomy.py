"""HDF5 files of lenstronomy and dolphin: the image in one, the PSF in another.

The datasets are called like the arguments of lenstronomy's `ImageData` and `PSF`. dolphin names
the files ``image_LENS_BAND.h5`` and ``psf_LENS_BAND.h5``.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.pixel_sides import about_sides, sides_of
from lumpylens.data.psf import Kernel, kernel_on_grid
from lumpylens.data.readers.bands import Stack
from lumpylens.data.readers.named_arrays import origins_of
from lumpylens.data.readers.stacks import DAMAGE, plain
from lumpylens.errors import DataError

__all__ = ["IMAGE", "PSF", "bands_of_lenses", "is_of_dolphin", "psf_beside", "stack_of"]

IMAGE, PSF, MATRIX = "image_data", "kernel_point_source", "transform_pix2angle"
DOLPHIN = re.compile(r"image_(?P<lens>.+)_(?P<band>[^_]*[A-Za-z][^_]*)")
ENDINGS = (".h5", ".hdf5", ".hdf")
NAMES_OF_PSF = ("psf_{rest}{ending}", "{stem}_psf{ending}", "psf{ending}")
"""Where the PSF of ``image_REST`` is looked for."""


def stack_of(path: Path, datasets: Mapping[str, Any]) -> Stack:
    """The one image of a file, with noise map, PSF and pixel scale; nothing is read yet.

    Parameters
    ----------
    path : Path
    datasets : mapping of name to h5py.Dataset
        With ``image_data``.
    """
    image = datasets[IMAGE]
    names: dict[str, str] = {}
    sides = scale = None
    if MATRIX in datasets:
        matrix = np.asarray(datasets[MATRIX][()], float)  # from pixels to arcsec
        if np.isfinite(matrix).all() and np.linalg.det(matrix):
            sides = sides_of(matrix)
            scale = math.sqrt(sides[0] * sides[1])
    oblong = about_sides(sides)
    noise: Any = None
    if "noise_map" in datasets:
        noise, names["noise"] = datasets["noise_map"], "noise_map"
    elif "background_rms" in datasets:
        noise = NoiseModel(image, datasets["background_rms"], datasets.get("exposure_time"))
        names["noise"] = "background_rms"
        if noise.exposure_time is not None:
            names["noise"] += " and exposure_time"
    psf: PsfOnGrid | PsfFile | None = None
    if PSF in datasets:
        psf, names["psf"] = PsfOnGrid(datasets[PSF], datasets, scale), PSF
    elif (beside := psf_beside(path)) is not None:
        psf, names["psf"] = PsfFile(beside, scale), f"{PSF} in a file of its own"
    return Stack(
        image,
        noise=noise,
        psf=psf,
        pixel_scale_arcsec=scale,
        of_band=True,
        remarks=(oblong,) if oblong else (),
        origins=origins_of(IMAGE, names, "" if scale is None else MATRIX),
    )


def psf_beside(path: Path) -> Path | None:
    """The file that holds the PSF of a file called ``image_...``."""
    if not path.stem.startswith("image_"):
        return None
    lens_and_band = path.stem.removeprefix("image_")
    names = (n.format(rest=lens_and_band, stem=path.stem, ending=path.suffix) for n in NAMES_OF_PSF)
    candidates = (path.with_name(name) for name in names)
    return next((file for file in candidates if file != path and file.is_file()), None)


def is_of_dolphin(path: Path) -> bool:
    """Tell by its name whether a file is the image, or the PSF, of a lens in one band."""
    return path.suffix.lower() in ENDINGS and bool(
        DOLPHIN.fullmatch(re.sub("^psf_", "image_", path.stem))
    )


def bands_of_lenses(paths: Sequence[Path], band: str | None) -> tuple[list[Path], dict[Path, str]]:
    """Choose one file for each lens by the band in its name.

    Parameters
    ----------
    paths : sequence of Path
    band : str or None

    Returns
    -------
    chosen : list of Path
        Those that are not named like dolphin's too.
    refused : dict of Path to str
        First file of each lens that has several bands, or not the wanted one, and what there is.
    """
    lenses: dict[Path, list[tuple[str, Path]]] = defaultdict(list)
    chosen: list[Path] = []
    refused: dict[Path, str] = {}
    for path in paths:
        if named := DOLPHIN.fullmatch(path.stem):
            lenses[path.with_name(named["lens"])].append((named["band"], path))
        else:
            chosen.append(path)
    for files in lenses.values():
        wanted = [p for name, p in files if band is None or name.casefold() == band.casefold()]
        bands = ", ".join(name for name, _ in files)
        if len(wanted) == 1:
            chosen += wanted
        elif wanted:
            refused[wanted[0]] = f"several bands of one lens: {bands}; choose one with --band"
        else:
            refused[files[0][1]] = f"no bands to choose {band!r} from: it holds {bands}"
    return sorted(chosen), refused


@dataclass(frozen=True)
class NoiseModel:
    """The noise map that lenstronomy makes of the background and the exposure time.

    The variance is background_rms^2 + image / exposure_time, where the image is positive
    (`lenstronomy.Data.image_noise.covariance_matrix`).
    """

    image: Any
    background_rms: Any
    exposure_time: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image."""
        return tuple(self.image.shape)

    def __getitem__(self, at: tuple[Any, ...]) -> NDArray[np.float64]:
        flux = np.clip(np.asarray(self.image[at], float), 0, None)
        variance = np.square(np.asarray(self.background_rms[()], float)) + 0 * flux
        if self.exposure_time is not None:
            variance = variance + flux / np.clip(np.asarray(self.exposure_time[()]), 1e-10, None)
        noise: NDArray[np.float64] = np.sqrt(variance)
        return noise


@dataclass(frozen=True)
class PsfOnGrid:
    """A PSF on the pixels of its image; lenstronomy's may be sampled more finely."""

    kernel: Any
    datasets: Mapping[str, Any]
    pixel_scale_arcsec: float | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel as it is stored."""
        return tuple(self.kernel.shape)

    def __getitem__(self, at: tuple[Any, ...]) -> NDArray[np.floating]:
        finer = self.datasets.get("point_source_supersampling_factor")
        oversampling = None if finer is None else int(finer[()])
        kernel = Kernel(np.asarray(self.kernel[at]), None, oversampling)
        return kernel_on_grid([kernel], self.pixel_scale_arcsec)[0]


@dataclass(frozen=True)
class PsfFile:
    """The PSF of a file of its own, opened when it is needed."""

    path: Path
    pixel_scale_arcsec: float | None

    shape = (1, 1)
    """That of one PSF for all images; its true size is known when it is read."""

    def __getitem__(self, at: tuple[Any, ...]) -> NDArray[np.floating]:
        import h5py

        try:
            with h5py.File(self.path, "r") as file:
                if PSF not in file:
                    raise DataError(f"it has no dataset {PSF}")
                return PsfOnGrid(file[PSF], file, self.pixel_scale_arcsec)[at]
        except (DataError, *DAMAGE) as problem:
            raise DataError(f"PSF {self.path.name}: {plain(problem)}") from None
