"""Tables with one row per lens, whose columns are the fields of a dataclass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar, overload

from lumpylens.errors import DataError
from lumpylens.files.tables import astropy_table, pandas_frame, read_columns, write_columns

if TYPE_CHECKING:
    from astropy.table import Table
    from pandas import DataFrame

__all__ = ["Row", "RowTable", "meanings", "number", "text", "text_columns"]


def number(meaning: str) -> Any:
    """Field of a row that is a number, NaN if it is not known."""
    return field(default=math.nan, metadata={"meaning": meaning})


def text(meaning: str) -> Any:
    """Field of a row that is text."""
    return field(default="", metadata={"meaning": meaning})


def meanings(row_type: Any) -> dict[str, str]:
    """Name -> meaning, of each column of tables of such rows."""
    return {column.name: column.metadata["meaning"] for column in fields(row_type)}


def text_columns(row_type: Any) -> list[str]:
    """Names of the columns that are text."""
    return [column.name for column in fields(row_type) if column.default == ""]


class LensWithError(Protocol):
    """What all rows say."""

    @property
    def id(self) -> str:
        """Name of the lens."""
        ...

    @property
    def error(self) -> str:
        """Reason why there are no numbers, or empty."""
        ...


Row = TypeVar("Row", bound=LensWithError)


@dataclass(frozen=True, repr=False)
class RowTable(Sequence[Row]):
    """One row per lens, in the order of the images.

    Attributes
    ----------
    rows : tuple
    """

    rows: tuple[Row, ...]
    row_type: ClassVar[type]
    kind: ClassVar[str]
    """What a file holds, for messages."""
    meanings: ClassVar[Mapping[str, str]]
    later_columns: ClassVar[Sequence[str]] = ()
    """Columns that tables of earlier versions lack; they are empty there."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: str) -> list[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | str | slice) -> Row | list[Any] | Self:
        """Get one row by its position, one column by its name, or a table of some rows."""
        if isinstance(index, str):
            return self.columns()[index]
        if isinstance(index, slice):
            return type(self)(self.rows[index])
        return self.rows[index]

    @property
    def failed(self) -> list[Row]:
        """Lenses that have an error in place of numbers."""
        return [row for row in self if row.error]

    def columns(self) -> dict[str, list[Any]]:
        """Name -> values of each column, in the order of the file."""
        return {name: [getattr(row, name) for row in self] for name in self.meanings}

    def to_table(self) -> Table:
        """Convert to an `astropy.table.Table` in which missing numbers are masked."""
        return astropy_table(self.columns(), self.meanings)

    def to_pandas(self) -> DataFrame:
        """Convert to a `pandas.DataFrame`, one row per lens.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return pandas_frame(self.columns())

    def write(self, path: str | Path) -> Path:
        """Write CSV, ECSV or Parquet, by suffix.

        Raises
        ------
        DataError
            If the suffix is another one, or the file cannot be written.
        """
        write_columns(self.columns(), Path(path), descriptions=self.meanings)
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a table that `write` wrote.

        Raises
        ------
        DataError
            If it is none.
        """
        words = text_columns(cls.row_type)
        columns = read_columns(Path(path), text=words)
        count = len(columns.get("id", ()))
        unknown = {name: ["" if name in words else math.nan] * count for name in cls.later_columns}
        columns = unknown | columns
        if missing := [name for name in cls.meanings if name not in columns]:
            raise DataError(
                f"{path} is no {cls.kind} (it lacks {', '.join(missing[:3])}); "
                "give another --out, or remove it"
            )
        return cls(
            tuple(
                cls.row_type(**dict(zip(cls.meanings, values, strict=True)))
                for values in zip(*(columns[name] for name in cls.meanings), strict=True)
            )
        )
