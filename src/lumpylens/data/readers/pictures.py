"""PNG, JPEG and TIFF pictures, one image per file."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from lumpylens.data.checks import size_defect
from lumpylens.data.image import LensImage
from lumpylens.data.readers.files import (
    DataFiles,
    file_bytes_of,
    one_line,
    system_reason,
    without_companions,
)
from lumpylens.data.readers.tiff import TIFF_MARKS, bands_defect, misread_by_pillow, read_tiff
from lumpylens.errors import DataError, DataWarning

__all__ = ["PictureSource", "open_pictures"]

NUMBERS = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of more than 8 bits, which keep their values."""

DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    RuntimeError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    Warning,
)
"""What Pillow raises for one damaged file or another; found by fuzzing."""


@dataclass
class PictureSource:
    """Pictures in a folder, read when asked for."""

    paths: list[Path]
    ids: list[str]
    labels: list[int]
    location: str
    pixel_scale_arcsec: float | None = None
    remarks: Sequence[str] = ()
    _told: bool = field(default=False, repr=False)

    def load(self, position: int) -> LensImage:
        """Read one picture."""
        name, label = self.ids[position], self.labels[position]
        try:
            size = file_bytes_of(self.paths[position])
            picture = decode(self.paths[position].read_bytes())
        except OSError as problem:
            reason = f"file cannot be read: {system_reason(problem)}"
            return LensImage(name, None, label=label, error=reason)
        except DataError as problem:
            return LensImage(name, None, label=label, error=str(problem))
        if picture.had_colour and not self._told:
            self._told = True
            warnings.warn(
                f"{self.location} holds colour pictures (the first is {name}); they are read as "
                "grey (ITU-R BT.601 luma)",
                DataWarning,
                stacklevel=2,
            )
        return LensImage.checked(
            name,
            picture.pixels,
            stretched=picture.stretched,
            jpeg_table=picture.jpeg_table,
            label=label,
            pixel_scale_arcsec=self.pixel_scale_arcsec,
            file_bytes=size,
        )


def open_pictures(files: DataFiles) -> PictureSource:
    """List pictures without reading any."""
    files.refuse_band("pictures")
    paths, remarks = without_companions(files)
    return PictureSource(
        paths,
        [files.name(path) for path in paths],
        [files.label(path) for path in paths],
        files.location,
        files.pixel_scale_arcsec,
        remarks,
    )


@dataclass(frozen=True)
class Picture:
    """A decoded picture: numbers of shape (H, W), and what the file said of them."""

    pixels: NDArray[np.generic]
    stretched: bool
    had_colour: bool
    jpeg_table: NDArray[np.int_] | None


def decode(content: bytes) -> Picture:
    """Decode a PNG, JPEG or TIFF file held in memory.

    Raises
    ------
    DataError
        If it is damaged or is no picture, in plain words.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "TIFF")) as opened:
            if reason := size_defect(opened.height, opened.width) or refusal(opened):
                raise DataError(reason)
            if isinstance(opened, TiffImageFile) and misread_by_pillow(
                opened.tag_v2, big_endian=content.startswith(b"MM")
            ):
                return picture_of_tiff(content)
            table = luminance_table(opened)
            with strictly():
                opened.load()
            pixels, had_colour = to_grey(opened)
            return Picture(pixels, opened.mode not in NUMBERS, had_colour, table)
    except UnidentifiedImageError:
        if content.startswith(TIFF_MARKS):
            return picture_of_tiff(content)
        raise DataError("not a PNG, JPEG or TIFF picture") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError("far too many pixels for a cutout") from None
    except DAMAGE as problem:
        if "truncated" in str(problem).lower():
            raise DataError("the picture is cut off: its file ends too early") from None
        raise DataError(f"the picture is damaged: {one_line(problem)}") from None


def picture_of_tiff(content: bytes) -> Picture:
    """A TIFF file whose numbers Pillow cannot give."""
    pixels = read_tiff(content)
    return Picture(pixels, pixels.dtype.itemsize == 1, had_colour=False, jpeg_table=None)


@contextmanager
def strictly() -> Iterator[None]:
    """Undo, for a moment, what other libraries do: tell Pillow to fill in what is cut off."""
    forgiving = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = forgiving


def refusal(picture: Image.Image) -> str:
    """Say why a picture of a known format would not give its true values."""
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        return f"{picture.format} file of {frames} pictures; give one per file"
    if isinstance(picture, TiffImageFile) and (reason := bands_defect(picture.tag_v2)):
        return reason
    tiles = picture.tile if isinstance(picture, ImageFile.ImageFile) else []
    storage = str(tiles[0][3]) if tiles else ""
    if ";16" in storage and picture.mode not in NUMBERS:
        return "colour picture with 16 bits per channel; save it in grey"
    return ""


def luminance_table(picture: Image.Image) -> NDArray[np.int_] | None:
    """Luminance quantisation table of a JPEG, row = vertical frequency.

    Pillow gives the 64 numbers with the zigzag of the file (ITU-T T.81, figure A.6) undone.
    """
    tables = getattr(picture, "quantization", None)
    if not tables or picture.mode not in ("L", "RGB"):
        return None
    first_component = getattr(picture, "layer", [(1, 1, 1, 0)])[0]
    table = tables.get(first_component[3])
    return None if table is None else np.array(table, dtype=int).reshape(8, 8)


def to_grey(picture: Image.Image) -> tuple[NDArray[np.generic], bool]:
    """Grey values, and whether there was colour to lose.

    Colour becomes ITU-R BT.601 luma, 0.299 R + 0.587 G + 0.114 B; see-through pixels are laid
    on black.
    """
    if picture.mode in NUMBERS or picture.mode == "L":
        return np.asarray(picture), False
    if picture.mode == "1":
        return np.asarray(picture.convert("L")), False
    see_through = picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
        "transparency" in picture.info
    )
    colour = picture.convert("RGBA" if see_through else "RGB")
    if see_through:
        black = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        colour = Image.alpha_composite(black, colour).convert("RGB")
    channels = np.asarray(colour)
    grey = (channels[..., :1] == channels).all()
    return np.asarray(colour.convert("L")), not grey
