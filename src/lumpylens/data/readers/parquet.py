"""Parquet tables with a column of images, such as data sets of Hugging Face.

Their feature ``Image()`` is a column of structures of the bytes of a picture file and its path;
``Array2D`` is a column of lists of lists. The features, with the names of the classes, are JSON in
the metadata of the table, under ``huggingface``.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.checks import band_axis, stack_defect
from lumpylens.data.image import UNKNOWN, LensImage
from lumpylens.data.readers.bands import plane_count
from lumpylens.data.readers.files import CLASS_LABELS, DataFiles, file_bytes_of
from lumpylens.data.readers.named_arrays import COMPANIONS, listed, origins_of
from lumpylens.data.readers.pictures import decode
from lumpylens.data.readers.stacks import DAMAGE, plain
from lumpylens.data.source import FailedSource, ImageSource, joined
from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install

__all__ = ["ParquetSource", "open_parquet"]

IDS = ("id", "ids", "object_id")
LABELS = ("label", "labels")


class NoImagesError(DataError):
    """A table that has no column of images."""


@dataclass
class ParquetSource:
    """Rows of one table, read a group at a time when asked for."""

    path: Path
    column: str
    ids: Sequence[str]
    labels: Sequence[int]
    location: str
    band: str | None
    pixel_scale_arcsec: float | None
    group_starts: Sequence[int]
    beside: Sequence[str]
    has_ids: bool = False
    remarks: Sequence[str] = ()
    _last: tuple[int, int, Any] | None = field(default=None, repr=False)

    def load(self, position: int) -> LensImage:
        """Read one row."""
        name, label = self.ids[position], self.labels[position]
        try:
            known = self.known(position)
            image = LensImage.checked(
                name, label=label, pixel_scale_arcsec=self.pixel_scale_arcsec, **known
            )
        except DAMAGE as problem:
            reason = f"the table cannot be read: {plain(problem)}"
            image = LensImage(name, None, label=label, error=reason)
        except DataError as problem:
            image = LensImage(name, None, label=label, error=str(problem))
        if image.error and self.has_ids:
            place = f"row {position} of {self.path.name}, counted from 0"
            image = replace(image, error=f"{image.error} ({place})")
        return image

    def known(self, position: int) -> dict[str, Any]:
        """Arguments of `LensImage.checked` from one row."""
        row = self._row(position)
        cell = row.pop(self.column)
        if isinstance(cell, dict):
            cell = cell.get("bytes")
        if cell is None:
            raise DataError("the table has no pixels in this row")
        known: dict[str, Any] = {
            name: np.array(other) for name, other in row.items() if other is not None
        }
        scale = "" if self.pixel_scale_arcsec is None else "as given"
        known["origins"] = origins_of(self.column, {name: name for name in known}, scale)
        if not isinstance(cell, bytes):
            pixels = one_band(np.array(cell), self.band)
            of_bytes = pixels.dtype.kind in "ui" and pixels.dtype.itemsize == 1
            return known | {"pixels": pixels, "stretched": of_bytes}
        if self.band is not None:
            raise DataError(f"no bands to choose {self.band!r} from: it holds pictures")
        picture = decode(cell)
        if picture.had_colour:
            known["remarks"] = ("colours are read as grey (ITU-R BT.601 luma)",)
        return known | {
            "pixels": picture.pixels,
            "stretched": picture.stretched,
            "jpeg_table": picture.jpeg_table,
            "file_bytes": len(cell),
        }

    def _row(self, position: int) -> dict[str, Any]:
        """The cells of one row that matter, with numbers in the type of their column."""
        group = bisect_right(self.group_starts, position) - 1
        # Threads may share this object: what is returned never comes from the attribute.
        last = self._last
        if last is None or last[:2] != (os.getpid(), group):
            from pyarrow.parquet import ParquetFile

            with ParquetFile(self.path) as file:
                table = file.read_row_group(group, columns=[self.column, *self.beside])
            last = (os.getpid(), group, table)
            self._last = last
        at = position - self.group_starts[group]
        return {name: cell_of(last[2][name][at]) for name in last[2].column_names}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}


def open_parquet(files: DataFiles) -> ImageSource:
    """Open Parquet tables.

    The images are the column called like the band that is asked for, ``image`` or ``images``, or
    the only one that holds pictures or arrays. Columns ``noise`` and ``psf`` go with it, ``id``
    names an image, and ``label`` is 0 or 1, or the name of a class.
    """
    parts: list[ImageSource] = []
    remarks: list[str] = []
    for path in files.paths:
        try:
            parts.append(open_table(files, path))
        except DataError as problem:
            if files.alone:
                raise DataError(f"{path}: {problem}") from None
            if isinstance(problem, NoImagesError):
                remarks.append(f"not used: {files.name(path)} {problem}")
                continue
            parts.append(
                FailedSource(
                    [files.name(path)], [files.label(path)], [str(problem)], files.location
                )
            )
    failed = [part for part in parts if isinstance(part, FailedSource)]
    if files.band is not None and failed and len(failed) == len(parts):
        raise DataError(f"{files.location}: {failed[0].reasons[0]}")
    return joined(parts, files.location, remarks)


def open_table(files: DataFiles, path: Path) -> ParquetSource:
    """Read what a table says of its rows, and no pixels.

    Raises
    ------
    DataError
        If pyarrow is not installed, the table cannot be read, or it has no band that is asked
        for.
    NoImagesError
        If it has no column of images, or several.
    """
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(f"Parquet needs pyarrow: {pip_install('parquet')}") from None
    try:
        file_bytes_of(path, limit=None)
        with ParquetFile(path) as file:
            schema = file.schema_arrow
            column = choose_column(schema, files.band)
            groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
            names = [name for name in (*IDS, *LABELS) if name in schema.names]
            known = file.read(columns=names).to_pydict()
    except DAMAGE as problem:
        raise DataError(f"not a whole Parquet file: {plain(problem)}") from None
    count = sum(groups)
    stored_ids = next((known[name] for name in IDS if name in known), None)
    name = files.name(path)
    has_ids = False
    ids = [name] if count == 1 else [f"{name}[{k}]" for k in range(count)]
    if (
        stored_ids is not None
        and None not in stored_ids
        and len(set(map(str, stored_ids))) == count
    ):
        ids = [str(item) if files.alone else f"{name}[{item}]" for item in stored_ids]
        has_ids = True
    source = ParquetSource(
        path,
        column,
        ids,
        labels_of(known, schema, count, files.label(path)),
        files.location,
        files.band if column != files.band else None,
        files.pixel_scale_arcsec,
        list(accumulate(groups[:-1], initial=0)),
        [name for name in ("noise", "psf") if name in schema.names],
        has_ids,
    )
    if source.band is not None:
        source.known(0)
    return source


def choose_column(schema: Any, band: str | None) -> str:
    """Name of the column that holds the images."""
    columns = [
        item.name for item in schema if holds_images(item.type) and item.name not in COMPANIONS
    ]
    for wanted in (band, "image", "images"):
        if wanted in columns:
            return str(wanted)
    if len(columns) == 1:
        return str(columns[0])
    if columns:
        raise NoImagesError(
            f"has several columns of images: {listed(columns)}; choose one by its name with --band"
        )
    raise NoImagesError(f"has no column of images; it has {listed(schema.names)}")


def holds_images(kind: Any) -> bool:
    """Tell whether a column's type is that of picture files, or of arrays with rows."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(
            item.name == "bytes" and types.is_binary(item.type) | types.is_large_binary(item.type)
            for item in kind
        )
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return types.is_nested(kind.value_type) and not types.is_struct(kind.value_type)
    shape = getattr(kind, "shape", ())  # of the extension type arrow.fixed_shape_tensor
    return types.is_binary(kind) or types.is_large_binary(kind) or len(shape) >= 2


def labels_of(known: dict[str, list[Any]], schema: Any, count: int, otherwise: int) -> list[int]:
    """Labels of all rows; the number of a class counts by the name of the class, if it has one."""
    column = next((name for name in LABELS if name in known), None)
    if column is None:
        return [otherwise] * count
    classes = class_names(schema, column)
    return [label_in_table(item, classes) for item in known[column]]


def class_names(schema: Any, column: str) -> list[str] | None:
    """Names of the classes of a column, by number, None if the table has none."""
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = written["info"]["features"][column]["names"]
        return [str(name) for name in names]
    except (ValueError, KeyError, TypeError):
        return None


def label_in_table(item: Any, classes: list[str] | None) -> int:
    """Label of one row."""
    if classes is not None and isinstance(item, int) and 0 <= item < len(classes):
        item = classes[item]
    if isinstance(item, str):
        return CLASS_LABELS.get(item, UNKNOWN)
    return int(item) if classes is None and item in (0, 1) else UNKNOWN


def cell_of(scalar: Any) -> Any:
    """A cell as Python and numpy know it; numbers keep their type."""
    from pyarrow import types

    if hasattr(scalar, "to_numpy"):
        return scalar.to_numpy()
    kind = scalar.type
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    cell = scalar.as_py()
    if isinstance(cell, list) and (types.is_integer(kind) or types.is_floating(kind)):
        return np.array(cell, dtype=kind.to_pandas_dtype())
    return cell


def one_band(values: NDArray[Any], band: str | None) -> NDArray[Any]:
    """The image of a cell, or the band of it that was asked for."""
    axis = band_axis((1, *values.shape))
    if axis is None and plane_count(values.shape):
        axis = -3
    if axis is None or values.ndim != 3:
        reason = stack_defect(values.shape)
        if not reason and band is not None:
            reason = f"no bands to choose {band!r} from: it holds images of shape {values.shape}"
        if reason:
            raise DataError(reason)
        return values
    count = values.shape[axis]
    if band is None or not (band.isdecimal() and int(band) < count):
        raise DataError(
            f"an array of shape {values.shape} has {count} bands: choose one by its number, "
            "as in --band 0"
        )
    chosen: NDArray[Any] = values.take(int(band), axis)
    return chosen
