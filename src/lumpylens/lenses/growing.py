"""The table of a run, which grows while lenses are fitted and keeps the rows that it had."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lumpylens.errors import DataWarning
from lumpylens.lenses.catalogue import LensCatalogue, LensRow
from lumpylens.lenses.inflation import with_p_values
from lumpylens.lenses.redshifts import Redshifts, with_masses
from lumpylens.lenses.rows import Row

__all__ = [
    "BREAKDOWNS",
    "GrowingCatalogue",
    "Pace",
    "breakdown",
    "newest_rows",
    "some_ids",
    "unmatched_remark",
    "with_later_rows",
]

BREAKDOWNS = (ArithmeticError, ValueError, RuntimeError, IndexError)
"""What fits of real data raise: these break numerics in ways that no list foresees. The other
lenses go on, and the row says what happened."""

WRITE_EVERY_SECONDS, WRITE_SHARE = 30.0, 0.05
"""Least time between two writes of the table, and largest part of all time that writing takes:
written after every lens, a table of n rows would take a time that grows as the square of n."""


@dataclass
class Pace:
    """Lets a table be written now and then: its rows may be many."""

    next_write: float = 0.0

    def write(self, save: Callable[[], None]) -> None:
        """Call `save`, unless it was called a while ago."""
        if time.monotonic() >= self.next_write:
            begun = time.monotonic()
            save()
            ended = time.monotonic()
            pause = max(WRITE_EVERY_SECONDS, (ended - begun) / WRITE_SHARE)
            self.next_write = ended + pause


@dataclass
class GrowingCatalogue:
    """The table: rows of this run, and what it held before until there is better.

    Attributes
    ----------
    place : Path or None
    ids : sequence of str
        Of the lenses of this run.
    redshifts : dict of str to Redshifts
    held : sequence of LensRow
        What the file had, and what a run that was stopped had fitted.
    rows : dict of int to LensRow
        By position in this run.
    """

    place: Path | None
    ids: Sequence[str]
    redshifts: Mapping[str, Redshifts]
    held: Sequence[LensRow]
    rows: dict[int, LensRow] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    def all_rows(self) -> list[LensRow]:
        """Rows of this run in order, then those of other lenses."""
        current, older = newest_rows(self.rows, self.ids, self.held)
        return with_p_values([*with_masses(current, self.redshifts), *older])

    def save_now_and_then(self) -> None:
        """Write the table if it was not written a while ago: its rows may be many."""
        self.pace.write(self.save)

    def save(self) -> None:
        """Write the table, if one is wanted."""
        if self.place is not None:
            LensCatalogue(tuple(self.all_rows())).write(self.place)

    def warn_of_older_rows(self, changed: Sequence[str]) -> None:
        """Say what happens to rows that the table has.

        Parameters
        ----------
        changed : sequence of str
            Lenses that have a row, of other pixels or settings.
        """
        _, older = newest_rows(self.rows, self.ids, self.held)
        if others := [row.id for row in older]:
            warnings.warn(
                f"{self.place} has {some_ids(others)} that are not among these images; they stay "
                "in it, after these",
                DataWarning,
                stacklevel=3,
            )
        if changed:
            warnings.warn(
                f"{self.place} has {some_ids(changed)} with other pixels or settings; they are "
                "fitted again, and their rows replaced",
                DataWarning,
                stacklevel=3,
            )


def with_later_rows(table: Sequence[LensRow], later: Sequence[LensRow]) -> list[LensRow]:
    """Rows of a table and those that a run fitted after the table was written for the last time.

    Parameters
    ----------
    table : sequence of LensRow
        A row that is also among the later ones is taken from here: it knows more, such as a mass.
    later : sequence of LensRow
        Fitted lenses.
    """
    digests = {row.digest for row in table if not row.error}
    new = [row for row in later if row.digest not in digests]
    replaced = {row.id for row in new}
    return [*(row for row in table if row.id not in replaced), *new]


def newest_rows(
    rows: Mapping[int, Row], ids: Sequence[str], held: Sequence[Row]
) -> tuple[list[Row], list[Row]]:
    """Rows of a run in its order, as far as there are any, and the table's rows of other lenses.

    Parameters
    ----------
    rows : mapping of int to row
        By position in the run; a lens without one keeps the row that the table has.
    ids : sequence of str
        Of the lenses of the run.
    held : sequence of rows
        What the table had.
    """
    older = {row.id: row for row in held}
    newest = (rows.get(k, older.get(name)) for k, name in enumerate(ids))
    current = set(ids)
    return (
        [row for row in newest if row is not None],
        [row for row in held if row.id not in current],
    )


def breakdown(problem: Exception) -> str:
    """Error of a lens whose fit broke down, in one line."""
    return f"the fit broke down: {' '.join(str(problem).split()) or type(problem).__name__}"


def unmatched_remark(table: str | Path, unmatched: Sequence[str], ids: Sequence[str]) -> str:
    """Remark on ids of a table of redshifts that are those of no lens."""
    return (
        f"{table}: {some_ids(unmatched)} of it belong to no lens, or not to one alone; ids are "
        f"such as {ids[0]}"
    )


def some_ids(names: Sequence[str]) -> str:
    """Say how many ids there are, and the first few of them."""
    first_ids = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {'id' if len(names) == 1 else 'ids'} ({first_ids})"
