"""HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import ImageSource
from lumpylens.data.readers.files import DataFiles, one_line
from lumpylens.data.readers.stacks import Stack, checked_table, choose_images, open_stacks
from lumpylens.errors import DataError

__all__ = ["open_hdf5"]

CHUNK_CACHE_BYTES = 2**26
"""Holds a chunk of some hundred cutouts, so that each chunk is unpacked once."""


def open_hdf5(files: DataFiles) -> ImageSource:
    """Open HDF5 files.

    The images are the dataset called ``images``, in any group, or the only one with two axes or
    more. ``ids``, ``labels``, ``noise``, ``psf`` and ``jpeg_table`` are taken from beside it, and
    the attribute ``pixel_scale_arcsec`` from it, its group or the file.
    """
    return open_stacks(files, read_hdf5)


def read_hdf5(path: Path) -> Stack:
    """Find the arrays of one file."""
    import h5py

    try:
        file = h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES)
    except OSError as problem:
        if isinstance(problem, (PermissionError, FileNotFoundError)):
            raise
        raise DataError(f"not a whole HDF5 file: {one_line(problem)}") from None
    datasets: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            datasets[name] = item

    file.visititems(collect)
    name = choose_images({key: item.shape for key, item in datasets.items()})
    images = datasets[name]
    group = name.rpartition("/")[0]
    beside = {
        key: datasets.get(f"{group}/{key}".lstrip("/"))
        for key in ("ids", "labels", "noise", "psf", "jpeg_table")
    }
    scale = next(
        (
            float(np.asarray(holder.attrs["pixel_scale_arcsec"]).item())
            for holder in (images, images.parent, file)
            if "pixel_scale_arcsec" in holder.attrs
        ),
        None,
    )
    return Stack(
        images,
        noise=beside["noise"],
        psf=beside["psf"],
        ids=_values(beside["ids"]),
        labels=_values(beside["labels"]),
        pixel_scale_arcsec=scale,
        jpeg_table=checked_table(_values(beside["jpeg_table"])),
    )


def _values(dataset: Any) -> NDArray[Any] | None:
    return None if dataset is None else np.asarray(dataset[()])
