"""What lies where in an HDF5 file of the Roman Data Challenge, and what its attributes say."""

from __future__ import annotations

import math
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.psf import Kernel, kernel_on_grid
from lumpylens.data.readers.stacks import DAMAGE
from lumpylens.errors import DataError

__all__ = [
    "PSFS",
    "LastOpened",
    "exposures_of",
    "is_of_challenge",
    "is_system",
    "number_of",
    "text_of",
]

IMAGES, PSFS = "images", "psfs"
SYSTEM = "strong_lens_"
EXPOSURE = re.compile(r"exposure_[^_]*_(?P<band>.+)")
PLACE = ("detector", "detector_position_x", "detector_position_y")
"""Attributes of a lens and of a PSF: number of the detector, and pixels on it."""


def is_of_challenge(path: Path) -> bool:
    """Tell by its groups whether an HDF5 file has the layout of the challenge."""
    import h5py

    if not path.is_file():
        return False
    try:
        with h5py.File(path, "r") as file:
            images = file.get(IMAGES)
            return isinstance(images, h5py.Group) and any(map(is_system, images))
    except DAMAGE:
        return False


def is_system(name: str) -> bool:
    """Tell whether a group is a lens by its name."""
    return name.startswith(SYSTEM)


def exposures_of(system: Any) -> dict[str, str]:
    """Names of the exposures of one system, by band."""
    exposures = map(EXPOSURE.fullmatch, system)
    return {match["band"]: match.string for match in exposures if match}


def text_of(holder: Any, name: str) -> str | None:
    """The value of an attribute, without what it means; None if there is none of this name."""
    if name not in holder.attrs:
        return None
    first = np.ravel(holder.attrs[name])[:1].tolist()
    value = first[0] if first else ""
    return value.decode() if isinstance(value, bytes) else str(value)


def number_of(holder: Any, name: str) -> float | None:
    """The value of an attribute that is a number from 0 on; None if there is no such attribute.

    Raises
    ------
    DataError
        If it is something else.
    """
    text = text_of(holder, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f"the attribute {name} is {text!r}, and no number from 0 on")
    return value


@dataclass
class OpenFile:
    """A file of the challenge, and the PSFs of it that were needed.

    Attributes
    ----------
    file : h5py.File
    """

    file: Any
    _kernels: dict[str, NDArray[np.floating]] = field(default_factory=dict, repr=False)

    @property
    def systems(self) -> Any:
        """A group for each lens."""
        return self.file[IMAGES]

    @cached_property
    def psfs(self) -> dict[tuple[str, int], list[tuple[float, float, str]]]:
        """Position on the detector and name of each PSF, by band and detector."""
        places: dict[tuple[str, int], list[tuple[float, float, str]]] = defaultdict(list)
        groups = self.file.get(PSFS, {}).values()
        for group in (item for item in groups if isinstance(item, Mapping)):
            for name, dataset in group.items():
                detector, x, y = (number_of(dataset, key) for key in PLACE)
                if detector is not None and x is not None and y is not None:
                    places[name.split("_")[1], int(detector)].append((x, y, dataset.name))
        return places

    def psf(self, system: Any, band: str, scale: float | None) -> NDArray[Any] | None:
        """The PSF of the lens's detector that is nearest to its position, on the image's pixels.

        None if the file has none of this detector, or does not say where the lens is.
        """
        detector, x, y = (number_of(system, key) for key in PLACE)
        if detector is None or x is None or y is None:
            return None
        places = self.psfs.get((band, int(detector)))
        if not places:
            return None
        _, name = min((math.hypot(x - at_x, y - at_y), name) for at_x, at_y, name in places)
        if name not in self._kernels:
            dataset = self.file[name]
            finer = number_of(dataset, "oversample")
            kernel = Kernel(dataset[()], None, None if finer is None else round(finer))
            self._kernels[name], _ = kernel_on_grid([kernel], scale)
        return self._kernels[name]


@dataclass
class LastOpened:
    """Keeps the last file open, in the process that opened it."""

    _last: tuple[int, Path, OpenFile] | None = field(default=None, repr=False)

    def __call__(self, path: Path) -> OpenFile:
        """A file, opened now or before."""
        import h5py

        # Threads may share this object: what is returned never comes from the attribute.
        last = self._last
        if last is None or last[:2] != (os.getpid(), path):
            last = (os.getpid(), path, OpenFile(h5py.File(path, "r")))
            self._last = last
        return last[2]

    def __getstate__(self) -> dict[str, Any]:
        return {"_last": None}
