"""Columns of text and numbers in CSV, ECSV and Parquet files.

A number that is missing is NaN in memory and an empty field in the file. Numbers come back
bit for bit.
"""

from __future__ import annotations

import csv
import html
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install
from lumpylens.files.writing import check_writable, whole_file

if TYPE_CHECKING:
    from astropy.table import Table
    from pandas import DataFrame

__all__ = [
    "astropy_table",
    "check_table_place",
    "csv_rows",
    "html_table",
    "pandas_frame",
    "read_columns",
    "write_columns",
]

Columns = Mapping[str, Any]
Choice = TypeVar("Choice")
FORMATS = (".csv", ".ecsv", ".parquet")


def write_columns(
    columns: Columns, path: Path, *, descriptions: Mapping[str, str] | None = None
) -> None:
    """Write columns of one length, in the format of the suffix.

    Parameters
    ----------
    columns : dict of str to sequence
        Of text, of bool or of float.
    path : Path
        Ending in ``.csv``, ``.ecsv`` or ``.parquet``. Written beside and renamed.
    descriptions : dict, optional
        What a column means, for formats that can say so.

    Raises
    ------
    DataError
        If the suffix is another one, the file cannot be written, or pyarrow is missing.
    """
    write = _by_suffix(path, (_to_csv, _to_ecsv, _to_parquet))
    with whole_file(path) as part_file:
        write(columns, part_file, descriptions or {})


def read_columns(path: Path, *, text: Collection[str] = ()) -> dict[str, list[Any]]:
    """Read columns of text, bool or float; those named in `text` are never taken for numbers.

    Raises
    ------
    DataError
        If there is no such table, in one line that says why.
    """
    read = _by_suffix(path, (_from_csv, _from_ecsv, _from_parquet))
    if not path.is_file():
        raise DataError(f"no table at {path}")
    try:
        columns: dict[str, list[Any]] = read(path, text)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as problem:
        line = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DataError(f"{path} cannot be read as a table: {line}") from problem
    return columns


def check_table_place(path: Path) -> None:
    """Refuse a place for a table before the work of making it.

    Raises
    ------
    DataError
        If `path` is a folder, has the suffix of no format, or cannot be written, or if pyarrow
        is missing.
    """
    if _by_suffix(path, FORMATS) == ".parquet":
        _pyarrow()
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it, such as {path / 'scores.csv'}")
    check_writable(path)


def astropy_table(columns: Columns, descriptions: Mapping[str, str]) -> Table:
    """`astropy.table.Table` in which missing numbers are masked."""
    from astropy.table import Column, MaskedColumn, Table

    table = Table()
    for name, column in columns.items():
        values, note = np.asarray(column), descriptions.get(name)
        if values.dtype.kind == "f":
            table[name] = MaskedColumn(values, mask=np.isnan(values), description=note)
        else:
            table[name] = Column(values, description=note)
    return table


def pandas_frame(columns: Columns) -> DataFrame:
    """`pandas.DataFrame` of the columns.

    Raises
    ------
    DataError
        If pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise DataError(
            "a data frame needs pandas: pip install pandas, or use to_table()"
        ) from None
    return pandas.DataFrame({name: np.asarray(column) for name, column in columns.items()})


def html_table(columns: Columns, caption: str) -> str:
    """Columns as HTML for a notebook; numbers with four digits, missing ones empty."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = (
        "".join(f"<td>{html.escape(_short(value))}</td>" for value in row)
        for row in zip(*columns.values(), strict=True)
    )
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return (
        f"<p>{html.escape(caption)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _short(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)


def _by_suffix(path: Path, choices: Sequence[Choice]) -> Choice:
    try:
        return choices[FORMATS.index(path.suffix.lower())]
    except ValueError:
        has = f"the suffix {path.suffix}" if path.suffix else "no suffix"
        raise DataError(f"tables are {', '.join(FORMATS)} files, and {path} has {has}") from None


@contextmanager
def csv_rows(path: Path, header: Iterable[str]) -> Iterator[Callable[[Iterable[Any]], None]]:
    """Open a CSV file for rows that are written one by one, and kept nowhere else.

    Parameters
    ----------
    path : Path
        The place itself, see `lumpylens.files.writing`.
    header : iterable of str

    Yields
    ------
    callable
        Takes the values of one row: text, bool or float.
    """
    # names of files may hold bytes that are no UTF-8; they come back as they were
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        plain = csv.writer(stream, lineterminator="\n")
        # Before Python 3.13 a lone carriage return is not quoted, yet ends the line when read.
        quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

        def write(row: Iterable[Any]) -> None:
            cells = [_field(value) for value in row]
            (quoting if any("\r" in cell for cell in cells) else plain).writerow(cells)

        write(header)
        yield write


def _to_csv(columns: Columns, path: Path, _: Mapping[str, str]) -> None:
    with csv_rows(path, columns) as write:
        for row in zip(*columns.values(), strict=True):
            write(row)


def _field(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    return "" if math.isnan(value) else repr(float(value))


def _from_csv(path: Path, text: Collection[str]) -> dict[str, list[Any]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        rows = []
        for row in reader:
            if len(row) != len(header):
                raise ValueError(
                    f"line {reader.line_num} has {len(row)} fields, the header {len(header)}"
                )
            rows.append(row)
    fields = {name: [row[k] for row in rows] for k, name in enumerate(header)}
    return {name: cells if name in text else _guess(cells) for name, cells in fields.items()}


def _guess(cells: list[str]) -> list[Any]:
    if cells and set(cells) <= {"true", "false"}:
        return [cell == "true" for cell in cells]
    try:
        return [float(cell) if cell else math.nan for cell in cells]
    except ValueError:
        return list(cells)


def _utf8(columns: Columns) -> dict[str, Any]:
    """Columns whose text holds nothing that UTF-8 cannot carry."""
    clean: dict[str, Any] = {}
    for name, column in columns.items():
        values = np.asarray(column)
        if values.dtype.kind == "U":
            texts = [str(text).encode("utf-8", "backslashreplace").decode() for text in values]
            values = np.array(texts, dtype=str)
        clean[name] = values
    return clean


def _to_ecsv(columns: Columns, path: Path, descriptions: Mapping[str, str]) -> None:
    table = astropy_table(_utf8(columns), descriptions)
    table.write(path, format="ascii.ecsv", overwrite=True)


def _from_ecsv(path: Path, _: Collection[str]) -> dict[str, list[Any]]:
    from astropy.table import MaskedColumn, Table

    columns: dict[str, list[Any]] = {}
    for name, column in Table.read(path, format="ascii.ecsv").items():
        if column.dtype.kind in "fi":
            column = MaskedColumn(column, dtype=np.float64).filled(np.nan)
        elif isinstance(column, MaskedColumn):
            column = column.filled("")
        columns[name] = column.tolist()
    return columns


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataError(f"Parquet needs pyarrow: {pip_install('parquet')}, or use .csv") from None
    return pyarrow


def _to_parquet(columns: Columns, path: Path, _: Mapping[str, str]) -> None:
    arrow = _pyarrow()
    arrays = {
        name: arrow.array(column, from_pandas=True) for name, column in _utf8(columns).items()
    }
    arrow.parquet.write_table(arrow.table(arrays), path)


def _from_parquet(path: Path, text: Collection[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = _pyarrow().parquet.read_table(path).to_pydict()
    missing = {name: "" if name in text else math.nan for name in columns}
    return {
        name: [missing[name] if value is None else value for value in values]
        for name, values in columns.items()
    }
