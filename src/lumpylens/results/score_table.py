"""`ScoreTable`: one row per image, scored or not."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError
from lumpylens.files.tables import (
    astropy_table,
    html_table,
    pandas_frame,
    read_columns,
    write_columns,
)
from lumpylens.results.reasons import why_none
from lumpylens.results.submission import Submission, operating_point

if TYPE_CHECKING:
    from astropy.table import Table
    from pandas import DataFrame

__all__ = ["ScoreRow", "ScoreTable"]

FIXED_COLUMNS = ("id", "anomaly_score", "p_value", "error", "q_value", "flag", "warning")
"""Columns of every table, in this order; components follow."""
TEXT_COLUMNS = ("id", "error", "warning")
NUMBER_COLUMNS = ("anomaly_score", "p_value", "q_value")
FIRST_COMPONENT = "reconstruction_mse"
DESCRIPTIONS = {
    "id": "stable name of the image",
    "anomaly_score": "higher is more anomalous; empty where error says why",
    "p_value": "conformal p-value: how often a normal image scores as high",
    "error": "why the image has no score",
    "q_value": "Benjamini-Hochberg q-value over the images of this table",
    "flag": "selected at the requested false-discovery rate",
    "warning": "why the score should not be trusted; such an image has no p-value",
    "reconstruction_mse": "mean squared error per pixel, image on [0, 1]",
}
ROWS_IN_VIEW = 10
"""Rows in the view of a notebook or a terminal; `write` has all rows."""


@dataclass(frozen=True)
class ScoreRow:
    """One row of a `ScoreTable`; its attributes are named like the columns.

    Attributes
    ----------
    id, error, warning : str
    anomaly_score, p_value, q_value : float
    flag : bool
    components : dict of str to float or str
    """

    id: str
    anomaly_score: float
    p_value: float
    error: str
    q_value: float
    flag: bool
    warning: str
    components: Mapping[str, Any]

    @property
    def note(self) -> str:
        """Reason why there is no score or why not to trust it, or ``flagged``; empty otherwise."""
        return self.error or self.warning or ("flagged" if self.flag else "")


@dataclass(frozen=True)
class ScoreTable:
    """Scores of a collection, in its order.

    Attributes
    ----------
    id : list of str, length n
    anomaly_score : ndarray of float64, shape (n,)
        Higher is more anomalous; NaN where `error` says why there is none.
    error, warning : list of str, length n
    p_value, q_value : ndarray of float64, shape (n,)
        Conformal p-value and Benjamini-Hochberg q-value; NaN before calibration, for failed
        images, and where `warning` says that the image is outside the range that the model knows.
    flag : ndarray of bool, shape (n,)
        Selected at the requested false-discovery rate.
    components : dict of str to ndarray, shape (n,)
        Named parts of the score, such as ``reconstruction_mse``; they may be text.

    Examples
    --------
    >>> nan = float("nan")
    >>> table = ScoreTable(
    ...     id=["a", "b", "c"], anomaly_score=[1.0, nan, 3.0], error=["", "empty file", ""],
    ...     warning=["", "", ""], p_value=[0.5, nan, 0.01], q_value=[0.5, nan, 0.02],
    ...     flag=[False, False, True],
    ... )
    >>> table.ranked().id, table.n_failed
    (['c', 'a', 'b'], 1)
    >>> table[2].id, table["p_value"].tolist()
    ('c', [0.5, nan, 0.01])
    """

    id: list[str]
    anomaly_score: NDArray[np.float64]
    error: list[str]
    warning: list[str]
    p_value: NDArray[np.float64]
    q_value: NDArray[np.float64]
    flag: NDArray[np.bool_]
    components: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in TEXT_COLUMNS:
            object.__setattr__(self, name, [str(text) for text in getattr(self, name)])
        for name in NUMBER_COLUMNS:
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        object.__setattr__(self, "flag", np.asarray(self.flag, dtype=bool))
        names = sorted(self.components, key=lambda name: name != FIRST_COMPONENT)
        parts = {name: _column(self.components[name]) for name in names}
        object.__setattr__(self, "components", parts)
        if clash := set(parts) & set(FIXED_COLUMNS):
            raise ValueError(f"a component cannot be called {clash.pop()!r}")
        lengths = {name: len(column) for name, column in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.id)

    def __iter__(self) -> Iterator[ScoreRow]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> ScoreRow: ...
    @overload
    def __getitem__(self, index: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> ScoreTable: ...
    def __getitem__(
        self, index: int | str | slice | Sequence[int] | NDArray[Any]
    ) -> ScoreRow | NDArray[Any] | ScoreTable:
        """Get one row by its position, one column by its name, or a table of some rows.

        A slice, a list of positions or a boolean mask selects the rows of a table.
        """
        if isinstance(index, str):
            return np.asarray(self.columns()[index])
        rows = np.arange(len(self))[index]
        if np.ndim(rows) == 0:
            return ScoreRow(
                id=self.id[rows],
                anomaly_score=float(self.anomaly_score[rows]),
                p_value=float(self.p_value[rows]),
                error=self.error[rows],
                q_value=float(self.q_value[rows]),
                flag=bool(self.flag[rows]),
                warning=self.warning[rows],
                components={name: values[rows] for name, values in self.components.items()},
            )
        return ScoreTable(
            **{name: [getattr(self, name)[row] for row in rows] for name in TEXT_COLUMNS},
            anomaly_score=self.anomaly_score[rows],
            p_value=self.p_value[rows],
            q_value=self.q_value[rows],
            flag=self.flag[rows],
            components={name: values[rows] for name, values in self.components.items()},
        )

    # -- ranking ----------------------------------------------------------------------------

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which images have a score, shape (n,)."""
        return np.isfinite(self.anomaly_score)

    @property
    def n_failed(self) -> int:
        """Number of images without a score."""
        return int(np.count_nonzero(~self.scored))

    @property
    def n_warned(self) -> int:
        """Number of scored images with a warning."""
        return int(np.count_nonzero(self.scored & self._warned))

    @property
    def _warned(self) -> NDArray[np.bool_]:
        return np.array([bool(text) for text in self.warning], dtype=bool)

    def order(self) -> NDArray[np.int_]:
        """Positions from the most to the least anomalous, shape (n,).

        By raw score, so that equal p-values do not tie. Images with a warning follow those
        without, whatever their scores; failed ones come last. Ties keep their order.
        """
        score = np.where(self.scored, self.anomaly_score, -np.inf)
        return np.lexsort((-score, self._warned, ~self.scored))

    def rank(self) -> NDArray[np.int_]:
        """Rank of each image, 1 for the most anomalous; shape (n,)."""
        ranks = np.empty(len(self), dtype=int)
        ranks[self.order()] = np.arange(1, len(self) + 1)
        return ranks

    def ranked(self) -> ScoreTable:
        """Rows of the table, most anomalous first."""
        return self[self.order()]

    def top(self, count: int) -> ScoreTable:
        """The `count` most anomalous rows."""
        return self[self.order()[:count]]

    def submission(
        self, *, lumpy_fraction: float | None = None, fpr: float | None = None
    ) -> Submission:
        """Say of every lens whether it is lumpy, at an operating point chosen without labels.

        A lens without a p-value is called what most lenses are.

        Parameters
        ----------
        lumpy_fraction : float, optional
            Fraction of lumpy lenses, for which the expected accuracy is the best one. Default: an
            estimate from the p-values.
        fpr : float, optional
            False-positive rate, in place of the best accuracy.

        Raises
        ------
        DataError
            If no image has a p-value, or two have one id.
        ModelError
            If both are given, or one does not lie between 0 and 1.

        Examples
        --------
        >>> table = ScoreTable(
        ...     id=["a", "b"], anomaly_score=[1.0, 3.0], error=["", ""], warning=["", ""],
        ...     p_value=[0.8, 0.01], q_value=[0.8, 0.02], flag=[False, True],
        ... )
        >>> table.submission(fpr=0.1).has_substructure.tolist()
        [False, True]
        """
        point = operating_point(self.p_value, lumpy_fraction=lumpy_fraction, fpr=fpr)
        return Submission.of(self.id, self.p_value, point)

    # -- other shapes -----------------------------------------------------------------------

    def columns(self) -> dict[str, Any]:
        """Name -> list or array of each column, in the order of the file."""
        return {name: getattr(self, name) for name in FIXED_COLUMNS} | dict(self.components)

    def to_structured(self) -> NDArray[Any]:
        """Convert to a numpy structured array, shape (n,), one field per column."""
        columns = {
            name: np.asarray(c, dtype=str) if name in TEXT_COLUMNS else np.asarray(c)
            for name, c in self.columns().items()
        }
        table = np.empty(len(self), dtype=[(name, c.dtype) for name, c in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    def to_table(self) -> Table:
        """Convert to an `astropy.table.Table` in which missing numbers are masked."""
        return astropy_table(self.columns(), DESCRIPTIONS)

    def to_pandas(self) -> DataFrame:
        """Convert to a `pandas.DataFrame`, one row per image.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return pandas_frame(self.columns())

    # -- files ------------------------------------------------------------------------------

    def write(self, path: str | Path) -> Path:
        """Write CSV, ECSV or Parquet, by suffix, at full precision.

        Missing numbers are empty fields. The file is written under another name and then renamed.

        Raises
        ------
        DataError
            If the suffix is another one, the file cannot be written, or pyarrow is missing.
        """
        write_columns(self.columns(), Path(path), descriptions=DESCRIPTIONS)
        return Path(path)

    @classmethod
    def read(cls, path: str | Path) -> ScoreTable:
        """Read a table that `write` wrote; columns of other names become components.

        Raises
        ------
        DataError
            If it is no table with ``id`` and ``anomaly_score``.
        """
        columns: dict[str, Any] = read_columns(Path(path), text=TEXT_COLUMNS)
        for name in ("id", "anomaly_score"):
            if name not in columns:
                raise DataError(f"{path} is no score table: it has no column {name!r}")
        empty: dict[str, list[Any]] = {name: [""] * len(columns["id"]) for name in TEXT_COLUMNS}
        empty |= {name: [math.nan] * len(columns["id"]) for name in NUMBER_COLUMNS}
        fields_read: dict[str, Any] = {
            name: columns.pop(name, missing) for name, missing in empty.items()
        }
        flag = np.array(columns.pop("flag", np.zeros(len(fields_read["id"]))), dtype=bool)
        try:
            return cls(flag=flag, components=columns, **fields_read)
        except ValueError as problem:
            raise DataError(f"{path} is no score table: {problem}") from problem

    # -- views ------------------------------------------------------------------------------

    def __repr__(self) -> str:
        lines = [self._summary()]
        if reason := why_none(self.error, self.warning):
            return f"{lines[0]}\n{reason}"
        top = list(self.top(ROWS_IN_VIEW))
        if top:
            width = max(len(row.id) for row in top)
            lines.append(f"  {'id':<{width}}  anomaly_score    p_value    q_value")
        for row in top:
            numbers = ((row.anomaly_score, 13), (row.p_value, 9), (row.q_value, 9))
            cells = "  ".join(f"{_short(number):>{cell}}" for number, cell in numbers)
            lines.append(f"  {row.id:<{width}}  {cells}  {row.note}".rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if reason := why_none(self.error, self.warning):
            return f"<p>{html.escape(self._summary())}</p><p>{html.escape(reason)}</p>"
        top = self.top(ROWS_IN_VIEW)
        columns, notes = top.columns(), [row.note for row in top]
        shown = {k: v for k, v in columns.items() if k not in ("error", "warning", "flag")}
        return html_table({**shown, "note": notes}, self._summary())

    def _summary(self) -> str:
        text = f"ScoreTable of {len(self)} images: {np.count_nonzero(self.flag)} flagged"
        text += f", {self.n_warned} with a warning, {self.n_failed} failed"
        ranked = len(self) > self.n_failed + self.n_warned and len(self) > ROWS_IN_VIEW
        return text + (f"; the {ROWS_IN_VIEW} most anomalous:" if ranked else "")


def _short(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _column(values: Any) -> NDArray[Any]:
    column = np.asarray(values)
    return column if column.dtype.kind in "US" else column.astype(np.float64)
