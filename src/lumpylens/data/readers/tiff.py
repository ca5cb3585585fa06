"""TIFF files whose values Pillow does not give as they are stored, read by tifffile."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import size_defect
from lumpylens.data.readers.files import one_line
from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install

__all__ = ["TIFF_MARKS", "bands_defect", "misread_by_pillow", "read_tiff"]

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Little- and big-endian; the plus sign is BigTIFF's."""

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES, FORMAT = 258, 259, 262, 277, 338, 339
"""Numbers of tags (TIFF Revision 6.0)."""
UNCOMPRESSED, UNSIGNED, UNKNOWN_BAND, GREY = 1, 1, 0, (0, 1)

QUIET = logging.NullHandler()


def misread_by_pillow(tags: Mapping[int, Any], big_endian: bool) -> bool:
    """Tell whether Pillow 13 gives other numbers than the file holds.

    It takes signed bytes for unsigned ones, and unsigned numbers of 32 bits for signed ones. It
    swaps the bytes of compressed big-endian numbers, which libtiff has swapped already, except
    16-bit unsigned ones.
    """
    bits, kind = tags.get(BITS, (1,))[0], tags.get(FORMAT, (UNSIGNED,))[0]
    if (bits, kind) == (32, UNSIGNED) or (bits <= 8 and kind != UNSIGNED):
        return True
    swapped_twice = big_endian and tags.get(COMPRESSION, UNCOMPRESSED) != UNCOMPRESSED
    return swapped_twice and (bits, kind) != (16, UNSIGNED)


def bands_defect(tags: Mapping[int, Any]) -> str:
    """Say why a file with several bands is refused: Pillow mixes them, or drops all but one.

    Colours of 8 bits are fine, and so is an alpha channel that the file calls by that name.
    """
    bands, bits = tags.get(SAMPLES, 1), tags.get(BITS, (1,))[0]
    nameless = tags.get(PHOTOMETRIC) in GREY and UNKNOWN_BAND in tags.get(EXTRA_SAMPLES, ())
    if bands > 1 and (bits > 8 or nameless):
        return f"TIFF picture of {bands} bands with {bits} bits each; save the wanted one in grey"
    return ""


def read_tiff(content: bytes) -> NDArray[Any]:
    """The numbers of a TIFF file in memory, shape (H, W), as they are stored.

    Raises
    ------
    DataError
        If it holds other than one plane, is damaged, or tifffile is not installed.
    """
    try:
        from tifffile import TiffFile
    except ImportError:
        raise DataError(
            f"TIFF file of a kind that Pillow cannot read; {pip_install('tiff')}"
        ) from None
    logging.getLogger("tifffile").addHandler(QUIET)  # what it logs becomes the image's error
    try:
        with TiffFile(io.BytesIO(content)) as file:
            if len(file.pages) > 1:
                raise DataError(f"TIFF file of {len(file.pages)} pictures; give one per file")
            page = file.pages.first
            tags = {tag.code: tag.value for tag in page.tags}
            bits = tags.get(BITS, 1)
            tags[BITS] = bits if isinstance(bits, tuple) else (bits,)
            if reason := bands_defect(tags) or size_defect(page.imagelength, page.imagewidth):
                raise DataError(reason)
            return np.asarray(page.asarray())
    except (ValueError, IndexError, struct.error, zlib.error, MemoryError, RuntimeError) as problem:
        raise DataError(f"the TIFF file cannot be read: {one_line(problem)}") from None
