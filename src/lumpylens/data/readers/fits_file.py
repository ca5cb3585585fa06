"""One FITS file in memory; what is wrong with it becomes a `DataError` in plain words."""

from __future__ import annotations

import contextlib
import gzip
import io
import itertools
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.readers.files import (
    LARGEST_FILE_BYTES,
    file_bytes_of,
    one_line,
    system_reason,
)
from lumpylens.errors import DataError

__all__ = ["FitsFile", "read_file", "reading", "stored_values"]

MOST_EXTENSIONS = 100
"""In one file: Euclid's cutouts of eight bands have 25."""
GZIP_MARK = b"\x1f\x8b"
READING = threading.RLock()
"""Held while warnings are silenced, which concerns all threads."""


@dataclass(frozen=True)
class FitsFile:
    """Extensions of a file, whose pixels are decoded when asked for.

    Attributes
    ----------
    hdus : list of astropy HDU
    size : int
        Bytes on disk.
    """

    hdus: list[Any]
    size: int


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turn what astropy raises of damaged files into `DataError`, and silence its remarks.

    What matters here becomes an error of the image. Python's switch for warnings is shared by
    all threads, hence the lock.
    """
    from astropy.io import fits

    try:
        with READING, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError as problem:
        raise DataError(f"the FITS file cannot be read: {system_reason(problem)}") from None
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        EOFError,
        MemoryError,
        struct.error,
        zlib.error,
        fits.VerifyError,
    ) as problem:
        raise DataError(f"the FITS file is cut off or damaged: {one_line(problem)}") from None


def read_file(path: Path) -> FitsFile:
    """Read a FITS file; to be called within `reading`.

    Raises
    ------
    DataError
        If the file is missing, or no FITS file of one cutout.
    """
    from astropy.io import fits

    try:
        size = file_bytes_of(path)
        content = content_of(path)
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing") from None
    hdus = fits.open(io.BytesIO(content), do_not_scale_image_data=True)
    # Asking for the length would read on; a damaged header may lead in circles.
    parts = list(itertools.islice(iter(hdus), MOST_EXTENSIONS + 1))
    if len(parts) > MOST_EXTENSIONS:
        raise DataError(f"the FITS file has more than {MOST_EXTENSIONS} extensions")
    return FitsFile(parts, size)


def content_of(path: Path) -> bytes:
    """Bytes of a file, unzipped here because astropy does not compare the checksum."""
    content = path.read_bytes()
    if not content.startswith(GZIP_MARK):
        return content
    with gzip.open(io.BytesIO(content)) as packed:
        unpacked = packed.read(LARGEST_FILE_BYTES + 1)
    if len(unpacked) > LARGEST_FILE_BYTES:
        raise DataError("the file unpacks to more than a cutout can need")
    return unpacked


def stored_values(hdu: Any) -> NDArray[Any]:
    """The numbers of an extension as they are stored, unscaled."""
    try:
        return np.asarray(hdu.data)
    # The decoders of compressed images raise a private type, derived from Exception alone.
    except Exception as problem:  # noqa: BLE001
        raise DataError(f"the FITS file is cut off or damaged: {one_line(problem)}") from None
