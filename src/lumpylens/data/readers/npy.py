"""npy and npz files; nothing in them is ever unpickled."""

from __future__ import annotations

import math
import os
import tokenize
import zipfile
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.readers.bands import Stack
from lumpylens.data.readers.files import DataFiles, without_companions
from lumpylens.data.readers.named_arrays import choose_images, companions_of, origins_of
from lumpylens.data.readers.stacks import checked_table, open_stacks
from lumpylens.data.source import ImageSource, joined
from lumpylens.errors import DataError

__all__ = ["open_numpy"]


def open_numpy(files: DataFiles) -> ImageSource:
    """Open npy and npz files; npy is memory-mapped."""
    images, remarks = without_companions(files)
    return joined([open_stacks(replace(files, paths=images), read_numpy)], files.location, remarks)


def read_numpy(path: Path, band: str | None) -> Stack:
    """Find the arrays of one file."""
    return read_npz(path, band) if path.suffix.lower() == ".npz" else read_npy(path)


def read_npy(path: Path) -> Stack:
    """Map the images that are there, also if the file is cut off."""
    with path.open("rb") as stream:
        shape, fortran, dtype = read_header(stream)
        start = stream.tell()
        present = os.fstat(stream.fileno()).st_size - start
    announced = math.prod(shape) * dtype.itemsize
    if len(shape) < 2 or present >= announced > 0:
        return Stack(np.load(path, mmap_mode="r" if announced else None, allow_pickle=False))
    image_bytes = math.prod(shape[-2:]) * dtype.itemsize
    complete = 0 if fortran or not image_bytes else present // image_bytes
    images = np.memmap(path, dtype, "r", start, (complete, *shape[-2:])) if complete else None
    return Stack(CutOff(images, shape, dtype), complete=complete)


class CutOff:
    """The whole images of a file that ends too early, under their place in the full array."""

    def __init__(
        self, images: NDArray[Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self.images, self.shape, self.dtype = images, shape, dtype

    def __getitem__(self, at: tuple[Any, ...]) -> Any:
        if self.images is None:
            raise DataError("the file is cut off before its first image")
        return self.images[np.ravel_multi_index(at, self.shape[:-2])]


def read_npz(path: Path, band: str | None) -> Stack:
    """Find the arrays of an npz file by name; pixels are read at the first image."""
    with zipfile.ZipFile(path) as archive:
        names = [info.filename for info in archive.infolist() if info.filename.endswith(".npy")]
        members = {name[:-4]: PackedArray(path, name, archive) for name in names}
    shapes = {name: member.shape for name, member in members.items()}
    chosen = choose_images(shapes, band)
    beside, remarks = companions_of(shapes, chosen)
    scale = members.get("pixel_scale_arcsec")
    table = members.get("jpeg_table")
    return Stack(
        members[chosen],
        noise=members[beside["noise"]] if "noise" in beside else None,
        psf=members[beside["psf"]] if "psf" in beside else None,
        ids=members["ids"].values if "ids" in members else None,
        labels=members["labels"].values if "labels" in members else None,
        pixel_scale_arcsec=None if scale is None else float(scale.values.item()),
        jpeg_table=checked_table(None if table is None else table.values),
        of_band=chosen == band,
        remarks=remarks,
        origins=origins_of(chosen, beside, "" if scale is None else "pixel_scale_arcsec"),
    )


class PackedArray:
    """One array of an npz file: its shape at once, its numbers when asked for."""

    def __init__(self, path: Path, member: str, archive: zipfile.ZipFile) -> None:
        self.path, self.member = path, member
        with archive.open(member) as stream:
            self.shape, _, self.dtype = read_header(stream)

    @cached_property
    def values(self) -> NDArray[Any]:
        """The whole array, kept, and read-only so that images are copies."""
        with np.load(self.path, allow_pickle=False) as archive:
            array: NDArray[Any] = archive[self.member[:-4]]
        array.flags.writeable = False
        return array

    def __getitem__(self, at: Any) -> Any:
        return self.values[at]


def read_header(stream: BinaryIO | Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order (True: first axis fastest) and type of an array in npy format.

    Raises
    ------
    DataError
        If this is no npy array, or one of Python objects.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream)
    except (ValueError, SyntaxError, tokenize.TokenError):
        raise DataError("not a numpy array: its header is not valid") from None
    if dtype.hasobject:
        # An image and a mass beside it, as in the axion files of DeepLense, or many images.
        numbers = "OLD[0]" if shape == (2,) else "np.stack(OLD.tolist())"
        raise DataError(
            "holds Python objects, not numbers, and is not read for safety; if you trust its "
            f'source: OLD = np.load("old.npy", allow_pickle=True); np.save("new.npy", {numbers})'
        )
    return shape, fortran, dtype
