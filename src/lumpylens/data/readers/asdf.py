"""ASDF files, such as the mosaics (level 3) of the Roman Space Telescope.

A Roman file has everything under ``roman``: ``data``, ``err`` (one standard deviation) and
``weight`` (schema wfi_mosaic of the package rad). ``meta.wcsinfo.pixel_scale`` is in degrees, as
romancal takes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.readers.bands import Stack
from lumpylens.data.readers.files import DataFiles, one_line, without_companions
from lumpylens.data.readers.fits_file import reading
from lumpylens.data.readers.named_arrays import choose_images, companions_of, origins_of
from lumpylens.data.readers.stacks import open_stacks
from lumpylens.data.source import ImageSource, joined
from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install

__all__ = ["open_asdf"]

ARRAY_TAG = "tag:stsci.edu:asdf/core/ndarray-"
LARGEST_SCALE_DEG = 1e-3
"""3.6 arcsec. A larger number cannot be the degrees of a pixel of a lens image, but arcsec."""


def open_asdf(files: DataFiles) -> ImageSource:
    """Open ASDF files.

    The images are ``roman/data``, or what an HDF5 file would have: the array called like the band,
    ``images``, or the only one that is no noise map, PSF or mask by its name.
    """
    images, remarks = without_companions(files)
    return joined([open_stacks(replace(files, paths=images), read_asdf)], files.location, remarks)


def read_asdf(path: Path, band: str | None) -> Stack:
    """Find the arrays of one file by its tree; no pixels are read."""
    try:
        from asdf.util import load_yaml
    except ImportError:
        raise DataError(f"ASDF needs the package asdf: {pip_install('asdf')}") from None
    try:
        with reading():
            tree = load_yaml(path, tagged=True)
    except FileNotFoundError:
        raise
    # The YAML parser has errors of its own, derived from Exception alone.
    except Exception as problem:  # noqa: BLE001
        raise DataError(f"not a whole ASDF file: {one_line(problem)}") from None
    if not isinstance(tree, Mapping):
        raise DataError("not a whole ASDF file: it has no tree")
    arrays = {array.name: array for array in arrays_in(tree, path)}
    shapes = {name: array.shape for name, array in arrays.items()}
    roman = "roman/data" in arrays and band is None
    name = "roman/data" if roman else choose_images(shapes, band)
    beside, remarks = companions_of(shapes, name)
    scale = pixel_scale_of(tree)
    return Stack(
        arrays[name],
        noise=arrays[beside["noise"]] if "noise" in beside else None,
        psf=arrays[beside["psf"]] if "psf" in beside else None,
        pixel_scale_arcsec=scale,
        of_band=name.rpartition("/")[2] == band,
        remarks=remarks,
        origins=origins_of(name, beside, "" if scale is None else "meta.wcsinfo.pixel_scale"),
    )


def arrays_in(tree: Any, path: Path, keys: tuple[str, ...] = ()) -> Iterator[BlockArray]:
    """All arrays under a node of the tree."""
    if not isinstance(tree, Mapping):
        return
    if str(getattr(tree, "_tag", "")).startswith(ARRAY_TAG):
        # Pixels in another file might be anywhere in the network.
        if isinstance(tree.get("source"), int) and "shape" in tree:
            yield BlockArray(path, keys, tuple(map(int, tree["shape"])))
        return
    for key, value in tree.items():
        yield from arrays_in(value, path, (*keys, str(key)))


@dataclass(frozen=True)
class BlockArray:
    """One array of a file: its shape at once, its numbers when asked for."""

    path: Path
    keys: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its place in the tree."""
        return "/".join(self.keys)

    @property
    def dtype(self) -> Any:
        """Type of the numbers."""
        return self.values.dtype

    @cached_property
    def values(self) -> NDArray[Any]:
        """The whole array, kept, and read-only so that images are copies."""
        import asdf

        try:
            with reading(), asdf.open(self.path, ignore_unrecognized_tag=True) as file:
                node = file.tree
                for key in self.keys:
                    node = node[key]
                array = np.array(node)
                array.flags.writeable = False
                return array
        except ImportError as problem:
            raise DataError(f"{one_line(problem)}; lz4 comes with {pip_install('asdf')}") from None
        # Damaged trees and blocks raise errors of many packages.
        except Exception as problem:  # noqa: BLE001
            raise DataError(f"the ASDF file cannot be read: {one_line(problem)}") from None

    def __getitem__(self, at: Any) -> Any:
        return self.values[at]


def pixel_scale_of(tree: Mapping[str, Any]) -> float | None:
    """Side of a pixel in arcsec that a Roman file states, None if it does not."""
    node: Any = tree
    for key in ("roman", "meta", "wcsinfo"):
        node = node.get(key) if isinstance(node, Mapping) else None
    scale = node.get("pixel_scale") if isinstance(node, Mapping) else None
    if not isinstance(scale, (int, float)) or scale <= 0:
        return None
    return 3600.0 * scale if scale < LARGEST_SCALE_DEG else float(scale)
