"""Zarr stores: folders with ``zarr.json`` (version 3), ``.zgroup`` or ``.zarray`` (version 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lumpylens.data.readers.bands import Stack
from lumpylens.data.readers.files import DataFiles, one_line
from lumpylens.data.readers.named_arrays import choose_images, companions_of, origins_of
from lumpylens.data.readers.stacks import DAMAGE, checked_table, open_stacks
from lumpylens.data.source import ImageSource
from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install

__all__ = ["open_zarr"]


def open_zarr(files: DataFiles) -> ImageSource:
    """Open Zarr stores, which have what HDF5 files have: ``images``, ``ids``, ``noise`` and so on.

    The attribute ``pixel_scale_arcsec`` is taken from the images or the store.
    """
    return open_stacks(files, read_zarr)


def read_zarr(path: Path, band: str | None) -> Stack:
    """Find the arrays of one store; no pixels are read."""
    try:
        import zarr
    except ImportError:
        raise DataError(f"Zarr needs the package zarr: {pip_install('zarr')}") from None
    try:
        store = zarr.open(str(path), mode="r")
        arrays: dict[str, Any] = {"images": store}
        if isinstance(store, zarr.Group):
            members = sorted(store.members(max_depth=None))
            arrays = {name: item for name, item in members if isinstance(item, zarr.Array)}
    except DAMAGE as problem:
        raise DataError(f"not a whole Zarr store: {one_line(problem)}") from None
    shapes = {name: item.shape for name, item in arrays.items()}
    name = choose_images(shapes, band)
    beside, remarks = companions_of(shapes, name)
    group = name.rpartition("/")[0]

    def values(key: str) -> Any:
        array = arrays.get(f"{group}/{key}".lstrip("/"))
        return None if array is None else np.asarray(array[...])

    images = arrays[name]
    scale = images.attrs.get("pixel_scale_arcsec", store.attrs.get("pixel_scale_arcsec"))
    return Stack(
        images,
        noise=arrays[beside["noise"]] if "noise" in beside else None,
        psf=arrays[beside["psf"]] if "psf" in beside else None,
        ids=values("ids"),
        labels=values("labels"),
        pixel_scale_arcsec=None if scale is None else float(scale),
        jpeg_table=checked_table(values("jpeg_table")),
        of_band=name.rpartition("/")[2] == band,
        remarks=(*remarks, *about_missing_chunks(images)),
        origins=origins_of(name, beside, "" if scale is None else "pixel_scale_arcsec"),
    )


def about_missing_chunks(images: Any) -> list[str]:
    """Say that chunks are missing, which Zarr reads as its fill value without a word.

    Chunks that hold nothing else are not written either.
    """
    missing = images.nchunks - images.nchunks_initialized
    if not missing:
        return []
    return [
        f"{missing} of {images.nchunks} chunks are not there, and are read as {images.fill_value}"
    ]
