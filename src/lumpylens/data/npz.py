"""Write a collection to one file that the readers read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.files.writing import check_writable, whole_file

__all__ = ["check_npz_place", "write_npz"]


def check_npz_place(path: str | Path) -> None:
    """Refuse a place before the work of making what it is for.

    Raises
    ------
    DataError
        If `path` does not end in ``.npz``, is a folder, or cannot be written.
    """
    place = Path(path)
    if place.suffix.lower() != ".npz" or place.is_dir():
        raise DataError(f"images are written to one file that ends in .npz, not to {place}")
    check_writable(place)


def write_npz(images: LensImages, path: str | Path) -> Path:
    """Write images, ids and labels, and noise maps, PSFs and the rest where there are any.

    Pixels come back bit for bit, 8-bit pictures as such.

    Parameters
    ----------
    images : LensImages
        Readable, of one shape.
    path : str or Path
        Ending in ``.npz``. Written beside and renamed.

    Raises
    ------
    DataError
        If an image cannot be read or has another shape, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> images = LensImages.from_arrays(np.random.default_rng(0).random((3, 4, 5)), labels=[0] * 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = LensImages.open(write_npz(images, Path(folder) / "three.npz"))
    ...     again.ids, again[2].label, bool((again[2].image == images[2].image).all())
    (['0', '1', '2'], 0, True)
    """
    place = Path(path)
    check_npz_place(place)
    batch = images.stack()
    pixels = batch.pixels
    if all(item.stretched for item in images):
        pixels = pixels.astype(np.uint8)
    arrays: dict[str, Any] = {
        "images": pixels,
        "ids": np.array(images.ids),
        "labels": images.labels,
    }
    for name in ("noise", "psf", "pixel_scale_arcsec"):
        if (values := getattr(batch, name)) is not None:
            arrays[name] = values
    tables = [item.jpeg_table for item in images if item.jpeg_table is not None]
    if len(tables) == len(images) and all(np.array_equal(table, tables[0]) for table in tables):
        arrays["jpeg_table"] = tables[0]
    with whole_file(place) as beside, beside.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return place
